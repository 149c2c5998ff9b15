"""One connection of a hop: frames in, frames out, bounded both ways. The same over TCP with TLS and over a Unix socket.

It knows neither parents nor children nor what a frame means; it calls its `LinkEvents` from the event loop, which must
not block. Law: whatever a peer sends, the link ends with one `closed` and one reason, and costs no more than a frame
and a write buffer. After `close` nothing more is received.
"""

import asyncio
import asyncio.sslproto
import itertools
import os
import socket
import ssl
import struct
import typing
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from coordinator import errors, limits, names
from coordinator.host import logs
from coordinator.propagation import messages, wire
from coordinator.trust import peers

# Python 3.11 gives every TLS connection a read buffer of 256 KiB; 1,000 children at rest would cost that in megabytes.
asyncio.sslproto.SSLProtocol.max_size = 32 * 1024

CLOSE_S = 2.0  # what is written still goes out for so long; a peer that does not read is then cut off
REST_S = 0.25  # often enough that signs of life come through
WRITE_HIGH_BYTES = (
    64 * 1024
)  # `drained` waits above this, and returns below a quarter of it: a piece of a body (256 KiB) counts as sent only when it has left
BULK = (messages.Ask, messages.Answer)
BULK_BYTES = 2 * limits.ASK_BYTES  # the largest request and its answer at once; beyond it the peer is slow
SMALL_BULK_BYTES = limits.WRITE_BUFFER_BYTES  # over a link that carries no documents
FRAME_OVERHEAD_BYTES = (
    64  # what Python keeps for a waiting frame beside its bytes; small ones would cost nothing else
)

_UCRED = struct.Struct("3i")  # pid, uid, gid
_ROOT_UID = 0

_LOG = logs.Log("hop")
_IDS = itertools.count(1)


class UnixPeer(msgspec.Struct, frozen=True):
    """Who connected to a Unix socket, as the kernel says."""

    uid: int
    pid: int

    def __str__(self) -> str:
        return f"process {self.pid}"


Peer = peers.PeerIdentity | UnixPeer


class Own(Protocol):
    """What one end shows and asks for over TCP; `credentials.Credentials` is the product's."""

    @property
    def server(self) -> ssl.SSLContext: ...

    @property
    def client(self) -> ssl.SSLContext: ...

    def peer(self, transport: asyncio.BaseTransport) -> peers.PeerIdentity:
        """Who is at the other end of a finished handshake. Raises `IdentityError`."""
        ...

    def counts(self, peer: peers.PeerIdentity) -> bool:
        """Whether the CA of its certificate has not been given up since."""
        ...

    def watch(self, told: Callable[[], None]) -> None:
        """`told` is called when a CA has been given up, until `unwatch`."""

    def unwatch(self, told: Callable[[], None]) -> None: ...


def unix_peer(connected: socket.socket) -> UnixPeer:
    """Who is at the other end of a Unix socket. Raises `IdentityError` unless it is this user or root."""
    pid, uid, _gid = _UCRED.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    if uid not in {os.geteuid(), _ROOT_UID}:
        raise errors.IdentityError(
            f"the process at the socket is another user's (got {uid}, have {os.geteuid()})"
        )
    return UnixPeer(uid, pid)


class LinkEvents(Protocol):
    """What the shell around the machines learns of its links, in this order for each of them."""

    def opened(self, link: "Link") -> None:
        """The peer is known and has said nothing yet."""

    def received(self, link: "Link", frame: messages.AnyFrame) -> None: ...

    def closed(self, link: "Link", reason: str) -> None:
        """Once for every link that was opened, by whichever side it ended."""


class Counters:
    """What went over a link."""

    __slots__ = ("bytes_in", "bytes_out", "frames_in", "frames_out")

    def __init__(self) -> None:
        self.frames_in = self.frames_out = self.bytes_in = self.bytes_out = 0


