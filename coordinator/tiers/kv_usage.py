"""How much of their quota the users' keys take, counted from a watch over `/kv/`, with room held for what is under way.

Law: what is in the store and what is under way together never exceed the quota; a configuration is never counted.
"""

import contextlib
from collections.abc import AsyncIterator

import anyio

from coordinator import errors, limits
from coordinator.store import port
from coordinator.tiers import keys

COUNTED_S = 15.0  # a full quota is read in about a second


class Usage:
    """Made with the office of a MIC; `follow` runs as long as it."""

    def __init__(self, store: port.Store) -> None:
        self._store = store
        self._sizes: dict[bytes, int] = {}
        self._held: dict[object, tuple[int, int]] = {}
        self._counted = anyio.Event()
        self.size_bytes = 0
        self.revision = 0

    @property
    def keys(self) -> int:
        return len(self._sizes)

    async def follow(self) -> None:
        """Until cancelled. Raises `NoQuorumError` once the store has closed."""
        watch = self._store.watch(keys.KV)
        try:
            while True:
                self._take(await watch.next())
        finally:
            watch.close()

    def _take(self, batch: port.Batch) -> None:
        if batch.reset is not None:
            self._sizes = {item.key: _size(item.key, item.value) for item in batch.reset.items}
            self.size_bytes = sum(self._sizes.values())
        for event in batch.events:
            key = event.item.key
            self.size_bytes -= self._sizes.pop(key, 0)
            if not event.deleted:
                self._sizes[key] = _size(key, event.item.value)
                self.size_bytes += self._sizes[key]
        self.revision = batch.revision
        self._held = {at: held for at, held in self._held.items() if not held[0] or held[0] > batch.revision}
        self._counted.set()

    async def counted(self) -> None:
        """Until all keys have been seen once. Raises `NoCoordinatorError`."""
        with anyio.move_on_after(COUNTED_S):
            await self._counted.wait()
            return
        raise errors.NoCoordinatorError(
            "the keys below /kv/ are still being counted", hint="try again shortly"
        )

    @contextlib.asynccontextmanager
    async def room(self, puts: dict[bytes, int]) -> AsyncIterator["Held"]:
        """For these keys and value sizes, until the count has seen them. Raises `NoSpaceError`, `NoCoordinatorError`."""
        await self.counted()
        growth = sum(max(0, len(key) + size - self._sizes.get(key, 0)) for key, size in puts.items())
        fresh = sum(key not in self._sizes for key in puts)
        waiting = sum(size for _revision, size in self._held.values())
        if growth and self.size_bytes + waiting + growth > limits.KV_QUOTA_BYTES:
            raise errors.NoSpaceError(
                f"the quota of the keys below /kv/ is full (got {growth} bytes more, "
                f"have {self.size_bytes + waiting} of {limits.KV_QUOTA_BYTES})",
                hint="delete keys, or give them leases; the configuration is not affected",
            )
        if fresh and self.keys + fresh > limits.KV_KEYS:
            raise errors.NoSpaceError(
                f"there are too many keys below /kv/ (got {fresh} more, have {self.keys} of {limits.KV_KEYS})",
                hint="delete keys, or give them leases; the configuration is not affected",
            )
        held = Held()
        self._held[held] = (0, growth)
        try:
            yield held
        finally:
            if held.revision > self.revision:
                self._held[held] = (held.revision, growth)
            else:
                del self._held[held]


class Held:
    """Room for one transaction; `revision` is the store's after it, 0 where nothing was written."""

    revision = 0


def _size(key: bytes, value: bytes) -> int:
    return len(key) + len(value)
