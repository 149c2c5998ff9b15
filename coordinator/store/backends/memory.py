"""The store in this process's memory, for tests and simulation: the same machine, and nothing survives.

Law: it answers what the raft backend would answer; leases end by its clock whenever it is used or `tick` is called.
"""

from typing import Self

from coordinator import effects
from coordinator.store import commands, leases, mvcc, port, watch
from coordinator.store.backends import replica


class MemoryStore:
    """A `port.Store` of one member that is always there."""

    def __init__(self, clock: effects.Clock) -> None:
        self._clock = clock
        self._replica = replica.Replica(mvcc.State())
        self._leases = leases.LeaseClock(self._replica.state, clock.monotonic())

    @property
    def empty(self) -> bool:
        return self._replica.state.revision == 0

    def tick(self) -> None:
        """End the leases whose time is over."""
        for expire in self._leases.due(self._clock.monotonic()):
            self._apply(expire)

    async def get(self, key: bytes) -> port.KeyValue | None:
        self.tick()
        return self._replica.state.keys.get(key)

    async def scan(
        self, prefix: bytes, *, limit: int = 0, revision: int = 0, after: bytes = b""
    ) -> port.Scan:
        self.tick()
        return self._replica.scan(watch.Wanted(prefix, limit, after), revision)

    async def commit(self, txn: commands.Txn) -> port.TxnResult:
        commands.check(txn)
        self.tick()
        answer = self._done(txn)
        assert isinstance(answer, port.TxnResult)
        return answer

    def watch(self, prefix: bytes, from_revision: int = 0) -> port.Watch:
        return self._replica.open_watch(prefix, from_revision)

    async def open_session(self) -> int:
        return self._number(commands.SessionOpen())

    async def grant(self, ttl_s: float, guard: commands.Guard = ()) -> int:
        return self._number(commands.LeaseGrant(ttl_s, guard))

    async def keep_alive(self, lease: int, guard: commands.Guard = ()) -> None:
        self.tick()
        self._done(commands.LeaseKeepalive(lease, guard))

    async def revoke(self, lease: int, guard: commands.Guard = ()) -> None:
        self._done(commands.LeaseRevoke(lease, guard))

    async def compact(self, revision: int) -> None:
        self._done(commands.Compact(revision))

    async def status(self) -> port.StoreStatus:
        state = self._replica.state
        return port.StoreStatus(
            backend="memory",
            members=(port.MemberStatus("memory"),),
            leader="memory",
            revision=state.revision,
            compacted=state.compacted,
            size_bytes=state.size_bytes,
            keys=len(state.keys),
            sealed=bool(state.sealed),
        )

    async def close(self) -> None:
        self._replica.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def _number(self, command: commands.Command) -> int:
        answer = self._done(command)
        assert isinstance(answer, int)
        return answer

    def _done(self, command: commands.Command) -> port.TxnResult | int:
        result = self._apply(command)
        if isinstance(result, mvcc.Rejected):
            raise replica.refusal(result)
        return result.answer

    def _apply(self, command: commands.Command) -> mvcc.Result:
        read = commands.decode(commands.encode(command))
        result = self._replica.apply(read)
        self._leases.applied(read, result, self._replica.state, self._clock.monotonic())
        return result
