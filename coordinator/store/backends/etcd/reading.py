"""Reading keys as they stand or stood: pages that fit in memory, and large values put together again.

Law: everything of one scan is as of one revision.
"""

import collections
from typing import Final

import msgspec

from coordinator import errors
from coordinator.store import commands, port
from coordinator.store.backends.etcd import gateway, keys, large, messages, transactions

FIRST_PAGE: Final = 32  # of values of one MiB this is 32 MiB, of most it is little
PAGE_BYTES: Final = 4 * 1024 * 1024
PAGE_KEYS: Final = 1024
CACHE_BYTES: Final = 16 * 1024 * 1024  # pieces are many values long, and are asked for once for each


class Wanted(msgspec.Struct, frozen=True):
    """Keys in [start, end) of etcd, at most `limit` of them (0: all), as of `revision` (0: now)."""

    start: bytes
    end: bytes
    limit: int = 0
    revision: int = 0


class Reader:
    """Of one root."""

    def __init__(self, through: gateway.Gateway, root: keys.Root) -> None:
        self._gateway = through
        self._root = root
        self._cache: collections.OrderedDict[bytes, bytes] = collections.OrderedDict()
        self._cached_bytes = 0

    async def get(self, key: bytes) -> port.KeyValue | None:
        """Raises `NoQuorumError` and what etcd refuses."""
        while True:
            found = await self._range({"key": self._root.data(key)})
            try:
                items = await self.items(found.kvs, found.header.revision)
            except errors.ConflictError:  # compacted between the two: the value was replaced long ago
                continue
            return items[0] if items else None

    async def scan(self, wanted: Wanted) -> port.Scan:
        """Raises `ConflictError` where the revision is compacted or still to come, and as `get`."""
        while True:
            try:
                return await self._scan(wanted)
            except errors.ConflictError:
                if wanted.revision:
                    raise

    async def _scan(self, wanted: Wanted) -> port.Scan:
        found: list[port.KeyValue] = []
        start, revision, page = wanted.start, wanted.revision, FIRST_PAGE
        while True:
            left = wanted.limit - len(found) if wanted.limit else page
            asked = {
                "key": start, "range_end": wanted.end, "limit": min(page, left), "revision": revision,
            }  # fmt: skip
            got = await self._range(asked)
            revision = revision or got.header.revision
            found += await self.items(got.kvs, revision)
            if not got.more or len(found) == wanted.limit:
                return port.Scan(tuple(found), revision, got.more)
            start = got.kvs[-1].key + b"\0"
            size = sum(len(one.value) for one in found[-len(got.kvs) :]) // len(got.kvs) + 1
            page = max(1, min(PAGE_KEYS, PAGE_BYTES // size))

    def of_prefix(self, prefix: bytes, after: bytes = b"", limit: int = 0, revision: int = 0) -> Wanted:
        """What a scan of our keys asks for."""
        start = max(prefix, after + b"\0") if after else prefix
        end = self._root.end(commands.prefix_end(prefix))
        return Wanted(self._root.data(start), end, limit, revision)

    async def items(self, found: tuple[messages.Item, ...], revision: int) -> tuple[port.KeyValue, ...]:
        """Ours, with their values whole as of `revision`. Raises `ConflictError` where that is compacted."""
        return tuple([await self.item(one, revision) for one in found])

    async def item(self, found: messages.Item, revision: int) -> port.KeyValue:
        value = large.opened(found.value)
        if isinstance(value, large.Reference):
            value = await self._resolved(value, revision)
        return transactions.item(self._root, found, value)

    async def _resolved(self, reference: large.Reference, revision: int) -> bytes:
        name = self._root.piece(reference.group, reference.piece)
        piece = self._cache.get(name)
        if piece is None:
            got = await self._range({"key": name, "revision": revision})
            if not got.kvs:
                raise errors.DamagedError(
                    "a large value is missing in etcd",
                    hint="were keys deleted by hand? `tiercast store recover`",
                )
            piece = got.kvs[0].value
            self._keep(name, piece)
        self._cache.move_to_end(name)
        value = piece[reference.offset : reference.offset + reference.size]
        if len(value) != reference.size:
            raise errors.DamagedError("a large value in etcd is not whole")
        return value

    def _keep(self, name: bytes, piece: bytes) -> None:
        self._cache[name] = piece
        self._cached_bytes += len(piece)
        while self._cached_bytes > CACHE_BYTES:
            self._cached_bytes -= len(self._cache.popitem(last=False)[1])

    async def _range(self, asked: messages.Message) -> messages.Range:
        return await self._gateway.call(messages.RANGE, asked, messages.Range)
