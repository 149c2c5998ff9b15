"""The language of the replicated log: what may be asked of the store, as frozen values with one versioned encoding.

Pure. It may not know how a command is applied or carried.
Laws: `decode(encode(c)) == c`; tags and field order are for ever (they stand in journals), new fields come last with a
default; a command above the reader's feature level is never guessed at: `decode` raises and that member halts.
"""

import enum
from typing import Final

import msgspec

from coordinator import errors, limits

LEVEL: Final = 2
"""The newest feature level this program understands."""
GUARDED: Final = 2
"""The first whose programs look at the conditions of a lease's commands."""
FORMAT: Final = 0x92
"""The first byte: msgpack's mark of an array of two, the level and the command. The level is the second byte."""
HEADER_BYTES: Final = 2


class AboveLevelError(errors.TiercastError):
    """The log holds a command this program is too old for; the member must stop, never skip it."""

    code = "above_level"


class Target(enum.IntEnum):
    """What of a key is compared; an absent key has create, mod, version and lease 0 and no value."""

    CREATE = 0
    MOD = 1
    VERSION = 2
    VALUE = 3
    LEASE = 4


class Relation(enum.IntEnum):
    EQUAL = 0
    NOT_EQUAL = 1
    LESS = 2
    GREATER = 3


class Compare(msgspec.Struct, frozen=True, array_like=True):
    """One condition on one key; comparing the value of an absent key is false whatever the relation."""

    key: bytes
    target: Target
    relation: Relation
    operand: int | bytes


Guard = tuple[Compare, ...]
"""Conditions that a command on a lease is bound to."""


class Put(msgspec.Struct, frozen=True, array_like=True, tag=1):
    key: bytes
    value: bytes
    lease: int = 0


