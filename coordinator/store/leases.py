"""When the leader may propose that a lease has ended: a full time to live of its own monotonic clock without a renewal.

Pure; time comes in as `now`. Law: a lease is proposed to expire no earlier than its time to live after the last
renewal this leader applied, nor after it took office: a new leader starts every lease anew.
"""

from coordinator.store import commands, mvcc


class LeaseClock:
    """The deadlines of one leader's term of office."""

    def __init__(self, state: mvcc.State, now: float) -> None:
        self._ends: dict[int, tuple[float, int]] = {
            int.from_bytes(key, "big"): (now + lease.ttl_s, lease.keepalives)
            for key, lease in state.leases.pairs()
        }

    @property
    def deadline(self) -> float | None:
        """When `due` next has something to say."""
        return min((at for at, _count in self._ends.values()), default=None)

    def applied(
        self, command: commands.Command | None, result: mvcc.Result, state: mvcc.State, now: float
    ) -> None:
        """Learn what the log did to a lease."""
        match command:
            case commands.LeaseGrant():
                if isinstance(result, mvcc.Applied) and isinstance(result.answer, int):
                    self._renew(result.answer, state, now)
            case commands.LeaseKeepalive(lease) | commands.LeaseExpire(lease) | commands.LeaseRevoke(lease):
                self._renew(lease, state, now)
            case _:
                pass

    def due(self, now: float) -> tuple[commands.LeaseExpire, ...]:
        """What to propose now; a proposal that gets lost is made again after RETRY_S."""
        over = [(lease, count) for lease, (at, count) in self._ends.items() if at <= now]
        for lease, count in over:
            self._ends[lease] = (now + RETRY_S, count)
        return tuple(commands.LeaseExpire(lease, count) for lease, count in over)

    def _renew(self, number: int, state: mvcc.State, now: float) -> None:
        lease = state.leases.get(mvcc.id_key(number))
        if lease is None:
            self._ends.pop(number, None)
        elif self._ends.get(number, (0.0, -1))[1] != lease.keepalives:
            self._ends[number] = (now + lease.ttl_s, lease.keepalives)


RETRY_S = 1.0
