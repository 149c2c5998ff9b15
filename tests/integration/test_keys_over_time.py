"""Keys that change under a running system of real processes, and a server that was away for 400 days of it.

What runs is never restarted for it: every process before is the same process afterwards.
"""

import re
import signal
import time
from collections.abc import Iterator, Mapping

import msgspec
import pytest

from bench.demo import observe, place, sweeping, world
from coordinator.host import disk
from coordinator.trust import authority, certificates, signing
from tests.integration import town as towns

DAY_S = 86_400.0
PLACES = {
    at.name: at
    for at in (
        place.Place("c1", "central", "127.0.32.1"),
        place.Place("n1", "north", "127.0.42.1"),
        place.Place("n2", "north", "127.0.42.2"),
    )
}
PORT = 9000
PROCESSES = {"c1": 3, "n1": 3, "n2": 2}
"""ServerShell and its nodes."""
DOCUMENT = """
schema: tiercast/1
general: {{master_domain: acme}}
domains: {{acme: {{fqdn: acme.example}}, branch: {{fqdn: branch.acme.example}}}}
sites:
  central: {{type: master_communication, domains: [acme]}}
  north: {{type: communication, domains: [branch]}}
servers:
  c1: {{interfaces: {{lan: "127.0.32.1"}}}}
  n1: {{interfaces: {{lan: "127.0.42.1"}}}}
  n2: {{interfaces: {{lan: "127.0.42.2"}}}}
roles:
  mic1: {{type: mic}}
  dc1: {{type: dc}}
  ws1: {{type: ws}}
  icc1: {{type: ic}}
  icn1: {{type: ic}}
  greetn1: {{type: greeter, params: {{port: 9000, greeting: {word}}}}}
  greetn2: {{type: greeter, params: {{port: 9000, greeting: {word}}}}}
structure:
  central: {{c1: [mic1, dc1, ws1, icc1]}}
  north: {{n1: [icn1, greetn1], n2: [greetn2]}}
"""


class Field:
    """The three servers."""

    def __init__(self, running: world.World) -> None:
        self.world = running
        self.revision = 1

    def run(self, *words: str) -> str:
        ran = self.world.run(*words)
        assert ran.code == 0, f"{words}: {ran}"
        return ran.out

    def begin(self) -> None:
        at = [
            "--name",
            "c1",
            "--address",
            PLACES["c1"].address,
            "--site",
            "central",
            "--master-domain",
            "acme",
        ]
        self.run("server", "init", *at, "--dir", str(self.world.directory("c1")))
        self.world.start("c1")
        towns.until(lambda: self.world.run("status").code == 0, "the API answers")
        for name in ("n1", "n2"):
            file = self.world.root / f"{name}.identity"
            self.run("server", "enroll", name, "-o", str(file))
            self.world.start(name, file)
        self.apply("first")  # its IC goes into the node of WS, which restarts for it
        self.settled()

    def apply(self, word: str, *servers: str, wait: bool = True) -> None:
        """And wait until these servers, or all, say it."""
        file = self.world.root / f"{word}.yaml"
        file.write_text(DOCUMENT.format(word=word), encoding="utf-8")
        self.run("apply", str(file), "--yes", "--wait", "none")
        self.revision += 1
        if wait:
            self.says(word, *(servers or ("n1", "n2")))

    def says(self, word: str, *servers: str) -> None:
        towns.until(
            lambda: all(word in self.said(name) for name in servers),
            lambda: f"all say {word}: {[self.said(name) for name in servers]}",
        )

    def settled(self) -> None:
        """The last revision runs everywhere, the API answers, and every node is one that will stay."""
        towns.until(lambda: self.state() == "converged", lambda: f"converged: {self.world.run('status')}")
        towns.until(lambda: self.counts() == PROCESSES, lambda: f"no process too many: {self.counts()}")

    def state(self) -> str:
        """Of the rollout of the last revision; empty where nobody says."""
        ran = self.world.run("status", "-o", "json")
        told = msgspec.json.decode(ran.out) if ran.code == 0 else {}
        return str(told["rollout"]["state"]) if told and told["version"][1] == self.revision else ""

    def counts(self) -> Mapping[str, int]:
        return {name: len(sweeping.belonging(self.world.directory(name))) for name in PLACES}

    def said(self, name: str) -> str:
        try:
            return observe.line(PLACES[name].address, PORT)
        except OSError as wrong:
            return str(wrong)

    def rotation(self) -> str:
        return self.run("server", "rotation", "--dir", str(self.world.directory("c1")))

    def rotate(self, what: str) -> None:
        self.run("server", what, "--dir", str(self.world.directory("c1")))

    def identity(self, name: str) -> authority.Identity:
        return authority.Identity.load(disk.DirectoryDisk(self.world.directory(name)))

    def roots(self, *names: str) -> set[str]:
        """Of which CAs their certificates are."""
        return {signing.root_id(self.identity(name).ca_pem) for name in names}

    def pids(self) -> Mapping[str, list[int]]:
        return {
            name: sorted(p.pid for p in sweeping.belonging(self.world.directory(name)))
            for name in ("c1", "n1")
        }

    def log(self) -> str:
        return "\n".join(
            f"--- {log}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            for log in self.world.telling_logs()
        )


