"""The replicated log as one member holds it in memory: what follows its snapshot.

Pure. Law: indexes rise by one without a gap from `prev`; whoever cuts asks first whether the place is committed.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

NOOP: Final = 0
COMMAND: Final = 1


class Position(msgspec.Struct, frozen=True, array_like=True):
    """An index and the term its entry was made in."""

    index: int
    term: int


NOTHING: Final = Position(0, 0)


class Entry(msgspec.Struct, frozen=True, array_like=True):
    index: int
    term: int
    kind: int
    data: bytes

    @property
    def position(self) -> Position:
        return Position(self.index, self.term)


class Log:
    """Entries after `prev`, which is the end of the snapshot (or of the part of it no longer kept)."""

    def __init__(self, prev: Position, entries: Iterable[Entry] = ()) -> None:
        self.prev = prev
        self._entries = list(entries)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All that is held."""
        return tuple(self._entries)

    @property
    def last(self) -> Position:
        return self._entries[-1].position if self._entries else self.prev

    def term_at(self, index: int) -> int | None:
        """The term of the entry at `index`; None if it is not held."""
        if index == self.prev.index:
            return self.prev.term
        at = index - self.prev.index - 1
        return self._entries[at].term if 0 <= at < len(self._entries) else None

    def between(self, first: int, last: int) -> tuple[Entry, ...]:
        """Entries with first <= index <= last; all of them must be held."""
        assert first > self.prev.index, "compacted entries are not asked for"
        return tuple(self._entries[first - self.prev.index - 1 : last - self.prev.index])

    def batch(self, first: int, size_bytes: int, count: int) -> tuple[Entry, ...]:
        """Entries from `first` on, at least one if there is one, at most `count` and about `size_bytes`."""
        chosen: list[Entry] = []
        size = 0
        start = first - self.prev.index - 1
        for entry in self._entries[start : start + count]:
            size += len(entry.data)
            if chosen and size > size_bytes:
                break
            chosen.append(entry)
        return tuple(chosen)

    def before(self, index: int, count: int, size_bytes: int) -> int:
        """The place behind which stand at most `count` entries up to `index`, of about `size_bytes` at most."""
        first = index
        while first > max(self.prev.index, index - count):
            size_bytes -= len(self._entries[first - self.prev.index - 1].data)
            if size_bytes < 0:
                break
            first -= 1
        return first

    def append(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            assert entry.index == self.last.index + 1, "a log has no gaps"
            self._entries.append(entry)

    def cut(self, index: int) -> None:
        """Drop the entry at `index` and everything behind it."""
        assert index > self.prev.index, "what a snapshot holds is committed"
        del self._entries[index - self.prev.index - 1 :]

    def compact(self, index: int) -> None:
        """Forget entries up to `index`; nothing if they are forgotten already."""
        term = self.term_at(index)
        if index > self.prev.index and term is not None:
            del self._entries[: index - self.prev.index]
            self.prev = Position(index, term)

    def replace(self, prev: Position) -> None:
        """A snapshot that ends at `prev` came from the leader."""
        if self.term_at(prev.index) == prev.term:
            self.compact(prev.index)
        else:
            self.prev = prev
            self._entries.clear()
