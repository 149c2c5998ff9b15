"""The two ports of the store: `Store` for those who keep things in it, `StoreAdmin` for those who keep it.

Pure declarations; backends stand behind them and only the composition root picks one.
Law: what `commit` answered is durable and seen by every later `get` and `scan` of any caller (linearizable); what it
could not learn is `UnknownOutcomeError`, never a guess.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol, Self

import msgspec

from coordinator.store import commands


class KeyValue(msgspec.Struct, frozen=True, array_like=True):
    """A key as it stands: revisions of the store at its creation and last change, and puts since creation."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0


class Scan(msgspec.Struct, frozen=True):
    """Keys in order, as of `revision` of the store; `more` if a limit cut them off."""

    items: tuple[KeyValue, ...]
    revision: int
    more: bool = False


class PutDone(msgspec.Struct, frozen=True):
    """Of one Put."""


class Deleted(msgspec.Struct, frozen=True):
    """Of one Delete: how many keys went."""

    count: int


class Ranged(msgspec.Struct, frozen=True):
    """Of one Range."""

    items: tuple[KeyValue, ...]
    more: bool = False


Response = PutDone | Deleted | Ranged


class TxnResult(msgspec.Struct, frozen=True):
    """`succeeded` tells which branch was done; `revision` is the store's after it.

    `repeated`: this request id had been applied before; its outcome stands here, its responses are not kept.
    """

    succeeded: bool
    revision: int
    responses: tuple[Response, ...] = ()
    repeated: bool = False


class Event(msgspec.Struct, frozen=True):
    """One change; a deletion carries the key with an empty value, version 0 and the revision of the deletion."""

    item: KeyValue
    deleted: bool = False


class Batch(msgspec.Struct, frozen=True):
    """Whole transactions, in order: with them the watcher's copy of the prefix is complete up to `revision`.

    For a slow watcher only the last change of each key may be left. `reset`: the store cannot tell the changes one by
    one (compacted, or the watcher was too slow); the watcher replaces all it has of the prefix by these items.
    """

    revision: int
    events: tuple[Event, ...] = ()
    reset: Scan | None = None


class Watch(Protocol):
    """An iterator of batches; ends when closed or when the store closes."""

    @property
    def revision(self) -> int:
        """Everything of the prefix up to it has been handed out."""
        ...

    async def next(self) -> Batch:
        """Wait for the next batch; raises NoQuorumError once the store has closed or lost its members for good."""
        ...

    def __aiter__(self) -> AsyncIterator[Batch]: ...

    def close(self) -> None: ...


class MemberStatus(msgspec.Struct, frozen=True):
    """One member as the asked one sees it; `matched` and `silent_s` are known to the leader alone."""

    member: str
    address: str = ""
    matched: int | None = None
    silent_s: float | None = None


class StoreStatus(msgspec.Struct, frozen=True):
    """A view without a barrier: it answers when there is no quorum too."""

    backend: str
    members: tuple[MemberStatus, ...]
    leader: str | None
    """Member id; None while there is none."""
    revision: int
    compacted: int
    size_bytes: int
    """Of keys and values."""
    keys: int
    term: int = 0
    committed: int = 0
    applied: int = 0
    sealed: bool = False
    shared: bool = False
    """Others may have it open at the same time, however few its members are."""
    alarms: tuple[str, ...] = ()
    """What the engine itself says is wrong with it."""


class Store(Protocol):
    """What everything else sees of the store. Keys are bytes, at most `limits.STORE_KEY_BYTES`."""

    async def get(self, key: bytes) -> KeyValue | None:
        """The key now. Raises NoQuorumError."""
        ...

    async def scan(self, prefix: bytes, *, limit: int = 0, revision: int = 0, after: bytes = b"") -> Scan:
        """Every key with the prefix, and greater than `after`, now or as of an older `revision`.

        Raises NoQuorumError, and ConflictError where that revision is compacted or still to come.
        """
        ...

    async def commit(self, txn: commands.Txn) -> TxnResult:
        """Do it, durably. A compare that does not hold is `succeeded=False`, no error.

        Raises TooLargeError and UsageError (nothing was done), NoSpaceError (nothing was done), NoQuorumError
        (nothing was done), NotFoundError for a lease that is gone (nothing was done), UnknownOutcomeError.
        """
        ...

    def watch(self, prefix: bytes, from_revision: int = 0) -> Watch:
        """Changes of keys with the prefix whose revision is >= `from_revision`; 0: all that is there, then changes.

        With 0 the first batch is a `reset` with the present keys.
        """
        ...

    async def open_session(self) -> int:
        """A session for `commands.RequestId`; lives until many others were used after it."""
        ...

    async def grant(self, ttl_s: float, guard: commands.Guard = ()) -> int:
        """A lease that ends, with its keys, `ttl_s` after its last `keep_alive` at the earliest.

        Here as with what follows: ConflictError where `guard` does not hold, and nothing was done.
        """
        ...

    async def keep_alive(self, lease: int, guard: commands.Guard = ()) -> None:
        """Raises NotFoundError if the lease has ended."""
        ...

    async def revoke(self, lease: int, guard: commands.Guard = ()) -> None:
        """End it now, with its keys. Raises NotFoundError if it has ended before."""
        ...

    async def compact(self, revision: int) -> None:
        """Forget what keys were before `revision`. Raises ConflictError outside (compacted, present]."""
        ...

    async def status(self) -> StoreStatus: ...

    async def close(self) -> None: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...


class CheckReport(msgspec.Struct, frozen=True):
    """What `check` read and what it found wrong; `findings` empty is good."""

    records: int
    bytes_read: int
    findings: tuple[str, ...] = ()


class StoreAdmin(Protocol):
    """Acts on the store as a whole."""

    async def members(self) -> tuple[MemberStatus, ...]: ...

    async def snapshot(self, target: Path) -> int:
        """Write everything, with digests, to a new file; answers the store's revision in it."""
        ...

    async def check(self) -> CheckReport:
        """Read every record and digest on disk."""
        ...

    async def seal(self, members: tuple[str, ...]) -> int:
        """End this group for ever in favour of `members`; answers the revision its snapshot has."""
        ...
