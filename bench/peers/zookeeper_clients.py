"""Clients of ZooKeeper over its own protocol, lean: each agent watches and acks over one connection, a session of its own.

A watch tells once, and without the data: so an agent is told, reads `/config` again with a new watch, and acks by
creating `/acks/<revision>/<agent>`. The publisher makes `/acks/<revision>` and sets `/config` in one transaction, and
watches everything below `/acks` (a persistent recursive watch, since ZooKeeper 3.6): its events name what was created.
Every set and create is a transaction of ZooKeeper's, synced to its log before it is answered.
Records are those of `zookeeper.jute`: big endian, strings and buffers behind their length, frames behind theirs.
"""

import asyncio
import contextlib
import struct
import sys
import time
from collections.abc import Sequence
from typing import cast

from bench.peers import crowd
from bench.propagation import program

CONFIG, ACKS = b"/config", b"/acks"
SESSION_MS = 60_000
STARTED_S = 60.0  # a Java on a busy machine
GREETED_S = 5.0
PING_S = 20.0  # a third of it, as clients do
_CREATE, _GET, _SET, _PING, _MULTI, _ADD_WATCH = 1, 4, 5, 11, 14, 106
_TOLD, _PONG = -1, -2  # xids of what nobody asked for
_CREATED, _CHANGED = 1, 3
_RECURSIVE = 1
_NODE_EXISTS = -110
_ANY_VERSION = -1
_HEADER, _REPLY, _LENGTH, _OPERATION = (
    struct.Struct(">ii"), struct.Struct(">iqi"), struct.Struct(">i"), struct.Struct(">ibi"),
)  # fmt: skip
_REVISION_BYTES = 4


def buffer(value: bytes) -> bytes:
    """A string or a buffer."""
    return _LENGTH.pack(len(value)) + value


_ANYBODY = _LENGTH.pack(1) + _LENGTH.pack(31) + buffer(b"world") + buffer(b"anyone")
"""Access for everyone: a vector of one."""


def hello() -> bytes:
    """The connect request of a new session."""
    return struct.pack(">iqiq", 0, 0, SESSION_MS, 0) + buffer(bytes(16)) + b"\0"


def created(path: bytes, value: bytes) -> bytes:
    return buffer(path) + buffer(value) + _ANYBODY + _LENGTH.pack(0)


def changed(path: bytes, value: bytes) -> bytes:
    return buffer(path) + buffer(value) + _LENGTH.pack(_ANY_VERSION)


def together(operations: Sequence[tuple[int, bytes]]) -> bytes:
    """A multi: all of them or none."""
    parts = [_OPERATION.pack(kind, False, -1) + body for kind, body in operations]
    return b"".join(parts) + _OPERATION.pack(-1, True, -1)


def taken(view: memoryview, at: int) -> tuple[memoryview, int]:
    """A string or buffer at this place, and where it ends."""
    (size,) = _LENGTH.unpack_from(view, at)
    start = at + _LENGTH.size
    return view[start : start + max(0, size)], start + max(0, size)


