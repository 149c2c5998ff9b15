"""`tiercast server rollback --local`, found by entry point: the way back when nobody gets in any more.

It asks the active MIC over its socket on this machine, which only the server's user and root can open; no ws, no token, no
network. Exit codes are those of `tiercast rollback`. Law: to stop waiting never stops the rollout.
"""

import enum
import os
import sys
import threading

import click

from coordinator import effects, errors
from coordinator.host import clock, durations, settings
from coordinator.runtime import store_socket, undoing
from coordinator.tiers import requests

LOOK_S = 2.0
PAUSE_S = 0.5  # a MIC that restarts takes seconds
_INTERRUPTED = 130
_ENDED = {"converged": 0, "failed": 5, "aborted": 5, "superseded": 4}
_NAMED = 5


class Level(enum.StrEnum):
    """How far to wait."""

    NONE = "none"
    REACHABLE = "reachable"
    ALL = "all"


@click.command()
@click.option(
    "--local",
    is_flag=True,
    help="On this machine, where the active MIC runs; without it: `tiercast rollback`.",
)
@click.option(
    "--to",
    type=click.IntRange(min=1),
    default=None,
    help="A revision [default: the last that is known to run].",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing.")
@click.option(
    "--wait",
    "level",
    type=click.Choice([one.value for one in Level]),
    default="reachable",
    show_default=True,
    help="How far to wait.",
)
@click.option("--timeout", default="10m", show_default=True, help="For the waiting (90s, 5m).")
@click.option("-m", "message", default="", help="Why; kept with the revision.")
@click.option(
    "--dir",
    "directory",
    default=None,
    help="The server's directory (default /var/lib/tiercast, or TIERCAST_DIR).",
)
def rollback(  # noqa: PLR0913 one parameter per option
    *, local: bool, to: int | None, yes: bool, dry_run: bool, level: str, timeout: str, message: str, directory: str | None
) -> int:  # fmt: skip
    """Undo the last change when nobody gets in: a new revision equal to an old one, through the MIC of this machine."""
    if not local:
        raise errors.UsageError(
            "say --local, which asks the MIC of this machine", hint="by HTTP: tiercast rollback"
        )
    if not (yes or dry_run or sys.stdin.isatty()):
        raise errors.UsageError(
            "this changes the system, and there is no terminal to ask on", hint="say --yes if you mean it"
        )
    timeout_s = durations.seconds(timeout)
    layout = settings.Layout(settings.read(os.environ, {"dir": directory}).dir)
    way = _Way(layout.socket(store_socket.NAME))
    asked = requests.Rollback(to=to or 0, message=message, dry_run=True)
    planned = _planned(way, asked)
    base = planned.applied.version
    if planned.applied.unchanged:
        click.echo(f"unchanged: revision {base.revision} is this document already")
        return 0
    if dry_run:
        click.echo("dry run: nothing was changed")
        return 0
    if not yes and not click.confirm(f"roll back on top of revision {base.revision}?", err=True):
        _tell("nothing was changed")
        return 0
    asked = requests.Rollback(
        to=planned.to, if_revision=base.revision, if_generation=base.generation, message=message
    )
    applied = way.rollback(asked).applied
    new = applied.version.revision
    _tell(
        f"revision {new} is active, equal to {planned.to}; rollout {applied.rollout}; audited as {undoing.NAME}"
    )
    if level == Level.NONE:
        click.echo(f"started: rollout {applied.rollout}")
        return 0
    return _Waiter(way, applied.rollout, clock.SystemClock()).wait(Level(level), timeout_s)


def _planned(way: "_Way", asked: requests.Rollback) -> undoing.Undone:
    """What it would do, shown. Raises `TiercastError`."""
    planned = way.rollback(asked)
    _tell(f"back to revision {planned.to}")
    _tell(planned.applied.plan_text.rstrip())
    for warning in planned.applied.warnings:
        _tell(f"warning: {warning}")
    return planned


class _Way:
    """To the MIC of this machine."""

    def __init__(self, path: str) -> None:
        self._path = path

    def rollback(self, asked: requests.Rollback) -> undoing.Undone:
        """Raises `TiercastError`."""
        answer = self._asked(store_socket.Ask("rollback", back=asked))
        assert answer.undone is not None, "that is its answer"
        return answer.undone

    def rollout(self, asked: requests.WaitRollout) -> requests.RolloutView:
        """Raises `TiercastError`."""
        answer = self._asked(store_socket.Ask("rollout", awaited=asked))
        assert answer.rollout is not None, "that is its answer"
        return answer.rollout

    def _asked(self, ask: store_socket.Ask) -> store_socket.Answer:
        answer = store_socket.ask(self._path, ask)
        if answer is None:
            raise errors.NoCoordinatorError(
                f"no MIC runs on this machine (nobody listens on {self._path})",
                hint="tiercast server run, on the machine of the active MIC: `tiercast store status` names it",
            )
        return answer


class _Waiter:
    """One rollout; MIC may restart meanwhile, which is no verdict."""

    def __init__(self, way: _Way, rollout: str, measured: effects.Clock) -> None:
        self._way = way
        self._rollout = rollout
        self._clock = measured
        self._view: requests.RolloutView | None = None
        self._told = ""

    def wait(self, level: Level, timeout_s: float) -> int:
        """The exit code; the closing line goes to stdout."""
        try:
            settled = self._until(level, self._clock.monotonic() + timeout_s)
        except KeyboardInterrupt:
            _tell(f"detached; the rollout goes on: tiercast status {self._rollout} -w")
            return _INTERRUPTED
        view = self._view
        if view is None:
            click.echo(f"no answer about rollout {self._rollout} in time")
            return 6
        click.echo(_line(view))
        if not settled:
            _tell("the rollout goes on: `tiercast status`, or here `tiercast server status`")
        if view.state == "reached":
            return 7 if level is Level.ALL else 0
        return _ENDED.get(view.state, 6)

    def _until(self, level: Level, end: float) -> bool:
        while (left_s := end - self._clock.monotonic()) > 0:
            before = self._view.index if self._view else 0
            try:
                asked = requests.WaitRollout(
                    rollout=self._rollout, index=before, wait_s=min(LOOK_S, left_s) if self._view else 0.0
                )
                self._view = self._way.rollout(asked)
            except (errors.NoCoordinatorError, errors.UnreachableError, errors.ProtocolError) as passing:
                self._say(f"MIC does not answer yet: {passing.message}")
                threading.Event().wait(min(PAUSE_S, left_s))
                continue
            self._say(_line(self._view))
            state = self._view.state
            if state in _ENDED or (state == "reached" and level is not Level.ALL):
                return True
        return False

    def _say(self, line: str) -> None:
        if line != self._told:
            _tell(line)
        self._told = line


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _line(view: requests.RolloutView) -> str:
    """`reached: revision N (ready R of reachable L of asked A)`, and who is not there."""
    line = f"{view.state}: revision {view.version.revision} (ready {view.ready} of reachable {view.reachable} of asked {view.asked})"
    for word, some in (("waiting for", view.blocking), ("absent", view.absent)):
        if some and view.state != "converged":
            told = [
                f"{one.server} ({one.site}): {one.sync}{one.reason and ', ' + one.reason}"
                for one in some[:_NAMED]
            ]
            more = f" and {len(some) - _NAMED} more" if len(some) > _NAMED else ""
            line += f"; {word} {', '.join(told)}{more}"
    return line
