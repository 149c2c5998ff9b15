"""The shell around a machine of the tree: links and timers in, outputs performed in order. The same for every tier.

It decides nothing. What is not of the hop (asks, acceptance, draining ...) goes to the tier's own `perform`.
Law: outputs are performed in the order given, and an input that arises meanwhile is handled after them.
"""

import asyncio
import errno
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from coordinator import effects, errors, names
from coordinator.hop import dial, ledger, link, serve
from coordinator.host import logs
from coordinator.propagation import events, messages, wire
from coordinator.trust import peers

WEED_S = 5.0  # a parent of 1,000 children shakes 200 hands a second then

_LOG = logs.Log("hop")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Machine(Protocol):
    """What every tier's machine offers."""

    @property
    def deadline(self) -> float:
        """Monotonic second at which `Tick` is due."""
        ...

    def handle(self, event: Any, now: float) -> tuple[object, ...]:  # noqa: ANN401 each tier has inputs of its own beside the hop's
        """One input; outputs in the order in which they are to be performed."""
        ...

    def drained(self, link: names.LinkId, now: float) -> tuple[object, ...]: ...


class Ground(msgspec.Struct, frozen=True):
    """What a driver stands on."""

    clock: effects.Clock
    random: effects.Random
    own: link.Own | None
    """None where only a Unix socket is dialled."""
    local_address: str | None = None
    """Where dialled connections come from, for servers that share one machine."""


class _Side:
    """Events of the links of one listener, or of one dial."""

    def __init__(self, driver: "Driver", dial_number: int | None) -> None:
        self._driver = driver
        self._dial = dial_number

    def opened(self, made: link.Link) -> None:
        self._driver.opened(made, self._dial)

    def received(self, made: link.Link, frame: messages.AnyFrame) -> None:
        self._driver.feed(events.Heard(made.id, frame))

    def closed(self, made: link.Link, reason: str) -> None:
        self._driver.closed(made, reason)


