"""Which parent to dial next: for a first link, or for a better one while the present goes on.

There is at most one *main* attempt, which becomes the link, and beside it one *candidate*. Law: attempts never stop and
never delay anything else; where one parent after the other has failed, the longest wait grows up to its bound.
"""

import enum

import msgspec

from coordinator import limits, names
from coordinator.propagation import events, messages

DIALLING_S = limits.BACKOFF_CLAMP_MIN_S + limits.DIAL_TIMEOUT_S + limits.SILENT_S
"""The longest wait before a dial, the dial, and a margin: an attempt that has no answer by then never gets one."""
_ROUNDS = 8  # doubled so often the wait is beyond its bound


class Phase(enum.Enum):
    """Of an attempt."""

    DIALLING = "dialling"
    GREETING = "greeting"
    LINKED = "linked"


class Attempt(msgspec.Struct):
    """At one parent, up to being its link."""

    parent: events.Parent
    phase: Phase
    dial: int
    since: float
    link: names.LinkId = names.LinkId(0)
    """0 while it is dialled."""
    peer: names.ServerId = names.ServerId("")
    heard: float = 0.0
    behind: int = 0
    """Heartbeats in a row that spoke of more than we hold."""
    ahead: int = 0
    """Heartbeats in a row that spoke of less."""
    shown: messages.AckState | None = None
    """The ack that our hello carried."""
    proof: events.Proof = events.NO_PROOF


class Search:
    """See the module."""

    def __init__(self) -> None:
        self.parents: tuple[events.Parent, ...] = ()
        self.main: Attempt | None = None
        self.candidate: Attempt | None = None
        self.hurry = True
        """The next dial does not wait."""
        self._candidate_at = 0.0
        self._dials = 0
        self._next = 0
        self._round = 0
        self._not_before = 0.0

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Those under way or linked."""
        return tuple(one for one in (self.main, self.candidate) if one is not None)

    @property
    def linked(self) -> Attempt | None:
        """The one in use."""
        main = self.main
        return main if main is not None and main.phase is Phase.LINKED else None

    def follow(self, parents: tuple[events.Parent, ...], now: float) -> None:
        """Another list of parents, best first."""
        self.parents = parents
        self._next, self._round, self._not_before = 0, 0, now
        self._candidate_at = now
        self.hurry = True

    def seek(self, now: float, *, stale: bool) -> tuple[events.Dial, ...]:
        """Dial for a first link, or for a better one; `stale`: nothing is heard of MIC over the present one."""
        if not self.parents:
            return ()
        if self.main is None:
            if now < self._not_before:
                return ()
            self.main = self._attempt(self.parents[self._next % len(self.parents)], now)
            return (self._dial(self.main),)
        if self.candidate is not None or self.main.phase is not Phase.LINKED or now < self._candidate_at:
            return ()
        better = self._better(self.main, now, stale=stale)
        if not better:
            return ()
        self._candidate_at = now + limits.PREFERRED_PARENT_RETRY_S
        self.candidate = self._attempt(better[self._dials % len(better)], now)
        return (self._dial(self.candidate),)

    def _better(self, main: Attempt, now: float, *, stale: bool) -> tuple[events.Parent, ...]:
        """Parents before the present one; every other one where the present one has gone stale."""
        if stale and now - main.since > limits.STALE_S:
            return tuple(p for p in self.parents if p != main.parent)
        rank = self.parents.index(main.parent) if main.parent in self.parents else len(self.parents)
        return self.parents[:rank]

    def _attempt(self, parent: events.Parent, now: float) -> Attempt:
        self._dials += 1
        return Attempt(parent, Phase.DIALLING, self._dials, now)

    def _dial(self, attempt: Attempt) -> events.Dial:
        delay = min(limits.BACKOFF_CLAMP_MIN_S, limits.BACKOFF_MIN_S * 2**self._round)
        if self.hurry:
            self.hurry, delay = False, 0.0
        return events.Dial(attempt.dial, attempt.parent, delay)

    def by_dial(self, dial: int) -> Attempt | None:
        """The attempt that still waits for this dial."""
        for attempt in self.attempts:
            if attempt.dial == dial and attempt.phase is Phase.DIALLING:
                return attempt
        return None

    def by_link(self, link: names.LinkId) -> Attempt | None:
        """Every frame asks this."""
        main, candidate = self.main, self.candidate
        if main is not None and main.link == link:
            return main
        return candidate if candidate is not None and candidate.link == link else None

    def turned_away(self, attempt: Attempt, retry_after_s: float, now: float) -> None:
        """It named a delay: heeded where there is nobody else to ask."""
        if attempt is not self.candidate:
            wait = min(max(retry_after_s, 0.0), limits.BACKOFF_CLAMP_MAX_S)
            self._not_before = now + (wait if len(self.parents) == 1 else 0.0)

    def welcomed(self, attempt: Attempt, now: float) -> Attempt | None:
        """It is the link from here on; the one that was it before, if it was another."""
        old = self.main if attempt is self.candidate else None
        if old is not None:
            self.main, self.candidate = attempt, None
        attempt.phase, attempt.since = Phase.LINKED, now
        self._round = 0
        self._candidate_at = now + limits.PREFERRED_PARENT_RETRY_S
        return old

    def forget(self, attempt: Attempt, now: float) -> bool:
        """It has failed, or its link is gone; whether that was the link in use."""
        was_link = attempt is self.linked
        if was_link:
            self._next, self._round = -1, 0  # the first one again, but with jitter: a herd may have lost it
        if attempt is self.candidate:
            self.candidate = None
            return False
        self.main = None
        self._next += 1
        if self._next >= len(self.parents):
            self._next, self._round = 0, min(self._round + 1, _ROUNDS)
            self._not_before = max(self._not_before, now)
        return was_link
