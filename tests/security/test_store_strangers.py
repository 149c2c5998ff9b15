"""The port of the store's members: a certificate of the cluster is not enough, one of a member is needed.

Whoever could speak there as a member could write anything, so no frame of anybody else may ever arrive.
"""

import asyncio
import contextlib
import ssl
import struct
from collections.abc import Callable

import msgspec

from bench import ports
from coordinator import names
from coordinator.host import clock
from coordinator.store.backends.raft import messages, transport
from coordinator.trust import authority, tls
from tests.security import cluster

ADDRESS = "127.0.88.3"
CLOSED_S = 10.0
WALL = clock.SystemClock().wall()
_HEAD = struct.Struct("<IB")
_LAST = 1


class Heard:
    def __init__(self) -> None:
        self.frames: list[tuple[str, messages.Frame]] = []
        self.first = asyncio.Event()

    def received(self, sender: str, frame: messages.Frame) -> None:
        self.frames.append((sender, frame))
        self.first.set()

    def linked(self, member: str) -> None:
        pass

    def unlinked(self, member: str) -> None:
        pass

    def understands(self, member: str, level: int | None) -> None:
        """As above."""


def of(held: authority.Authority, name: str) -> ssl.SSLContext:
    context = tls.client_context(authority.enrolled(held, cluster.sid(name), WALL))
    context.verify_mode = ssl.CERT_NONE  # a stranger does not mind whom it attacks
    return context


def nobody(_held: authority.Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def framed(data: bytes) -> bytes:
    return _HEAD.pack(len(data), _LAST) + data


def hello(member: str, cluster_id: str = cluster.CLUSTER, protocol: int = transport.PROTOCOL) -> bytes:
    said = transport.Hello(protocol, names.ClusterId(cluster_id), member)
    return framed(msgspec.msgpack.encode(said))


FRAME = framed(msgspec.msgpack.encode(messages.Ask(7)))
ME, OTHER = cluster.sid("c1"), cluster.sid("c2")
ATTACKS: dict[str, tuple[Callable[[authority.Authority], ssl.SSLContext], bytes]] = {
    "no certificate": (nobody, hello(OTHER) + FRAME),
    "a placed server that is no member": (lambda held: of(held, "n1"), hello(cluster.sid("n1")) + FRAME),
    "one that calls itself a member": (lambda held: of(held, "n1"), hello(OTHER) + FRAME),
    "itself": (lambda held: of(held, "c1"), hello(ME) + FRAME),
    "a foreign root": (
        lambda _held: of(authority.create_authority(cluster.CLUSTER, WALL), "c2"),
        hello(OTHER) + FRAME,
    ),
    "a member under another's name": (lambda held: of(held, "c2"), hello(ME) + FRAME),
    "a member of another cluster": (lambda held: of(held, "c2"), hello(OTHER, "other") + FRAME),
    "a member of another age": (lambda held: of(held, "c2"), hello(OTHER, protocol=2) + FRAME),
    "no hello": (lambda held: of(held, "c2"), FRAME),
    "a hello that is no text": (lambda held: of(held, "c2"), framed(b"\x93\x01\xa2\xff\xfe\xa1x") + FRAME),
    "a large hello": (lambda held: of(held, "c2"), _HEAD.pack(2**31, _LAST) + b"x" * 100),
    "silence": (lambda held: of(held, "c2"), b""),
    "junk after a good hello": (lambda held: of(held, "c2"), hello(OTHER) + framed(b"\xc1" * 10)),
    "no text after a good hello": (lambda held: of(held, "c2"), hello(OTHER) + framed(b"\x92\x01\xa1\xff")),
    "a fragment over the bound": (lambda held: of(held, "c2"), hello(OTHER) + _HEAD.pack(2**31, 0)),
}


def free_port() -> int:
    return ports.free(ADDRESS)


def test_nobody_but_a_member_is_heard_at_the_stores_port() -> None:
    complaints: list[str] = []

    async def attack(port: int, context: ssl.SSLContext, data: bytes) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(ADDRESS, port, ssl=context, server_hostname="")
            writer.write(data)
            async with asyncio.timeout(CLOSED_S):
                while await reader.read(1024):
                    pass
            writer.close()

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(str(context)))
        held, heard = authority.create_authority(cluster.CLUSTER, WALL), Heard()
        own, port = authority.enrolled(held, ME, WALL), free_port()
        group = transport.Group(
            {ME: (ADDRESS, port), OTHER: (ADDRESS, free_port())},
            lambda: tls.server_context(own),
            lambda: tls.client_context(own),
            lambda der: tls.identified(der, cluster.CLUSTER, WALL).server_id,
        )
        one = transport.Transport(ME, cluster.CLUSTER, group, heard, clock.SystemRandom())
        await one.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                for context, data in ATTACKS.values():
                    tasks.create_task(attack(port, context(held), data))
            assert heard.frames == []
            _, writer = await asyncio.open_connection(ADDRESS, port, ssl=of(held, "c2"), server_hostname="")
            writer.write(hello(OTHER) + FRAME)
            async with asyncio.timeout(CLOSED_S):
                await heard.first.wait()
            writer.transport.abort()
            assert [sender for sender, _ in heard.frames] == [OTHER]
        finally:
            await one.close()

    asyncio.run(main())
    assert complaints == []
