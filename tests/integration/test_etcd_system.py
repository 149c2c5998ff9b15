"""A whole system whose MIC keeps its store in a guarded etcd: begun there, disturbed, moved away and back, taken over."""

import os
import pathlib
import shutil
import signal
from collections.abc import Iterator

import pytest

from bench.demo import observe, place, sweeping, world
from coordinator import errors, limits
from coordinator.host import settings
from coordinator.runtime import store_socket
from tests import etcdcluster, pace
from tests.integration import town as towns

pytestmark = [pytest.mark.integration, pytest.mark.etcd, pytest.mark.timeout(240)]

PLACES = {
    name: place.Place(name, "central", f"127.0.64.{number}")
    for number, name in enumerate(("c1", "c2", "c3"), 1)
}
PASSWORD = "pw-" + etcdcluster.RANDOM.token(8)
TAKE_OVER_S = 12.0
"""The rest of a lease of 5 s, which etcd counts in whole seconds of its own, and what a busy machine adds."""

DOCUMENT = """
schema: tiercast/1
general: {{master_domain: acme}}
domains: {{acme: {{fqdn: acme.example}}}}
sites: {{central: {{type: master_communication, domains: [acme]}}}}
servers:
  c1: {{interfaces: {{lan: "127.0.64.1"}}}}
  c2: {{interfaces: {{lan: "127.0.64.2"}}}}
  c3: {{interfaces: {{lan: "127.0.64.3"}}}}
roles:
{mics}
  dc1: {{type: dc, order: 1}}
  ws1: {{type: ws, order: 1}}
  icc2: {{type: ic, order: 1}}
  greet: {{type: greeter, params: {{port: 9000, greeting: {word}}}}}
structure:
  central:
{structure}
"""


def document(word: str, mics: tuple[str, ...]) -> str:
    others = {"c1": ["dc1", "ws1"], "c2": ["icc2", "greet"], "c3": []}
    rows = {name: ([f"mic{name[1]}"] if name in mics else []) + roles for name, roles in others.items()}
    return DOCUMENT.format(
        word=word,
        mics="\n".join(f"  mic{name[1]}: {{type: mic, order: {name[1]}}}" for name in mics),
        structure="\n".join(f"    {name}: [{', '.join(roles)}]" for name, roles in rows.items()),
    )


class System:
    def __init__(self, running: world.World, cluster: etcdcluster.Cluster) -> None:
        self.world = running
        self.etcd = cluster
        self.revision = 1
        (running.root / "etcd.pem").write_text(cluster.ca_pem)
        (running.root / "etcd.user").write_text(f"mic:{PASSWORD}\n")
        self.address = f"etcd://{cluster.endpoint('e0')}/mine/system"
        self.engine = (
            "--store-ca", str(running.root / "etcd.pem"), "--store-user-file", str(running.root / "etcd.user"),
        )  # fmt: skip

    def dir(self, name: str) -> str:
        return str(self.world.directory(name))

    def run(self, *words: str) -> world.Ran:
        ran = self.world.run(*words)
        assert ran.code == 0, f"{words}: {ran}"
        return ran

    def apply(self, word: str, *mics: str, wait: str = "all") -> world.Ran:
        file = self.world.root / f"{word}.yaml"
        file.write_text(document(word, mics or ("c1",)), encoding="utf-8")
        return self.world.run("apply", str(file), "--yes", "--wait", wait, "--timeout", "60s")

    def settle(self, word: str, *mics: str) -> None:
        ran = self.apply(word, *mics)
        assert ran.code == 0, ran
        self.revision += 1
        assert self.said() == f"{word} from greet revision {self.revision}"

    def said(self) -> str:
        try:
            return observe.line(PLACES["c2"].address, 9000)
        except OSError as wrong:
            return str(wrong)

    def up(self) -> None:
        self.world.start("c1")
        towns.until(lambda: self.world.run("status").code == 0, "the API answers")

    def down(self) -> None:
        self.run("server", "stop", "--dir", self.dir("c1"))
        assert self.world.shells.pop("c1").wait(60) == 0

    def mics(self) -> dict[str, str]:
        """What each MIC that answers says of itself."""
        found = {}
        for name in PLACES:
            at = settings.Layout(self.world.directory(name)).socket(store_socket.NAME)
            try:
                answer = store_socket.ask(at, store_socket.Ask("status"), timeout_s=2.0)
            except errors.TiercastError as problem:
                found[name] = problem.message
                continue
            if answer is not None:
                found[name] = answer.mic
        return found

    def active(self) -> list[str]:
        return [name for name, told in self.mics().items() if told == "active"]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with (
        etcdcluster.running(tmp_path_factory.mktemp("etcd") / "c", tls=True, quick=False) as cluster,
        world.World(PLACES) as running,
    ):
        etcdcluster.guard(cluster, "mic", PASSWORD)
        yield System(running, cluster)


