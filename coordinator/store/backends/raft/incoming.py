"""One connection that another member, or a stranger, has made to this one: it is only read.

It decides nothing. What is large goes from the decryption straight to where it stays, for a copy of it costs more than
decrypting it. Laws: nothing is read for longer than a greeting takes before the greeting was a member's, as the certificate
names it; what does not keep to the format ends the connection, and nothing else.
"""

import asyncio
import ssl
import struct
from typing import Final, Protocol, cast

import msgspec

from coordinator import errors, limits
from coordinator.store.backends.raft import messages

FRAGMENT_BYTES: Final = 256 * 1024
MESSAGE_BYTES: Final = (
    limits.STORE_TXN_BYTES + 8 * 1024 * 1024
)  # one transaction with its keys, or a batch of small ones
HEAD: Final = struct.Struct("<IB")  # length, flags
LAST: Final = 1
BULK: Final = 2
STAGE_BYTES: Final = 64 * 1024  # many small ones are taken in one go
_FRAME: msgspec.msgpack.Decoder[messages.Frame] = msgspec.msgpack.Decoder(messages.Frame)
_STRANGE = (errors.TiercastError, msgspec.MsgspecError, UnicodeDecodeError)


class Host(Protocol):
    """Whose connections these are; must not block."""

    def admit(self, connection: "Incoming") -> bool:
        """Whether there is room for one more."""
        ...

    def identify(self, certificate: bytes | None) -> str:
        """The member at the other end. Raises IdentityError."""
        ...

    def greeted(self, sender: str, greeting: bytes) -> None:
        """Its first message. Raises IdentityError, MsgspecError."""
        ...

    def received(self, sender: str, frame: messages.Frame) -> None: ...

    def ended(self, connection: "Incoming", sender: str | None) -> None:
        """`sender`: of one that had greeted."""
        ...


class Incoming(asyncio.BufferedProtocol):
    """From the handshake to its end."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._transport: asyncio.Transport
        self._peer = ""
        self._sender: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stage = memoryview(bytearray(STAGE_BYTES))
        self._staged = 0
        self._body: memoryview | None = None
        """Of a fragment too large to be staged, and how much of it is there."""
        self._filled = 0
        self._flags = 0
        self._parts: dict[int, list[bytes | memoryview]] = {0: [], BULK: []}
        self._sizes = {0: 0, BULK: 0}

    def abort(self) -> None:
        self._transport.abort()

    # From the loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._timer = asyncio.get_running_loop().call_later(limits.HELLO_S, self.abort)
        if not self._host.admit(self):
            self.abort()
            return
        self.judge()

    def judge(self) -> None:
        """End it unless the certificate, as it was shown, is that of a member now."""
        tls: ssl.SSLObject = self._transport.get_extra_info("ssl_object")
        try:
            peer = self._host.identify(tls.getpeercert(binary_form=True))
        except _STRANGE:
            self.abort()
            return
        if self._peer and peer != self._peer:
            self.abort()
        self._peer = peer

    def connection_lost(self, _problem: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._host.ended(self, self._sender)

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._stage[self._staged :] if self._body is None else self._body[self._filled :]

    def buffer_updated(self, size_bytes: int) -> None:
        if self._transport.is_closing():
            return
        try:
            if self._body is None:
                self._staged += size_bytes
                self._unstage()
                return
            self._filled += size_bytes
            if self._filled == len(self._body):
                body, self._body = self._body, None
                self._fragment(self._flags, body)
        except _STRANGE:
            self.abort()  # a member dials again, a stranger has no part in it

    # Fragments and messages.

    def _unstage(self) -> None:
        """Take what is whole; a large one that has begun goes on where it will stay."""
        at = 0
        while self._staged - at >= HEAD.size and not self._transport.is_closing():
            size, flags = HEAD.unpack_from(self._stage, at)
            limit = limits.FRAME_BYTES_UNAUTHENTICATED if self._sender is None else FRAGMENT_BYTES
            if size > limit:
                raise errors.ProtocolError(f"a frame is too large (got {size} bytes, have {limit})")
            begin, end = at + HEAD.size, at + HEAD.size + size
            if end <= self._staged:
                self._fragment(flags, bytes(self._stage[begin:end]))
                at = end
            elif HEAD.size + size > STAGE_BYTES:
                self._body, self._flags = memoryview(bytearray(size)), flags
                self._filled = self._staged - begin
                self._body[: self._filled] = self._stage[begin : self._staged]
                self._staged = 0
                return
            else:
                break
        left = self._staged - at
        self._stage[:left] = bytes(self._stage[at : self._staged])
        self._staged = left

    def _fragment(self, flags: int, data: bytes | memoryview) -> None:
        if self._sender is None:
            self._greeting(bytes(data))
            return
        lane = flags & BULK
        self._parts[lane].append(data)
        self._sizes[lane] += len(data)
        if self._sizes[lane] > MESSAGE_BYTES:
            raise errors.ProtocolError(f"a message is too large (have {MESSAGE_BYTES})")
        if flags & LAST:
            parts = self._parts[lane]
            self._parts[lane], self._sizes[lane] = [], 0
            self._message(parts[0] if len(parts) == 1 else b"".join(parts))

    def _message(self, data: bytes | memoryview) -> None:
        assert self._sender is not None, "a greeting comes first"
        self._host.received(self._sender, _FRAME.decode(data))

    def _greeting(self, data: bytes) -> None:
        self._host.greeted(self._peer, data)
        self._sender = self._peer
        if self._timer is not None:
            self._timer.cancel()
