"""Roles as their host would run them: how each takes its parameters stands in the parameters themselves.

`mode`: hot (the default), restart, slow, refuse, fail (starts, then says that it has failed), crash (takes the whole
node with it). Everything takes time, drawn from the world's chance.
"""

import enum
from collections.abc import Callable
from typing import Protocol

from coordinator import names, role
from nodeagent.basedrole import events
from tests.simulation import checkers, process

HEALTHY = role.Report(role.Health.HEALTHY)


class Mode(enum.StrEnum):
    """How a role takes its parameters."""

    HOT = "hot"
    RESTART = "restart"
    SLOW = "slow"
    REFUSE = "refuse"
    FAIL = "fail"
    CRASH = "crash"


class Service(Protocol):
    """A tier that runs as a role."""

    def configured(self, view: role.View) -> None: ...

    def stop(self, done: Callable[[], None]) -> None: ...

    def die(self, *, silently: bool = False) -> None: ...


class Home(Protocol):
    """The node that hosts roles."""

    alive: bool
    server: names.ServerName
    view: role.View

    def answer(self, event: events.RoleInput) -> None: ...

    def crash(self, status: int) -> None: ...

    def service(self, wanted: events.WantedRole) -> Service | None: ...


class Hosted:
    """One role of one node."""

    def __init__(self, ground: process.Ground, home: Home, name: names.RoleName) -> None:
        self._ground = ground
        self._home = home
        self._name = name
        self._life = 0
        self._mood = 0
        """Rises with the parameters: what they would have led to does not happen under others."""
        self.running = False
        self._service: Service | None = None

    def perform(self, act: events.RoleOutput) -> None:
        match act:
            case events.Start(_, wanted):
                self._soon(0.02, 0.4, lambda: self._start(wanted))
            case events.Apply(_, _, new):
                self._soon(0.005, 0.2, lambda: self._apply(new))
            case events.Stop():
                self._soon(0.01, 0.3, self._stop)
            case events.Tell(_, view):
                if self._service is not None:
                    self._service.configured(view)
            case events.Remember():
                pass

    def die(self, *, silently: bool) -> None:
        """With its node."""
        self._life += 1
        if self._service is not None:
            self._service.die(silently=silently)
        if self.running:
            self.running = False
            self._ground.checks.ends(self._home.server, self._name, self._ground.engine.now)

    def _soon(self, low: float, high: float, act: Callable[[], None]) -> None:
        life = self._life
        wait = self._ground.engine.rng.uniform(low, high)
        self._ground.engine.after(wait, lambda: act() if self._home.alive and life == self._life else None)

    def _start(self, wanted: events.WantedRole) -> None:
        if _mode(wanted) is Mode.REFUSE:
            self._home.answer(events.RoleRefused(self._name, "refused", "not these parameters"))
            return
        self.running = True
        self._ground.checks.starts(self._home.server, self._name, _print(wanted))
        self._service = self._home.service(wanted)
        self._home.answer(events.RoleStarted(self._name))
        self._settle(wanted)

    def _apply(self, new: events.WantedRole) -> None:
        mode = _mode(new)
        if mode is Mode.REFUSE:
            self._home.answer(events.RoleRefused(self._name, "refused", "not these parameters"))
        elif mode in (Mode.RESTART, Mode.CRASH):
            self._home.answer(events.RoleRestartNeeded(self._name))
        else:
            self._ground.checks.ends(self._home.server, self._name, self._ground.engine.now)
            self._ground.checks.runs(self._home.server, self._name, _print(new))
            self._home.answer(events.RoleAppliedHot(self._name))
            self._settle(new)

    def _settle(self, wanted: events.WantedRole) -> None:
        """It says how it is, a little later."""
        self._mood += 1
        mood, mode = self._mood, _mode(wanted)
        if mode is Mode.CRASH:
            self._soon(0.1, 2.0, lambda: self._home.crash(1))
        elif mode is Mode.FAIL:
            report = role.Report(role.Health.FAILED, "failed", "does not work " + "x" * 300)
            self._soon(0.1, 1.0, lambda: self._report(report, mood))
        elif mode is Mode.SLOW:
            self._soon(1.0, 8.0, lambda: self._report(HEALTHY, mood))
        else:
            self._soon(0.0, 0.3, lambda: self._report(HEALTHY, mood))

    def _report(self, report: role.Report, mood: int) -> None:
        if self.running and mood == self._mood:
            self._home.answer(events.Reported(self._name, report))

    def flap(self) -> None:
        """Unwell for a while, without a reason."""
        if self.running and self._service is None:
            mood = self._mood
            self._report(role.Report(role.Health.DEGRADED, "flap", "unwell"), mood)
            self._soon(0.5, 5.0, lambda: self._report(HEALTHY, mood))

    def _stop(self) -> None:
        service, self._service = self._service, None
        if service is None:
            self._stopped()
        else:
            service.stop(self._stopped)

    def _stopped(self) -> None:
        if not self._home.alive:
            return
        self._life += 1
        self.running = False
        self._ground.checks.ends(self._home.server, self._name, self._ground.engine.now)
        self._home.answer(events.RoleStopped(self._name))


def _mode(wanted: events.WantedRole) -> Mode:
    return Mode(str(wanted.params.get("mode", Mode.HOT)))


def _print(wanted: events.WantedRole) -> checkers.Print:
    return checkers.print_of(wanted.type, wanted.address, wanted.params)
