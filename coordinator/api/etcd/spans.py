r"""Ranges of etcd's requests, over `/kv/`: a client's key `foo` is `/kv/foo` in the store. Pure.

`range_end` empty is the key alone, `\0` every key from it on, else every key in [key, range_end).
"""

from collections.abc import Iterable
from typing import Final

import grpc
import msgspec

from coordinator import limits
from coordinator.api.etcd import refusals
from coordinator.store import commands, port
from coordinator.tiers import keys

FROM_KEY: Final = b"\0"
_END: Final = commands.prefix_end(keys.KV)


class Span(msgspec.Struct, frozen=True):
    """In the store's own keys: [start, end), or the key alone where `end` is empty."""

    start: bytes
    end: bytes = b""

    @property
    def within(self) -> bytes:
        """The longest prefix that all its keys have: what rights are asked for, and what is read."""
        if not self.end or self.end == commands.prefix_end(self.start):
            return self.start
        shared = 0
        while shared < min(len(self.start), len(self.end)) and self.start[shared] == self.end[shared]:
            shared += 1
        return max(self.start[:shared], keys.KV)

    def has(self, key: bytes) -> bool:
        return self.start <= key < self.end if self.end else key == self.start

    def of(self, items: Iterable[port.KeyValue]) -> list[port.KeyValue]:
        return [item for item in items if self.has(item.key)]


def stored(key: bytes) -> bytes:
    """Raises `EtcdError`."""
    if len(key) + len(keys.KV) > limits.STORE_KEY_BYTES:
        raise refusals.refused(grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large")
    return keys.KV + key


def shown(key: bytes) -> bytes:
    return key.removeprefix(keys.KV)


def span(key: bytes, range_end: bytes) -> Span:
    """Raises `EtcdError`."""
    if not key and not range_end:
        raise refusals.refused(grpc.StatusCode.INVALID_ARGUMENT, refusals.KEY_MISSING)
    start = stored(key.removeprefix(b"\0") if key == FROM_KEY else key)
    if not range_end:
        return Span(start)
    if range_end == FROM_KEY:
        return Span(start, _END)
    return Span(start, min(stored(range_end), _END)) if range_end > key else Span(start, start)


def empty(one: Span) -> bool:
    return bool(one.end) and one.end <= one.start
