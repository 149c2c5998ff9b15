"""What the Python programs of the peers share: receipts, the loop of questions, and a connection that is only bytes.

Lean on purpose: every one of them is as quick as Python lets it be, so that what is compared is the peer.
"""

import asyncio
import hashlib
import pathlib
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from bench.propagation import program

HOST = "127.0.0.1"
ACKS_S = 60.0
STARTED_S = 30.0
RETRY_S = 0.1
CONNECTING = 64  # at once, so that a backlog is never full

Connecting = TypeVar("Connecting", bound=asyncio.Protocol)


class Receipts:
    """What came to the clients of this process."""

    def __init__(self) -> None:
        self._digest = ""
        self._count = 0
        self._last = 0.0

    def note(self, body: bytes | memoryview) -> None:
        """Another client has this body."""
        digest = hashlib.sha256(body).hexdigest()
        if digest != self._digest:
            self._digest, self._count = digest, 0
        self._count += 1
        self._last = time.monotonic()

    async def told(self, line: program.Line) -> None:
        """Answer until there are no more questions."""
        while (question := await line.next()) is not None:
            if "settle" in question:
                program.settle()
                line.say(settled=True)
            else:
                received = self._count if question["report"] == self._digest else 0
                line.say(received=received, last=self._last)


class Acks:
    """What a publisher counts."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.count = 0
        self._revision = -1
        self._all = asyncio.Event()
        self._at = 0.0

    def expect(self, revision: int) -> None:
        self.count, self._revision = 0, revision
        self._all.clear()

    def add(self, revision: int, acks: int = 1) -> None:
        if revision != self._revision:
            return
        self.count += acks
        if self.count >= self.wanted:
            self._at = time.monotonic()
            self._all.set()

    async def all(self) -> float:
        """When the last one came. Raises `TimeoutError`."""
        async with asyncio.timeout(ACKS_S):
            await self._all.wait()
        return self._at


async def publishing(line: program.Line, acks: Acks, put: Callable[[int, bytes], Awaitable[float]]) -> None:
    """Answer every `publish`; `put` publishes and says when it was published."""
    revision = 0
    while (question := await line.next()) is not None:
        body = _read(question["publish"])
        revision += 1
        acks.expect(revision)
        began = time.monotonic()
        published = await put(revision, body)
        ended = await acks.all()
        line.say(
            began=began,
            publish_ms=(published - began) * 1000,
            convergence_ms=(ended - began) * 1000,
            acks=acks.count,
        )


def _read(path: str) -> bytes:
    """Before the clock starts."""
    return pathlib.Path(path).read_bytes()


async def connect(protocol: asyncio.Protocol, port: int) -> None:
    """One connection to this machine, without Nagle's delay."""
    loop = asyncio.get_running_loop()
    plugged = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    plugged.setblocking(False)
    plugged.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    await loop.sock_connect(plugged, (HOST, port))
    await loop.create_connection(lambda: protocol, sock=plugged)


async def reached(make: Callable[[], Connecting], port: int) -> Connecting:
    """A connection to a server that is still starting. Raises `TimeoutError`."""
    async with asyncio.timeout(STARTED_S):
        while True:
            made = make()
            try:
                await connect(made, port)
            except OSError:
                await asyncio.sleep(RETRY_S)
            else:
                return made


async def connect_all(protocols: list[asyncio.Protocol], ports: list[int]) -> None:
    """Each to its port, a few at a time."""
    pairs = list(zip(protocols, ports, strict=True))
    for start in range(0, len(pairs), CONNECTING):
        await asyncio.gather(*(connect(one, port) for one, port in pairs[start : start + CONNECTING]))


def free_port() -> int:
    """One that nobody has now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
