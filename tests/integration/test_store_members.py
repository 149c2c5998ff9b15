"""Three MICs over one store, as real processes: handed over from one member, the active one frozen and killed, and back."""

import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from bench.demo import observe, place, world
from coordinator import errors, limits
from coordinator.host import settings
from coordinator.runtime import store_socket
from tests.integration import town as towns

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

PLACES = {
    name: place.Place(name, "central", f"127.0.61.{number}")
    for number, name in enumerate(("c1", "c2", "c3"), 1)
}
TAKE_OVER_S = 10.0

DOCUMENT = """
schema: tiercast/1
general: {{master_domain: acme}}
domains: {{acme: {{fqdn: acme.example}}}}
sites: {{central: {{type: master_communication, domains: [acme]}}}}
servers:
  c1: {{interfaces: {{lan: "127.0.61.1"}}}}
  c2: {{interfaces: {{lan: "127.0.61.2"}}}}
  c3: {{interfaces: {{lan: "127.0.61.3"}}}}
roles:
{mics}
  dc1: {{type: dc, order: 1}}
  ws1: {{type: ws, order: 1}}
  icc2: {{type: ic, order: 1}}
  greet: {{type: greeter, params: {{port: 9000, greeting: {word}}}}}
  slow:
    type: process
    params:
      command: [python3, -m, http.server, "8001", --bind, "{{address}}", --directory, "{{files}}"]
      files: {{index.html: "{word}"}}
      ready: {{after: 4s}}
structure:
  central:
{structure}
"""


def document(word: str, mics: tuple[str, ...]) -> str:
    others = {"c1": ["dc1", "ws1"], "c2": ["icc2", "greet"], "c3": ["slow"]}
    rows = {name: ([f"mic{name[1]}"] if name in mics else []) + roles for name, roles in others.items()}
    return DOCUMENT.format(
        word=word,
        mics="\n".join(f"  mic{name[1]}: {{type: mic, order: {name[1]}}}" for name in mics),
        structure="\n".join(f"    {name}: [{', '.join(roles)}]" for name, roles in rows.items()),
    )


class Trio:
    def __init__(self, running: world.World) -> None:
        self.world = running
        self.joining: dict[str, subprocess.Popen[str]] = {}

    def dir(self, name: str) -> str:
        return str(self.world.directory(name))

    def run(self, *words: str) -> world.Ran:
        ran = self.world.run(*words)
        assert ran.code == 0, f"{words}: {ran}"
        return ran

    def apply(self, word: str, *mics: str) -> world.Ran:
        file = self.world.root / f"{word}.yaml"
        file.write_text(document(word, mics), encoding="utf-8")
        return self.world.run("apply", str(file), "--yes", "--wait", "none")

    def begin(self) -> None:
        words = ["--name", "c1", "--address", PLACES["c1"].address, "--site", "central"]
        self.run("server", "init", *words, "--master-domain", "acme", "--dir", self.dir("c1"))
        self.world.start("c1")
        towns.until(lambda: self.world.run("status").code == 0, "the API answers")
        for name in ("c2", "c3"):
            identity = self.world.root / f"{name}.identity"
            self.run("server", "enroll", name, "-o", str(identity))
            self.world.start(name, identity)

    def stop(self, name: str) -> None:
        self.run("server", "stop", "--dir", self.dir(name))
        assert self.world.shells.pop(name).wait(60) == 0

    def mics(self) -> dict[str, str]:
        """What each MIC that answers says of itself."""
        found = {}
        for name in PLACES:
            at = settings.Layout(self.world.directory(name)).socket(store_socket.NAME)
            try:
                answer = store_socket.ask(at, store_socket.Ask("status"), timeout_s=0.5)
            except errors.TiercastError as problem:  # a frozen one does not answer
                found[name] = problem.message
                continue
            if answer is not None:
                found[name] = answer.mic
        return found

    def active(self) -> list[str]:
        return [name for name, told in self.mics().items() if told == "active"]

    def said(self) -> str:
        try:
            return observe.line(PLACES["c2"].address, 9000)
        except OSError as wrong:
            return str(wrong)

    def converged(self) -> bool:
        return " converged: ready 3 of reachable 3 of asked 3" in self.world.run("status").out


@pytest.fixture(scope="module")
def trio() -> Iterator[Trio]:
    with world.World(PLACES) as running:
        made = Trio(running)
        made.begin()
        yield made