class Link(asyncio.Protocol):
    """One connection, from the end of the handshake on."""

    peer: Peer
    """Set when `opened` is called."""

    def __init__(self, events: LinkEvents, recognise: Callable[[asyncio.BaseTransport], Peer]) -> None:
        """`recognise` says who is there, or raises `IdentityError`."""
        self.id = names.LinkId(next(_IDS))
        self.counters = Counters()
        self.refused: errors.IdentityError | None = None
        self._events = events
        self._recognise = recognise
        self._buffer = bytearray()
        self._bulk: deque[bytes] = deque()
        self._bulk_bytes = 0
        self._limit_bytes = limits.FRAME_BYTES_UNAUTHENTICATED
        self._bulk_limit_bytes = SMALL_BULK_BYTES
        self._reason: str | None = None
        self.open = True
        """Until it ends, by whichever side."""
        self._loop = asyncio.get_running_loop()
        self._known = self._loop.create_future()
        self._lost = self._loop.create_future()
        self._drained = asyncio.Event()
        self._drained.set()
        self._piling = False
        """More is written than `WRITE_HIGH_BYTES` and has not left; what piles up is looked at only then."""
        self._abort_timer: asyncio.TimerHandle | None = None
        self._paced = True
        self._resting = False
        self._room = float(limits.FRAMES_AT_ONCE)
        self._counted = self._loop.time()
        self._transport: asyncio.Transport

    def __repr__(self) -> str:
        return f"Link({self.id})"

    @property
    def unsent_bytes(self) -> int:
        """Written and not yet taken by the kernel."""
        return self._transport.get_write_buffer_size() if self.open else 0

    def authenticated(self, *, documents: bool = False) -> None:
        """The peer has said who it is and may: large frames from here on, and whole documents where it is said so.

        Those speak for many people, whose requests are counted where they come in; every other link is held to a pace.
        """
        self._limit_bytes = limits.FRAME_BYTES
        if documents:
            self._bulk_limit_bytes = BULK_BYTES
            self._paced = False
        if not self._known.done():
            self._known.set_result(None)

    def send(self, frame: messages.AnyFrame) -> None:
        """One frame; nothing where the link has ended, for its `closed` says so."""
        if self.open:
            self.send_encoded(wire.encode(frame), bulk=isinstance(frame, BULK))

    def send_encoded(self, data: bytes, *, bulk: bool = False) -> None:
        """What `wire.encode` made; the same bytes may go to many links.

        `bulk` frames keep their order among themselves, and wait where others pile up, so that a whole document may
        be sent at once and no heartbeat waits behind it. They are lost where the link is closed before their turn.
        """
        if not self.open:
            return
        if not bulk:
            counters = self.counters
            counters.frames_out += 1
            counters.bytes_out += len(data)
            self._transport.write(data)
            if self._piling and self._transport.get_write_buffer_size() > limits.WRITE_BUFFER_BYTES:
                self.drop("slow")
            return
        self._bulk.append(data)
        self._bulk_bytes += len(data) + FRAME_OVERHEAD_BYTES
        self._write_bulk()
        if self._bulk_bytes > self._bulk_limit_bytes:
            self.drop("slow")

    async def drained(self) -> None:
        """Return once more may be written without piling up, or the link has ended."""
        await self._drained.wait()

    def close(self, reason: str) -> None:
        """End it once what is written has gone out, at the latest after `CLOSE_S`; the first reason stands."""
        if self.open:
            self.open, self._reason = False, reason
            self._transport.close()
            self._abort_timer = self._loop.call_later(CLOSE_S, self._transport.abort)

    def drop(self, reason: str) -> None:
        """End it now, with what is unsent."""
        if self.open:
            self.open, self._reason = False, reason
            self._transport.abort()

    async def known(self) -> None:
        """Return once it is authenticated, or has ended."""
        await asyncio.shield(self._known)

    async def lost(self) -> None:
        """Return once it has ended and `closed` has been called."""
        await asyncio.shield(self._lost)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = typing.cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        try:
            self.peer = self._recognise(transport)
        except errors.IdentityError as wrong:
            self.refused = wrong
            self.drop(wrong.message)
            return
        self._events.opened(self)

    def data_received(self, data: bytes) -> None:
        if not self.open:
            return
        self.counters.bytes_in += len(data)
        try:
            if not self._buffer and not self._resting and (payload := wire.alone(data, self._limit_bytes)):
                self._take_frame(payload)  # as most arrive
            else:
                self._buffer += data
                self._take_frames()
        except errors.ProtocolError as wrong:
            self._broke(wrong)

    def _broke(self, wrong: errors.ProtocolError) -> None:
        _LOG.warning("link broke the protocol", link=self.id, peer=_shown(self.peer), reason=wrong.message)
        self.drop(f"broke the protocol: {wrong.message}")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        self.open = False
        if self._reason is None:
            self._reason = f"lost: {exc}" if exc is not None else "closed by the peer"
        self._buffer.clear()
        self._bulk.clear()
        self._drained.set()
        if not self._known.done():
            self._known.set_result(None)
        self._lost.set_result(None)
        if self.refused is None:
            self._events.closed(self, self._reason)

    def pause_writing(self) -> None:
        self._piling = True
        self._drained.clear()

    def resume_writing(self) -> None:
        self._piling = False
        self._drained.set()
        self._write_bulk()

    def _write_bulk(self) -> None:
        while self._bulk and self._drained.is_set() and self.open:
            data = self._bulk.popleft()
            self._bulk_bytes -= len(data) + FRAME_OVERHEAD_BYTES
            self.send_encoded(data)

    def _take_frames(self) -> None:
        taken = 0
        while self.open and not self._resting and (size := self._next_size(taken)) is not None:
            start = taken + wire.HEADER_BYTES
            taken = start + size
            with memoryview(self._buffer)[start:taken] as payload:
                self._take_frame(payload)
        del self._buffer[:taken]

    def _take_frame(self, payload: bytes | memoryview) -> None:
        frame = wire.decode(payload)
        self.counters.frames_in += 1
        self._events.received(self, frame)
        self._room -= 1
        if self._room < 1:
            self._pace()

    def _pace(self) -> None:
        """Whoever sends faster than it may is read later: it fills its own buffers, and costs nobody else a turn."""
        now = self._loop.time()
        earned = (now - self._counted) * limits.FRAMES_PER_S
        self._room, self._counted = min(limits.FRAMES_AT_ONCE, self._room + earned), now
        if self._room < 1 and self._paced and self.open:
            self._resting = True
            self._transport.pause_reading()
            self._loop.call_later(REST_S, self._go_on)

    def _go_on(self) -> None:
        self._resting = False
        if self.open:
            self._pace()
            if not self._resting:
                self.data_received(b"")
        if self.open and not self._resting:
            self._transport.resume_reading()

    def _next_size(self, start: int) -> int | None:
        """Size of the frame at `start` if it is whole. Raises `ProtocolError` before an oversized one is buffered."""
        here = len(self._buffer) - start - wire.HEADER_BYTES
        if here < 0:
            return None
        size = int.from_bytes(self._buffer[start : start + wire.HEADER_BYTES], "big")
        if size > self._limit_bytes:
            raise errors.ProtocolError(f"frame too large (got {size}, have {self._limit_bytes})")
        return size if here >= size else None


def _shown(peer: Peer) -> str:
    return peer.server_id if isinstance(peer, peers.PeerIdentity) else str(peer)
