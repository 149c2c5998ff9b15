"""What a leader knows of the others, and what it sends them next.

Pure. Laws: an entry counts as held by a member only after that member's own word in this term; entries of older terms
are committed only along with one of this term; a barrier is confirmed by a majority that answered a message sent after
it was asked for. Heartbeats carry no entries and speak of a place already agreed on, so that one sent ahead of a large
entry is no news of a loss.
"""

import enum
from collections.abc import Sequence
from typing import Final

import msgspec

from coordinator.store.backends.raft import log, messages

APPEND_BYTES: Final = 1088 * 1024  # two of 512 KiB: what arrives together shares a follower's sync
APPEND_ENTRIES: Final = 512
UNDER_WAY: Final = 8  # appends to one member without an answer; bounds what a slow one can pile up
STALLED_BEATS: Final = 20  # beats without an answer to what is under way, until it counts as lost


class Mode(enum.Enum):
    PROBE = "probe"  # where its log stands is unknown: ask, and send nothing
    STREAM = "stream"  # it follows: send ahead of its answers
    SNAPSHOT = "snapshot"  # what it needs is compacted


class Progress(msgspec.Struct):
    """One other member."""

    next: int
    heard: float
    match: int = 0
    mode: Mode = Mode.PROBE
    under_way: int = 0
    beats: int = 0
    """Since anything that was under way was answered."""
    round: int = 0
    told: int = 0
    """The commit index it was last sent."""
    piece_offset: int = -1
    piece_end: log.Position | None = None


class _Barrier(msgspec.Struct, frozen=True):
    ticket: int
    round: int


