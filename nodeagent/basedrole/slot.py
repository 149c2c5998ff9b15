"""One role of a node: a table of phase x event, what is wanted kept apart from what runs. Pure; part of `lifecycle`.

Law: at most one operation of the role is under way; when it has ended, the newest wanted parameters are compared, so
nothing is lost and nothing overtaken is started. Parameters that were rejected (refused or failed) are not tried again
until they change, somebody says `retry`, or, where nothing of the role runs, the retry time has come.

*Good* parameters are those to fall back on: they were healthy when they were replaced, or healthy for as long as
crashes count against new ones.
"""

import enum
from collections.abc import Mapping

import msgspec

from coordinator import limits, names, role
from coordinator.propagation import messages
from nodeagent.basedrole import events

GOOD_AFTER_S = limits.CRASH_WINDOW_S
STARTING = role.Report(role.Health.PROGRESSING, "starting", "has not said yet how it is")
GONE = role.Report(role.Health.STOPPED)


class Phase(enum.StrEnum):
    """What is under way."""

    DOWN = "down"
    STARTING = "starting"
    UP = "up"
    APPLYING = "applying"
    STOPPING = "stopping"


class Action(enum.Enum):
    """What a cell of the table does."""

    IGNORE = enum.auto()
    RUNS = enum.auto()
    RESTART = enum.auto()
    KEEP = enum.auto()
    NOT_STARTED = enum.auto()
    BROKEN = enum.auto()
    GONE = enum.auto()
    HEALTH = enum.auto()


TABLE: Mapping[Phase, Mapping[type[events.RoleInput], Action]] = {
    Phase.DOWN: {},
    Phase.STARTING: {
        events.RoleStarted: Action.RUNS,
        events.RoleRefused: Action.NOT_STARTED,
        events.RoleFailed: Action.NOT_STARTED,
    },
    Phase.UP: {
        events.RoleFailed: Action.BROKEN,
        events.Reported: Action.HEALTH,
    },
    Phase.APPLYING: {
        events.RoleAppliedHot: Action.RUNS,
        events.RoleRestartNeeded: Action.RESTART,
        events.RoleRefused: Action.KEEP,
        events.RoleFailed: Action.BROKEN,
        events.Reported: Action.HEALTH,
    },
    Phase.STOPPING: {
        events.RoleStopped: Action.GONE,
        events.RoleFailed: Action.GONE,
    },
}
"""A cell that is not there ignores its event: an answer to nothing that is under way."""


class Verdict(msgspec.Struct, frozen=True):
    """Why the wanted parameters do not run."""

    outcome: messages.Outcome
    code: str
    detail: str