@pytest.fixture(autouse=True)
def logs_of_a_failure(trio: Trio) -> Iterator[None]:
    """Shown by pytest where the test fails."""
    yield
    for log in trio.world.telling_logs():
        print(f"--- {log}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-25:]))


def mic_pid(name: str) -> int:
    return observe.holder((PLACES[name].address, limits.PORT_MIC)).pid


def test_the_store_is_handed_over_to_three_and_a_document_puts_mic_there(trio: Trio) -> None:
    refused = trio.apply("early", "c1", "c2", "c3")
    assert refused.code == 4, refused
    assert "D1" in refused.talk
    trio.stop("c1")
    file = trio.world.root / "members"
    wanted = ",".join(f"{name}={at.address}" for name, at in PLACES.items())
    shown = trio.run("store", "members", "--set", wanted, "-o", str(file), "--dir", trio.dir("c1"))
    assert shown.out.count("member ") == 3
    assert file.stat().st_mode & 0o777 == 0o600
    joining = [trio.world.begin("store", "join", str(file), "--dir", trio.dir(name)) for name in ("c2", "c3")]
    trio.world.start("c1")
    towns.until(lambda: trio.active() == ["c1"], lambda: f"c1 is active: {trio.mics()}")
    towns.until(lambda: trio.world.run("status").code == 0, "the API answers")
    refused = trio.apply("two", "c2")
    assert refused.code == 4, refused
    applied = trio.apply("first", "c1", "c2", "c3")
    assert applied.code == 0, applied
    for one in joining:
        ran = trio.world.ended(one, ("store", "join"), time.monotonic())
        assert ran.code == 0, ran
        assert "the store is its own" in ran.out
    towns.until(
        lambda: sorted(trio.mics().values()) == ["active", "standby", "standby"],
        lambda: f"one is active, two stand by: {trio.mics()}",
    )
    towns.until(trio.converged, lambda: f"converged: {trio.world.run('status')}")
    assert trio.said() == "first from greet revision 2"


def test_a_frozen_mic_is_followed_by_another_while_a_rollout_goes_on(trio: Trio) -> None:
    (old,) = trio.active()
    pid = mic_pid(old)
    applied = trio.apply("second", "c1", "c2", "c3")
    assert applied.code == 0, applied
    os.kill(pid, signal.SIGSTOP)
    begun = time.monotonic()
    try:
        towns.until(lambda: [n for n in trio.active() if n != old], lambda: f"another one: {trio.mics()}")
        took_s = time.monotonic() - begun
        print(f"take-over from a frozen MIC: {took_s:.1f} s")
        assert took_s <= TAKE_OVER_S
        # Whatever is on the server of the frozen one cannot be ready; everything else is, and is told so.
        towns.until(
            lambda: "ready 2 of reachable 3 of asked 3" in trio.world.run("status").out,
            lambda: f"goes on: {trio.world.run('status')}",
        )
        assert trio.said() == "second from greet revision 3"
        applied = trio.apply("third", "c1", "c2", "c3")
        assert applied.code == 0, applied
    finally:
        os.kill(pid, signal.SIGCONT)
    towns.until(lambda: trio.mics().get(old) == "standby", lambda: f"{old} stands by: {trio.mics()}")
    assert len(trio.active()) == 1
    assert mic_pid(old) == pid  # it did not end for that
    towns.until(trio.converged, lambda: f"converged: {trio.world.run('status')}")
    assert trio.said() == "third from greet revision 4"


def test_a_machine_that_dies_with_its_mic_is_followed_by_another(trio: Trio) -> None:
    (old,) = trio.active()
    trio.world.cut_power([old])
    begun = time.monotonic()
    towns.until(trio.active, lambda: f"another one: {trio.mics()}")
    took_s = time.monotonic() - begun
    print(f"take-over from a dead machine: {took_s:.1f} s")
    assert took_s <= TAKE_OVER_S
    trio.world.start(old)
    towns.until(
        lambda: sorted(trio.mics().values()) == ["active", "standby", "standby"],
        lambda: f"one is active, two stand by: {trio.mics()}",
    )
    towns.until(trio.converged, lambda: f"converged: {trio.world.run('status')}")
    shown = trio.run("store", "status", "--dir", trio.dir(old))
    assert shown.out.count("member ") == 3


def test_the_store_goes_back_to_one_member(trio: Trio, tmp_path: pathlib.Path) -> None:
    trio.stop("c1")
    address = PLACES["c1"].address
    shown = trio.run("store", "members", "--set", f"c1={address}", "--dir", trio.dir("c1"))
    assert shown.out.count("member ") == 1
    towns.until(
        lambda: set(trio.mics().values()) == {"handed_over"}, lambda: f"the others know: {trio.mics()}"
    )
    trio.world.start("c1")
    towns.until(lambda: trio.active() == ["c1"], lambda: f"c1 is active: {trio.mics()}")
    towns.until(lambda: trio.world.run("status").code in {0, 7}, "the API answers")
    applied = trio.apply("alone", "c1")
    assert applied.code == 0, applied
    towns.until(trio.converged, lambda: f"converged: {trio.world.run('status')}")
    assert trio.said() == "alone from greet revision 5"
    assert set(trio.mics()) == {"c1"}
