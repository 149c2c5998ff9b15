"""Frames to bytes and back: four bytes of length, big endian, then msgpack.

Law: `decode(encode(frame)[4:]) == frame`. Whatever else comes in raises `errors.ProtocolError`, nothing else.
"""

import struct

import msgspec

from coordinator import errors, limits
from coordinator.propagation import messages

HEADER_BYTES = 4
_COPIED_BYTES = 1024  # a view of so few bytes costs more than a copy of them
_LENGTH = struct.Struct(">I")

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[messages.AnyFrame] = msgspec.msgpack.Decoder(messages.AnyFrame)


def encode(frame: messages.AnyFrame) -> bytes:
    """Length and payload, ready to be written; asserts the bound of a frame."""
    payload = _ENCODER.encode(frame)
    assert len(payload) <= limits.FRAME_BYTES, f"frame of {len(payload)} bytes: {type(frame).__name__}"
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


def alone(data: bytes, limit_bytes: int) -> bytes | memoryview:
    """The payload where `data` is exactly one frame within the limit, as most arrive; else nothing."""
    size = len(data) - HEADER_BYTES
    if not 0 < size <= limit_bytes or _LENGTH.unpack_from(data)[0] != size:
        return b""
    return data[HEADER_BYTES:] if size <= _COPIED_BYTES else memoryview(data)[HEADER_BYTES:]


def decode(payload: bytes | memoryview) -> messages.AnyFrame:
    """One frame from the bytes behind its length. Raises `errors.ProtocolError`."""
    try:
        return _DECODER.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError) as problem:
        raise errors.ProtocolError(f"malformed frame ({problem})") from None