@pytest.fixture(scope="module")
def field() -> Iterator[Field]:
    with world.World(PLACES) as running:
        made = Field(running)
        try:
            made.begin()
        except AssertionError as wrong:
            raise AssertionError(f"{wrong}\n{made.log()}") from None
        yield made


@pytest.fixture(autouse=True)
def logs_of_a_failure(field: Field) -> Iterator[None]:
    yield
    print(field.log())


def test_a_server_renews_its_certificate_with_another_key_and_nothing_restarts(field: Field) -> None:
    before, pids = field.identity("n1"), field.pids()
    field.run("server", "renew", "--new-key", "--dir", str(field.world.directory("n1")))
    towns.until(lambda: field.identity("n1").key_pem != before.key_pem, "n1 has another key")
    field.apply("renewed")  # through the IC on n1, whose node took the new certificate meanwhile
    assert field.pids() == pids


def test_who_was_away_for_400_days_and_three_rotations_comes_back_by_itself(field: Field) -> None:
    keys = authority.Authority.load(disk.DirectoryDisk(field.world.directory("c1")))
    field.world.cut_power(["n1", "n2"])
    pids = field.pids()["c1"]
    for name in ("n1", "n2"):
        _make_old(field, name, keys)
    for what in ("rotate-ca", "rotate-keys", "rotate-ca"):
        field.rotate(what)
    newest = authority.Authority.load(disk.DirectoryDisk(field.world.directory("c1")))
    root = signing.root_id(newest.ca_pem)
    assert newest.number == 4
    towns.until(lambda: field.roots("c1") == {root}, "c1 has a certificate of the newest CA")
    towns.until(
        lambda: re.search(r"waits for +n1, n2$", field.rotation(), re.MULTILINE),
        lambda: f"north alone is missing: {field.rotation()}",
    )
    field.apply("meanwhile", wait=False)
    assert certificates.validity(field.identity("n2").cert_pem)[1] < time.time()

    for name in ("n1", "n2"):
        field.world.start(name)
    field.says("meanwhile", "n1", "n2")
    towns.until(lambda: field.roots("n1", "n2") == {root}, "they have certificates of the newest CA")
    towns.until(
        lambda: field.state() == "converged", lambda: f"their acks come through their IC: {field.state()}"
    )
    towns.until(
        lambda: "nothing is under way" in field.rotation(), lambda: f"old keys are gone: {field.rotation()}"
    )
    field.apply("afterwards")
    assert field.pids()["c1"] == pids
    assert "afterwards" in field.run("show", "active", "--document")
    told = field.run("server", "status", "--dir", str(field.world.directory("n2")))
    assert "identity  until" in told


def test_who_is_expelled_loses_its_link_at_once_and_gets_nothing(field: Field) -> None:
    field.run("server", "expel", "n2", "--yes")
    shell = field.world.shells["n2"]
    towns.until(
        lambda: "none now" in field.run("server", "status", "--dir", str(field.world.directory("n2"))),
        "n2 has no parent",
    )
    field.apply("without", "n1")
    assert shell.poll() is None  # it runs on, alone
    assert "without" not in field.said("n2")
    shell.send_signal(signal.SIGTERM)


def _make_old(field: Field, name: str, keys: authority.Authority) -> None:
    """As if it had been given its certificate 400 days ago, and had been away since."""
    old = field.identity(name)
    public = certificates.public_pem(old.key_pem)
    certificate = authority.issue(keys, old.server_id, public, time.time() - 400 * DAY_S)
    authority.Identity(old.server_id, old.cluster, old.key_pem, certificate, keys.ca_pem).replace(
        disk.DirectoryDisk(field.world.directory(name))
    )
