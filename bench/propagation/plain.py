"""Hops without TLS, for the bench alone: the driver of the product over bare TCP on loopback.

Each end says its server id in a first line of fixed length, and is believed: this is no authentication, it only stands
where the certificate would. Nothing in the product imports this module or can be told to (a test says so), and it
refuses addresses that are not of this machine alone.
"""

import asyncio
import ipaddress
import socket
from typing import cast

from coordinator import errors, limits, names
from coordinator.hop import driver, link, serve
from coordinator.propagation import events, messages
from coordinator.trust import peers

ID_BYTES = 32
_CLUSTER = names.ClusterId("bench")


class PlainDriver(driver.Driver):
    """`driver.Driver` whose links are not encrypted."""

    server_id = names.ServerId("")
    """Said to every peer; set before the first link."""

    async def listen(self, address: str, port: int, strangers: serve.Strangers | None = None) -> serve.Server:
        assert strangers is None, "nobody without an identity comes here"
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_loopback(address), port))
        listener.setblocking(False)
        listener.listen(limits.LISTEN_BACKLOG)
        server = _PlainServer(listener, self.server_id, _Side(self, None))
        self._servers.append(server)
        return server

    async def _dial(self, output: events.Dial) -> None:
        if output.delay_s > 0:
            await asyncio.sleep(self._ground.random.uniform(0.0, output.delay_s))
        try:
            await _dial(output.parent, self.server_id, _Side(self, output.dial))
        except (OSError, TimeoutError, errors.IdentityError) as problem:
            self.feed(events.DialFailed(output.dial, str(problem)))


class _Side:
    """Events of the links of one listener, or of one dial."""

    def __init__(self, machine: driver.Driver, dial_number: int | None) -> None:
        self._machine = machine
        self._dial = dial_number

    def opened(self, made: link.Link) -> None:
        self._machine.opened(made, self._dial)

    def received(self, made: link.Link, frame: messages.AnyFrame) -> None:
        self._machine.feed(events.Heard(made.id, frame))

    def closed(self, made: link.Link, reason: str) -> None:
        self._machine.closed(made, reason)


class _PlainServer(serve.Server):
    """Accepts like the product's; the ids are said in place of a handshake."""

    def __init__(self, listener: socket.socket, server_id: names.ServerId, side: _Side) -> None:
        super().__init__(listener, None, side)
        self._side = side
        self._server_id = server_id

    async def _greet(self, connected: socket.socket, until: float) -> link.Link:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout_at(until):
            peer = await _introduced(connected, self._server_id)
        made = link.Link(self._side, lambda _: peer)
        await self._loop.connect_accepted_socket(lambda: made, connected)
        return made


async def _dial(parent: events.Parent, own: names.ServerId, side: _Side) -> None:
    loop = asyncio.get_running_loop()
    connected = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(limits.DIAL_TIMEOUT_S):
            await loop.sock_connect(connected, (_loopback(parent.address), parent.port))
            peer = await _introduced(connected, own)
        made = link.Link(side, lambda _: peer)
        await loop.create_connection(lambda: made, sock=connected)
    except BaseException:
        connected.close()
        raise


async def _introduced(connected: socket.socket, own: names.ServerId) -> peers.PeerIdentity:
    """Say who we are, and hear who is there."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connected, own.encode().ljust(ID_BYTES))
    heard = b""
    while len(heard) < ID_BYTES:
        more = await loop.sock_recv(connected, ID_BYTES - len(heard))
        if not more:
            raise errors.IdentityError("the peer has gone before it said who it is")
        heard += more
    return peers.PeerIdentity(names.ServerId(heard.decode("ascii").strip()), _CLUSTER, False)


def _loopback(address: str) -> str:
    found = cast("ipaddress.IPv4Address", ipaddress.ip_address(address))
    assert found.is_loopback, f"plain links stay on this machine (got {address})"
    return address
