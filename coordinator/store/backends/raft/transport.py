"""Links between the members of a group: mutual TLS over TCP, msgpack frames, bounded on both sides.

Each member dials every other and sends on what it dialled; what it accepted it only reads. It decides nothing and may
lose anything, but says when a link is new. Laws: a frame counts as from the member that the certificate names, and from
no other; before that is known a peer costs a few KiB and a few seconds, after it one message and one fragment; a small
message never waits behind more than a fragment of a large one. Whoever is no member any more (revoked, of a CA or a key that
counts no more) is one no longer than `LOOK_S`, however long its link has stood.
"""

import asyncio
import ssl
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Final, Protocol

import msgspec

from coordinator import effects, errors, limits, names
from coordinator.store import commands
from coordinator.store.backends.raft import accepting, incoming, messages

PROTOCOL: Final = 1
QUEUE_BYTES: Final = (
    2 * incoming.MESSAGE_BYTES
)  # beyond it the link is cut: it lags more than it can catch up
BACKOFF_MIN_S: Final = 0.05
BACKOFF_MAX_S: Final = 0.5  # members are few, and a group waits for them
CONNECTIONS: Final = 32  # of members; each has one, and another while it dials anew
LOOK_S: Final = 2.0  # reading a handful of certificates takes a millisecond


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """The first frame of every connection."""

    protocol: int
    cluster: names.ClusterId
    member: str
    level: int = 1
    """The newest feature level that its program understands."""


class Group(msgspec.Struct, frozen=True):
    """Where the members are and how they know each other."""

    addresses: Mapping[str, tuple[str, int]]
    """Of every member, this one included: it listens there."""
    server_context: Callable[[], ssl.SSLContext]
    """For a handshake now; must require a certificate of the peer."""
    client_context: Callable[[], ssl.SSLContext]
    """Likewise; must verify the peer, and leave names to `identify` (`check_hostname` off)."""
    identify: Callable[[bytes], str]
    """The member a certificate (DER) belongs to now; raises IdentityError. Asked again while a link stands."""


class Events(Protocol):
    """What a member learns from its links; must not block."""

    def received(self, sender: str, frame: messages.Frame) -> None: ...

    def linked(self, member: str) -> None:
        """A new link leads to it: what was sent before may be lost."""

    def unlinked(self, member: str) -> None: ...

    def understands(self, member: str, level: int | None) -> None:
        """Its program's feature level; None: it has gone, and may come back as another."""


_ENCODER = msgspec.msgpack.Encoder()
_HELLO = msgspec.msgpack.Decoder(Hello)
_SMALL: Final = (
    messages.Vote
    | messages.Voted
    | messages.Appended
    | messages.Installed
    | messages.Succeed
    | messages.Forwarded
    | messages.Answer
)


