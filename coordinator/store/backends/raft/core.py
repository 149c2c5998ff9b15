"""Raft for one member, as a pure machine: elections with pre-vote, replication, barriers for reads.

No clock, no I/O, no randomness of its own (`jitter` is drawn by the shell's generator). See `messages` for the acts.
Laws (checked in the simulated world): one leader per term; a leader never rewrites its log; two logs that agree on a
position agree on everything before it; what was committed is in every later leader's log; nothing committed is cut.
Who is a member stands in this member's own journal and never changes while it runs; nobody else's word counts.
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from coordinator.store.backends.raft import leading, log, messages

HEARTBEAT_S: Final = 0.15
ELECTION_S: Final = (
    0.75  # five heartbeats; a member is asked to be silent that long before anyone else stands
)
QUORUM_S: Final = 1.5  # a leader that a majority has not answered for so long is none


class Standing(enum.Enum):
    FOLLOWER = "follower"
    ASKING = "asking"  # would I be elected? (pre-vote: the term does not move)
    CANDIDATE = "candidate"
    LEADER = "leader"


class Core:
    """One member of a fixed group."""

    def __init__(
        self,
        member: str,
        members: Sequence[str],
        held: log.Log,
        office: tuple[int, str | None],
        jitter: Callable[[], float],
    ) -> None:
        """`office` is the durable term and vote; `jitter` gives numbers in [0, 1)."""
        assert member in members, "a member is one of its group"
        self.member = member
        self._others = tuple(other for other in members if other != member)
        self._majority = len(members) // 2 + 1
        self.log = held
        self.term, self._vote = office
        self._jitter = jitter
        self.standing = Standing.FOLLOWER
        self.leader: str | None = None
        self.commit = held.prev.index
        self.lead: leading.Leading | None = None
        self._granted: dict[str, bool] = {}
        self._heard = float("-inf")
        self.deadline = float("-inf") if not self._others else float("inf")
        """When a Tick is due; the first one starts the timers."""

    def start(self, now: float) -> None:
        """Begin to count time."""
        if self._others:
            # Sooner than later on: if there is a leader, the others refuse; if there is none, a group starts at once.
            self.deadline = now + HEARTBEAT_S * (2 + 2 * self._jitter())

    def handle(self, given: messages.Input, now: float) -> tuple[messages.Output, ...]:
        """What follows from one input."""
        return tuple(_HANDLERS[type(given)](self, given, now))

    # Time.

    def _tick(self, _given: messages.Tick, now: float) -> list[messages.Output]:
        if now < self.deadline:
            return []
        if self.lead is None:
            return self._stand(now)
        if not self.lead.has_quorum(now - QUORUM_S):
            return self._follow(self.term, None, now)
        self.deadline = now + HEARTBEAT_S if self._others else float("inf")
        return self.lead.heartbeat(self.commit)

    def _wait_for_election(self, now: float) -> None:
        self.deadline = now + ELECTION_S * (1 + self._jitter())

    # Elections.

    def _stand(self, now: float) -> list[messages.Output]:
        self._granted = {self.member: True}
        outputs = self._office(None)
        if not self._others:
            return outputs + self._campaign(now)
        self.standing = Standing.ASKING
        self._wait_for_election(now)
        ask = messages.Vote(self.term + 1, self.log.last, pre=True)
        return outputs + [messages.Send(other, ask) for other in self._others]

    def _campaign(self, now: float, *, bidden: bool = False) -> list[messages.Output]:
        self.standing = Standing.CANDIDATE
        self.term, self._vote = self.term + 1, self.member
        self._granted = {self.member: True}
        self._wait_for_election(now)
        outputs: list[messages.Output] = [messages.Persist(self.term, self._vote)]
        if not self._others:
            return outputs + self._win(now)
        ask = messages.Vote(self.term, self.log.last, bidden=bidden)
        return outputs + [messages.Send(other, ask) for other in self._others]

    def _succeed(self, sender: str, sent: messages.Succeed, now: float) -> list[messages.Output]:
        outputs = self._heed(sender, sent.term, now)
        if outputs is None:
            return []
        return [*outputs, *self._office(None), *self._campaign(now, bidden=True)]

    def _win(self, now: float) -> list[messages.Output]:
        self.standing, self.leader = Standing.LEADER, self.member
        self.lead = leading.Leading(self._others, self.log, self.term, now)
        self.deadline = now + HEARTBEAT_S if self._others else float("inf")
        # Only an entry of the own term can be committed by counting, and reads wait for it.
        opening = log.Entry(self.log.last.index + 1, self.term, log.NOOP, b"")
        beats = self.lead.heartbeat(self.commit)
        self.log.append((opening,))
        persist = messages.Persist(self.term, self._vote, entries=(opening,))
        return [messages.Office(self.term, self.leader, leading=True), persist, *beats]

    def _vote_asked(self, sender: str, ask: messages.Vote, now: float) -> list[messages.Output]:
        if ask.term > self.term and self._led(now) and not ask.bidden:
            return []  # a member that was cut off must not unseat a leader that the rest hear
        current = (ask.last.term, ask.last.index) >= (self.log.last.term, self.log.last.index)
        if ask.pre:
            granted = ask.term > self.term and current
            answer = messages.Voted(ask.term if granted else self.term, granted, pre=True)
            return [messages.Send(sender, answer)]
        outputs = self._follow(ask.term, None, now) if ask.term > self.term else []
        granted = ask.term == self.term and current and self._vote in (None, sender) and self.lead is None
        if granted and self._vote is None:
            self._vote = sender
            outputs.append(messages.Persist(self.term, self._vote))
        if granted:
            self._wait_for_election(now)
        return [*outputs, messages.Send(sender, messages.Voted(self.term, granted))]

    def _led(self, now: float) -> bool:
        return self.lead is not None or (self.leader is not None and now < self._heard + ELECTION_S)

    def _voted(self, sender: str, answer: messages.Voted, now: float) -> list[messages.Output]:
        if not answer.granted and answer.term > self.term:
            return self._follow(answer.term, None, now)
        wanted = (self.standing is Standing.ASKING and answer.pre and answer.term == self.term + 1) or (
            self.standing is Standing.CANDIDATE and not answer.pre and answer.term == self.term
        )
        if not (wanted and answer.granted):
            return []
        self._granted[sender] = True
        if len(self._granted) < self._majority:
            return []
        return self._campaign(now) if answer.pre else self._win(now)

    def _follow(self, term: int, leader: str | None, now: float) -> list[messages.Output]:
        """Step down, or go on, as a follower of `leader` in `term`."""
        outputs: list[messages.Output] = self.lead.retire() if self.lead else []
        if term > self.term:
            self.term, self._vote = term, None
            outputs.append(messages.Persist(self.term, self._vote))
        self.lead = None
        self.standing = Standing.FOLLOWER
        self._wait_for_election(now)
        return outputs + self._office(leader)

    def _office(self, leader: str | None) -> list[messages.Output]:
        changed = leader != self.leader
        self.leader = leader
        return [messages.Office(self.term, leader, leading=False)] if changed else []

    # Following.

    def _received(self, given: messages.Received, now: float) -> list[messages.Output]:
        if given.sender not in self._others:
            return []
        return _MESSAGES[type(given.message)](self, given.sender, given.message, now)

    def _heed(self, sender: str, term: int, now: float) -> list[messages.Output] | None:
        """Take the sender as the leader of its term; None if its term is over."""
        if term < self.term:
            return None
        assert not (term == self.term and self.lead), "two leaders in one term"
        self._heard = now
        if term == self.term and self.leader == sender and self.standing is Standing.FOLLOWER:
            self._wait_for_election(now)
            return []
        return self._follow(term, sender, now)

    def _append(self, sender: str, sent: messages.Append, now: float) -> list[messages.Output]:
        outputs = self._heed(sender, sent.term, now)
        if outputs is None:
            return [messages.Send(sender, messages.Appended(self.term, success=False, index=0, round=0))]
        prev, entries = sent.prev, sent.entries
        if prev.index < self.log.prev.index:
            # What our snapshot holds is committed, hence the same in the leader's log.
            entries = entries[self.log.prev.index - prev.index :]
            prev = self.log.prev
        if self.log.term_at(prev.index) != prev.term:
            index = min(self.log.last.index, max(prev.index - 1, 0))
            if self.log.term_at(prev.index) is not None:
                index = self.commit
            answer = messages.Appended(self.term, success=False, index=index, round=sent.round)
            return [*outputs, messages.Send(sender, answer)]
        outputs += self._take(entries)
        last = prev.index + len(entries)
        outputs += self._committed(min(sent.commit, last))
        return [
            *outputs,
            messages.Send(sender, messages.Appended(self.term, success=True, index=last, round=sent.round)),
        ]

    def _take(self, entries: Sequence[log.Entry]) -> list[messages.Output]:
        """Add what is new; cut only where an entry contradicts ours, for a repeated old message is no reason."""
        fresh = next(
            (at for at, e in enumerate(entries) if self.log.term_at(e.index) != e.term), len(entries)
        )
        added = tuple(entries[fresh:])
        if not added:
            return []
        cut = None
        if added[0].index <= self.log.last.index:
            assert added[0].index > self.commit, "what is committed is never cut"
            self.log.cut(added[0].index)
            cut = self.log.last
        self.log.append(added)
        return [messages.Persist(self.term, self._vote, cut, added)]

    def _install(self, sender: str, piece: messages.Install, now: float) -> list[messages.Output]:
        outputs = self._heed(sender, piece.term, now)
        if outputs is None:
            return [messages.Send(sender, messages.Appended(self.term, success=False, index=0, round=0))]
        if piece.end.index <= self.commit:
            answer = messages.Appended(self.term, success=True, index=piece.end.index, round=0)
            return [*outputs, messages.Send(sender, answer)]
        return [*outputs, messages.KeepPiece(sender, piece)]

    def _replaced(self, given: messages.Replaced, _now: float) -> list[messages.Output]:
        assert given.end.index > self.commit, "a snapshot is only taken to go forward"
        self.log.replace(given.end)
        self.commit = given.end.index
        if self.leader != given.leader:
            return []
        return [
            messages.Send(
                given.leader, messages.Appended(self.term, success=True, index=self.commit, round=0)
            )
        ]

    def _committed(self, index: int) -> list[messages.Output]:
        if index <= self.commit:
            return []
        entries = self.log.between(self.commit + 1, index)
        self.commit = index
        return [messages.Commit(entries)]

    # Leading.

    def _propose(self, given: messages.Propose, _now: float) -> list[messages.Output]:
        if self.lead is None:
            return [messages.Declined(ticket) for ticket, _data in given.items]
        first = self.log.last.index + 1
        entries = tuple(
            log.Entry(first + at, self.term, log.COMMAND, data)
            for at, (_ticket, data) in enumerate(given.items)
        )
        self.log.append(entries)
        accepted = [
            messages.Accepted(ticket, entry.position)
            for (ticket, _data), entry in zip(given.items, entries, strict=True)
        ]
        persist = messages.Persist(self.term, self._vote, entries=entries)
        return [persist, *accepted, *self.lead.replicate(self.commit)]

    def _read(self, given: messages.Read, _now: float) -> list[messages.Output]:
        if self.lead is None:
            return [messages.Declined(given.ticket)]
        return [*self.lead.ask(given.ticket, self.commit), *self.lead.confirmed(self.commit)]

    def _persisted(self, given: messages.Persisted, _now: float) -> list[messages.Output]:
        if self.lead is None or self.log.term_at(given.position.index) != given.position.term:
            return []
        self.lead.persisted(given.position.index)
        return [*self._advance(self.lead), *self.lead.announce(self.commit)]

    def _appended(self, sender: str, answer: messages.Appended, now: float) -> list[messages.Output]:
        if answer.term > self.term:
            return self._follow(answer.term, None, now)
        if self.lead is None or answer.term < self.term:
            return []
        outputs = self.lead.appended(sender, answer, now, self.commit)
        outputs += self._advance(self.lead)
        return [*outputs, *self.lead.replicate(self.commit), *self.lead.announce(self.commit)]

    def _installed(self, sender: str, answer: messages.Installed, now: float) -> list[messages.Output]:
        if answer.term > self.term:
            return self._follow(answer.term, None, now)
        if self.lead is None or answer.term < self.term:
            return []
        return self.lead.installed(sender, answer, now)

    def _resign(self, given: messages.Resign, _now: float) -> list[messages.Output]:
        heir = None if self.lead is None else self.lead.heir(given.to)
        return [] if heir is None else [messages.Send(heir, messages.Succeed(self.term))]

    def _advance(self, lead: leading.Leading) -> list[messages.Output]:
        outputs = self._committed(lead.commit())
        return [*outputs, *lead.confirmed(self.commit)]

    def _reconnected(self, given: messages.Reconnected, _now: float) -> list[messages.Output]:
        if self.lead is None or given.member not in self.lead.others:
            return []
        return self.lead.lost(given.member, self.commit)

    def _snapshotted(self, given: messages.Snapshotted, now: float) -> list[messages.Output]:
        assert given.keep <= self.commit, "only what is committed can be in a snapshot"
        keep = given.keep if self.lead is None else self.lead.wanted(now - QUORUM_S, given.keep)
        self.log.compact(max(keep, self.log.prev.index))
        return []


_HANDLERS: Final[Mapping[type[messages.Input], Callable[[Core, Any, float], list[messages.Output]]]] = {
    messages.Tick: Core._tick,  # noqa: SLF001 the class's own table
    messages.Received: Core._received,  # noqa: SLF001
    messages.Propose: Core._propose,  # noqa: SLF001
    messages.Read: Core._read,  # noqa: SLF001
    messages.Persisted: Core._persisted,  # noqa: SLF001
    messages.Snapshotted: Core._snapshotted,  # noqa: SLF001
    messages.Replaced: Core._replaced,  # noqa: SLF001
    messages.Reconnected: Core._reconnected,  # noqa: SLF001
    messages.Resign: Core._resign,  # noqa: SLF001
}

_MESSAGES: Final[
    Mapping[type[messages.Message], Callable[[Core, str, Any, float], list[messages.Output]]]
] = {
    messages.Vote: Core._vote_asked,  # noqa: SLF001
    messages.Voted: Core._voted,  # noqa: SLF001
    messages.Append: Core._append,  # noqa: SLF001
    messages.Appended: Core._appended,  # noqa: SLF001
    messages.Install: Core._install,  # noqa: SLF001
    messages.Installed: Core._installed,  # noqa: SLF001
    messages.Succeed: Core._succeed,  # noqa: SLF001
}
