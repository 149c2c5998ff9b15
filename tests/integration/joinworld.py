"""A system that machines join and leave: c1 with MIC, an IC in the north once a document says so, and a proxy that loses answers."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import msgspec

from bench.demo import observe, place, world
from coordinator import errors, limits
from coordinator.cli import client, https
from coordinator.host import contexts, disk, settings
from coordinator.propagation import joining
from coordinator.trust import authority
from nodeagent.main import local
from tests.integration import town

GREETER = 9000
PLACES = {
    at.name: at
    for at in (
        place.Place("c1", "central", "127.0.34.1"),
        place.Place("c2", "central", "127.0.34.2"),
        place.Place("c3", "central", "127.0.34.3"),
        place.Place("n1", "north", "127.0.44.1"),
        place.Place("n2", "north", "127.0.44.2"),
        place.Place("n3", "north", "127.0.44.3"),
        place.Place("n4", "north", "127.0.44.4"),
    )
}
DOCUMENT = """
schema: tiercast/1
general: {{master_domain: acme}}
domains: {{acme: {{fqdn: acme.example}}, branch: {{fqdn: branch.acme.example}}}}
sites:
  central: {{type: master_communication, domains: [acme]}}
  north: {{type: communication, domains: [branch]}}
servers:
  c1: {{interfaces: {{lan: "127.0.34.1"}}}}
  c2: {{interfaces: {{lan: "127.0.34.2"}}}}
  n1: {{interfaces: {{lan: "127.0.44.1"}}}}
{servers}
roles:
  mic1: {{type: mic, order: 1}}
  dc1: {{type: dc, order: 1}}
  ws1: {{type: ws, order: 1}}
  icc1: {{type: ic, order: 1}}
  icn1: {{type: ic, order: 1}}
  greetc2: {{type: greeter, params: {{port: 9000, greeting: hello}}}}
{roles}
structure:
  central:
    c1: [mic1, dc1, ws1, icc1]
    c2: [greetc2]
  north:
    n1: [icn1]
{structure}
"""


class System:
    """See the module."""

    def __init__(self, running: world.World) -> None:
        self.world = running

    def begin(self) -> None:
        words = ["--name", "c1", "--address", PLACES["c1"].address, "--site", "central"]
        self.run("server", "init", *words, "--master-domain", "acme", "--dir", self.dir("c1"))
        self.world.start("c1")
        town.until(lambda: self.world.run("status").code == 0, "the API answers")

    def dir(self, name: str) -> str:
        return str(self.world.directory(name))

    def run(self, *words: str) -> world.Ran:
        ran = self.world.run(*words)
        assert ran.code == 0, f"{words}: {ran}"
        return ran

    def line(self, server: str = "", *more: str) -> str:
        """A new join line."""
        bound = ["--server", server] if server else []
        return self.told("token", "create", *bound, *more, "-o", "name").last

    def told(self, *words: str) -> world.Ran:
        """As `run`, once the web role is back: a revision may restart it."""
        ran = [self.world.run(*words)]

        def good() -> bool:
            if ran[-1].code == 8:
                ran.append(self.world.run(*words))
            return ran[-1].code == 0

        town.until(good, lambda: f"{words}: {ran[-1]}")
        return ran[-1]

    def join_words(self, name: str, line: str, at: str = "", *more: str) -> list[str]:
        where = at or f"{PLACES['c1'].address}:{limits.PORT_MIC}"
        local = ["--local-address", PLACES[name].address]
        return ["server", "join", line, "--at", where, "--dir", self.dir(name), *local, *more]

    def joined(self, name: str, server: str | None = None, at: str = "") -> world.Ran:
        """A machine has joined and its server runs."""
        ran = self.run(*self.join_words(name, self.line(name if server is None else server), at))
        self.world.start(name)
        return ran

    def apply(self, *north: str) -> None:
        """Make the document active that names these beside c1, c2 and n1, each with a greeter."""
        text = DOCUMENT.format(
            servers="\n".join(f'  {one}: {{interfaces: {{lan: "{PLACES[one].address}"}}}}' for one in north),
            roles="\n".join(
                f"  greet{one}: {{type: greeter, params: {{port: 9000, greeting: hello}}}}" for one in north
            ),
            structure="\n".join(f"    {one}: [greet{one}]" for one in north),
        )
        file = self.world.root / f"{'-'.join(north) or 'plain'}.yaml"
        file.write_text(text, encoding="utf-8")
        self.run("apply", str(file), "--yes", "--wait", "none")

    def status(self) -> dict[str, Any]:
        """As the API gives it. Raises `TiercastError`."""
        known = contexts.read(self.world.context_file)
        asked = https.HttpsClient(known.contexts[known.current])
        told: dict[str, Any] = msgspec.json.decode(
            asked.call(client.Ask(path=f"{client.CFG}/status?details=true", timeout_s=10.0)).body
        )
        return told

    def known(self, server: str) -> dict[str, Any]:
        """What status says of a server by name, wherever it says it; empty where it says nothing."""
        with contextlib.suppress(errors.TiercastError):
            told = self.status()
            every = [*(one for site in told["sites"] for one in site["servers"]), *told["parked"]]
            return next((one for one in every if one["server"] == server), {})
        return {}

    def expelled(self) -> list[str]:
        with contextlib.suppress(errors.TiercastError):
            return [one["server"] for one in self.status()["expelled"]]
        return []

    def own(self, name: str) -> dict[str, Any]:
        """What a server says of itself; empty where nobody answers."""
        layout = settings.Layout(self.world.directory(name))
        try:
            identity = authority.Identity.load(disk.DirectoryDisk(layout.root))
            code, answer = local.ask(layout, identity.cluster, "status")
        except errors.TiercastError:
            return {}
        found: dict[str, Any] = {} if code else msgspec.json.decode(answer)
        return found

    def greets(self, name: str) -> bool:
        """Whether its greeter answers."""
        try:
            return observe.line(PLACES[name].address, GREETER).startswith("hello from")
        except OSError:
            return False

    def log(self, name: str) -> str:
        return self.world.log(name).read_text(errors="replace")


class Swallower:
    """Stands between a joining machine and the door, and loses the answer: nothing comes back once the request has passed."""

    REQUEST = 2
    """Of the encrypted records that a machine sends: the end of its handshake, then its request."""

    def __init__(self, address: str, to: tuple[str, int]) -> None:
        self._to = to
        self._listener = socket.create_server((address, 0))
        self.at = f"{address}:{self._listener.getsockname()[1]}"
        self.passed = threading.Event()
        """A request has gone to the door, and its answer was lost."""

    def serve_one(self) -> None:
        inside, _ = self._listener.accept()
        with inside, socket.create_connection(self._to) as outside:
            back = threading.Thread(target=self._back, args=(outside, inside), daemon=True)
            back.start()
            records = _Records()
            while data := inside.recv(65536):
                if records.fed(data) >= self.REQUEST:
                    self.passed.set()
                outside.sendall(data)
                if self.passed.is_set():
                    break
            back.join(30.0)

    def _back(self, outside: socket.socket, inside: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := outside.recv(65536):
                if self.passed.is_set():
                    return
                inside.sendall(data)

    def close(self) -> None:
        self._listener.close()


class _Records:
    """Counts encrypted TLS records behind the preface."""

    def __init__(self) -> None:
        self._data = b""
        self._skip = len(joining.PREFACE)

    def fed(self, data: bytes) -> int:
        self._data += data
        return sum(kind == 0x17 for kind in self._kinds())

    def _kinds(self) -> Iterator[int]:
        at = self._skip
        while at + 5 <= len(self._data):
            yield self._data[at]
            at += 5 + int.from_bytes(self._data[at + 3 : at + 5], "big")
