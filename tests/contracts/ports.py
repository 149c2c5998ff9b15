"""Both sides of a hole as a port that strangers reach, and the best that each kind of stranger can say there.

The library takes whoever comes for a member. Ours knows three kinds: without TLS, with a certificate of nobody's, and
a true member of the group that has turned on the others, which is more than any stranger is.
"""

import asyncio
import contextlib
import functools
import pathlib
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import trustme

from coordinator.store import port
from coordinator.store.backends.raft import transport
from tests import stockstore, storegroup

PIECE_BYTES: Final = 64 * 1024
HANG_UP_S: Final = 20.0
TICKS: Final = 50

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Opening = Callable[[pathlib.Path], contextlib.AbstractAsyncContextManager["Port"]]


class Stranger(NamedTuple):
    """One way to come to the port."""

    connect: Callable[[], Awaitable[Connection]]
    head: Callable[[int], bytes]
    """What stands before a frame of so many bytes."""
    settle: Callable[[asyncio.StreamReader], Awaitable[None]]
    """Returns once the port has hung up; where it never does, once it had its time to do its worst."""

    async def say(self, *said: bytes) -> None:
        """Connect, send that, and see what comes of it."""
        reader, writer = await self.connect()
        try:
            with contextlib.suppress(OSError):
                for data in said:
                    writer.write(data)
                    await writer.drain()
                await self.settle(reader)
        finally:
            writer.transport.abort()

    def frame(self, message: bytes) -> bytes:
        """As the library packs a message; ours has no compression that could be bent."""
        packed = compressed(message)
        return self.head(len(packed)) + packed


@functools.cache
def compressed(message: bytes) -> bytes:
    return zlib.compress(message)


class Port(NamedTuple):
    """A member's store, and who comes to its port."""

    store: port.Store
    strangers: Sequence[Stranger]
    join: Callable[[], Awaitable[None]]
    """Start the members that it needs to acknowledge anything."""


async def _hung_up(reader: asyncio.StreamReader) -> None:
    async with asyncio.timeout(HANG_UP_S):
        while await reader.read(PIECE_BYTES):
            pass


def _plain_head(size_bytes: int) -> bytes:
    return struct.pack("<i", size_bytes)


def _our_head(size_bytes: int) -> bytes:
    return struct.pack("<IB", size_bytes, 1)


@contextlib.asynccontextmanager
async def raft_port(directory: pathlib.Path) -> AsyncIterator[Port]:
    group = storegroup.Group(directory)
    victim, impostor, other = group.members
    await group.make()
    await group.open(victim)

    async def join() -> None:
        await group.open(impostor, other)
        await group.leader()

    try:
        host, number = group.addresses[victim]
        _server, foreign = storegroup.contexts(trustme.CA(), impostor)
        _server, own = storegroup.contexts(group.authority, impostor)
        foreign.verify_mode = ssl.CERT_NONE

        async def in_the_clear() -> Connection:
            return await asyncio.open_connection(host, number)

        async def with_a_foreign_certificate() -> Connection:
            return await asyncio.open_connection(host, number, ssl=foreign, server_hostname="")

        async def as_a_member() -> Connection:
            reader, writer = await asyncio.open_connection(host, number, ssl=own, server_hostname="")
            hello = transport.Hello(transport.PROTOCOL, storegroup.CLUSTER, impostor)
            data = msgspec.msgpack.encode(hello)
            writer.write(_our_head(len(data)) + data)
            return reader, writer

        kinds = (in_the_clear, with_a_foreign_certificate, as_a_member)
        yield Port(group.stores[victim], [Stranger(connect, _our_head, _hung_up) for connect in kinds], join)
    finally:
        await group.close()


@contextlib.asynccontextmanager
async def stock_port(directory: pathlib.Path) -> AsyncIterator[Port]:
    async with await stockstore.open_store(directory, dynamicMembershipChange=True) as store:
        host, number = str(store.node.selfNode.address).rsplit(":", 1)

        async def connect() -> Connection:
            return await asyncio.open_connection(host, int(number))

        async def settle(_reader: asyncio.StreamReader) -> None:
            before = store.ticks

            async def ticked() -> bool:
                return store.ticks >= before + TICKS

            await storegroup.until(ticked)

        async def join() -> None:
            """It is one alone."""

        yield Port(store, [Stranger(connect, _plain_head, settle)], join)


PORTS: Final[Mapping[str, Opening]] = {"raft": raft_port, "pysyncobj": stock_port}
