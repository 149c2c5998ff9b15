"""As much of gRPC over HTTP/2 as a lean client of etcd needs: no headers read, windows as wide as they go.

The client's own windows are opened once, so nothing has to be granted while a run lasts; the server's are respected.
Frames are those of RFC 9113; header blocks are sent as literals and never decoded.
"""

import asyncio
import struct
from collections import defaultdict, deque
from collections.abc import Iterator
from typing import cast

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW = 0, 1, 4, 6, 8
_END_STREAM, _END_HEADERS, _ACK = 0x1, 0x4, 0x1
_HEAD_BYTES = 9
_FRAME_BYTES = 16384
_WINDOW_BYTES = 65535
_WIDE = 2**31 - 1
_GRPC = struct.Struct(">BI")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _text(word: bytes) -> bytes:
    assert len(word) < 127
    return bytes((len(word),)) + word


def headers(path: bytes) -> bytes:
    """Of a POST of gRPC: static table where it fits, literals elsewhere."""
    return (
        b"\x83\x86\x04" + _text(path) + b"\x01" + _text(b"bench")
        + b"\x0f\x10" + _text(b"application/grpc") + b"\x00" + _text(b"te") + _text(b"trailers")
    )  # fmt: skip


class Connection(asyncio.Protocol):
    """One connection with its streams."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._messages: defaultdict[int, bytearray] = defaultdict(bytearray)
        self._stream = -1
        self._room = _WINDOW_BYTES
        self._stream_room: dict[int, int] = {}
        self._initial = _WINDOW_BYTES
        self._unsent: deque[tuple[int, bytes, bool]] = deque()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        settings = struct.pack(">HIHI", 2, 0, 4, _WIDE)  # no push; our windows
        grant = (_WIDE - _WINDOW_BYTES).to_bytes(4, "big")
        self._transport.write(_PREFACE + frame(_SETTINGS, 0, 0, settings) + frame(_WINDOW, 0, 0, grant))

    def message(self, stream: int, payload: bytes) -> None:
        """A whole message of gRPC came in."""

    def ended(self, stream: int) -> None:
        """The server says no more on it; without a message before, it refused."""

    def call(self, path: bytes, payload: bytes, *, last: bool) -> int:
        """A new stream with one message; its number. `last`: no more will follow on it."""
        self._stream += 2
        stream = self._stream
        self._stream_room[stream] = self._initial
        self._transport.write(frame(_HEADERS, _END_HEADERS, stream, headers(path)))
        data = _GRPC.pack(0, len(payload)) + payload
        for at in range(0, len(data), _FRAME_BYTES):
            piece = data[at : at + _FRAME_BYTES]
            self._unsent.append((stream, piece, last and at + len(piece) == len(data)))
        self._flush()
        return stream

    def _flush(self) -> None:
        """As much as the server's windows let out."""
        while self._unsent:
            stream, piece, last = self._unsent[0]
            if len(piece) > min(self._room, self._stream_room.get(stream, 0)):
                return
            self._unsent.popleft()
            self._room -= len(piece)
            self._stream_room[stream] -= len(piece)
            if last:
                del self._stream_room[stream]
            self._transport.write(frame(_DATA, _END_STREAM if last else 0, stream, piece))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= _HEAD_BYTES:
            size = int.from_bytes(self._buffer[at : at + 3], "big")
            end = at + _HEAD_BYTES + size
            if len(self._buffer) < end:
                break
            stream = int.from_bytes(self._buffer[at + 5 : at + 9], "big")
            self._frame(self._buffer[at + 3], self._buffer[at + 4], stream, bytes(self._buffer[at + 9 : end]))
            at = end
        del self._buffer[:at]

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._data(stream, payload)
        elif kind == _WINDOW:
            self._granted(stream, int.from_bytes(payload, "big"))
        elif kind == _PING and not flags & _ACK:
            self._transport.write(frame(_PING, _ACK, 0, payload))
        elif kind == _SETTINGS and not flags & _ACK:
            for key, value in struct.iter_unpack(">HI", payload):
                if key == 4:  # holds for streams that are open, too
                    for stream_open in self._stream_room:
                        self._stream_room[stream_open] += value - self._initial
                    self._initial = value
            self._transport.write(frame(_SETTINGS, _ACK, 0))
            self._flush()
        if flags & _END_STREAM and kind in (_DATA, _HEADERS):
            self._messages.pop(stream, None)
            self.ended(stream)

    def _granted(self, stream: int, more: int) -> None:
        if stream == 0:
            self._room += more
        elif stream in self._stream_room:
            self._stream_room[stream] += more
        self._flush()

    def _data(self, stream: int, payload: bytes) -> None:
        held = self._messages[stream]
        held += payload
        while len(held) >= _GRPC.size:
            _, size = _GRPC.unpack_from(held)
            if len(held) < _GRPC.size + size:
                return
            message = bytes(held[_GRPC.size : _GRPC.size + size])
            del held[: _GRPC.size + size]
            self.message(stream, message)


# --- protocol buffers -----------------------------------------------------------------------------------------------


def field(number: int, value: bytes) -> bytes:
    """A field of bytes or of a message."""
    return bytes((number << 3 | 2,)) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def fields(message: bytes | memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field, in order."""
    view, at = memoryview(message), 0
    while at < len(view):
        key, at = _read_varint(view, at)
        value, at = _read_varint(view, at)
        if key & 7 == 2:
            yield key >> 3, view[at : at + value]
            at += value
        else:
            yield key >> 3, value


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