@pytest.fixture(autouse=True)
def logs_of_a_failure(system: System) -> Iterator[None]:
    """Shown by pytest where the test fails."""
    yield
    for log in system.world.telling_logs():
        print(f"--- {log}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-25:]))


def init(system: System, address: str, *more: str) -> world.Ran:
    words = (
        "--name",
        "c1",
        "--address",
        PLACES["c1"].address,
        "--site",
        "central",
        "--master-domain",
        "acme",
    )
    return system.world.run("server", "init", *words, "--dir", system.dir("c1"), "--store", address, *more)


def test_a_first_server_is_made_only_where_its_store_can_be(system: System) -> None:
    address, engine = system.address, system.engine
    wrong = system.world.root / "wrong"
    wrong.write_text("mic:not-this\n")
    refused = {
        "in clear": init(system, address.replace("127.0.0.1", "10.255.255.1"), *engine[2:]),
        "no address of an etcd": init(system, "http://127.0.0.1:2379/x"),
        "not of the authority": init(system, address, "--store-ca", str(_stranger(system)), *engine[2:]),
        "invalid user ID or password": init(system, address, *engine[:2], "--store-user-file", str(wrong)),
        "etcd asks for a user": init(system, address, *engine[:2]),
        "permission denied": init(system, address.replace("/mine/", "/others/"), *engine),
    }
    for told, ran in refused.items():
        assert ran.code != 0
        assert told in ran.talk, ran
        assert "Traceback" not in ran.talk
    assert not system.world.directory("c1").exists()
    made = init(system, address, *engine)
    assert made.code == 0, made
    assert address in made.talk
    kept = system.world.directory("c1") / "store.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    system.up()
    for name in ("c2", "c3"):
        identity = system.world.root / f"{name}.identity"
        system.run("server", "enroll", name, "-o", str(identity))
        system.world.start(name, identity)
    system.settle("first")
    system.run("kv", "put", "app/leader", "n1")
    assert system.run("kv", "get", "app/leader").out.strip() == "n1"
    shown = system.run("store", "status", "--dir", system.dir("c1")).out
    assert f"etcd      {address}  (TLS)" in shown
    assert "asked     the running MIC (active)" in shown
    nowhere = [*_command_lines(system), *(log.read_text(errors="replace") for log in _logs(system))]
    assert not [text for text in nowhere if PASSWORD in text]


def _stranger(system: System) -> pathlib.Path:
    file = system.world.root / "stranger.pem"
    file.write_text(etcdcluster.Cluster(system.world.root / "stranger", tls=True).ca_pem)
    return file


def _command_lines(system: System) -> list[str]:
    words = ("cmdline", "environ")
    pids = [one.pid for one in sweeping.belonging(system.world.root)]
    return [
        pathlib.Path(f"/proc/{pid}/{word}").read_bytes().decode(errors="replace")
        for pid in pids
        for word in words
    ]


def _logs(system: System) -> list[pathlib.Path]:
    return [*system.world.root.glob("logs/*.log"), *system.world.root.glob("*/logs/*.log")]


def test_mic_goes_on_by_itself_after_etcd_was_frozen_and_killed(system: System) -> None:
    mic = observe.holder((PLACES["c1"].address, limits.PORT_MIC)).pid
    system.etcd.freeze("e0")
    towns.until(lambda: not system.active(), lambda: f"no MIC is active without its store: {system.mics()}")
    assert system.said() == f"first from greet revision {system.revision}"
    system.etcd.kill("e0")
    system.etcd.start("e0")
    system.etcd.ready()
    towns.until(lambda: system.active() == ["c1"], lambda: f"active again: {system.mics()}")
    system.settle("again")
    assert observe.holder((PLACES["c1"].address, limits.PORT_MIC)).pid == mic


def test_the_engine_is_changed_by_a_recovery_there_and_back(system: System) -> None:
    greeter = observe.holder((PLACES["c2"].address, 9000))
    saved = system.world.root / "saved"
    system.run("store", "snapshot", "-o", str(saved), "--dir", system.dir("c1"))
    assert saved.stat().st_mode & 0o777 == 0o600
    system.down()
    assert "etcd itself" in system.run("store", "status", "--dir", system.dir("c1")).out
    assert "every large value is whole" in system.run("store", "check", "--dir", system.dir("c1")).out
    there = ("store", "restore", str(saved), "--dir", system.dir("c1"))
    taken = system.world.run(*there)
    assert taken.code == 10, taken
    into_raft = system.run("store", "recover", "--into", "raft", "--yes", "--dir", system.dir("c1")).out
    assert "engine    raft" in into_raft
    assert "keys      " in system.run("store", "check", "--dir", system.dir("c1")).out
    # A machine that has lost its disk has no other way to its history.
    shutil.rmtree(system.world.directory("c1") / "store")
    words = ("--into", system.address, *system.engine, "--yes", "--dir", system.dir("c1"))
    back = system.run("store", "recover", *words).out
    assert f"engine    {system.address}" in back
    assert "the old keys are in /mine/system/" in back
    assert ", as g3.r" in back
    assert "lost      history" not in back
    system.up()
    towns.until(lambda: " converged: " in system.world.run("status").out, "converged")
    assert "needs recovery" not in system.world.run("status").out
    assert observe.holder((PLACES["c2"].address, 9000)) == greeter
    assert "\nr2 " in system.run("history").out
    assert system.run("kv", "get", "app/leader").out.strip() == "n1"
    system.settle("moved")
    assert "etcd      " in system.run("store", "status", "--dir", system.dir("c1")).out


def test_a_standby_on_another_server_takes_over(system: System) -> None:
    refused = system.apply("early", "c1", "c2", "c3", wait="none")
    assert refused.code == 4, refused
    assert "D1" in refused.talk
    file = system.world.root / "members"
    wanted = ",".join(f"{name}={at.address}" for name, at in PLACES.items())
    shown = system.run("store", "members", "--set", wanted, "-o", str(file), "--dir", system.dir("c1"))
    assert shown.out.count("member ") == 3
    assert file.stat().st_mode & 0o777 == 0o600
    for name in ("c2", "c3"):
        joined = system.run("store", "join", str(file), "--dir", system.dir(name))
        assert system.address in joined.out
    system.settle("several", "c1", "c2", "c3")
    towns.until(
        lambda: sorted(system.mics().values()) == ["active", "standby", "standby"],
        lambda: f"one is active, two stand by: {system.mics()}",
    )
    towns.until(lambda: len(system.active()) == 1, lambda: f"one is active: {system.mics()}")
    (old,) = system.active()
    pid = observe.holder((PLACES[old].address, limits.PORT_MIC)).pid
    os.kill(pid, signal.SIGSTOP)
    try:
        with pace.within(TAKE_OVER_S) as taken:
            towns.until(
                lambda: [n for n in system.active() if n != old], lambda: f"another one: {system.mics()}"
            )
        print(f"take-over from a frozen MIC, store in etcd: {taken.took_s:.1f} s")
    finally:
        os.kill(pid, signal.SIGCONT)
    towns.until(lambda: system.mics().get(old) == "standby", lambda: f"{old} stands by: {system.mics()}")
    towns.until(lambda: len(system.active()) == 1, lambda: f"one is active: {system.mics()}")
