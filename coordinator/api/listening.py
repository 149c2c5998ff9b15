"""The listening end of WS: how many may be connected, who gives way where that is not enough, and who has said too little.

The library waits for a first request for ever, counts nobody before the TLS handshake is over, and would let whoever
connects and says nothing keep everybody else out. Laws: at most `CONNECTIONS` stand, handshakes included; one is *at work*
while its request is answered, else it may be asked to give way, and of those the oldest of the source that holds most goes;
so whoever does not crowd is let in while one is idle. A connection whose first head is not whole after `HEAD_S` is closed,
one that rests after an answer after `REST_S`, and one that reads nothing of its answer for `WRITE_S`.
"""

import asyncio
import contextlib
import functools
import socket
import ssl
import typing
from collections.abc import Iterator

from aiohttp import web

from coordinator import limits
from coordinator.host import logs
from coordinator.trust import crowd

HEAD_S = 10.0
SHUTDOWN_S = 2.0  # a client that does not say goodbye is not waited for
REST_S = 30.0  # a command line that waits for a rollout asks again at once
CONNECTIONS = 1_000  # each holds a descriptor and some 10 KiB, in a handshake 60
WRITE_S = 20.0  # as long as one that follows events has
ACCEPT_RETRY_S = 0.1  # out of descriptors: somebody has to close one first

_LOG = logs.Log("http")


