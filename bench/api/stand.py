"""A MIC with a large system in memory, the HTTP side before it, and a picture in which everybody is there or nobody.

The store is in memory: what an fsync costs is `bench store`'s question.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import aiohttp
import anyio
import msgspec

from coordinator import names
from coordinator.api import server
from coordinator.config import model
from coordinator.host import catalogue, clock, metrics
from coordinator.propagation import messages
from coordinator.store.backends import memory
from coordinator.tiers import desk, mic, requests, seed, standing, taking
from coordinator.trust import authority, tokens

CLOCK, RANDOM = clock.SystemClock(), clock.SystemRandom()
C1 = names.ServerName("c1")
FIRST = names.ServerId("id-c1")
CLUSTER = names.ClusterId("bench")
LINK = names.LinkId(1)


def document(sites: int, servers: int, *, note: str = "") -> model.Document:
    """Valid: `sites` sites with `servers` servers in all, each with one process; c1 on the first one."""
    plain: dict[str, Any] = {
        "schema": "tiercast/1",
        "general": {"master_domain": "acme"},
        "domains": {"acme": {"fqdn": "acme.example"}},
        "templates": {"service": {"type": "process", "params": {"command": ["/bin/sleep", "1000"], "environment": {"NOTE": note}}}},
        "sites": {}, "servers": {}, "roles": {}, "structure": {},
    }  # fmt: skip
    for number in range(servers):
        site = f"s{number % sites}"
        name = C1 if number == 0 else f"n{number}"
        plain["servers"][name] = {
            "interfaces": {"lan": f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"}
        }
        plain["roles"][f"web-{name}"] = {"like": "service"}
        placed = [f"web-{name}"]
        if site not in plain["sites"]:
            kind = "communication" if number else "master_communication"
            plain["sites"][site] = {"type": kind, **({"domains": ["acme"]} if not number else {})}
            plain["roles"][f"ic-{site}"] = {"type": "ic"}
            placed.append(f"ic-{site}")
        if not number:
            plain["roles"] |= {"mic1": {"type": "mic"}, "dc1": {"type": "dc"}, "ws1": {"type": "ws"}}
            placed += ["mic1", "dc1", "ws1"]
        plain["structure"].setdefault(site, {})[name] = placed
    return msgspec.convert(plain, model.Document)


class Disk:
    """Files that nobody keeps."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def read(self, name: str) -> bytes | None:
        return self._files.get(name)

    def write(self, name: str, data: bytes) -> None:
        self._files[name] = data

    def remove(self, name: str) -> None:
        self._files.pop(name, None)

    def names(self, prefix: str = "") -> list[str]:
        return sorted(name for name in self._files if name.startswith(prefix))


class Link:
    """From the HTTP side to MIC without a socket; counts what is asked."""

    def __init__(self, served: mic.Mic) -> None:
        self._served = served
        self.asked = 0

    async def ask(self, verb: str, data: bytes) -> tuple[str, bytes]:
        self.asked += 1
        return await self._served.answered(verb, messages.ChildKind.WS, data)


class Stand:
    """See the module."""

    def __init__(self, served: mic.Mic, token: str, link: Link) -> None:
        self.served = served
        self.token = token
        self.link = link
        self._epochs = 0
        self._ready = True

    def everybody(self, *, linked: bool) -> None:
        """Rows of one IC: ready and linked, or gone."""
        picture, content = self.served.at.master.convergence, self.served.at.past.content
        self._epochs += 1
        epoch = names.Epoch(1, self._epochs)
        ack = messages.AckState(
            content.version, content.digest, messages.Level.READY, messages.Outcome.OK, epoch
        )
        self._ready = linked
        rows = [messages.Row(server_id, linked, ack) for server_id in picture.asked]
        picture.rows(LINK, True, rows, CLOCK.monotonic())
        self.served.at.news.tell()

    def one_changes(self) -> None:
        """A single server's ack."""
        picture, content = self.served.at.master.convergence, self.served.at.past.content
        self._epochs += 1
        self._ready = not self._ready
        level = messages.Level.READY if self._ready else messages.Level.APPLIED
        ack = messages.AckState(
            content.version, content.digest, level, messages.Outcome.OK, names.Epoch(1, self._epochs)
        )
        picture.row(LINK, messages.Row(next(iter(picture.asked)), True, ack), CLOCK.monotonic())
        self.served.at.news.tell()

    async def ask(self, verb: requests.Verb, asked: msgspec.Struct) -> bytes:
        """As WS asks. Raises `AssertionError` where MIC says no."""
        call = requests.Call(self.token, "127.0.0.1", "", msgspec.json.encode(asked))
        code, data = await self.served.answered(verb, messages.ChildKind.WS, msgspec.msgpack.encode(call))
        assert code == "", data
        return data


def _nobody(outputs: Iterable[object]) -> None:
    """There is no tree: what MIC says to it is heard by none."""
    for _ in outputs:
        pass


@contextlib.asynccontextmanager
async def standing_mic(active: model.Document) -> AsyncIterator[Stand]:
    """In office, with that document active from the start."""
    held = authority.create_authority(CLUSTER, CLOCK.wall())
    token = tokens.new_token(RANDOM)
    first = seed.first_objects(held, seed.First(FIRST, C1), active, token, CLOCK.wall())
    means = desk.Means(CLUSTER, FIRST, C1, held, catalogue.load, CLOCK, RANDOM)
    remembered = taking.Memory(standing.HighWater(Disk()), first, None)
    opened = await taking.open_mic(means, memory.MemoryStore(CLOCK), remembered)
    opened.attach(_nobody)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(opened.run)
        try:
            yield Stand(opened, token.text, Link(opened))
        finally:
            tasks.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def serving(stand: Stand) -> AsyncIterator[Callable[[], aiohttp.ClientSession]]:
    """The HTTP side, without TLS; gives what makes a client with the administrator's token."""
    app = server.application(stand.link, CLOCK, RANDOM, metrics.Metrics())
    runner = await server.serve(app, "127.0.0.1", 0, None)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    headers = {"Authorization": f"Bearer {stand.token}"}

    def client() -> aiohttp.ClientSession:
        timeout = aiohttp.ClientTimeout(total=None)
        return aiohttp.ClientSession(
            url, headers=headers, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)
        )

    try:
        yield client
    finally:
        await runner.cleanup()