class Delete(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The key, or with `end` every key in [key, end)."""

    key: bytes
    end: bytes = b""


class Range(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Read the key, or with `end` every key in [key, end), at most `limit` of them (0: no limit)."""

    key: bytes
    end: bytes = b""
    limit: int = 0


Operation = Put | Delete | Range


class RequestId(msgspec.Struct, frozen=True, array_like=True):
    """Makes a transaction apply once: repeat it under the same id and the first outcome is answered.

    `number` rises by one per transaction of the session; every number below `settled` has been answered for good, so
    the store may forget it.
    """

    session: int
    number: int
    settled: int = 0


class Txn(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """If all of `compare` hold, `success` is done, else `failure`; all at one revision, or nothing."""

    compare: tuple[Compare, ...] = ()
    success: tuple[Operation, ...] = ()
    failure: tuple[Operation, ...] = ()
    request: RequestId | None = None


class LeaseGrant(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Make a lease; its id is the answer. Void unless `guard` holds, as every command on a lease that has one."""

    ttl_s: float
    guard: Guard = ()


class LeaseKeepalive(msgspec.Struct, frozen=True, array_like=True, tag=3):
    lease: int
    guard: Guard = ()


class LeaseExpire(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Proposed by the leader alone; void if the lease was kept alive since `keepalives` was read."""

    lease: int
    keepalives: int


class LeaseRevoke(msgspec.Struct, frozen=True, array_like=True, tag=5):
    lease: int
    guard: Guard = ()


class Compact(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Forget what keys were before `revision`."""

    revision: int


class SessionOpen(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Make a session for request ids; its id is the answer."""


class RaiseLevel(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Every member understands `level`; commands of that level may follow."""

    level: int


class Seal(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """End this group for ever; its snapshot starts the next one with `members`."""

    members: tuple[str, ...]


Command = (
    Txn | LeaseGrant | LeaseKeepalive | LeaseExpire | LeaseRevoke | Compact | SessionOpen | RaiseLevel | Seal
)

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[tuple[int, Command]] = msgspec.msgpack.Decoder(tuple[int, Command])


def encode(command: Command) -> bytes:
    """Bytes for the log."""
    return _ENCODER.encode((level(command), command))


def decode(data: bytes) -> Command | None:
    """The command, or None for bytes that are none; raises AboveLevelError."""
    if len(data) < HEADER_BYTES:
        return None
    if data[0] != FORMAT or data[1] > LEVEL:
        raise AboveLevelError(
            f"the log holds a command above this program (got format {data[0]} level {data[1]}, "
            f"have {FORMAT} and {LEVEL})",
            hint="install the version the other members run",
        )
    try:
        command = _DECODER.decode(data)[1]
    except msgspec.MsgspecError:
        return None
    if isinstance(command, RaiseLevel):
        check_level(command.level)
    return command


def check_level(present: int) -> None:
    """Raises AboveLevelError where a group has risen above this program."""
    if present > LEVEL:
        raise AboveLevelError(
            f"the store has risen above this program (got level {present}, have {LEVEL})",
            hint="install the version the other members run",
        )


def check(txn: Txn) -> None:
    """Refuse what is over a bound, before it enters the log; raises TooLargeError or UsageError."""
    operations = txn.success + txn.failure
    if len(operations) + len(txn.compare) > limits.STORE_TXN_OPERATIONS:
        raise errors.TooLargeError(
            f"too many operations in one transaction (got {len(operations) + len(txn.compare)}, "
            f"have {limits.STORE_TXN_OPERATIONS})"
        )
    total = 0
    for key in (*(c.key for c in txn.compare), *(o.key for o in operations)):
        if not 0 < len(key) <= limits.STORE_KEY_BYTES:
            raise errors.TooLargeError(
                f"a key is empty or too long (got {len(key)} bytes, have {limits.STORE_KEY_BYTES})"
            )
        total += len(key)
    for value in (o.value for o in operations if isinstance(o, Put)):
        if len(value) > limits.STORE_VALUE_BYTES:
            raise errors.TooLargeError(
                f"a value is too large (got {len(value)} bytes, have {limits.STORE_VALUE_BYTES})"
            )
        total += len(value)
    if total > limits.STORE_TXN_BYTES:
        raise errors.TooLargeError(
            f"a transaction is too large (got {total} bytes, have {limits.STORE_TXN_BYTES})"
        )
    if _twice(txn.success) or _twice(txn.failure):
        raise errors.UsageError("one transaction changes a key twice")


def _twice(operations: tuple[Operation, ...]) -> bool:
    """Whether a key is put twice, or put and deleted; as in etcd, whichever branch is done."""
    puts = [one.key for one in operations if isinstance(one, Put)]
    found = set(puts)
    return len(found) < len(puts) or any(
        one.key in found if not one.end else any(one.key <= key < one.end for key in puts)
        for one in operations
        if isinstance(one, Delete)
    )


def prefix_end(prefix: bytes) -> bytes:
    """The first key after every key that starts with `prefix`; empty (no end) for an all-0xff or empty prefix."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else b""


EVERY_KEY_END: Final = b"\xff" * (limits.STORE_KEY_BYTES + 1)
"""After every possible key."""


def put(key: bytes, value: bytes, *, lease: int = 0) -> Put:
    return Put(key, value, lease)


def delete(key: bytes) -> Delete:
    return Delete(key)


def delete_prefix(prefix: bytes) -> Delete:
    return Delete(prefix, prefix_end(prefix) or EVERY_KEY_END)


def read(key: bytes) -> Range:
    return Range(key)


def read_prefix(prefix: bytes, *, limit: int = 0) -> Range:
    return Range(prefix, prefix_end(prefix) or EVERY_KEY_END, limit)


def compare_mod(key: bytes, revision: int) -> Compare:
    """The key was last changed at `revision` (0: it is absent)."""
    return Compare(key, Target.MOD, Relation.EQUAL, revision)


def compare_create(key: bytes, revision: int) -> Compare:
    """The key was created at `revision` (0: it is absent)."""
    return Compare(key, Target.CREATE, Relation.EQUAL, revision)


def compare_version(key: bytes, version: int) -> Compare:
    """The key was put `version` times since it was created (0: it is absent)."""
    return Compare(key, Target.VERSION, Relation.EQUAL, version)


def compare_value(key: bytes, value: bytes) -> Compare:
    """The key is there and holds exactly `value`."""
    return Compare(key, Target.VALUE, Relation.EQUAL, value)


def absent(key: bytes) -> Compare:
    return compare_create(key, 0)


def level(command: Command) -> int:
    """The level whose programs first understood it: a later one is proposed once the group has risen to it."""
    guarded = isinstance(command, LeaseGrant | LeaseKeepalive | LeaseRevoke) and command.guard
    return GUARDED if guarded else 1
