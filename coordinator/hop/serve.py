"""The parent's end of a hop: a listening socket and the links that came in over it.

It accepts by itself rather than through asyncio's server, so that connections whose handshake is under way count too.
Laws: at most `LINKS` links at once, and `UNKNOWN` connections that have not become one yet; none of these lives longer than
a handshake and `HELLO_S`, and however many strangers come, whoever does not crowd is let in. Whatever a stranger does, the
listener goes on.
"""

import asyncio
import contextlib
import errno
import functools
import os
import socket
from typing import Protocol

from coordinator import errors, limits
from coordinator.hop import link
from coordinator.host import logs
from coordinator.trust import crowd

ACCEPT_RETRY_S = 0.1
ACCEPT_BATCH = 16
TLS_HANDSHAKE = b"\x16"
"""The first byte of whoever speaks TLS."""

_LOG = logs.Log("hop")


class Strangers(Protocol):
    """Whoever attends to those without an identity; `door.Door` is the product's, and too heavy for every worker node."""

    async def attend(self, connected: socket.socket, until: float) -> None:
        """See one through, who has sent a byte that is not of TLS and must have asked by `until` of the loop's clock."""
        ...


class _Guest:
    """One connection that has come in."""

    def __init__(self, connected: socket.socket) -> None:
        self.ticket = 0
        self.link: link.Link | None = None
        self._connected = connected

    def give_way(self) -> None:
        """To somebody who crowds less."""
        if self.link is not None:
            self.link.drop("crowded out")
        else:
            crowd.hang_up(self._connected)