class Transport:
    """All links of one member."""

    def __init__(
        self, member: str, cluster: names.ClusterId, group: Group, events: Events, random: effects.Random
    ) -> None:
        self._hello = Hello(PROTOCOL, cluster, member, commands.LEVEL)
        self._group = group
        self._events = events
        self._random = random
        self._outgoing = {other: Outgoing() for other in group.addresses if other != member}
        self._accepting: accepting.Accepting | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepted: set[incoming.Incoming] = set()
        self._greetings: Counter[str] = Counter()
        """Connections that each member has made, for one may come before the end of its forerunner is seen."""
        self._last: tuple[messages.Frame, bytes] | None = None
        """The large frame that was sent last, and its encoding."""

    async def start(self) -> None:
        """Listen and begin to dial; raises OSError where the address cannot be had."""
        place = self._group.addresses[self._hello.member]
        self._accepting = accepting.Accepting(
            place, self._group.server_context, lambda: incoming.Incoming(self)
        )
        self._spawn(self._keep_looking())
        for other, outgoing in self._outgoing.items():
            self._spawn(self._dial(other, outgoing))

    def send(self, to: str, frame: messages.Frame) -> None:
        """Queue a frame; it is lost where no link is."""
        outgoing = self._outgoing.get(to)
        if outgoing is not None and outgoing.linked:
            bulk = not isinstance(frame, _SMALL) and not (
                isinstance(frame, messages.Append) and not frame.entries
            )
            data = self._encode(frame) if bulk else _ENCODER.encode(frame)
            outgoing.put(data, bulk=bulk, again=isinstance(frame, messages.Append | messages.Install))

    def _encode(self, frame: messages.Frame) -> bytes:
        """A leader sends the same to all, one right after the other: encoded once."""
        if self._last is None or self._last[0] != frame:
            self._last = (frame, _ENCODER.encode(frame))
        return self._last[1]

    def reaches(self, other: str) -> bool:
        """Whether a link leads to it now."""
        outgoing = self._outgoing.get(other)
        return outgoing is not None and outgoing.linked

    async def close(self) -> None:
        if self._accepting is not None:
            await self._accepting.close()
        for connection in tuple(self._accepted):
            connection.abort()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_looking(self) -> None:
        """Whether those at the other ends are still who they were let in as."""
        while True:
            await asyncio.sleep(LOOK_S)
            for connection in tuple(self._accepted):
                connection.judge()
            for other, outgoing in self._outgoing.items():
                if outgoing.linked and not self._is_still(other, outgoing.certificate):
                    outgoing.cut()

    def _is_still(self, other: str, certificate: bytes | None) -> bool:
        try:
            return self.identify(certificate) == other
        except errors.TiercastError:
            return False

    def _spawn(self, act: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(act)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Sending.

    async def _dial(self, other: str, outgoing: "Outgoing") -> None:
        while True:
            try:
                await self._linked(other, outgoing)
            except (OSError, errors.TiercastError, TimeoutError):
                pass  # away, or not who it should be: try again, for both may change
            finally:
                if outgoing.linked:
                    outgoing.cut()
                    self._events.unlinked(other)
            await asyncio.sleep(self._random.uniform(BACKOFF_MIN_S, BACKOFF_MAX_S))

    async def _linked(self, other: str, outgoing: "Outgoing") -> None:
        host, port = self._group.addresses[other]
        async with asyncio.timeout(limits.DIAL_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(
                host, port, ssl=self._group.client_context(), server_hostname=""
            )
        try:
            tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
            outgoing.certificate = tls.getpeercert(binary_form=True)
            if self.identify(outgoing.certificate) != other:
                raise errors.IdentityError(f"another member answers for {other}")
            writer.transport.set_write_buffer_limits(incoming.FRAGMENT_BYTES)
            _write(writer, incoming.LAST, _ENCODER.encode(self._hello))
            outgoing.open()
            self._events.linked(other)
            # Nothing is ever said on this side; reading ends when the peer closes.
            closed = asyncio.ensure_future(reader.read(1))
            closed.add_done_callback(lambda _done: outgoing.cut())
            try:
                await outgoing.write_to(writer)
            finally:
                closed.cancel()
                await asyncio.gather(closed, return_exceptions=True)
        finally:
            writer.transport.abort()

    # Receiving: `incoming.Host`.

    def admit(self, connection: incoming.Incoming) -> bool:
        self._accepted.add(connection)
        return len(self._accepted) <= CONNECTIONS

    def identify(self, certificate: bytes | None) -> str:
        if certificate is None:
            raise errors.IdentityError("the peer showed no certificate")
        member = self._group.identify(certificate)
        if member not in self._outgoing:
            raise errors.IdentityError(f"not a member of this group (got {member})")
        return member

    def greeted(self, sender: str, greeting: bytes) -> None:
        hello = _HELLO.decode(greeting)
        if (hello.protocol, hello.cluster, hello.member) != (PROTOCOL, self._hello.cluster, sender):
            raise errors.IdentityError(f"not a member of this group (got {hello})")
        self._greetings[sender] += 1
        self._events.understands(sender, hello.level)

    def received(self, sender: str, frame: messages.Frame) -> None:
        self._events.received(sender, frame)

    def ended(self, connection: incoming.Incoming, sender: str | None) -> None:
        self._accepted.discard(connection)
        if sender is not None:
            self._greetings[sender] -= 1
            if not self._greetings[sender]:
                self._events.understands(sender, None)


class Outgoing:
    """What waits for one link: small messages first, large ones in fragments."""

    def __init__(self) -> None:
        self._small: deque[bytes] = deque()
        self._bulk: deque[bytes] = deque()
        self._sent = 0
        """Of the first of the large ones."""
        self._bytes = 0
        self._wake = asyncio.Event()
        self.linked = False
        self.certificate: bytes | None = None
        """Of whoever is there."""

    def open(self) -> None:
        self._small.clear()
        self._bulk.clear()
        self._sent = self._bytes = 0
        self.linked = True

    def cut(self) -> None:
        """The link has ended; what waits is lost."""
        self.linked = False
        self._wake.set()

    def put(self, data: bytes, *, bulk: bool, again: bool = False) -> None:
        """`again`: its sender repeats it until it is answered, so that it may be lost."""
        if again and self._bulk and self._bytes + len(data) > incoming.MESSAGE_BYTES:
            return  # a slow link that is cut would begin a large entry anew each time
        (self._bulk if bulk else self._small).append(data)
        self._bytes += len(data)
        if self._bytes > QUEUE_BYTES:
            self.cut()
        self._wake.set()

    async def write_to(self, writer: asyncio.StreamWriter) -> None:
        """Until the link is cut."""
        while self.linked:
            if not self._small and not self._bulk:
                self._wake.clear()
                await self._wake.wait()
                continue
            self._write_next(writer)
            await writer.drain()

    def _write_next(self, writer: asyncio.StreamWriter) -> None:
        while self._small:
            data = self._small.popleft()
            self._bytes -= len(data)
            # A small message is always smaller than a fragment.
            _write(writer, incoming.LAST, data)
        if self._bulk:
            data = self._bulk[0]
            fragment = memoryview(data)[self._sent : self._sent + incoming.FRAGMENT_BYTES]
            self._sent += len(fragment)
            last = self._sent == len(data)
            _write(writer, incoming.BULK | (incoming.LAST if last else 0), fragment)
            if last:
                self._bulk.popleft()
                self._bytes -= len(data)
                self._sent = 0


def _write(writer: asyncio.StreamWriter, flags: int, data: bytes | memoryview) -> None:
    writer.writelines((incoming.HEAD.pack(len(data), flags), data))
