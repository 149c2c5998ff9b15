"""Supervision of ONE process: a table of state x event, what is wanted kept apart from what is observed.

Pure: no I/O, no clock, no processes; the caller performs the outputs in order and reports what became of them:
`Spawn` is answered by exactly one `Started` or `SpawnFailed`, every process told of by one `Exited` when it ends.

Law: at most one process of ours runs at a time; spawned is not ready (readiness is the caller's to judge); a process
that was told to stop is killed with its whole group when its time is over; the group never outlives its leader; a
crash is any end that nobody asked for, and the third within a minute is announced once per episode.
"""

import enum
from collections.abc import Mapping

import msgspec

from coordinator import effects, limits

SIGTERM = 15
SIGKILL = 9
KILL_AGAIN_S = 1.0  # a group that forks while it dies needs another round


class Wanted(enum.StrEnum):
    """What somebody decided."""

    STOPPED = "stopped"
    RUNNING = "running"


class State(enum.StrEnum):
    """What is observed."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    KILLING = "killing"
    BACKOFF = "backoff"


class Event(enum.Enum):
    """The column of an input in the table."""

    WANT_RUN = enum.auto()
    WANT_STOP = enum.auto()
    STARTED = enum.auto()
    SPAWN_FAILED = enum.auto()
    EXITED = enum.auto()
    ADOPTED = enum.auto()
    RENEWED = enum.auto()
    FROZEN = enum.auto()
    DUE = enum.auto()


class Action(enum.Enum):
    """What a cell of the table does."""

    IGNORE = enum.auto()
    SPAWN = enum.auto()
    TAKE = enum.auto()
    STRAY = enum.auto()
    ASK = enum.auto()
    KILL = enum.auto()
    END = enum.auto()
    CRASH = enum.auto()
    ENDED = enum.auto()
    REST = enum.auto()


def _row(**cells: Action) -> Mapping[Event, Action]:
    return {event: cells.get(event.name.lower(), Action.IGNORE) for event in Event}


TABLE: Mapping[State, Mapping[Event, Action]] = {
    State.STOPPED: _row(want_run=Action.SPAWN, started=Action.STRAY, adopted=Action.TAKE),
    State.STARTING: _row(started=Action.TAKE, spawn_failed=Action.CRASH, adopted=Action.STRAY),
    State.RUNNING: _row(
        want_stop=Action.ASK,
        started=Action.STRAY,
        exited=Action.CRASH,
        adopted=Action.STRAY,
        frozen=Action.END,
    ),
    State.STOPPING: _row(started=Action.STRAY, exited=Action.ENDED, adopted=Action.STRAY, due=Action.KILL),
    State.KILLING: _row(started=Action.STRAY, exited=Action.ENDED, adopted=Action.STRAY, due=Action.KILL),
    State.BACKOFF: _row(
        want_stop=Action.REST,
        started=Action.STRAY,
        adopted=Action.TAKE,
        renewed=Action.SPAWN,
        due=Action.SPAWN,
    ),
}


class Want(msgspec.Struct, frozen=True):
    """Somebody's decision."""

    wanted: Wanted


class Started(msgspec.Struct, frozen=True):
    """The answer to `Spawn`."""

    process: effects.ProcessId


class SpawnFailed(msgspec.Struct, frozen=True):
    """The other answer to `Spawn`."""

    detail: str


class Exited(msgspec.Struct, frozen=True):
    """A process has ended."""

    exit: effects.Exit


class Adopted(msgspec.Struct, frozen=True):
    """A process of an earlier life of the caller still runs; it is wanted until somebody says otherwise."""

    process: effects.ProcessId


class Renewed(msgspec.Struct, frozen=True):
    """It is to run with other parameters: crashes under the old ones count no more, and nobody waits because of them."""


class Frozen(msgspec.Struct, frozen=True):
    """It runs and does nothing: it is to be killed, and its end counts as a crash."""


class Tick(msgspec.Struct, frozen=True):
    """Time has passed; worth sending from `deadline` on."""


Input = Want | Started | SpawnFailed | Exited | Adopted | Renewed | Frozen | Tick


class Spawn(msgspec.Struct, frozen=True):
    """Start the command as it stands now."""


class Signal(msgspec.Struct, frozen=True):
    """To the process, or to all that belongs to it."""

    process: effects.ProcessId
    signal: int
    group: bool


class ReportUp(msgspec.Struct, frozen=True):
    """It runs; whether it works is another question."""

    process: effects.ProcessId


class ReportDown(msgspec.Struct, frozen=True):
    """It does not run any more, or could not be started."""

    wanted: bool
    """True: it ended as asked."""
    detail: str
    retry_in_s: float | None = None


class CrashLooping(msgspec.Struct, frozen=True):
    """It keeps ending; restarts go on, slower and slower, until somebody decides otherwise."""

    crashes: int
    detail: str


Output = Spawn | Signal | ReportUp | ReportDown | CrashLooping


class Policy(msgspec.Struct, frozen=True):
    """The numbers of one supervision."""

    stop_signal: int = SIGTERM
    stop_timeout_s: float = limits.STOP_TIMEOUT_S
    backoff_min_s: float = limits.RESTART_BACKOFF_MIN_S
    backoff_max_s: float = limits.RESTART_BACKOFF_MAX_S
    crashes: int = limits.CRASHES_UNTIL_LAST_GOOD
    window_s: float = limits.CRASH_WINDOW_S


def describe(status: int | None) -> str:
    """How a process ended, for people; a negative status is the signal that ended it."""
    if status is None:
        return "ended (status not ours to read)"
    return f"exited with status {status}" if status >= 0 else f"ended by signal {-status}"


