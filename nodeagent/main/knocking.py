"""One conversation at a server's door, from the outside: how a machine without an identity speaks with a hop's port.

Blocking, for commands. It connects, is greeted, looks at who is there, may ask once, and is gone. Law: nothing but the
preface is said before `vouched` has returned.
"""

import contextlib
import functools
import socket
import ssl
import types
from collections.abc import Callable
from typing import Self, TypeVar

import msgspec

from coordinator import errors, limits, names
from coordinator.propagation import joining
from coordinator.trust import joinlines, tls

_Outcome = TypeVar("_Outcome")

ANSWER_S = 40.0  # longer than a door waits for MIC


class Place(msgspec.Struct, frozen=True):
    """Where a server listens."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def place(text: str) -> Place:
    """`host:port`; without a port MIC's. Raises `UsageError`."""
    address, colon, port = text.rpartition(":")
    if not colon or (":" in address and not address.startswith("[")):
        address, port = text, str(limits.PORT_MIC)
    address = address.removeprefix("[").removesuffix("]")
    if not address or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise errors.UsageError(
            f"this is no place to join at (got {text[:80]!r})", hint="write host:port, or [IPv6]:port"
        )
    return Place(address, int(port))


class _Encrypted:
    """TLS over a socket that stays its owner's: `wrap_socket` loses it where the peer resets at once."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext) -> None:
        self._plain = plain
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out)

    def handshake(self) -> None:
        """Raises `OSError`, `EOFError`, as all of these do."""
        self._done(self._tls.do_handshake)

    def certificate(self) -> bytes:
        return self._tls.getpeercert(True) or b""

    def send(self, data: bytes) -> None:
        self._done(lambda: self._tls.write(data))

    def receive(self, size: int) -> bytes:
        """Exactly so many bytes."""
        data = b""
        while len(data) < size:
            piece = self._done(functools.partial(self._tls.read, size - len(data)))
            if not piece:
                raise EOFError("it closed the connection")
            data += piece
        return data

    def _done(self, act: Callable[[], _Outcome]) -> _Outcome:
        while True:
            try:
                outcome = act()
            except ssl.SSLWantReadError:
                self._plain.sendall(self._out.read())
                piece = self._plain.recv(65536)
                if not piece:
                    raise EOFError("it closed the connection") from None
                self._in.write(piece)
            else:
                self._plain.sendall(self._out.read())
                return outcome


class Knock:
    """See the module; a context manager."""

    def __init__(self, at: Place, local_address: str | None = None) -> None:
        """Raises `UnreachableError`, `ProtocolError`."""
        self.at = at
        source = (local_address, 0) if local_address else None
        with contextlib.ExitStack() as opened:
            try:
                self._plain = opened.enter_context(
                    socket.create_connection((at.address, at.port), limits.DIAL_TIMEOUT_S, source)
                )
                self._plain.settimeout(limits.HELLO_S)
                self._plain.sendall(joining.PREFACE)
                self._talk = _Encrypted(self._plain, tls.stranger_context())
                self._talk.handshake()
                self.greeting = joining.greeting(self._received())
            except (OSError, EOFError, ValueError) as wrong:
                raise errors.UnreachableError(f"{at} does not answer: {_why(wrong)}") from wrong
            opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, wrong: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self._plain.close()

    def vouched(self, pin: str) -> tuple[names.ClusterId, bytes]:
        """Cluster and CA (PEM) of whoever is there. Raises `IdentityError` where that is not what the pin says."""
        try:
            return joinlines.vouched(pin, self.greeting.roots, self._talk.certificate())
        except errors.IdentityError as wrong:
            hint = "is the line of another system, or older than this one's CA? or does somebody else listen there?"
            raise errors.IdentityError(f"{self.at}: {wrong.message}", hint=hint) from wrong

    def ask(self, request: joining.Request) -> joining.Answer:
        """Raises `UnreachableError` where no answer comes: it may have been done all the same."""
        try:
            self._plain.settimeout(ANSWER_S)
            self._talk.send(joining.framed(request))
            return joining.answer(self._received())
        except (OSError, EOFError) as wrong:
            raise errors.UnreachableError(f"{self.at} did not answer: {_why(wrong)}") from wrong

    def _received(self) -> bytes:
        size = int.from_bytes(self._talk.receive(joining.HEADER_BYTES), "big")
        if size > joining.ANSWER_BYTES:
            raise errors.ProtocolError(f"{self.at} says too much (got {size}, have {joining.ANSWER_BYTES})")
        return self._talk.receive(size)


def _why(wrong: Exception) -> str:
    if isinstance(wrong, ssl.SSLError):
        return "it does not speak with machines that want to join"
    if isinstance(wrong, TimeoutError):
        return "no answer in time"
    return (getattr(wrong, "strerror", None) or str(wrong) or type(wrong).__name__).lower()
