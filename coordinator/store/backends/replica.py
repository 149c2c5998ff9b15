"""One member's copy of the state with its watches: what every backend does once a command is committed.

It may not decide when something is committed. Law: commands are applied in the order of the log, each once, and a
watcher is woken by its own keys alone.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final, Self

from coordinator import errors
from coordinator.store import commands, mvcc, port, watch

_REFUSALS: Final[Mapping[str, type[errors.TiercastError]]] = {
    "lease_gone": errors.NotFoundError,
    "lease_alive": errors.ConflictError,
    "duplicate_key": errors.UsageError,
    "malformed": errors.UsageError,
    "compacted": errors.ConflictError,
    "level": errors.ConflictError,
    "sealed": errors.RefusedError,
    "overruled": errors.ConflictError,
    "session_unknown": errors.UnknownOutcomeError,
    "request_forgotten": errors.UnknownOutcomeError,
}


def refusal(rejected: mvcc.Rejected) -> errors.TiercastError:
    """The error that a caller sees for a rejected command."""
    return _REFUSALS[rejected.code](rejected.detail)


class Replica:
    """State, history and watches of one member."""

    def __init__(self, state: mvcc.State) -> None:
        self.state = state
        self.hub = watch.Hub(state)
        self._watches: dict[watch.Watcher, LiveWatch] = {}
        self._closed = False

    def apply(self, command: commands.Command | None) -> mvcc.Result:
        """Take the next committed command."""
        self.state, result = mvcc.apply(self.state, command)
        if isinstance(result, mvcc.Applied):
            for watcher in self.hub.publish(self.state, result.events):
                self._watches[watcher].wake()
        return result

    def replace(self, state: mvcc.State) -> None:
        """A snapshot took the place of everything."""
        self.state = state
        for watcher in self.hub.restart(state):
            self._watches[watcher].wake()

    def scan(self, wanted: watch.Wanted, revision: int) -> port.Scan:
        """Local; the barrier is the caller's. Raises ConflictError."""
        if revision in (0, self.state.revision):
            return watch.scan(self.state, wanted)
        keys = self.hub.history.keys_at(revision)
        if keys is None:
            raise errors.ConflictError(
                f"that revision is compacted or still to come (got {revision}, "
                f"have {self.hub.history.floor} to {self.state.revision})"
            )
        return watch.scan_keys(keys, revision, wanted)

    def open_watch(self, prefix: bytes, from_revision: int) -> "LiveWatch":
        """Open a watch; it must be closed."""
        watcher = self.hub.open(prefix, from_revision)
        live = LiveWatch(self, watcher)
        self._watches[watcher] = live
        if watcher.waiting or self._closed:
            live.wake()
        return live

    def forget(self, watcher: watch.Watcher) -> None:
        self.hub.close(watcher)
        self._watches.pop(watcher, None)

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """End every watch."""
        self._closed = True
        for live in list(self._watches.values()):
            live.wake()


class LiveWatch:
    """A `port.Watch` of one task."""

    def __init__(self, replica: Replica, watcher: watch.Watcher) -> None:
        self._replica = replica
        self._watcher = watcher
        self._woken = asyncio.Event()
        self._closed = False

    @property
    def revision(self) -> int:
        """Everything of the prefix up to it has been handed out."""
        return (
            self._watcher.revision
            if self._watcher.waiting
            else max(self._watcher.revision, self._replica.state.revision)
        )

    def wake(self) -> None:
        self._woken.set()

    async def next(self) -> port.Batch:
        """Wait for the next batch; raises NoQuorumError once the store has closed."""
        while not self._watcher.waiting:
            if self._closed or self._replica.closed:
                raise errors.NoQuorumError("the watch has ended: the store was closed")
            self._woken.clear()
            await self._woken.wait()
        return self._watcher.take(self._replica.state)

    async def __aiter__(self) -> AsyncIterator[port.Batch]:
        while not self._closed:
            try:
                yield await self.next()
            except errors.NoQuorumError:
                return

    def close(self) -> None:
        self._closed = True
        self._replica.forget(self._watcher)
        self.wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