class Machine:
    """One process, wanted or not, running or not."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.wanted = Wanted.STOPPED
        self.state = State.STOPPED
        self.process: effects.ProcessId | None = None
        self.deadline: float | None = None
        self._crashes: tuple[float, ...] = ()
        self._consecutive = 0
        self._since = 0.0
        self._announced = False

    def handle(self, event: Input, now: float) -> tuple[Output, ...]:
        """Take one input; the outputs are to be performed in order."""
        match event:
            case Want(wanted=wanted):
                self.wanted = wanted
            case Exited(exit=ended) if ended.process != self.process:
                return ()
            case Tick() if self.deadline is None or now < self.deadline:
                return ()
            case Renewed():
                self._forget_crashes()
            case Started() | SpawnFailed() | Exited() | Adopted() | Frozen() | Tick():
                pass
        return self._perform(TABLE[self.state][_column(event)], event, now)

    def _perform(self, action: Action, event: Input, now: float) -> tuple[Output, ...]:
        match action:
            case Action.IGNORE:
                return ()
            case Action.SPAWN:
                return self._spawn()
            case Action.TAKE:
                return self._take(_process_of(event), adopted=isinstance(event, Adopted), now=now)
            case Action.STRAY:
                return self._stray(_process_of(event))
            case Action.ASK:
                return self._ask(now)
            case Action.KILL | Action.END:
                return self._kill(action, now)
            case Action.CRASH:
                return self._crash(event, now)
            case Action.ENDED:
                return self._ended(event)
            case Action.REST:
                return self._rest()

    def _spawn(self) -> tuple[Output, ...]:
        self._enter(State.STARTING, None)
        return (Spawn(),)

    def _take(self, process: effects.ProcessId, *, adopted: bool, now: float) -> tuple[Output, ...]:
        if adopted:
            self.wanted = Wanted.RUNNING
        self.process = process
        self._since = now
        self._enter(State.RUNNING, None)
        stop = self._ask(now) if self.wanted is Wanted.STOPPED else ()
        return (ReportUp(process), *stop)

    def _stray(self, process: effects.ProcessId) -> tuple[Output, ...]:
        return () if process == self.process else (Signal(process, SIGKILL, group=True),)

    def _ask(self, now: float) -> tuple[Output, ...]:
        assert self.process is not None
        self._enter(State.STOPPING, now + self.policy.stop_timeout_s)
        return (Signal(self.process, self.policy.stop_signal, group=False),)

    def _kill(self, action: Action, now: float) -> tuple[Output, ...]:
        """Where nobody asked for its end, it stays `running` until it has ended, as a crash."""
        assert self.process is not None
        if action is Action.KILL:
            self._enter(State.KILLING, now + KILL_AGAIN_S)
        return (Signal(self.process, SIGKILL, group=True),)

    def _crash(self, event: Input, now: float) -> tuple[Output, ...]:
        """It ended unasked; the group goes with it, and it comes back later unless nobody wants it any more."""
        detail = event.detail if isinstance(event, SpawnFailed) else _end_of(event)
        rest = self._bury()
        if self.wanted is Wanted.STOPPED:
            return (*rest, *self._rest(), ReportDown(wanted=True, detail=detail))
        if self.state is State.RUNNING and now - self._since >= self.policy.window_s:
            self._forget_crashes()
        self._crashes = (*(at for at in self._crashes if now - at < self.policy.window_s), now)
        delay = self._delay()
        self._consecutive += 1
        self._enter(State.BACKOFF, now + delay)
        down = ReportDown(wanted=False, detail=detail, retry_in_s=delay)
        if len(self._crashes) < self.policy.crashes or self._announced:
            return (*rest, down)
        self._announced = True
        return (*rest, down, CrashLooping(len(self._crashes), detail))

    def _ended(self, event: Input) -> tuple[Output, ...]:
        rest = self._bury()
        down = ReportDown(wanted=True, detail=_end_of(event))
        self._rest()
        again = self._spawn() if self.wanted is Wanted.RUNNING else ()
        return (*rest, down, *again)

    def _rest(self) -> tuple[Output, ...]:
        self._forget_crashes()
        self._enter(State.STOPPED, None)
        return ()

    def _bury(self) -> tuple[Output, ...]:
        dead, self.process = self.process, None
        return () if dead is None else (Signal(dead, SIGKILL, group=True),)

    def _delay(self) -> float:
        doubled = self.policy.backoff_min_s * 2.0 ** min(self._consecutive, 32)
        return min(self.policy.backoff_max_s, doubled)

    def _forget_crashes(self) -> None:
        self._crashes, self._consecutive, self._announced = (), 0, False

    def _enter(self, state: State, deadline: float | None) -> None:
        self.state, self.deadline = state, deadline


def _column(event: Input) -> Event:
    match event:
        case Want(wanted=wanted):
            return Event.WANT_RUN if wanted is Wanted.RUNNING else Event.WANT_STOP
        case Started():
            return Event.STARTED
        case SpawnFailed():
            return Event.SPAWN_FAILED
        case Exited():
            return Event.EXITED
        case Adopted():
            return Event.ADOPTED
        case Renewed():
            return Event.RENEWED
        case Frozen():
            return Event.FROZEN
        case Tick():
            return Event.DUE


def _process_of(event: Input) -> effects.ProcessId:
    assert isinstance(event, Started | Adopted)
    return event.process


def _end_of(event: Input) -> str:
    assert isinstance(event, Exited)
    return describe(event.exit.status)
