"""Values that one request to etcd cannot carry: put aside in pieces first, and only named in the transaction itself.

Pure. etcd takes 1.5 MiB in a request; one of our transactions may be 48 MiB. So the values of a transaction over the bound
are written beforehand, in pieces under a lease, where nobody sees them; the transaction puts references, and takes the
pieces off their lease, at one revision with everything else. If it never comes, the pieces end with their lease.
Laws: whatever is read is whole or an error; a value that looks like a reference is stored so that it is none
(`opened(sealed(v)) == v`), and order among values that are compared stays as it was.
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from coordinator import errors, limits
from coordinator.store import commands

INLINE_BYTES: Final = 1024 * 1024  # keys, values and their envelopes; etcd refuses 1.5 MiB
SMALL_BYTES: Final = 256  # is not worth a reference
PIECE_BYTES: Final = limits.STORE_VALUE_BYTES
GROUP_BYTES: Final = 8
OPERATION_BYTES: Final = 32  # around the key and the value of each operation in etcd's own log
_MARK: Final = b"\x00\xff"
_REFERENCE: Final = _MARK + b"R"
_PLAIN: Final = _MARK + b"V"
_REFERENCE_BYTES: Final = len(_REFERENCE) + GROUP_BYTES + 2 + 4 + 4


class Reference(msgspec.Struct, frozen=True):
    """Where a value stands."""

    group: bytes
    piece: int
    offset: int
    size: int


class Parted(msgspec.Struct, frozen=True):
    """A transaction, and what must be there before it is sent."""

    txn: commands.Txn
    """Its values are as etcd is to hold them."""
    group: bytes = b""
    pieces: tuple[bytes, ...] = ()
    holders: tuple[bytes, ...] = ()
    """Keys whose values stand in the pieces."""


def sealed(value: bytes) -> bytes:
    """A value as etcd holds it."""
    return _PLAIN + value if value.startswith(_MARK) else value


def opened(value: bytes) -> bytes | Reference:
    """What a stored value says. Raises `DamagedError`."""
    if not value.startswith(_MARK):
        return value
    if value.startswith(_PLAIN):
        return value[len(_PLAIN) :]
    if not value.startswith(_REFERENCE) or len(value) != _REFERENCE_BYTES:
        raise errors.DamagedError("a value in etcd was not written by this store")
    at = len(_REFERENCE) + GROUP_BYTES
    numbers = (value[at : at + 2], value[at + 2 : at + 6], value[at + 6 :])
    return Reference(value[len(_REFERENCE) : at], *(int.from_bytes(one, "big") for one in numbers))


def part(txn: commands.Txn, group: bytes) -> Parted:
    """As it is to be sent; `group` is used where something must be put aside. Raises `TooLargeError`."""
    operations = txn.success + txn.failure
    if _size(txn, operations, INLINE_BYTES) <= INLINE_BYTES:
        return Parted(_mapped(txn, lambda put: sealed(put.value)))
    large = {
        id(put): put for put in operations if isinstance(put, commands.Put) and len(put.value) > SMALL_BYTES
    }
    if _size(txn, operations, SMALL_BYTES) > INLINE_BYTES:
        raise errors.TooLargeError(
            f"a transaction is too large for etcd even without its values (have {INLINE_BYTES} bytes)",
            hint="make several transactions of it",
        )
    shelf = _Shelf(group)
    places = {name: shelf.add(put.value) for name, put in large.items()}
    parted = _mapped(txn, lambda put: places.get(id(put)) or sealed(put.value))
    holders = tuple(put.key for put in large.values())
    return Parted(parted, group, tuple(shelf.pieces), holders)


class _Shelf:
    """Values side by side; none lies in two pieces."""

    def __init__(self, group: bytes) -> None:
        self._group = group
        self.pieces: list[bytes] = []

    def add(self, value: bytes) -> bytes:
        """The reference."""
        if not self.pieces or len(self.pieces[-1]) + len(value) > PIECE_BYTES:
            self.pieces.append(b"")
        offset = len(self.pieces[-1])
        self.pieces[-1] += value
        numbers = ((len(self.pieces) - 1, 2), (offset, 4), (len(value), 4))
        return _REFERENCE + self._group + b"".join(number.to_bytes(size, "big") for number, size in numbers)


def _size(txn: commands.Txn, operations: Iterable[commands.Operation], inline: int) -> int:
    """At most what etcd's log holds of it, if values over `inline` are references."""
    total = sum(
        OPERATION_BYTES + 2 * len(one.key) + (len(one.operand) if isinstance(one.operand, bytes) else 8)
        for one in txn.compare
    )
    for one in operations:
        total += OPERATION_BYTES + 2 * len(one.key)
        if isinstance(one, commands.Put):
            total += len(one.value) if len(one.value) <= inline else _REFERENCE_BYTES
    return total


def _mapped(txn: commands.Txn, stored: Callable[[commands.Put], bytes]) -> commands.Txn:
    def of(operations: tuple[commands.Operation, ...]) -> tuple[commands.Operation, ...]:
        return tuple(
            msgspec.structs.replace(one, value=stored(one)) if isinstance(one, commands.Put) else one
            for one in operations
        )

    return msgspec.structs.replace(txn, success=of(txn.success), failure=of(txn.failure))
