"""Two sites of two servers as real processes, for tests that break them: a document that changes with one word.

Everything is asked of the programs themselves; `status` is only read to see whether it tells the truth.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import msgspec

from bench.demo import observe, place, sweeping, world
from coordinator import errors, limits
from coordinator.cli import client, https
from coordinator.host import contexts

WAIT_S = 60.0
LOOK_S = 0.05
PLACES = {
    at.name: at
    for at in (
        place.Place("c1", "central", "127.0.31.1"),
        place.Place("c2", "central", "127.0.31.2"),
        place.Place("n1", "north", "127.0.41.1"),
        place.Place("n2", "north", "127.0.41.2"),
    )
}
GREETER, STAYS, RESTARTS = 9000, 8000, 8001
"""Ports: a role in its node that takes every word hot, a program that never changes, one that each word restarts, and
that is not ready before its gate is opened: until then the word has not arrived everywhere, however slow or quick.
"""
MIC = (PLACES["c1"].address, limits.PORT_MIC)
CORE = (PLACES["c1"].address, limits.PORT_WS)
"""The node with WS, DC and central's IC."""
IC_NORTH = (PLACES["n1"].address, limits.PORT_IC)
PROCESSES = {"c1": 4, "c2": 6, "n1": 2, "n2": 6}
"""ServerShell, its nodes, and the programs in them."""

DOCUMENT = """
schema: tiercast/1
general: {{master_domain: acme}}
domains: {{acme: {{fqdn: acme.example}}, branch: {{fqdn: branch.acme.example}}}}
templates:
  stays:
    type: process
    params:
      command: [python3, -m, http.server, "8000", --bind, "{{address}}", --directory, "{{files}}"]
      files: {{index.html: "stays"}}
      ready: {{tcp: 8000}}
  restarts:
    type: process
    params:
      command:
        - sh
        - -c
        - until test -e {gate}; do sleep 0.05; done; exec python3 -m http.server 8001 --bind {{address}} --directory {{files}}
      files: {{index.html: "{word}"}}
      ready: {{tcp: 8001}}
sites:
  central: {{type: master_communication, domains: [acme]}}
  north: {{type: communication, domains: [branch]}}
servers:
  c1: {{interfaces: {{lan: "127.0.31.1"}}}}
  c2: {{interfaces: {{lan: "127.0.31.2"}}}}
  n1: {{interfaces: {{lan: "127.0.41.1"}}}}
  n2: {{interfaces: {{lan: "127.0.41.2"}}}}
roles:
  mic1: {{type: mic, order: 1}}
  dc1: {{type: dc, order: 1}}
  ws1: {{type: ws, order: 1}}
  icc1: {{type: ic, order: 1}}
  icn1: {{type: ic, order: 1}}
  greetc1: {{type: greeter, params: {{port: 9000, greeting: {word}}}}}
  greetc2: {{type: greeter, params: {{port: 9000, greeting: {word}}}}}
  greetn2: {{type: greeter, params: {{port: 9000, greeting: {word}}}}}
  staysc2: {{like: stays}}
  staysn2: {{like: stays}}
  restartsc2: {{like: restarts}}
  restartsn2: {{like: restarts}}
structure:
  central:
    c1: [mic1, dc1, ws1, icc1, greetc1]
    c2: [greetc2, staysc2, restartsc2]
  north:
    n1: [icn1]
    n2: [greetn2, staysn2, restartsn2]
"""

Endpoint = observe.Endpoint


def at(server: str, port: int) -> Endpoint:
    return PLACES[server].address, port


SHELLS = {name: at(name, limits.PORT_SHELL) for name in PLACES}
GREETERS = {f"greet{name}": at(name, GREETER) for name in ("c1", "c2", "n2")}
PAGES = {
    **{f"stays{name}": at(name, STAYS) for name in ("c2", "n2")},
    **{f"restarts{name}": at(name, RESTARTS) for name in ("c2", "n2")},
}
EVERYBODY = {"mic": MIC, "core": CORE, "ic of north": IC_NORTH, **SHELLS, **GREETERS, **PAGES}
BY_CHANGE = frozenset({"restartsc2", "restartsn2"})
"""Whose pid changes with every word."""


