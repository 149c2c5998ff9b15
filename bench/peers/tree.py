"""The floor in Python: a tree of three tiers, bare frames on the loop that our own processes run on.

Down: length and revision (4 bytes each), then the body. Up: revision and count (4 bytes each); a relay answers once all
its agents have. Root and relays write and fsync what they pass on; agents check the sha256.
"""

import asyncio
import os
import struct
import sys
import time
from collections.abc import Callable
from typing import cast

from bench.peers import crowd
from bench.propagation import program

_PAIR = struct.Struct("=II")


class End(asyncio.Protocol):
    """Of one connection."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)


class Child(End):
    """Whole bodies in."""

    def __init__(self, take: Callable[["Child", int, bytes], None]) -> None:
        super().__init__()
        self._take = take

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= _PAIR.size:
            size, revision = _PAIR.unpack_from(self._buffer)
            end = _PAIR.size + size
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_PAIR.size : end])
            del self._buffer[:end]
            self._take(self, revision, body)

    def answer(self, revision: int, acks: int) -> None:
        self.transport.write(_PAIR.pack(revision, acks))


class Parent(End):
    """Counts in."""

    def __init__(self, count: Callable[[int, int], None], linked: list["Parent"]) -> None:
        super().__init__()
        self._count = count
        self._linked = linked

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._linked.append(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        whole = len(self._buffer) // _PAIR.size * _PAIR.size
        for revision, acks in _PAIR.iter_unpack(bytes(self._buffer[:whole])):
            self._count(revision, acks)
        del self._buffer[:whole]


def passed_on(linked: list[Parent], revision: int, body: bytes) -> None:
    frame = _PAIR.pack(len(body), revision) + body
    for one in linked:
        one.transport.write(frame)


def durable(path: str, body: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(descriptor, body)
    os.fsync(descriptor)
    os.close(descriptor)


async def listening(count: Callable[[int, int], None], linked: list[Parent]) -> int:
    server = await asyncio.get_running_loop().create_server(
        lambda: Parent(count, linked), crowd.HOST, 0, backlog=1024
    )
    return int(server.sockets[0].getsockname()[1])


async def root(line: program.Line) -> None:
    """Arguments: agents, file."""
    acks, linked, file = crowd.Acks(int(sys.argv[2])), list[Parent](), sys.argv[3]
    port = await listening(acks.add, linked)
    line.say(port=port)

    async def put(revision: int, body: bytes) -> float:
        durable(file, body)
        published = time.monotonic()
        passed_on(linked, revision, body)
        return published

    await crowd.publishing(line, acks, put)


async def relay(line: program.Line) -> None:
    """Arguments: port of the root, agents, file."""
    wanted, file, linked = int(sys.argv[3]), sys.argv[4], list[Parent]()
    answers = 0

    def taken(_child: Child, revision: int, body: bytes) -> None:
        nonlocal answers
        durable(file, body)
        answers = 0
        passed_on(linked, revision, body)

    def counted(revision: int, acks: int) -> None:
        nonlocal answers
        answers += acks
        if answers == wanted:
            up.answer(revision, answers)

    up = Child(taken)
    port = await listening(counted, linked)
    await crowd.connect(up, int(sys.argv[2]))
    line.say(port=port)
    await line.next()


async def agents(line: program.Line) -> None:
    """Arguments: first, last (not included), ports of the relays."""
    first, last, ports = int(sys.argv[2]), int(sys.argv[3]), [int(port) for port in sys.argv[4].split(",")]
    receipts = crowd.Receipts()

    def taken(child: Child, revision: int, body: bytes) -> None:
        receipts.note(body)
        child.answer(revision, 1)

    children: list[asyncio.Protocol] = [Child(taken) for _ in range(first, last)]
    await crowd.connect_all(children, [ports[n % len(ports)] for n in range(first, last)])
    line.say(agents=len(children))
    await receipts.told(line)


PARTS = {"root": root, "relay": relay, "agents": agents}

if __name__ == "__main__":
    program.run(PARTS[sys.argv[1]])
