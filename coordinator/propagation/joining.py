"""What is said at the door of a hop by a machine that has no identity yet: values, their bytes, and their bounds. Pure.

The machine opens with `PREFACE`, then TLS with the server's certificate alone; the server greets, the machine asks once,
is answered once, and the connection ends. Nothing else exists on this side of authentication.
"""

from typing import TypeVar

import msgspec

from coordinator import errors, limits, names

_Word = TypeVar("_Word", bound=msgspec.Struct)

PREFACE = b"tiercast-join/1\n"
"""Before TLS, which begins with another byte: who comes without an identity never meets the TLS of the hop."""
PROTOCOL = 1
JOIN = "servers.join"
LEAVE = "servers.leave"
REQUEST_BYTES = limits.FRAME_BYTES_UNAUTHENTICATED
ANSWER_BYTES = limits.FRAME_BYTES
HEADER_BYTES = 4


class Greeting(msgspec.Struct, frozen=True, array_like=True):
    """The server's first word."""

    protocol: int
    roots: tuple[bytes, ...]
    """CA certificates, PEM; the one that issued its own certificate first."""
    wall: float
    """What its clock says."""


class Request(msgspec.Struct, frozen=True, array_like=True):
    """The machine's only word."""

    line: str
    """Id of the join line."""
    csr: bytes
    """PKCS #10, DER."""
    wall: float
    """What its clock says; 0: that is not to be looked at."""
    proof: bytes


class Carried(msgspec.Struct, frozen=True, array_like=True):
    """A request on its way to MIC."""

    source: str
    """Address it came from, as the door saw it; for the audit only."""
    body: bytes


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """MIC's, or of whoever could not reach it; `code` empty is good."""

    code: str
    data: bytes
    """JSON: `Sealed`, or a problem; empty where a relay answers."""


class Sealed(msgspec.Struct, frozen=True):
    """A grant as it travels, with the proof that it comes from whoever can tell the line's secret."""

    grant: bytes
    proof: bytes


class Grant(msgspec.Struct, frozen=True):
    """The identity of a new server."""

    server_id: names.ServerId
    name: names.ServerName
    state: str
    certificate_pem: bytes
    ca_pem: bytes
    trust: bytes
    admission: bytes
    parents: tuple[tuple[str, int], ...]
    """Address and port of MIC."""


class Leave(msgspec.Struct, frozen=True, array_like=True):
    """A server's own word that it goes."""

    server_id: names.ServerId
    public: bytes
    signature: bytes
    rehearse: bool
    """Only say what would happen."""


class Left(msgspec.Struct, frozen=True):
    """What MIC knows of the server that goes."""

    name: str
    placed: bool
    """The active revision names it."""
    version: names.Version


class Problem(msgspec.Struct, frozen=True):
    """Why not, as MIC says it."""

    code: str = ""
    detail: str = ""
    hint: str = ""


_GREETING = msgspec.msgpack.Decoder(Greeting)
_REQUEST = msgspec.msgpack.Decoder(Request)
_CARRIED = msgspec.msgpack.Decoder(Carried)
_ANSWER = msgspec.msgpack.Decoder(Answer)
_GRANT = msgspec.msgpack.Decoder(Grant)
_LEAVE = msgspec.msgpack.Decoder(Leave)
_UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)


def framed(word: msgspec.Struct) -> bytes:
    """Length, four bytes big endian, and the value."""
    payload = msgspec.msgpack.encode(word)
    return len(payload).to_bytes(HEADER_BYTES, "big") + payload


def encode(word: msgspec.Struct) -> bytes:
    return msgspec.msgpack.encode(word)


def greeting(payload: bytes) -> Greeting:
    """Raises `ProtocolError`, as all of these do."""
    return _decoded(_GREETING, payload)


def request(payload: bytes) -> Request:
    return _decoded(_REQUEST, payload)


def carried(payload: bytes) -> Carried:
    return _decoded(_CARRIED, payload)


def answer(payload: bytes) -> Answer:
    return _decoded(_ANSWER, payload)


def grant(payload: bytes) -> Grant:
    return _decoded(_GRANT, payload)


def leave(payload: bytes) -> Leave:
    return _decoded(_LEAVE, payload)


def _decoded(decoder: "msgspec.msgpack.Decoder[_Word]", payload: bytes) -> _Word:
    try:
        return decoder.decode(payload)
    except _UNREADABLE as wrong:
        raise errors.ProtocolError(f"malformed word at the door ({wrong})") from None
