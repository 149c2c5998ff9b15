"""A process: one production machine, driven as `coordinator.hop.driver` drives it, but under virtual time.

Outputs are performed in order; while a store is under way, or the process is paused, nothing else happens in it.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from coordinator import limits, names
from coordinator.hop import ledger
from coordinator.propagation import events, messages
from tests.simulation import checkers, disk, engine, network

TICK_MIN_S = 0.001
JUDGING_S = 0.5  # as long as a large document takes
NOTICE_S = limits.SILENT_S + limits.HEARTBEAT_S
TICKS_PER_S = 100  # a machine that wants more has a deadline that it does not serve


class Ground:
    """What every process stands on."""

    def __init__(self, clock: engine.Engine, net: network.Network, checks: checkers.Checks) -> None:
        self.engine = clock
        self.network = net
        self.checks = checks
        self.disk_delay_s: dict[str, float] = {}
        """The longest time that a store takes, by host."""
        self.steady_from = 0.0
        """Until then some process stood still, or has not yet noticed who was silent meanwhile."""
        self.power_cut: Callable[[str], None] = lambda _host: None

    def stands_still(self, duration_s: float) -> None:
        """A process does nothing for so long; what it hears afterwards looks fresh to it."""
        self.steady_from = max(self.steady_from, self.engine.now + duration_s + NOTICE_S)


class Machine(Protocol):
    @property
    def deadline(self) -> float: ...

    def handle(self, event: events.Input, now: float) -> tuple[object, ...]: ...

    def drained(self, link: names.LinkId, now: float) -> tuple[object, ...]: ...


Thunk = Callable[[float], Iterable[object]]


class Process:
    """See the module. Tiers override `perform`."""

    def __init__(
        self, ground: Ground, host: str, peer: names.ServerId, machine: Machine, book: ledger.Ledger | None
    ) -> None:
        self.ground = ground
        self.host = host
        self.peer = peer
        self.alive = True
        self.machine = machine
        self._book = book
        self._inbox: deque[events.Input | Thunk] = deque()
        self._todo: deque[object] = deque()
        self._working = False
        self._stalls = 0
        self._storing: events.Store | None = None
        self._tick_at: float | None = None
        self._ticks = 0
        self._ticked_at = 0.0

    # --- in -------------------------------------------------------------------------------------------------------

    def feed(self, event: events.Input) -> None:
        """One input for the machine."""
        self.call(event)

    def call(self, item: events.Input | Thunk) -> None:
        """One input, or another method of the machine, given the time."""
        if self.alive:
            self._inbox.append(item)
            self._work()

    def act(self, outputs: Iterable[object]) -> None:
        """Perform these before whatever else is waiting."""
        if self.alive:
            self._todo.extendleft(reversed(tuple(outputs)))
            self._work()

    def _work(self) -> None:
        if self._working:
            return
        self._working = True
        while self.alive and self._stalls == 0 and (self._todo or self._inbox):
            if self._todo:
                self._do(self._todo.popleft())
                continue
            item = self._inbox.popleft()
            self._todo.extend(item(self.now) if callable(item) else self.handle(item))
        self._working = False
        if self.alive and self._stalls == 0:
            self._schedule()

    def handle(self, event: events.Input) -> Iterable[object]:
        return self.machine.handle(event, self.now)

    @property
    def now(self) -> float:
        return self.ground.engine.now

    @property
    def deadline(self) -> float:
        return self.machine.deadline

    def _schedule(self) -> None:
        due = max(self.now + TICK_MIN_S, self.deadline)
        if self._tick_at is None or due < self._tick_at:
            self._tick_at = due
            self.ground.engine.after(due - self.now, lambda: self._tick(due))

    def _tick(self, due: float) -> None:
        if self.alive and self._tick_at == due:
            self._tick_at = None
            self._ticks = self._ticks + 1 if due - self._ticked_at < 1.0 else 0
            self._ticked_at = due if self._ticks == 0 else self._ticked_at
            self.ground.checks.expect(self._ticks < TICKS_PER_S, "busy", f"{self.host} ticks without end")
            self.feed(events.Tick())

    # --- out ------------------------------------------------------------------------------------------------------

    def _do(self, output: object) -> None:
        match output:
            case events.Send(links, frame):
                self.ground.network.send(links, frame)
                if isinstance(frame, messages.Chunk):
                    for link in links:
                        self.ground.engine.after(0.01, lambda link=link: self._drained(link))  # type: ignore[misc]
            case events.Close(link, reason):
                self.ground.network.close(link, reason)
            case events.Authenticated(link):
                self.ground.network.authenticated(link)
            case events.Dial():
                self.ground.network.dial(self, output)
            case events.Store():
                self._store(output)
            case events.Judge(digest, body, check):
                self.ground.engine.after(JUDGING_S, lambda: self.feed(events.Judged(digest, check(body))))
            case events.Note():
                self.ground.checks.noted(self.host, output)
            case _:
                self.perform(output)

    def perform(self, output: object) -> None:
        """What is the tier's own."""
        raise AssertionError(f"unknown output {output!r}")

    def _drained(self, link: names.LinkId) -> None:
        self.call(lambda now: self.machine.drained(link, now))

    def _store(self, store: events.Store) -> None:
        self._storing = store
        self._stalls += 1
        slow = self.ground.disk_delay_s.get(self.host, 0.0)
        if slow == 0.0:
            self._stored(store)
        else:
            wait = self.ground.engine.rng.uniform(0.0, slow)
            self.ground.stands_still(wait)
            self.ground.engine.after(wait, lambda: self._stored(store))

    def _stored(self, store: events.Store) -> None:
        if not self.alive:
            return
        assert self._book is not None
        self._storing = None
        problem = ""
        try:
            self._book.store(store.objects, store.body, store.keep, store.frame, store.base)
        except disk.PowerCutError:
            self.ground.power_cut(self.host)
            return
        except disk.FullError as full:
            if not store.spare:  # the tier ends, and its supervisor starts it again
                self.ground.power_cut(self.host)
                return
            problem = str(full)
        self._stalls -= 1
        self._inbox.append(events.Stored(store.ticket, problem))
        self._work()

    # --- faults ---------------------------------------------------------------------------------------------------

    def pause(self, duration_s: float) -> None:
        """It stands still, and then goes on as if nothing had happened."""
        self._stalls += 1
        self.ground.stands_still(duration_s)
        self.ground.engine.after(duration_s, self._resume)

    def _resume(self) -> None:
        self._stalls -= 1
        self._work()

    def die(self, *, silently: bool = False) -> None:
        """Its memory is gone; a store under way was done or was not."""
        if not self.alive:
            return
        self.alive = False
        if self._storing is not None and self._book is not None and self.ground.engine.rng.random() < 0.5:
            store = self._storing
            self._book.store(store.objects, store.body, store.keep, store.frame, store.base)
        self.ground.network.gone(self, silently=silently)
