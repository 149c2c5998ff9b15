"""Three MICs over one store, as real processes: handed over from one member, the active one frozen and killed, two of three lost.

Whatever an operator does is typed as docs/operations.md has it.
"""

import os
import shutil
import signal
from collections.abc import Iterator

import pytest

from bench.demo import observe, place, world
from coordinator import errors, limits
from coordinator.host import settings
from coordinator.runtime import store_socket
from tests import pace, storepage
from tests.integration import town as towns

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

PLACES = {
    name: place.Place(name, "central", f"127.0.61.{number}")
    for number, name in enumerate(("c1", "c2", "c3"), 1)
}
MEANINGS = {f"10.1.0.1{at.address[-1]}": at.address for at in PLACES.values()}
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
        self.operator = storepage.Operator(running, MEANINGS)

    def dir(self, name: str) -> str:
        return str(self.world.directory(name))

    def run(self, *words: str) -> world.Ran:
        ran = self.world.run(*words)
        assert ran.code == 0, f"{words}: {ran}"
        return ran

    def document(self, file: str, word: str, *mics: str) -> None:
        (self.world.root / file).write_text(document(word, mics), encoding="utf-8")

    def apply(self, word: str, *mics: str) -> world.Ran:
        self.document(f"{word}.yaml", word, *mics)
        return self.world.run("apply", f"{word}.yaml", "--yes", "--wait", "none")

    def to_three(self, word: str) -> None:
        """From one member, as the page has it."""
        self.document("three-mics.yaml", word, *PLACES)
        (self.world.root / "members.file").unlink(missing_ok=True)
        self.operator.types(
            storepage.block("c3$ tiercast store join members.file     # likewise"),
            lambda: self.active() == ["c1"] and self.answers(),
        )
        towns.until(
            lambda: sorted(self.mics().values()) == ["active", "standby", "standby"],
            lambda: f"one is active, two stand by: {self.mics()}",
        )

    def answers(self) -> bool:
        return self.world.run("status").code in {0, 7}

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

    def the_active(self) -> str:
        """The one that is, once each has answered: on a busy machine one may be late with that."""
        found: list[str] = []

        def one() -> bool:
            found[:] = self.active()
            return len(found) == 1 and len(self.mics()) == len(PLACES)

        towns.until(one, lambda: f"one is active: {self.mics()}")
        return found[0]

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
    trio.to_three("first")
    assert trio.operator.said["store members"].count("member ") == 3
    assert (trio.world.root / "members.file").stat().st_mode & 0o777 == 0o600
    towns.until(trio.converged, lambda: f"converged: {trio.world.run('status')}")
    assert trio.said() == "first from greet revision 2"


def test_a_frozen_mic_is_followed_by_another_while_a_rollout_goes_on(trio: Trio) -> None:
    old = trio.the_active()
    pid = mic_pid(old)
    applied = trio.apply("second", "c1", "c2", "c3")
    assert applied.code == 0, applied
    os.kill(pid, signal.SIGSTOP)
    try:
        with pace.within(TAKE_OVER_S) as taken:
            towns.until(lambda: [n for n in trio.active() if n != old], lambda: f"another one: {trio.mics()}")
        print(f"take-over from a frozen MIC: {taken.took_s:.1f} s")
        # Whatever is on the server of the frozen one cannot be ready; everything else is, and is told so.
        towns.until(
            lambda: "ready 2 of reachable 3 of asked 3" in trio.world.run("status").out,
            lambda: f"goes on: {trio.world.run('status')}",
        )
        towns.until(lambda: trio.said() == "second from greet revision 3", trio.said)
        applied = trio.apply("third", "c1", "c2", "c3")
        assert applied.code == 0, applied
    finally:
        os.kill(pid, signal.SIGCONT)
    towns.until(lambda: trio.mics().get(old) == "standby", lambda: f"{old} stands by: {trio.mics()}")
    trio.the_active()
    assert mic_pid(old) == pid  # it did not end for that
    towns.until(trio.converged, lambda: f"converged: {trio.world.run('status')}")
    assert trio.said() == "third from greet revision 4"


def test_a_machine_that_dies_with_its_mic_is_followed_by_another(trio: Trio) -> None:
    old = trio.the_active()
    trio.world.cut_power([old])
    with pace.within(TAKE_OVER_S) as taken:
        towns.until(trio.active, lambda: f"another one: {trio.mics()}")
    print(f"take-over from a dead machine: {taken.took_s:.1f} s")
    trio.world.start(old)
    towns.until(
        lambda: sorted(trio.mics().values()) == ["active", "standby", "standby"],
        lambda: f"one is active, two stand by: {trio.mics()}",
    )
    towns.until(trio.converged, lambda: f"converged: {trio.world.run('status')}")
    shown = trio.run("store", "status", "--dir", trio.dir(old))
    assert shown.out.count("member ") == 3


def test_a_lost_majority_leaves_a_store_of_one_member_and_everything_acknowledged(trio: Trio) -> None:
    trio.world.cut_power(["c2", "c3"])
    for name in ("c2", "c3"):
        shutil.rmtree(trio.world.directory(name))
    towns.until(lambda: trio.mics().get("c1") != "active", lambda: f"no majority: {trio.mics()}")
    trio.document("one-mic.yaml", "alone", "c1")
    trio.operator.types(
        storepage.block("the line `silent` names c2 and c3"),
        lambda: trio.mics().get("c1") == "active" and trio.answers(),
    )
    found = trio.operator.said["store recover"]
    assert "silent    c2, c3" in found
    assert "as g2.r4" in found
    towns.until(
        lambda: "ready 1 of reachable 1 of asked 3" in trio.world.run("status").out,
        lambda: f"c1 goes on by itself: {trio.world.run('status')}",
    )
    shown = trio.run("store", "status", "--dir", trio.dir("c1"))
    assert shown.out.count("member ") == 1
    shown = trio.run("history")
    assert "g2.r5" in shown.out, shown
    assert "r2" in shown.out, "the history of the old group is there"