class Town:
    """See the module."""

    def __init__(self, running: world.World) -> None:
        self.world = running
        self.revision = 1
        self.word = ""

    def begin(self) -> None:
        """From nothing to the first word."""
        words = ["--name", "c1", "--address", PLACES["c1"].address, "--site", "central"]
        self.run(
            "server", "init", *words, "--master-domain", "acme", "--dir", str(self.world.directory("c1"))
        )
        self.world.start("c1")
        until(lambda: self.world.run("status").code == 0, "the API answers")
        for name in ("c2", "n1", "n2"):
            identity = self.world.root / f"{name}.identity"
            self.run("server", "enroll", name, "-o", str(identity))
            self.world.start(name, identity)
        self.apply("first")
        self.settled()

    def run(self, *words: str) -> world.Ran:
        ran = self.world.run(*words)
        assert ran.code == 0, f"{words}: {ran}"
        return ran

    def document(self, word: str) -> str:
        return DOCUMENT.format(word=word, gate=self.world.root / f"{word}.gate")

    def apply(self, word: str) -> None:
        """Make it active; it does not arrive everywhere before `settled` opens its gate."""
        file = self.world.root / f"{word}.yaml"
        file.write_text(self.document(word), encoding="utf-8")
        self.run("apply", str(file), "--yes", "--wait", "none")
        self.revision += 1
        self.word = word

    def settled(self) -> None:
        """Everything runs the last word, nothing else runs, and status says so."""
        (self.world.root / f"{self.word}.gate").touch()
        until(lambda: not self.wrong(), lambda: f"every program says {self.word}: {self.wrong()}")
        until(lambda: self.state() == "converged", lambda: f"status says converged: {self.status()}")
        until(lambda: self.counts() == PROCESSES, lambda: f"no process too many: {self.counts()}")

    def wrong(self) -> list[str]:
        """Programs that do not answer what they must."""
        expected = {role: f"{self.word} from {role} revision {self.revision}" for role in GREETERS}
        expected |= {role: self.word if role in BY_CHANGE else "stays" for role in PAGES}
        return [f"{role}: {told}" for role, told in self.answers() if told != expected[role]]

    def answers(self) -> Iterator[tuple[str, str]]:
        for ask, roles in ((observe.line, GREETERS), (observe.page, PAGES)):
            for role, endpoint in roles.items():
                try:
                    yield role, ask(*endpoint)
                except OSError as wrong:
                    yield role, str(wrong)

    def counts(self) -> Mapping[str, int]:
        return {name: len(sweeping.belonging(self.world.directory(name))) for name in PLACES}

    def holders(self) -> Mapping[str, observe.Process]:
        """Who everybody is."""
        held = observe.holders(EVERYBODY.values())
        return {name: held[endpoint] for name, endpoint in EVERYBODY.items() if endpoint in held}

    def status(self) -> dict[str, Any]:
        """As the API gives it. Raises `TiercastError`."""
        known = contexts.read(self.world.context_file)
        asked = https.HttpsClient(known.contexts[known.current])
        told: dict[str, Any] = msgspec.json.decode(
            asked.call(client.Ask(path=f"{client.CFG}/status?details=true", timeout_s=10.0)).body
        )
        return told

    def state(self) -> str:
        """Of the rollout of the last word; empty where nobody says."""
        try:
            told = self.status()
        except errors.TiercastError:
            return ""
        return str(told["rollout"]["state"]) if told["version"][1] == self.revision else ""

    def sync(self, server: str) -> str:
        """What status says of one server; empty where nobody says."""
        try:
            sites = self.status()["sites"]
        except errors.TiercastError:
            return ""
        return next((one["sync"] for site in sites for one in site["servers"] if one["server"] == server), "")

    def kill(self, endpoint: Endpoint) -> None:
        """Whoever listens there."""
        os.kill(observe.holder(endpoint).pid, signal.SIGKILL)

    def log(self) -> str:
        """What the servers wrote last, for a test that fails."""
        return "\n".join(
            f"--- {log}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            for log in self.world.telling_logs()
        )


class Truth:
    """Asks for status all the time: whenever it says that everything has converged, every program must say so too."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.lies: list[str] = []
        self.asked = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(LOOK_S):
            self.lies += self._lies()
            self.asked += 1

    def _lies(self) -> list[str]:
        """Said before and after the programs were asked: a change in between is no lie."""
        revision = self._town.revision
        if self._town.state() != "converged" or not (wrong := self._town.wrong()):
            return []
        still = self._town.state() == "converged" and self._town.revision == revision
        return wrong if still else []


def until(condition: Callable[[], object], what: str | Callable[[], object]) -> None:
    """Return once it holds."""
    end = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > end:
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {WAIT_S:g} s: {told}")
        time.sleep(LOOK_S)
