"""Waiting for a rollout by its id: over restarts of whatever answers, until it is settled or the time is over.

Law: to stop waiting never stops the rollout, and a lost connection is no verdict.
"""

import enum
import urllib.parse

import msgspec

from coordinator import errors
from coordinator.cli import answers, client, exits, rollouts, session
from coordinator.host import durations

LOOK_S = 2.0  # on a terminal the elapsed time moves at least so often
LOOK_LOG_S = 20.0  # elsewhere only news are worth a line
PAUSE_MIN_S = 0.2
PAUSE_MAX_S = 1.0  # a restart takes seconds; nobody wants to wait for half of it again
SLACK_S = 10.0  # an answer that was asked to wait may be late by this much
PASSING = frozenset({"no_quorum", "no_coordinator", "busy", "timed_out", "unreachable", "lost", "slow"})
_OVER = frozenset({"converged", "failed", "aborted", "superseded"})


class Level(enum.StrEnum):
    """How far to wait."""

    NONE = "none"
    REACHABLE = "reachable"
    ALL = "all"


class Waited(msgspec.Struct, frozen=True):
    """How the waiting ended."""

    view: answers.RolloutView | None
    exit: exits.Exit
    body: bytes = b"null"
    """The last view, as the API gave it."""


def retrying(asked: client.Client, error: errors.TiercastError) -> str:
    """`no answer from https://..., retrying`, and why."""
    if error.message.startswith("no answer from"):
        return f"{error.message}, retrying"
    return f"no answer from {asked.place}, retrying: {error.message}"


class Waiter:
    """One rollout, one person waiting."""

    def __init__(self, shown: session.Session, asked: client.Client, rollout: str) -> None:
        self._shown = shown
        self._asked = asked
        self._rollout = rollout
        self._path = f"{client.CFG}/rollouts/{urllib.parse.quote(rollout, safe='')}"
        self._last: client.Answer | None = None
        self._view: answers.RolloutView | None = None
        self._told = ""

    def wait(self, level: Level, timeout_s: float) -> Waited:
        """Until it is settled at that level. Raises `TiercastError` for what waiting cannot mend."""
        begun = self._shown.clock.monotonic()
        try:
            self._until(level, begun, begun + timeout_s)
        except KeyboardInterrupt:
            self._shown.tell(f"detached; the rollout goes on: tiercast status {self._rollout} -w")
            return self._ended(exits.Exit.INTERRUPTED)
        if self._view is None:
            return self._ended(exits.Exit.TIMED_OUT)
        return self._ended(exits.of_state(self._view.state, absent_matter=level is Level.ALL))

    def _until(self, level: Level, begun: float, end: float) -> None:
        pause_s = PAUSE_MIN_S
        while (now := self._shown.clock.monotonic()) < end:
            before = self._view.index if self._view else None
            try:
                self._look(min(self._patience_s, end - now))
            except errors.TiercastError as error:
                self._pass(error, now - begun)
            else:
                assert self._view is not None
                self._show(self._view, self._shown.clock.monotonic() - begun)
                if self._settled(level, self._view):
                    return
                if self._view.index != before:
                    pause_s = PAUSE_MIN_S
                    continue
                if self._shown.clock.monotonic() - now >= PAUSE_MIN_S:
                    continue
            self._shown.sleep(min(pause_s, max(0.0, end - self._shown.clock.monotonic())))
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    @property
    def _patience_s(self) -> float:
        return LOOK_S if self._shown.terminal else LOOK_LOG_S

    def _look(self, wait_s: float) -> None:
        index = self._view.index if self._view else 0
        query = "by_site=false" + (f"&index={index}&wait={wait_s:.3f}s" if self._view else "")
        path = f"{self._path}?{query}"
        answer = self._asked.call(client.Ask(path=path, timeout_s=wait_s + SLACK_S, patient=False))
        self._view = answer.as_(answers.RolloutView)
        self._last = answer

    def _pass(self, error: errors.TiercastError, elapsed_s: float) -> None:
        """What passes by itself is told; the rest is raised."""
        if client.code_of(error) not in PASSING:
            raise error
        line = f"{durations.written(elapsed_s)}  {retrying(self._asked, error)}"
        quiet = f"no answer: {client.code_of(error)}"
        if self._shown.terminal or self._told != quiet:
            self._shown.progress(line)
        self._told = quiet

    def _show(self, view: answers.RolloutView, elapsed_s: float) -> None:
        first = view.blocking[0] if view.blocking else None
        quiet = f"{view.state} {rollouts.numbers(view)} {first and (first.server, first.sync, first.reason)}"
        if self._shown.terminal:
            self._shown.progress(rollouts.glance(view, elapsed_s))
        elif self._told != quiet:
            self._shown.progress(rollouts.progress(view, elapsed_s))
        self._told = quiet

    @staticmethod
    def _settled(level: Level, view: answers.RolloutView) -> bool:
        return view.state in _OVER or (view.state == "reached" and level is not Level.ALL)

    def _ended(self, code: exits.Exit) -> Waited:
        return Waited(self._view, code, self._last.body if self._last else b"null")
