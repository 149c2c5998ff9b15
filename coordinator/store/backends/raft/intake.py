"""Commands on their way into the log: queued, bounded, and handed on in batches that one sync can carry.

No I/O. Law: they are handed on in the order in which they came.
"""

import asyncio
from collections import deque
from typing import Final

from coordinator import errors
from coordinator.store.backends.raft import pending

BATCH_BYTES: Final = 8 * 1024 * 1024
QUEUE_BYTES: Final = 128 * 1024 * 1024  # of commands waiting; whoever comes then waits with them
ENTRY_BYTES: Final = 64  # of a record around an entry


class Intake:
    """Of one member."""

    def __init__(self) -> None:
        self._waiting: deque[pending.Proposal] = deque()
        self._bytes = 0

    @property
    def full(self) -> bool:
        return self._bytes > QUEUE_BYTES

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, data: bytes) -> pending.Proposal:
        loop = asyncio.get_running_loop()
        proposal = pending.Proposal(data, loop.create_future(), loop.create_future())
        self._waiting.append(proposal)
        self._bytes += len(data)
        return proposal

    def batch(self) -> tuple[list[pending.Proposal], int]:
        """The first of them, and what the journal needs for them."""
        found: list[pending.Proposal] = []
        size = 0
        while self._waiting and size < BATCH_BYTES:
            proposal = self._waiting.popleft()
            self._bytes -= len(proposal.data)
            size += len(proposal.data) + ENTRY_BYTES
            found.append(proposal)
        return found, size

    def end(self, error: errors.TiercastError) -> None:
        """Nobody waits for ever."""
        for proposal in self._waiting:
            pending.refuse(proposal.accepted, error)