class Driver:
    """See the module. To be used inside one running event loop."""

    def __init__(
        self,
        machine: Machine,
        ground: Ground,
        perform: Callable[[object], None],
        book: ledger.Ledger | None = None,
    ) -> None:
        self._machine = machine
        self._ground = ground
        self._now = ground.clock.monotonic
        self._perform = perform
        self._book = book
        self._links: dict[names.LinkId, link.Link] = {}
        self._dialled: set[names.LinkId] = set()
        self._inbox: deque[object] = deque()
        self._busy = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._watched: set[names.LinkId] = set()
        self._servers: list[serve.Server] = []
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._closed = False
        if ground.own is not None:
            ground.own.watch(self._weed)
        self.failed: asyncio.Future[Exception] = self._loop.create_future()
        """Done when the machine or the disk failed: the tier must end, its supervisor starts it again."""
        self.counters = link.Counters()
        """Of links that have ended; `traffic` adds the open ones."""

    # --- in -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to tick."""
        self.feed(events.Tick())

    async def listen(self, address: str, port: int, strangers: serve.Strangers | None = None) -> serve.Server:
        """Accept children over TLS, and at its door who has no identity yet. Raises `InUseError`, `UnreachableError`."""
        assert self._ground.own is not None
        own, side = self._ground.own, _Side(self, None)
        server = await serve.serve(address, port, own, side, strangers=strangers)
        self._servers.append(server)
        return server

    async def listen_unix(self, path: str) -> serve.Server:
        """Accept children over a Unix socket. Raises `InUseError`, `UsageError`."""
        server = await serve.serve_unix(path, _Side(self, None))
        self._servers.append(server)
        return server

    def feed(self, event: object) -> None:
        """One input for the machine; its outputs are performed before this returns, unless one is under way."""
        if self._busy:
            self._inbox.append(event)
            return
        if self._closed:
            return
        self._busy = True
        try:
            for output in self._machine.handle(event, self._now()):
                self._do(output)
            if self._inbox:
                self._work_off()
        except Exception as problem:  # noqa: BLE001 a bug or a failing disk: never to be survived half-done
            self._fail(problem)
            return
        finally:
            self._busy = False
        due = self._machine.deadline
        if self._timer is None or due < self._due:  # it may come too early, which does no harm
            self._wake_at(due)

    def act(self, outputs: Iterable[object]) -> None:
        """Perform what another method of the machine returned."""
        if self._closed:
            return
        was, self._busy = self._busy, True
        try:
            for output in outputs:
                self._do(output)
            if not was:
                self._work_off()
        except Exception as problem:
            if was:
                raise  # whoever is at it has more to perform, which must not follow
            self._fail(problem)
        finally:
            self._busy = was
        if not was and (self._timer is None or self._machine.deadline < self._due):
            self._wake_at(self._machine.deadline)

    def _work_off(self) -> None:
        """What has arisen meanwhile."""
        while self._inbox:
            for output in self._machine.handle(self._inbox.popleft(), self._now()):
                self._do(output)

    def _fail(self, problem: Exception) -> None:
        self._closed = True
        if not self.failed.done():
            self.failed.set_result(problem)

    def _wake_at(self, due: float) -> None:
        if self._closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        wait = max(0.001, due - self._now())
        self._timer, self._due = self._loop.call_later(wait, self._tick), due

    def _tick(self) -> None:
        self._timer = None
        self.feed(events.Tick())

    def _weed(self) -> None:
        """A CA has been given up: what its certificates have opened ends, and comes back with others.

        Children of one parent do not all come back at once.
        """
        own = self._ground.own
        for made in tuple(self._links.values()):
            peer = made.peer
            if own is None or not isinstance(peer, peers.PeerIdentity) or own.counts(peer):
                continue
            wait_s = self._ground.random.uniform(0.0, WEED_S) if made.id in self._dialled else 0.0
            self._loop.call_later(wait_s, made.close, "its certificate is of a CA that counts no more")

    def opened(self, made: link.Link, dial_number: int | None) -> None:
        """A link stands; called by its side."""
        self._links[made.id] = made
        if dial_number is not None:
            self._dialled.add(made.id)
        peer, proof = _shown(made.peer)
        if dial_number is None:
            self.feed(events.Arrived(made.id, peer, proof))
        else:
            self.feed(events.Opened(dial_number, made.id, peer, proof))

    def closed(self, made: link.Link, reason: str) -> None:
        """A link has ended; called by its side."""
        self._links.pop(made.id, None)
        self._dialled.discard(made.id)
        _add(self.counters, made.counters)
        self.feed(events.Gone(made.id, reason))

    # --- out ------------------------------------------------------------------------------------------------------

    def _do(self, output: object) -> None:
        match output:
            case events.Send():
                self._send(output.links, output.frame)
            case events.Store():
                self._store(output)
            case events.Judge():
                self._spawn(self._judge(output))
            case events.Close(link_id, reason):
                made = self._links.get(link_id)
                if made is not None:
                    made.close(reason)
            case events.Authenticated(link_id, documents):
                made = self._links.get(link_id)
                if made is not None:
                    made.authenticated(documents=documents)
            case events.Dial():
                self._spawn(self._dial(output))
            case events.Note(severity, phrase, facts):
                write = _LOG.warning if severity is events.Severity.WARNING else _LOG.info
                write(phrase, **facts)
            case _:
                self._perform(output)

    def _send(self, links: tuple[names.LinkId, ...], frame: messages.AnyFrame) -> None:
        encoded, known = wire.encode(frame), self._links
        bulk, piece = isinstance(frame, link.BULK), isinstance(frame, messages.Chunk)
        for link_id in links:
            made = known.get(link_id)
            if made is None:
                continue
            made.send_encoded(encoded, bulk=bulk)
            if piece and link_id not in self._watched:
                self._watched.add(link_id)
                self._spawn(self._watch(made))

    async def _watch(self, made: link.Link) -> None:
        """One at a time for each link, however many pieces are written to it."""
        await made.drained()
        self._watched.discard(made.id)
        self.act(self._machine.drained(made.id, self._now()))

    def _store(self, output: events.Store) -> None:
        """Blocks the loop for the length of two fsyncs: nothing later may be said before this is durable."""
        problem = ""
        try:
            if self._book is not None:
                self._book.store(output.objects, output.body, output.keep, output.frame, output.base)
        except OSError as error:
            if not (output.spare and error.errno in _FULL):
                raise
            problem = error.strerror or str(error)
        self._inbox.append(events.Stored(output.ticket, problem))

    async def _judge(self, output: events.Judge) -> None:
        """In a thread, which lets the loop have its turns."""
        try:
            refusal = await asyncio.to_thread(output.check, output.body)
        except Exception as problem:  # noqa: BLE001 as in `act`
            self._fail(problem)
            return
        self.feed(events.Judged(output.digest, refusal))

    async def _dial(self, output: events.Dial) -> None:
        if output.delay_s > 0:
            await asyncio.sleep(self._ground.random.uniform(0.0, output.delay_s))
        side, parent = _Side(self, output.dial), output.parent
        try:
            if parent.port == 0:
                await dial.dial_unix(parent.address, side)
            else:
                assert self._ground.own is not None
                local = self._ground.local_address
                await dial.dial(parent.address, parent.port, self._ground.own, side, local_address=local)
        except errors.TiercastError as problem:
            self.feed(events.DialFailed(output.dial, problem.message))
        except Exception as problem:  # noqa: BLE001 whatever it is: an attempt without an answer would be the last one
            _LOG.error("dial broke", address=parent.address, port=parent.port, reason=repr(problem))
            self.feed(events.DialFailed(output.dial, repr(problem)))

    # --- end ------------------------------------------------------------------------------------------------------

    def _spawn(self, coroutine: "asyncio._CoroutineLike[None]") -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def traffic(self) -> link.Counters:
        """Frames and bytes over all links, ended and open."""
        total = link.Counters()
        _add(total, self.counters)
        for made in self._links.values():
            _add(total, made.counters)
        return total

    async def close(self, reason: str) -> None:
        """End listeners, links, dials and timers."""
        self._closed = True
        if self._ground.own is not None:
            self._ground.own.unwatch(self._weed)
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for server in self._servers:
            await server.close(reason)
        for made in list(self._links.values()):
            made.close(reason)
            await made.lost()


def _shown(peer: link.Peer) -> tuple[names.ServerId, events.Proof]:
    if isinstance(peer, peers.PeerIdentity):
        return peer.server_id, events.Proof(peer.key, peer.expired)
    return names.ServerId(str(peer)), events.NO_PROOF


def _add(total: link.Counters, more: link.Counters) -> None:
    total.frames_in += more.frames_in
    total.frames_out += more.frames_out
    total.bytes_in += more.bytes_in
    total.bytes_out += more.bytes_out