class Session(asyncio.Protocol):
    """One connection with its session; the first frame is the answer to `hello`."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.lost = False
        self._buffer = bytearray()
        self._xid = 0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(buffer(hello()))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 whoever waits looks at `lost`
        self.lost = True
        self.opened.set()

    def ask(self, kind: int, body: bytes) -> int:
        """One request; its number, which the answer carries."""
        self._xid += 1
        self._transport.write(buffer(_HEADER.pack(self._xid, kind) + body))
        return self._xid

    def hang_up(self) -> None:
        self._transport.abort()

    def ping(self) -> None:
        self._transport.write(buffer(_HEADER.pack(_PONG, _PING)))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._buffer, at)
            end = at + _LENGTH.size + size
            if len(self._buffer) < end:
                break
            self._frame(memoryview(bytes(self._buffer[at + _LENGTH.size : end])))
            at = end
        del self._buffer[:at]

    def _frame(self, frame: memoryview) -> None:
        if not self.opened.is_set():
            self.opened.set()
            return
        xid, _, wrong = _REPLY.unpack_from(frame)
        body = frame[_REPLY.size :]
        if xid == _TOLD:
            kind, _ = _HEADER.unpack_from(body)
            path, _ = taken(body, _HEADER.size)
            self.told(kind, path)
        elif xid != _PONG:
            self.answered(xid, wrong, body)

    def told(self, kind: int, path: memoryview) -> None:
        """A watch has something to say."""

    def answered(self, xid: int, wrong: int, body: memoryview) -> None:
        """What was asked is done; `wrong` is 0, or why it is not."""


class Agent(Session):
    def __init__(self, number: int, receipts: crowd.Receipts) -> None:
        super().__init__()
        self._name = b"/%d" % number
        self._receipts = receipts
        self._reading = 0
        self.watching = asyncio.Event()

    def read(self) -> None:
        """The value, with a watch on the next."""
        self._reading = self.ask(_GET, buffer(CONFIG) + b"\1")

    def told(self, kind: int, path: memoryview) -> None:  # noqa: ARG002 only one is watched
        if kind == _CHANGED:
            self.read()

    def answered(self, xid: int, wrong: int, body: memoryview) -> None:
        assert wrong in (0, _NODE_EXISTS), f"ZooKeeper answers {wrong}"
        if xid != self._reading:
            return
        value, _ = taken(body, 0)
        if not self.watching.is_set():
            self.watching.set()
            return
        self._receipts.note(value[_REVISION_BYTES:])
        revision = b"/%d" % int.from_bytes(value[:_REVISION_BYTES], "big")
        self.ask(_CREATE, created(ACKS + revision + self._name, b""))


class Publisher(Session):
    def __init__(self, acks: crowd.Acks) -> None:
        super().__init__()
        self._acks = acks
        self._done: asyncio.Future[int]

    async def did(self, kind: int, body: bytes) -> None:
        self._done = asyncio.get_running_loop().create_future()
        self.ask(kind, body)
        wrong = await self._done
        assert wrong == 0, f"ZooKeeper answers {wrong} to a request of kind {kind}"

    async def prepare(self) -> None:
        await self.did(_CREATE, created(CONFIG, bytes(_REVISION_BYTES)))
        await self.did(_CREATE, created(ACKS, b""))
        await self.did(_ADD_WATCH, buffer(ACKS) + _LENGTH.pack(_RECURSIVE))

    def answered(self, xid: int, wrong: int, body: memoryview) -> None:  # noqa: ARG002 one at a time
        self._done.set_result(wrong)

    def told(self, kind: int, path: memoryview) -> None:
        parts = bytes(path).split(b"/")
        if kind == _CREATED and len(parts) == 4:  # "", acks, revision, agent
            self._acks.add(int(parts[2]))

    async def publish(self, revision: int, body: bytes) -> float:
        value = revision.to_bytes(_REVISION_BYTES, "big") + body
        place = created(ACKS + b"/%d" % revision, b"")
        await self.did(_MULTI, together(((_CREATE, place), (_SET, changed(CONFIG, value)))))
        return time.monotonic()


async def reached(acks: crowd.Acks, port: int) -> Publisher:
    """In a session: a server that is still starting listens already, and hangs up or says nothing. Raises `TimeoutError`."""
    async with asyncio.timeout(STARTED_S):
        while True:
            made = await crowd.reached(lambda: Publisher(acks), port)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GREETED_S):
                    await made.opened.wait()
            if made.opened.is_set() and not made.lost:
                return made
            made.hang_up()
            await asyncio.sleep(crowd.RETRY_S)


async def pinging(sessions: Sequence[Session]) -> None:
    """For ever: a session that says nothing is over."""
    while True:
        await asyncio.sleep(PING_S)
        for one in sessions:
            one.ping()


async def publisher(line: program.Line) -> None:
    """Arguments: port, agents."""
    acks = crowd.Acks(int(sys.argv[3]))
    made = await reached(acks, int(sys.argv[2]))
    await made.prepare()
    line.say(ready=True)
    async with asyncio.TaskGroup() as tasks:
        alive = tasks.create_task(pinging((made,)))
        await crowd.publishing(line, acks, made.publish)
        alive.cancel()


async def agents(line: program.Line) -> None:
    """Arguments: port, first, last (not included)."""
    port, first, last = (int(one) for one in sys.argv[2:5])
    receipts = crowd.Receipts()
    made = [Agent(number, receipts) for number in range(first, last)]
    await crowd.connect_all(list(made), [port] * len(made))
    for one in made:
        await one.opened.wait()
        one.read()
    for one in made:
        await one.watching.wait()
    line.say(agents=len(made))
    async with asyncio.TaskGroup() as tasks:
        alive = tasks.create_task(pinging(made))
        await receipts.told(line)
        alive.cancel()


PARTS = {"publisher": publisher, "agents": agents}

if __name__ == "__main__":
    program.run(PARTS[sys.argv[1]])
