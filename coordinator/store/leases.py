"""When the leader may propose that a lease has ended: a full time to live of its own monotonic clock without a renewal.

Pure; time comes in as `now`. Law: a lease is proposed to expire no earlier than its time to live after the last
renewal this leader applied, nor after it took office: a new leader starts every lease anew. What it costs does not grow
with the leases that are not due.
"""

import heapq
from typing import Final

from coordinator.store import commands, mvcc

RETRY_S: Final = 1.0
SPARE: Final = 64  # ends that are no more, besides as many as there are leases, until they are swept


class LeaseClock:
    """The deadlines of one leader's term of office."""

    def __init__(self, state: mvcc.State, now: float) -> None:
        self._ends: dict[int, tuple[float, int]] = {
            int.from_bytes(key, "big"): (now + lease.ttl_s, lease.keepalives)
            for key, lease in state.leases.pairs()
        }
        self._order: list[tuple[float, int]] = []
        """A heap of ends, those that were renewed since among them."""
        self._sweep()

    @property
    def deadline(self) -> float | None:
        """When `due` next has something to say."""
        while self._order and not self._counts(*self._order[0]):
            heapq.heappop(self._order)
        return self._order[0][0] if self._order else None

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
        found: list[commands.LeaseExpire] = []
        while self._order and self._order[0][0] <= now:
            at, lease = heapq.heappop(self._order)
            if self._counts(at, lease):
                count = self._ends[lease][1]
                found.append(commands.LeaseExpire(lease, count))
                self._set(lease, now + RETRY_S, count)
        return tuple(found)

    def _counts(self, at: float, lease: int) -> bool:
        """Whether that is its end still."""
        held = self._ends.get(lease)
        return held is not None and held[0] == at

    def _renew(self, number: int, state: mvcc.State, now: float) -> None:
        lease = state.leases.get(mvcc.id_key(number))
        if lease is None:
            self._ends.pop(number, None)
        elif self._ends.get(number, (0.0, -1))[1] != lease.keepalives:
            self._set(number, now + lease.ttl_s, lease.keepalives)

    def _set(self, number: int, at: float, keepalives: int) -> None:
        self._ends[number] = (at, keepalives)
        heapq.heappush(self._order, (at, number))
        if len(self._order) > 2 * len(self._ends) + SPARE:
            self._sweep()

    def _sweep(self) -> None:
        self._order = [(at, lease) for lease, (at, _count) in self._ends.items()]
        heapq.heapify(self._order)
