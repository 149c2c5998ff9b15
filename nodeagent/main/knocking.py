"""One conversation at a server's door, from the outside: how a machine without an identity speaks with a hop's port.

Blocking, for commands. It connects, is greeted, looks at who is there, may ask once, and is gone. Law: nothing but the
preface is said before `vouched` has returned.
"""

import contextlib
import socket
import ssl
import types
from typing import Self

import msgspec

from coordinator import errors, limits, names
from coordinator.propagation import joining
from coordinator.trust import joinlines, tls

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


class Knock:
    """See the module; a context manager."""

    def __init__(self, at: Place, local_address: str | None = None) -> None:
        """Raises `UnreachableError`, `ProtocolError`."""
        self.at = at
        source = (local_address, 0) if local_address else None
        with contextlib.ExitStack() as opened:
            try:
                plain = socket.create_connection((at.address, at.port), limits.DIAL_TIMEOUT_S, source)
                opened.enter_context(plain)
                plain.settimeout(limits.HELLO_S)
                plain.sendall(joining.PREFACE)
                self._talk = tls.stranger_context().wrap_socket(plain)
            except (OSError, ValueError) as wrong:
                raise errors.UnreachableError(f"{at} does not answer: {_why(wrong)}") from wrong
            opened.pop_all()
        try:
            self.greeting = joining.greeting(self._received())
        except (OSError, EOFError) as wrong:
            self._talk.close()
            raise errors.UnreachableError(f"{at} does not greet: {_why(wrong)}") from wrong
        except BaseException:
            self._talk.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, wrong: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self._talk.close()

    def vouched(self, pin: str) -> tuple[names.ClusterId, bytes]:
        """Cluster and CA (PEM) of whoever is there. Raises `IdentityError` where that is not what the pin says."""
        try:
            return joinlines.vouched(pin, self.greeting.roots, self._talk.getpeercert(True) or b"")
        except errors.IdentityError as wrong:
            hint = "was the line copied from another system, or does somebody else listen there?"
            raise errors.IdentityError(f"{self.at}: {wrong.message}", hint=hint) from wrong

    def ask(self, request: joining.Request) -> joining.Answer:
        """Raises `UnreachableError` where no answer comes: it may have been done all the same."""
        try:
            self._talk.settimeout(ANSWER_S)
            self._talk.sendall(joining.framed(request))
            return joining.answer(self._received())
        except (OSError, EOFError) as wrong:
            raise errors.UnreachableError(f"{self.at} did not answer: {_why(wrong)}") from wrong

    def _received(self) -> bytes:
        size = int.from_bytes(self._exactly(joining.HEADER_BYTES), "big")
        if size > joining.ANSWER_BYTES:
            raise errors.ProtocolError(f"{self.at} says too much (got {size}, have {joining.ANSWER_BYTES})")
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self._talk.recv(size - len(data))
            if not piece:
                raise EOFError("it closed the connection")
            data += piece
        return bytes(data)


def _why(wrong: Exception) -> str:
    if isinstance(wrong, ssl.SSLError):
        return "it does not speak with machines that want to join"
    if isinstance(wrong, TimeoutError):
        return "no answer in time"
    return (getattr(wrong, "strerror", None) or str(wrong) or type(wrong).__name__).lower()