class Slot:
    """One role's place in the node."""

    def __init__(self, name: names.RoleName, good: events.WantedRole | None) -> None:
        self.name = name
        self.phase = Phase.DOWN
        self.wanted: events.WantedRole | None = None
        self.running: events.WantedRole | None = None
        self.good = good
        self._remembered = good
        self._trying: events.WantedRole | None = None
        self._rejected: tuple[events.WantedRole, ...] = ()
        self._verdict: Verdict | None = None
        self._report = GONE
        self._attempts = 0
        self._overdue = False
        self._ready_by: float | None = None
        self._good_at: float | None = None
        self._retry_at: float | None = None

    @property
    def deadline(self) -> float | None:
        times = (self._ready_by, self._good_at, self._retry_at)
        return min((time for time in times if time is not None), default=None)

    @property
    def gone(self) -> bool:
        """Neither wanted nor there."""
        return self.phase is Phase.DOWN and self.wanted is None

    def want(
        self, wanted: events.WantedRole | None, given_up: events.GivenUp | None, now: float
    ) -> tuple[events.RoleOutput, ...]:
        """Decide what it is to run; None: nothing."""
        if wanted != self.wanted:
            self._rejected, self._verdict = (), None
            self._attempts, self._retry_at = 0, None
        self.wanted = wanted
        if wanted is not None and given_up is not None and self.good not in (None, wanted):
            self._reject(wanted, messages.Outcome.FAILED, given_up.code, given_up.detail)
        return self._steer(now)

    def retry(self, now: float) -> tuple[events.RoleOutput, ...]:
        """Try again what was rejected; what runs and has failed is started anew."""
        self._rejected, self._retry_at, self._attempts = (), None, 0
        failed = self._report.health is role.Health.FAILED
        if failed and self.phase is Phase.UP and self.running == self.wanted:
            return self._stop()
        return self._steer(now)

    def tick(self, now: float) -> tuple[events.RoleOutput, ...]:
        """Do what is due."""
        if _due(self._ready_by, now):
            self._ready_by, self._overdue = None, True
        if _due(self._retry_at, now):
            self._rejected, self._retry_at = (), None
            return self._steer(now)
        if _due(self._good_at, now):
            self._good_at, self._attempts = None, 0
            return self._remember()
        return ()

    def handle(self, event: events.RoleInput, now: float) -> tuple[events.RoleOutput, ...]:
        """Take an answer or a report."""
        action = TABLE[self.phase].get(type(event), Action.IGNORE)
        match action:
            case Action.IGNORE:
                return ()
            case Action.RUNS:
                self._runs()
            case Action.RESTART if self._trying == self.wanted:
                return self._stop()
            case Action.RESTART:  # overtaken, and nothing has changed yet
                self.phase, self._trying = Phase.UP, None
            case Action.KEEP:
                self._reject_trying(event)
                self.phase = Phase.UP
            case Action.NOT_STARTED:
                self._reject_trying(event)
                self.phase = Phase.DOWN
            case Action.BROKEN:
                self._reject_trying(event)
                return self._stop()
            case Action.GONE:
                self.phase, self.running, self._report = Phase.DOWN, None, GONE
            case Action.HEALTH:
                return self._hear(event, now)
        return self._steer(now)

    def ack(self) -> messages.RoleAck:
        """What may be said of the wanted parameters now."""
        if self._verdict is not None:
            verdict = self._verdict
            detail = f"{verdict.detail}; {self._remains()}"
            return self._say(messages.Level.ACCEPTED, verdict.outcome, verdict.code, detail)
        if self.phase is not Phase.UP or self.running != self.wanted:
            return self._say(messages.Level.ACCEPTED, messages.Outcome.OK, "", "")
        report = self._report
        match report.health:
            case role.Health.HEALTHY:
                return self._say(messages.Level.READY, messages.Outcome.OK, "", "")
            case role.Health.FAILED | role.Health.STOPPED:
                code = report.code or str(report.health)
                return self._say(messages.Level.ACCEPTED, messages.Outcome.FAILED, code, report.detail)
            case role.Health.PROGRESSING | role.Health.DEGRADED:
                if self._overdue:
                    detail = (
                        f"not healthy within {limits.READY_TIMEOUT_S:g} s: {report.detail or report.code}"
                    )
                    return self._say(messages.Level.APPLIED, messages.Outcome.FAILED, "ready_timeout", detail)
                return self._say(messages.Level.APPLIED, messages.Outcome.OK, report.code, report.detail)

    def _say(
        self, level: messages.Level, outcome: messages.Outcome, code: str, detail: str
    ) -> messages.RoleAck:
        as_wanted = self._verdict is None and self.phase is Phase.UP and self.running == self.wanted
        health = str(self._report.health) if as_wanted else ""
        return messages.RoleAck(self.name, level, outcome, code, detail[: limits.DETAIL_CHARACTERS], health)

    def _remains(self) -> str:
        if self.running is None:
            return "nothing of it runs"
        if self.running == self.wanted:
            return "they are being stopped" if self.phase is Phase.STOPPING else "the wanted parameters run"
        which = "last good" if self.running == self.good else "former"
        return f"the {which} parameters {'are being stopped' if self.phase is Phase.STOPPING else 'run'}"

    def _steer(self, now: float) -> tuple[events.RoleOutput, ...]:
        """With no operation under way: begin the one that leads to what is wanted."""
        outputs: tuple[events.RoleOutput, ...] = ()
        if self.phase is Phase.UP:
            outputs = self._from_up()
        elif self.phase is Phase.DOWN:
            outputs = self._from_down(now)
        self._set_timers(now)
        return outputs

    def _from_up(self) -> tuple[events.RoleOutput, ...]:
        assert self.running is not None
        if self.wanted is None:
            return self._stop()
        if self.wanted == self.running or self.wanted in self._rejected:
            return ()
        kept = self._keep_good()
        if self.wanted.place != self.running.place:
            return (*kept, *self._stop())
        self.phase, self._trying = Phase.APPLYING, self.wanted
        return (*kept, events.Apply(self.name, self.running, self.wanted))

    def _from_down(self, now: float) -> tuple[events.RoleOutput, ...]:
        if self.wanted is None:
            return ()
        for candidate in (self.wanted, self.good):
            if (
                candidate is not None
                and candidate.place == self.wanted.place
                and candidate not in self._rejected
            ):
                self.phase, self._trying, self._retry_at = Phase.STARTING, candidate, None
                return (events.Start(self.name, candidate),)
        if self._retry_at is None:
            doubled: float = limits.RESTART_BACKOFF_MIN_S * 2.0 ** min(self._attempts, 32)
            self._retry_at = now + min(limits.RESTART_BACKOFF_MAX_S, doubled)
            self._attempts += 1
        return ()

    def _runs(self) -> None:
        self.running, self._trying = self._trying, None
        self.phase, self._report, self._overdue = Phase.UP, STARTING, False
        if self.running == self.wanted:
            self._rejected, self._verdict = (), None

    def _stop(self) -> tuple[events.RoleOutput, ...]:
        self.phase, self._trying = Phase.STOPPING, None
        return (events.Stop(self.name),)

    def _reject_trying(self, event: events.RoleInput) -> None:
        assert isinstance(event, events.RoleRefused | events.RoleFailed)
        refused = isinstance(event, events.RoleRefused)
        outcome = messages.Outcome.REFUSED if refused else messages.Outcome.FAILED
        blamed, self._trying = self._trying or self.running, None
        assert blamed is not None
        self._reject(blamed, outcome, event.code, event.detail)

    def _reject(self, blamed: events.WantedRole, outcome: messages.Outcome, code: str, detail: str) -> None:
        self._rejected = (*self._rejected, blamed)
        if blamed == self.wanted:
            self._verdict = Verdict(outcome, code, detail)

    def _hear(self, event: events.RoleInput, now: float) -> tuple[events.RoleOutput, ...]:
        assert isinstance(event, events.Reported)
        self._report = report = event.report
        may_fall_back = self.phase is Phase.UP and self.running == self.wanted and self._other_good()
        if report.health is role.Health.FAILED and may_fall_back:
            assert self.wanted is not None
            self._reject(self.wanted, messages.Outcome.FAILED, report.code, report.detail)
            outputs = self._stop()
            self._set_timers(now)
            return outputs
        self._set_timers(now)
        return ()

    def _other_good(self) -> bool:
        good, running = self.good, self.running
        return good is not None and running is not None and good != running and good.place == running.place

    def _keep_good(self) -> tuple[events.RoleOutput, ...]:
        """What is about to be replaced becomes the parameters to fall back on."""
        if self._report.health is role.Health.HEALTHY:
            return self._remember()
        if self._report.health is not role.Health.FAILED:
            self.good = self.good or self.running
        return ()

    def _remember(self) -> tuple[events.RoleOutput, ...]:
        assert self.running is not None
        self.good = self.running
        if self._remembered == self.good:
            return ()
        self._remembered = self.good
        return (events.Remember(self.name, self.good),)

    def _set_timers(self, now: float) -> None:
        """Readiness and probation are measured only while the wanted parameters run undisturbed."""
        if self.phase is not Phase.UP or self.running != self.wanted:
            self._ready_by, self._good_at, self._overdue = None, None, False
        elif self._report.health is role.Health.HEALTHY:
            self._ready_by, self._overdue = None, False
            if self._good_at is None and (self.good != self.running or self._attempts):
                self._good_at = now + GOOD_AFTER_S
        else:
            self._good_at = None
            if self._ready_by is None and not self._overdue:
                self._ready_by = now + limits.READY_TIMEOUT_S


def _due(time: float | None, now: float) -> bool:
    return time is not None and now >= time
