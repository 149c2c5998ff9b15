"""Watches: who is told of which change, and what a slow watcher gets instead of a queue without end.

Pure; the shell wakes the tasks. `Hub.publish` returns the watchers that have something now, and no other: a foreign
key wakes nobody (hashicorp/consul#9449).
Law: a watcher that applies its batches in order, replacing everything at a `reset`, holds exactly the prefix as of the
batch's revision. History lives in this process only: after a restart a watch from before the snapshot begins with a
reset, which is the notice that changes were compacted away.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from coordinator import limits
from coordinator.store import commands, mvcc, port, tree

KEY_OVERHEAD_BYTES: Final = 200


class _Change(msgspec.Struct, frozen=True):
    """One revision: the keys after it, and how they came to be so."""

    revision: int
    keys: tree.Tree[port.KeyValue]
    events: tuple[port.Event, ...]
    size_bytes: int


class History:
    """The last changes, bounded in count and bytes; every one keeps the keys as they were."""

    def __init__(self, state: mvcc.State) -> None:
        self._floor = _Change(state.revision, state.keys, (), 0)
        self._changes: deque[_Change] = deque()
        self._size_bytes = 0

    @property
    def floor(self) -> int:
        """The oldest revision whose keys are still known."""
        return self._floor.revision

    def add(self, state: mvcc.State, events: tuple[port.Event, ...]) -> None:
        if events:
            change = _Change(state.revision, state.keys, events, _size(events))
            self._changes.append(change)
            self._size_bytes += change.size_bytes
        while self._changes and self._over(state.compacted):
            self._floor = self._changes.popleft()
            self._size_bytes -= self._floor.size_bytes

    def keys_at(self, revision: int) -> tree.Tree[port.KeyValue] | None:
        """The keys as they were at `revision`; None if that is forgotten or still to come."""
        at = revision - self._floor.revision
        if at == 0:
            return self._floor.keys
        return self._changes[at - 1].keys if 0 < at <= len(self._changes) else None

    def since(self, revision: int) -> Iterable[_Change] | None:
        """Changes at or after `revision`; None if some of them are forgotten."""
        if revision <= self._floor.revision:
            return None
        skip = revision - self._floor.revision - 1
        return [self._changes[at] for at in range(skip, len(self._changes))]

    def _over(self, compacted: int) -> bool:
        return (
            len(self._changes) > limits.STORE_HISTORY_REVISIONS
            or self._size_bytes > limits.STORE_HISTORY_BYTES
            or self._changes[0].revision <= compacted
        )


class Watcher:
    """One watch: what waits to be taken, whole transactions only."""

    def __init__(self, prefix: bytes, from_revision: int) -> None:
        self.prefix = prefix
        self.revision = max(from_revision - 1, 0)
        """Everything up to it has been taken."""
        self._from_revision = from_revision
        self._events: list[port.Event] = []
        self._size_bytes = 0
        self._reset = False

    @property
    def waiting(self) -> bool:
        return self._reset or bool(self._events)

    def overflow(self) -> None:
        """The next batch is a reset."""
        self._events.clear()
        self._size_bytes = 0
        self._reset = True

    def offer(self, events: list[port.Event]) -> None:
        if self._reset or not events or events[0].item.mod_revision < self._from_revision:
            return
        self._events.extend(events)
        self._size_bytes += _size(events)
        if self._over(1):
            self._coalesce()
            # Below half only: else nearly every further event would pay for sorting all of them.
            if self._over(2):
                self.overflow()

    def take(self, state: mvcc.State) -> port.Batch:
        """All that waits, complete up to the revision of `state`."""
        self.revision = max(self.revision, state.revision)
        if self._reset:
            self._reset = False
            return port.Batch(state.revision, reset=scan(state, Wanted(self.prefix)))
        events, self._events, self._size_bytes = tuple(self._events), [], 0
        return port.Batch(state.revision, events)

    def _over(self, share: int) -> bool:
        return (
            len(self._events) * share > limits.STORE_WATCH_EVENTS
            or self._size_bytes * share > limits.STORE_WATCH_BYTES
        )

    def _coalesce(self) -> None:
        last = {event.item.key: event for event in self._events}
        self._events = sorted(last.values(), key=lambda event: event.item.mod_revision)
        self._size_bytes = _size(self._events)


class Hub:
    """All watches of one member and the history they may begin in."""

    def __init__(self, state: mvcc.State) -> None:
        self.history = History(state)
        self._watchers: dict[bytes, list[Watcher]] = {}
        self._lengths: tuple[int, ...] = ()

    def open(self, prefix: bytes, from_revision: int) -> Watcher:
        """A watcher of changes at or after `from_revision`; from 0, or from before the history, it begins with a reset."""
        watcher = Watcher(prefix, from_revision)
        changes = self.history.since(from_revision) if from_revision else None
        if changes is None:
            watcher.overflow()
        else:
            for change in changes:
                watcher.offer([event for event in change.events if event.item.key.startswith(prefix)])
        self._watchers.setdefault(prefix, []).append(watcher)
        self._measure()
        return watcher

    def close(self, watcher: Watcher) -> None:
        """Forget it; closing twice is nothing."""
        same = self._watchers.get(watcher.prefix, [])
        if watcher in same:
            same.remove(watcher)
        if not same:
            self._watchers.pop(watcher.prefix, None)
            self._measure()

    def publish(self, state: mvcc.State, events: tuple[port.Event, ...]) -> list[Watcher]:
        """Take one command's changes; answers the watchers to wake."""
        self.history.add(state, events)
        woken: dict[bytes, list[port.Event]] = {}
        for event in events:
            for length in self._lengths:
                prefix = event.item.key[:length]
                if len(prefix) == length and prefix in self._watchers:
                    woken.setdefault(prefix, []).append(event)
        told: list[Watcher] = []
        for prefix, changes in woken.items():
            for watcher in self._watchers[prefix]:
                watcher.offer(changes)
                told.append(watcher)
        return told

    def restart(self, state: mvcc.State) -> list[Watcher]:
        """The state was replaced whole (a snapshot came): every watch goes on with a reset."""
        self.history = History(state)
        watchers = [watcher for same in self._watchers.values() for watcher in same]
        for watcher in watchers:
            watcher.overflow()
        return watchers

    def _measure(self) -> None:
        self._lengths = tuple(sorted({len(prefix) for prefix in self._watchers}))


class Wanted(msgspec.Struct, frozen=True):
    """Keys with the prefix and greater than `after`, at most `limit` of them (0: no limit)."""

    prefix: bytes
    limit: int = 0
    after: bytes = b""


def scan(state: mvcc.State, wanted: Wanted) -> port.Scan:
    """The keys as they stand."""
    return scan_keys(state.keys, state.revision, wanted)


def scan_keys(keys: tree.Tree[port.KeyValue], revision: int, wanted: Wanted) -> port.Scan:
    """Of keys as of `revision`."""
    start = max(wanted.prefix, wanted.after + b"\0") if wanted.after else wanted.prefix
    end = commands.prefix_end(wanted.prefix) or commands.EVERY_KEY_END
    items, more = mvcc.select(keys, start, end, wanted.limit)
    return port.Scan(items, revision, more)


def _size(events: Iterable[port.Event]) -> int:
    return sum(len(event.item.key) + len(event.item.value) + KEY_OVERHEAD_BYTES for event in events)
