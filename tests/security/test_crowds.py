"""Crowds of strangers at every port: they are bounded before anybody has shown who it is, and a good one gets through.

`test_http_strangers` has the same for WS, `test_door_strangers` for the door of a hop.
"""

import asyncio  # noqa: TID251 links are asyncio's
import contextlib
import pathlib
import socket
from collections.abc import Callable, Iterator

import pytest

from coordinator import limits, names
from coordinator.hop import credentials, dial, link, serve
from coordinator.host import clock
from coordinator.propagation import messages
from coordinator.store.backends.raft import accepting, transport
from coordinator.trust import authority, tls
from tests.security import cluster, test_store_strangers

ADDRESS = "127.0.88.6"
WAIT_S = 15.0
WALL = clock.SystemClock().wall()
SPEECHES = (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x16\x03\x01\x40\x00\x01")
"""Nothing, and handshakes that never end."""


class Links:
    """A parent that knows whoever comes to it."""

    def __init__(self) -> None:
        self.here: list[link.Link] = []

    def opened(self, made: link.Link) -> None:
        self.here.append(made)
        made.authenticated()

    def received(self, made: link.Link, frame: messages.AnyFrame) -> None: ...

    def closed(self, made: link.Link, reason: str) -> None: ...


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 nobody tells
            await asyncio.sleep(0.02)


def open_files() -> int:
    return len(list(pathlib.Path("/proc/self/fd").iterdir()))


@contextlib.contextmanager
def crowd(port: int, size: int) -> Iterator[list[socket.socket]]:
    """From two addresses."""
    with contextlib.ExitStack() as held:
        made = []
        for number in range(size):
            source = (f"127.0.88.{60 + number % 2}", 0)
            made.append(held.enter_context(socket.create_connection((ADDRESS, port), 5.0, source)))
            made[-1].setblocking(False)
            made[-1].send(SPEECHES[number % len(SPEECHES)])
        yield made


def test_a_child_gets_through_a_crowd_at_a_port_of_a_hop_and_links_that_stand_do_not_notice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "UNKNOWN", 20)
    monkeypatch.setattr(limits, "HELLO_S", 60.0)  # nobody goes by itself

    async def main() -> None:
        held = authority.create_authority(cluster.CLUSTER, WALL)

        def own(name: str) -> credentials.Credentials:
            made = authority.enrolled(held, names.ServerId(name), WALL)
            return credentials.Credentials(made, clock.SystemClock())

        links, files = Links(), open_files()
        server = await serve.serve(ADDRESS, 0, own("parent"), links)
        before = await dial.dial(ADDRESS, server.port, own("before"), Links())
        await until(lambda: links.here and not server.unknown)
        with crowd(server.port, 50):
            await until(lambda: server.unknown == limits.UNKNOWN)
            late = await dial.dial(ADDRESS, server.port, own("late"), Links())
            await until(lambda: len(links.here) == 2)
            await until(lambda: server.connections <= limits.UNKNOWN + 2)
            assert before.open
            assert late.open
        await server.close("the test ends")
        await until(lambda: not before.open and not late.open)
        await until(lambda: open_files() <= files + 1)

    asyncio.run(main())


def test_a_member_gets_through_a_crowd_at_the_stores_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handshakes were not counted at all, and waited for five seconds each."""
    monkeypatch.setattr(accepting, "ROOM", 8)
    monkeypatch.setattr(limits, "HELLO_S", 60.0)  # nobody goes by itself

    async def main() -> None:
        held, heard = authority.create_authority(cluster.CLUSTER, WALL), test_store_strangers.Heard()
        me, other = test_store_strangers.ME, test_store_strangers.OTHER
        own, port = authority.enrolled(held, me, WALL), test_store_strangers.free_port()
        group = transport.Group(
            {me: (ADDRESS, port), other: (ADDRESS, test_store_strangers.free_port())},
            lambda: tls.server_context(own),
            lambda: tls.client_context(own),
            lambda der: tls.identified(der, cluster.CLUSTER, WALL).server_id,
        )
        one = transport.Transport(me, cluster.CLUSTER, group, heard, clock.SystemRandom())
        await one.start()
        accepts = one._accepting
        assert accepts is not None
        with crowd(port, 40):
            await until(lambda: len(accepts._crowd) == accepting.ROOM)
            context = test_store_strangers.of(held, "c2")
            _, writer = await asyncio.open_connection(ADDRESS, port, ssl=context, server_hostname="")
            writer.write(test_store_strangers.hello(other) + test_store_strangers.FRAME)
            async with asyncio.timeout(WAIT_S):
                await heard.first.wait()
            await until(lambda: len(accepts._greeted) <= accepting.ROOM)
            writer.transport.abort()
        await one.close()

    asyncio.run(main())
