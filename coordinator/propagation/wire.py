"""Frames to bytes and back: four bytes of length, big endian, then msgpack.

Law: `decode(encode(frame)[4:]) == frame`. Whatever else comes in raises `errors.ProtocolError`, nothing else.
"""

import msgspec

from coordinator import errors, limits
from coordinator.propagation import messages

HEADER_BYTES = 4

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[messages.AnyFrame] = msgspec.msgpack.Decoder(messages.AnyFrame)


def encode(frame: messages.AnyFrame) -> bytes:
    """Length and payload, ready to be written; asserts the bound of a frame."""
    payload = _ENCODER.encode(frame)
    assert len(payload) <= limits.FRAME_BYTES, f"frame of {len(payload)} bytes: {type(frame).__name__}"
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


def decode(payload: bytes | memoryview) -> messages.AnyFrame:
    """One frame from the bytes behind its length. Raises `errors.ProtocolError`."""
    try:
        return _DECODER.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError) as problem:
        raise errors.ProtocolError(f"malformed frame ({problem})") from None