class Leading:
    """One term of office."""

    def __init__(self, others: Sequence[str], held: log.Log, term: int, now: float) -> None:
        self._log = held
        self._term = term
        self._own = 0
        self._round = 0
        self._confirmed = 0
        self._barriers: list[_Barrier] = []
        self.others = {member: Progress(held.last.index + 1, now) for member in others}

    @property
    def _majority(self) -> int:
        return (len(self.others) + 1) // 2 + 1

    def persisted(self, index: int) -> None:
        self._own = max(self._own, index)

    def commit(self) -> int:
        """The highest index, of an entry of this term, that a majority holds; 0 if none."""
        held = sorted([self._own, *(p.match for p in self.others.values())], reverse=True)
        index = held[self._majority - 1]
        return index if self._log.term_at(index) == self._term else 0

    def has_quorum(self, since: float) -> bool:
        """Whether a majority, this member included, was heard since."""
        return 1 + sum(p.heard >= since for p in self.others.values()) >= self._majority

    def heir(self, wanted: str | None) -> str | None:
        """Who holds most of those that follow closely; the wanted one only if it holds everything. None if nobody does."""
        close = {m: p.match for m, p in self.others.items() if p.mode is Mode.STREAM}
        if wanted is not None:
            return wanted if close.get(wanted) == self._log.last.index else None
        return max(close, key=lambda m: (close[m], m)) if close else None

    def wanted(self, since: float, index: int) -> int:
        """Up to where entries may go, `index` at most: whoever is getting a snapshot now needs those behind it."""
        ends = (
            p.piece_end.index for p in self.others.values() if p.piece_end is not None and p.heard >= since
        )
        return min((index, *ends))

    def heartbeat(self, commit: int) -> list[messages.Output]:
        """To everyone; what is stalled begins again."""
        if self._barriers and self._round == self._confirmed:
            self._round += 1
        outputs: list[messages.Output] = []
        for member, progress in self.others.items():
            progress.beats += 1
            outputs.append(self._beat(member, progress, commit))
            if progress.beats > STALLED_BEATS:
                outputs += self.lost(member, commit)
        return outputs

    def replicate(self, commit: int) -> list[messages.Output]:
        """Entries to whoever follows and can take more."""
        outputs: list[messages.Output] = []
        for member, progress in self.others.items():
            while (
                progress.mode is Mode.STREAM
                and progress.under_way < UNDER_WAY
                and progress.next <= self._log.last.index
            ):
                outputs += self._entries(member, progress, commit)
        return outputs

    def announce(self, commit: int) -> list[messages.Output]:
        """Tell followers of a commit that nothing else told them of: callers may wait for it there."""
        return [
            self._beat(member, progress, commit)
            for member, progress in self.others.items()
            if progress.mode is Mode.STREAM and progress.told < min(commit, progress.match)
        ]

    def lost(self, member: str, commit: int) -> list[messages.Output]:
        """What was under way to it may never have arrived: find out where it stands."""
        progress = self.others[member]
        progress.under_way = progress.beats = 0
        if progress.mode is Mode.SNAPSHOT:
            return [messages.SendPiece(member, self._term, max(progress.piece_offset, 0), progress.piece_end)]
        progress.mode = Mode.PROBE
        progress.next = max(progress.match + 1, self._log.prev.index + 1)
        return [self._beat(member, progress, commit)]

    def appended(
        self, member: str, answer: messages.Appended, now: float, commit: int
    ) -> list[messages.Output]:
        """Take a member's answer of this term."""
        progress = self.others[member]
        progress.heard = now
        progress.round = max(progress.round, answer.round)
        if answer.success:
            if answer.index > progress.match:
                progress.match = answer.index
                progress.beats = 0
                progress.under_way = max(progress.under_way - 1, 0)
                if progress.match >= progress.next - 1:
                    progress.under_way = 0
            progress.next = max(progress.next, progress.match + 1)
            if progress.match >= self._log.prev.index:
                progress.mode, progress.piece_offset, progress.piece_end = Mode.STREAM, -1, None
            elif progress.piece_end is not None and progress.piece_end.index <= progress.match:
                # It has what it was sent, and the log went on beyond that: the next snapshot follows.
                progress.piece_offset, progress.piece_end = -1, None
                return [messages.SendPiece(member, self._term, 0, None)]
            return []
        return self._disagreed(member, progress, answer.index, commit)

    def installed(self, member: str, answer: messages.Installed, now: float) -> list[messages.Output]:
        """The next piece; an answer given twice asks for nothing new."""
        progress = self.others[member]
        progress.heard = now
        if progress.mode is not Mode.SNAPSHOT:
            return []
        if (answer.end, answer.offset) == (progress.piece_end, progress.piece_offset):
            return []
        progress.piece_end, progress.piece_offset, progress.beats = answer.end, answer.offset, 0
        return [messages.SendPiece(member, self._term, answer.offset, answer.end)]

    def ask(self, ticket: int, commit: int) -> list[messages.Output]:
        """Begin a barrier, with a round of its own unless one is under way: the next then serves all that wait."""
        idle = self._round == self._confirmed
        self._barriers.append(_Barrier(ticket, self._round + 1))
        return self.heartbeat(commit) if idle and self.others else []

    def confirmed(self, commit: int) -> list[messages.Output]:
        """Barriers that a majority has answered, and the round for those that wait."""
        if self._log.term_at(commit) != self._term:
            return []  # what earlier leaders acknowledged may lie beyond `commit` until an entry of ours is committed
        if self.others:
            answered = sorted((p.round for p in self.others.values()), reverse=True)
            self._confirmed = max(self._confirmed, answered[self._majority - 2])
        else:
            self._confirmed = self._round = self._round + 1
        ready = [b for b in self._barriers if b.round <= self._confirmed]
        self._barriers = [b for b in self._barriers if b.round > self._confirmed]
        outputs: list[messages.Output] = [messages.Readable(b.ticket, commit) for b in ready]
        if ready and self._barriers:
            outputs += self.heartbeat(commit)
        return outputs

    def retire(self) -> list[messages.Output]:
        """Barriers that nobody will confirm."""
        return [messages.Declined(barrier.ticket) for barrier in self._barriers]

    def _disagreed(self, member: str, progress: Progress, index: int, commit: int) -> list[messages.Output]:
        """Its log differs, or is shorter: go back to `index`, where it says it may agree."""
        if progress.mode is Mode.SNAPSHOT and index < self._log.prev.index:
            return []
        progress.next = max(progress.match + 1, min(index + 1, progress.next))
        progress.under_way = progress.beats = 0
        if progress.next <= self._log.prev.index:
            progress.mode, progress.piece_offset = Mode.SNAPSHOT, -1
            return [messages.SendPiece(member, self._term, 0, None)]
        progress.mode = Mode.PROBE
        return [self._beat(member, progress, commit)]

    def _beat(self, member: str, progress: Progress, commit: int) -> messages.Output:
        place = progress.match if progress.mode is Mode.STREAM else progress.next - 1
        if progress.mode is Mode.SNAPSHOT:
            place = self._log.prev.index
        term = self._log.term_at(place)
        prev = self._log.prev if term is None else log.Position(place, term)
        progress.told = min(commit, prev.index)
        return messages.Send(member, messages.Append(self._term, prev, (), commit, self._round), early=True)

    def _entries(self, member: str, progress: Progress, commit: int) -> list[messages.Output]:
        before = self._log.term_at(progress.next - 1)
        if before is None:
            progress.mode, progress.piece_offset, progress.piece_end = Mode.SNAPSHOT, -1, None
            return [messages.SendPiece(member, self._term, 0, None)]
        entries = self._log.batch(progress.next, APPEND_BYTES, APPEND_ENTRIES)
        prev = log.Position(progress.next - 1, before)
        # A large entry weighs as many small appends: that much of it may be on its way at once.
        progress.under_way += 1 + sum(len(entry.data) for entry in entries) // APPEND_BYTES
        progress.next = entries[-1].index + 1
        progress.told = max(progress.told, min(commit, progress.next - 1))
        message = messages.Append(self._term, prev, entries, commit, self._round)
        return [messages.Send(member, message, early=True)]
