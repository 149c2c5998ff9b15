"""What one member makes of the committed log: the state, its watches, the ends of leases, and the word to whoever waits.

It knows neither disk nor links. Laws: entries are applied in the order of the log, each once; leases are counted by the
leader alone, from the moment it took office.
"""

import asyncio
from collections.abc import Iterable

from coordinator import effects
from coordinator.store import commands, leases, mvcc
from coordinator.store.backends import replica
from coordinator.store.backends.raft import levels, log, messages, pending, recovery


class Machine:
    """Of one member while its process runs."""

    def __init__(self, opened: recovery.Opened, clock: effects.Clock) -> None:
        self.replica = replica.Replica(opened.state)
        self.applied = opened.held.prev.index
        self.pending = pending.Pending()
        identity = opened.identity
        self.levels = levels.Levels(one for one in identity.members if one != identity.member)
        self._clock = clock
        self._leases: leases.LeaseClock | None = None
        self._moved = asyncio.Event()

    def commit(self, entries: Iterable[log.Entry]) -> None:
        """Apply what is committed. Raises AboveLevelError."""
        now = self._clock.monotonic()
        for entry in entries:
            assert entry.index == self.applied + 1, "the log is applied in order"
            result: mvcc.Result = mvcc.Applied()
            if entry.kind == log.COMMAND:
                command = commands.decode(entry.data)
                result = self.replica.apply(command)
                if self._leases is not None:
                    self._leases.applied(command, result, self.replica.state, now)
            self.applied = entry.index
            self.pending.applied(entry, result)

    def replace(self, end: log.Position, state: mvcc.State) -> None:
        """A snapshot took the place of everything up to `end`."""
        self.replica.replace(state)
        self.applied = end.index
        self.pending.skipped(end.index)

    def took_office(self, output: messages.Office) -> None:
        """Somebody leads, or nobody: what was accepted before is in doubt, and the leader counts every lease anew."""
        leading = output.leading
        self._leases = leases.LeaseClock(self.replica.state, self._clock.monotonic()) if leading else None
        self.pending.doubt()

    # What a leader is to propose by itself.

    @property
    def deadline(self) -> float:
        """When `due` has something next."""
        at = self._leases.deadline if self._leases is not None else None
        return float("inf") if at is None else at

    def due(self) -> tuple[bytes, ...]:
        """Leases that have ended, as commands."""
        if self._leases is None:
            return ()
        return tuple(commands.encode(expire) for expire in self._leases.due(self._clock.monotonic()))

    def rise(self) -> bytes | None:
        """The command that raises the group's feature level, where all understand more."""
        due = self.levels.due(self.replica.state.level)
        return None if due is None else commands.encode(due)

    # Waiting.

    async def moved(self) -> None:
        """Return at the next change of anything."""
        await self._moved.wait()

    def tell_moved(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