class Guest(asyncio.Protocol):
    """One connection, from before its handshake on; what it says goes to the library's own protocol."""

    def __init__(self, inner: web.RequestHandler, connected: socket.socket, source: str) -> None:
        self.inner = inner
        self._connected = connected
        self.source = source
        self.ticket = 0
        self.begun = False
        """It has asked something."""
        self.lost = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._reads: asyncio.TimerHandle | None = None

    @property
    def connected(self) -> bool:
        """Past its handshake."""
        return self._transport is not None

    def give_way(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        else:
            crowd.hang_up(self._connected)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = typing.cast("asyncio.Transport", transport)
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.inner.data_received(data)

    def eof_received(self) -> None:
        self.inner.eof_received()

    def pause_writing(self) -> None:
        self.inner.pause_writing()
        self._expect(None)

    def resume_writing(self) -> None:
        if self._reads is not None:
            self._reads.cancel()
        self.inner.resume_writing()

    def _expect(self, before: int | None) -> None:
        """Something of what waits has to be read within `WRITE_S`, again and again."""
        assert self._transport is not None
        left = self._transport.get_write_buffer_size()
        if before is not None and left >= before:
            self._transport.abort()
            return
        self._reads = asyncio.get_running_loop().call_later(WRITE_S, self._expect, left)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._reads is not None:
            self._reads.cancel()
        self.inner.connection_lost(exc)
        self.lost.set()


class Guests:
    """All connections of one application."""

    def __init__(self) -> None:
        self._all: dict[web.RequestHandler, Guest] = {}
        self._idle = crowd.Crowd(CONNECTIONS)
        self._told = False

    def __len__(self) -> int:
        return len(self._all)

    def enter(self, guest: Guest) -> bool:
        """False where there is no room, and everybody at work."""
        if len(self._all) >= CONNECTIONS and not self._idle.push_out(guest.source):
            self._say_full(guest.source)
            return False
        self._told = self._told and len(self._all) > CONNECTIONS // 2
        self._all[guest.inner] = guest
        guest.ticket = self._idle.enter(guest.source, functools.partial(self._give_way, guest))
        return True

    def leave(self, guest: Guest) -> None:
        self._idle.leave(guest.ticket)
        self._all.pop(guest.inner, None)

    @contextlib.contextmanager
    def at_work(self, protocol: web.RequestHandler) -> Iterator[None]:
        """While a request of this connection is answered, once all of it has come."""
        guest = self._all.get(protocol)
        if guest is None:  # of a listener that is none of ours
            yield
            return
        self._idle.leave(guest.ticket)
        try:
            yield
        finally:
            if guest.inner in self._all:
                guest.ticket = self._idle.enter(guest.source, functools.partial(self._give_way, guest))

    def begun(self, protocol: web.RequestHandler) -> None:
        """It has asked something."""
        if (guest := self._all.get(protocol)) is not None:
            guest.begun = True

    def _give_way(self, guest: Guest) -> None:
        self._say_full(guest.source)
        self._all.pop(guest.inner, None)
        guest.give_way()

    def _say_full(self, source: str) -> None:
        """Once until half of them are gone."""
        if not self._told:
            _LOG.warning("too many connections", source=source, held=len(self._all))
        self._told = True


GUESTS: web.AppKey[Guests] = web.AppKey("guests", Guests)


class Site(web.BaseSite):
    """See the module."""

    __slots__ = ("_address", "_port")

    def __init__(
        self, runner: web.AppRunner, address: str, port: int, context: ssl.SSLContext | None
    ) -> None:
        super().__init__(runner, ssl_context=context, backlog=limits.LISTEN_BACKLOG)
        self._address = address
        self._port = port

    @property
    def name(self) -> str:
        return f"{self._address}:{self._port}"

    async def start(self) -> None:
        """Raises `OSError` where the address is taken."""
        await super().start()
        family = socket.AF_INET6 if ":" in self._address else socket.AF_INET
        listener = socket.create_server((self._address, self._port), family=family, backlog=self._backlog)
        listener.setblocking(False)
        assert isinstance(self._runner, web.AppRunner)
        made = _Listening(listener, self._runner, self._ssl_context)
        self._server = typing.cast("asyncio.AbstractServer", made)  # of which the library uses these two


class _Listening:
    """What the library's runner closes, and asks for its sockets."""

    def __init__(
        self, listener: socket.socket, runner: web.AppRunner, context: ssl.SSLContext | None
    ) -> None:
        self._listener = listener
        self._runner = runner
        self._context = context
        self._guests = runner.app[GUESTS]
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[asyncio.Task[None], Guest] = {}
        self._accepts = self._loop.create_task(self._accept())

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        return () if self._listener.fileno() < 0 else (self._listener,)

    def close(self) -> None:
        """No more are let in; those who are shaking hands are not waited for."""
        self._accepts.cancel()
        for guest in self._tasks.values():
            if not guest.connected:
                guest.give_way()
        self._listener.close()

    async def _accept(self) -> None:
        server = self._runner.server
        assert server is not None
        while True:
            try:
                connected, address = await self._loop.sock_accept(self._listener)
            except OSError:
                await asyncio.sleep(ACCEPT_RETRY_S)
                continue
            connected.setblocking(False)
            guest = Guest(server(), connected, crowd.of_one(str(address[0])))
            if not self._guests.enter(guest):
                connected.close()
                continue
            task = self._loop.create_task(self._attend(connected, guest))
            self._tasks[task] = guest
            task.add_done_callback(functools.partial(self._ended, connected, guest))

    def _ended(self, connected: socket.socket, guest: Guest, task: asyncio.Task[None]) -> None:
        connected.close()
        self._guests.leave(guest)
        del self._tasks[task]

    async def _attend(self, connected: socket.socket, guest: Guest) -> None:
        looks = self._loop.call_later(HEAD_S, _look, guest)
        try:
            await self._loop.connect_accepted_socket(
                lambda: guest,
                connected,
                ssl=self._context,
                ssl_handshake_timeout=None if self._context is None else HEAD_S,
                ssl_shutdown_timeout=None if self._context is None else SHUTDOWN_S,
            )
            await guest.lost.wait()
        except OSError:  # of the handshake
            return
        finally:
            looks.cancel()  # else a flood of those who come and go is held for as long


def _look(guest: Guest) -> None:
    if not guest.begun:
        guest.give_way()