class Server:
    """Accepts until it is closed."""

    def __init__(
        self,
        listener: socket.socket,
        own: link.Own | None,
        events: link.LinkEvents,
        links_max: int = limits.LINKS,
        strangers: Strangers | None = None,
    ) -> None:
        """`own` is None on a Unix socket; `strangers` is for those without an identity, where they may ask.

        The listener must not block; it is closed with the server.
        """
        self.own = own
        """May be replaced when the identity is renewed; new links get the new one."""
        self._listener = listener
        self._events = events
        self._strangers = strangers
        self._links_max = links_max
        self._links: set[link.Link] = set()
        self._attended: set[asyncio.Task[None]] = set()
        self._unknown = crowd.Crowd(min(limits.UNKNOWN, links_max))
        self._full = False
        self._crowded = False
        self._closing: str | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(listener.fileno(), self._accept)

    @property
    def port(self) -> int:
        """Of a TCP listener; that chosen by the system where 0 was asked for."""
        return int(self._listener.getsockname()[1])

    @property
    def connections(self) -> int:
        """All that are held, those without a finished handshake included."""
        return len(self._attended)

    @property
    def unknown(self) -> int:
        """Of these, how many have not shown who they are."""
        return len(self._unknown)

    async def close(self, reason: str) -> None:
        """Accept no more, end every link, and return when all have ended; a second time nothing."""
        if self._closing is None:
            self._closing = reason
            self._stop_listening()
        for one in list(self._links):
            one.close(reason)
        attended = list(self._attended)
        if attended:
            _done, late = await asyncio.wait(attended, timeout=2 * link.CLOSE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _stop_listening(self) -> None:
        self._loop.remove_reader(self._listener.fileno())
        address = self._listener.getsockname()
        self._listener.close()
        if isinstance(address, str):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(address)  # noqa: PTH108 one call beside the socket's own

    def _accept(self) -> None:
        """Take a few of those waiting: a flood of connects must not keep the loop from the links that stand."""
        for _ in range(ACCEPT_BATCH):
            try:
                connected, address = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as wrong:  # out of descriptors or memory: somebody has to close one first
                _LOG.warning("cannot accept", reason=wrong.strerror)
                self._loop.remove_reader(self._listener.fileno())
                self._loop.call_later(ACCEPT_RETRY_S, self._accept_again)
                return
            self._place(connected, str(address[0]) if isinstance(address, tuple) else "")

    def _accept_again(self) -> None:
        if self._closing is None:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _place(self, connected: socket.socket, source: str) -> None:
        if len(self._attended) - len(self._unknown) >= self._links_max:
            connected.close()
            self._say_full()
            return
        self._full = False
        connected.setblocking(False)
        guest = _Guest(connected)
        before = self._unknown.pushed_out
        guest.ticket = self._unknown.enter(crowd.of_one(source), guest.give_way)
        self._say_crowded(source, crowded=self._unknown.pushed_out > before)
        task = self._loop.create_task(self._attend(connected, guest))
        self._attended.add(task)
        task.add_done_callback(functools.partial(self._left, guest.ticket))

    def _left(self, ticket: int, task: asyncio.Task[None]) -> None:
        self._unknown.leave(ticket)
        self._attended.discard(task)

    def _say_full(self) -> None:
        if not self._full:
            _LOG.warning("listener full", links=len(self._attended))
        self._full = True

    def _say_crowded(self, source: str, *, crowded: bool) -> None:
        """Once until the crowd is half gone."""
        if crowded and not self._crowded:
            self._crowded = True
            _LOG.warning("crowded by strangers", source=source, held=len(self._unknown))
        elif self._crowded and len(self._unknown) < limits.UNKNOWN // 2:
            self._crowded = False

    async def _attend(self, connected: socket.socket, guest: _Guest) -> None:
        """See one connection through: handshake, hello, end."""
        with connected:
            until = self._loop.time() + limits.HELLO_S
            try:
                if self._strangers is not None and await self._is_stranger(connected, until):
                    await self._strangers.attend(connected, until)
                    return
                made = guest.link = await self._greet(connected, until)
            except (OSError, errors.IdentityError) as wrong:  # a handshake that fails or takes too long
                _LOG.debug("connection refused", reason=str(wrong))
                return
            if made.refused is not None:
                _LOG.warning("peer refused", reason=made.refused.message)
            self._links.add(made)
            try:
                await self._until_end(made, guest)
            finally:
                self._links.discard(made)

    async def _until_end(self, made: link.Link, guest: _Guest) -> None:
        if self._closing is not None:
            made.close(self._closing)
        try:
            async with asyncio.timeout(limits.HELLO_S):
                await made.known()
        except TimeoutError:
            made.close("no hello")
        else:
            self._unknown.leave(guest.ticket)
        await made.lost()

    async def _is_stranger(self, connected: socket.socket, until: float) -> bool:
        """By its first byte, which stays where it is. Raises `OSError` where none comes."""
        come = asyncio.Event()
        self._loop.add_reader(connected.fileno(), come.set)
        try:
            async with asyncio.timeout_at(until):
                await come.wait()
        finally:
            self._loop.remove_reader(connected.fileno())
        first = connected.recv(1, socket.MSG_PEEK)
        if not first:
            raise ConnectionAbortedError("closed before its first byte")
        return first != TLS_HANDSHAKE

    async def _greet(self, connected: socket.socket, until: float) -> link.Link:
        """A link whose handshake is done. The link is made here, for uvloop hands back a protocol of its own."""
        if self.own is None:
            peer = link.unix_peer(connected)
            made = link.Link(self._events, lambda _: peer)
            await self._loop.connect_accepted_socket(lambda: made, connected)
            return made
        made = link.Link(self._events, self.own.peer)
        await self._loop.connect_accepted_socket(
            lambda: made,
            connected,
            ssl=self.own.server,
            ssl_handshake_timeout=max(0.001, until - self._loop.time()),
            ssl_shutdown_timeout=link.CLOSE_S,
        )
        return made


async def serve(
    address: str,
    port: int,
    own: link.Own,
    events: link.LinkEvents,
    *,
    links_max: int = limits.LINKS,
    strangers: Strangers | None = None,
) -> Server:
    """Listen for children. Raises `InUseError` on a taken port, `UnreachableError` on an address not of this machine."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        _listen(listener)
    except OSError as wrong:
        listener.close()
        raise _explained(wrong, f"{address}:{port}") from wrong
    return Server(listener, own, events, links_max, strangers)


async def serve_unix(path: str, events: link.LinkEvents, *, links_max: int = limits.LINKS) -> Server:
    """Listen on a socket only this user may open. Raises `InUseError` where somebody answers there, `UsageError`."""
    size = len(os.fsencode(path))
    if size > limits.UNIX_PATH_BYTES:
        raise errors.UsageError(
            f"the path of a socket is too long (got {size}, have {limits.UNIX_PATH_BYTES})"
        )
    _clear(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listener.fileno(), 0o600)  # before bind: the file is never open to others, not for a moment
        listener.bind(path)
        _listen(listener)
    except OSError as wrong:
        listener.close()
        raise _explained(wrong, path) from wrong
    return Server(listener, None, events, links_max)


def _listen(listener: socket.socket) -> None:
    listener.setblocking(False)
    listener.listen(limits.LISTEN_BACKLOG)


def _clear(path: str) -> None:
    """Remove the socket that a process left behind. Raises `InUseError` where one still answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(limits.DIAL_TIMEOUT_S)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # noqa: PTH108 one call beside the socket's own
        except FileNotFoundError:
            return
        except OSError as wrong:
            raise _explained(wrong, path) from wrong
        else:
            raise errors.InUseError(f"{path} is in use by another process")


def _explained(wrong: OSError, place: str) -> errors.TiercastError:
    match wrong.errno:
        case errno.EADDRINUSE:
            return errors.InUseError(f"{place} is taken", hint=f"see who holds it with `ss -lptn`: {place}")
        case errno.EADDRNOTAVAIL:
            return errors.UnreachableError(f"{place} is not an address of this machine")
        case errno.EACCES | errno.EPERM:
            return errors.NotAllowedError(f"{place} may not be opened by this user")
        case _:
            return errors.UnreachableError(f"{place} cannot be opened: {wrong.strerror}")
