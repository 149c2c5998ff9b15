"""The door of a hop: where a machine without an identity asks to become a server. Beside the mutual TLS, never through it.

Who opens with `joining.PREFACE` instead of TLS is led here: TLS with this server's certificate alone, one greeting, one
request of at most 4 KiB, one answer, the end. The request goes on to MIC, and nothing else can be said.
Laws: a stranger never becomes a link; at most `ROOM` ask at once, and `ROOM` have not asked yet, of whom the oldest of the
source that holds most gives way to the next one; each source comes in only so often; none stays longer than `limits.HELLO_S`
without having asked, or after its answer; whatever is said, the listener goes on.
"""

import asyncio
import socket
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import msgspec

from coordinator import effects, errors, limits
from coordinator.host import logs
from coordinator.propagation import asks, joining
from coordinator.trust import authority, crowd, tls

ROOM = 16  # a site that is set up at once, not a crowd; each costs a handshake and a question to MIC
BURST = 20.0  # of one source at once: a rack behind one address
PER_S = 0.5  # and then so often, for ever; a guess at a secret of 256 bits needs more
SOURCES = 1024  # remembered; the one not seen for longest makes room
ANSWER_S = 35.0  # longer than a question to MIC may take

_LOG = logs.Log("door")

Ask = Callable[[bytes], Awaitable[tuple[str, bytes]]]
"""Carry a request (`joining.Carried`) to MIC: (code, JSON), the code empty if it is good."""


class Shown(msgspec.Struct, frozen=True):
    """What the door shows of its server."""

    identity: authority.Identity
    roots: tuple[bytes, ...] = ()
    """CA certificates, PEM, beside its own."""


class Sources:
    """Who came how often; each source has an allowance that grows again."""

    def __init__(self, clock: effects.Clock) -> None:
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admits(self, address: str) -> bool:
        """Whether this source may come in now; if so, that is taken from its allowance."""
        source, now = crowd.of_one(address), self._clock.monotonic()
        left, since = self._left.pop(source, (BURST, now))
        left = min(BURST, left + (now - since) * PER_S)
        good = left >= 1.0
        self._left[source] = (left - 1.0 if good else left, now)
        while len(self._left) > SOURCES:
            self._left.popitem(last=False)
        return good


class Door:
    """Of one listener."""

    def __init__(self, shown: Callable[[], Shown], ask: Ask, clock: effects.Clock) -> None:
        """`shown` is asked anew for everyone who comes: an identity is renewed now and then."""
        self._shown = shown
        self._ask = ask
        self._clock = clock
        self._sources = Sources(clock)
        self._quiet = crowd.Crowd(ROOM)
        """Those who have not asked yet."""
        self._asking = 0
        self._full = False

    async def attend(self, connected: socket.socket, until: float) -> None:
        """See one stranger through; `connected` has sent a byte that is not of TLS. Raises nothing but cancellation.

        `until` is the second of the loop at which it must have asked.
        """
        source = str(connected.getpeername()[0]) if connected.family != socket.AF_UNIX else ""
        if not self._sources.admits(source):
            self._turned_away(source)
            return
        ticket = self._quiet.enter(crowd.of_one(source), lambda: crowd.hang_up(connected))
        try:
            await self._talk(connected, source, (ticket, until))
        except (OSError, EOFError, errors.ProtocolError) as wrong:
            _LOG.info("stranger closed", source=source, reason=str(wrong) or type(wrong).__name__)
        finally:
            self._quiet.leave(ticket)

    def _turned_away(self, source: str) -> None:
        """Said once until somebody comes in again."""
        if not self._full:
            _LOG.warning("too many at the door", source=source, asking=self._asking)
        self._full = True

    async def _talk(self, connected: socket.socket, source: str, inside: tuple[int, float]) -> None:
        """`inside` is its ticket, and until when it must have asked."""
        shown, (ticket, until) = self._shown(), inside
        async with asyncio.timeout_at(until):
            await _preface(connected)
            reader, writer = await _encrypted(connected, tls.door_context(shown.identity))
        try:
            async with asyncio.timeout_at(until):
                roots = tuple(dict.fromkeys((shown.identity.ca_pem, *shown.roots)))
                greeting = joining.Greeting(joining.PROTOCOL, roots, self._clock.wall())
                writer.write(joining.framed(greeting))
                body = await _request(reader)
            self._quiet.leave(ticket)
            async with asyncio.timeout(ANSWER_S):
                code, data = await self._answer(source, body)
            async with asyncio.timeout(limits.HELLO_S):
                writer.write(joining.framed(joining.Answer(code, data)))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except BaseException:  # whoever stops this listener does not wait for a stranger
            writer.transport.abort()
            raise

    async def _answer(self, source: str, body: bytes) -> tuple[str, bytes]:
        """MIC's; `busy` where too many are asking, which says nothing about the line."""
        if self._asking >= ROOM:
            self._turned_away(source)
            return asks.BUSY, b""
        self._full = False
        self._asking += 1
        try:
            _LOG.info("asks to join", source=source)
            return await self._ask(joining.encode(joining.Carried(source, body)))
        finally:
            self._asking -= 1


async def _preface(connected: socket.socket) -> None:
    """Byte by byte up to its end, for TLS begins right behind it. Raises `ProtocolError`."""
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < len(joining.PREFACE):
        piece = await loop.sock_recv(connected, len(joining.PREFACE) - len(data))
        data += piece
        if not piece or not joining.PREFACE.startswith(data):
            raise errors.ProtocolError("neither TLS nor a stranger's first word")


async def _encrypted(
    connected: socket.socket, context: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2 * joining.REQUEST_BYTES)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(
        lambda: protocol, connected, ssl=context, ssl_handshake_timeout=limits.HELLO_S
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _request(reader: asyncio.StreamReader) -> bytes:
    """Raises `ProtocolError` before anything too large is read, `EOFError`."""
    size = int.from_bytes(await reader.readexactly(joining.HEADER_BYTES), "big")
    if size > joining.REQUEST_BYTES:
        raise errors.ProtocolError(f"request too large (got {size}, have {joining.REQUEST_BYTES})")
    body = await reader.readexactly(size)
    joining.request(body)  # what is none goes no further
    return body
