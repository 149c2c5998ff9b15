"""One record of a file on disk: how it is framed, checked and found again after damage.

Pure. A record is: magic, crc32 of all that follows, length, kind, number (an index, mostly), term, base, payload. `base` is the place in
the file up to which everything had been synced when the record was written, and it tells apart what looks alike:
Law: a bad record was never promised to anyone (a torn tail) unless a good record behind it has a `base` beyond it; then
promised bytes are damaged and the file must not be used. The salt, new for every file, keeps a value that holds a
copy of a journal from passing for records of this one.
"""

import struct
import zlib
from typing import Final, NamedTuple

MAGIC: Final = b"tcR1"
_CHECKED: Final = struct.Struct("<IBQQQ")
_LEAD: Final = struct.Struct("<4sI")
HEAD_BYTES: Final = _LEAD.size + _CHECKED.size

# Kinds. They stand in files: never renumber.
HEADER: Final = 1
ENTRY: Final = 2
CUT: Final = 3
OFFICE: Final = 4
CHUNK: Final = 5
END: Final = 6
REPLACED: Final = 7


class Record(NamedTuple):
    kind: int
    number: int
    term: int
    payload: bytes


class Found(NamedTuple):
    """A good record and where it ends."""

    record: Record
    end: int


class Damage(NamedTuple):
    """Where reading stopped, and whether bytes that had been promised are lost there."""

    offset: int
    promised: bool


def encode(record: Record, salt: int, base: int) -> bytes:
    """The bytes of a record."""
    return framed(record, salt, base, b"")[0]


def framed(record: Record, salt: int, base: int, more: bytes) -> tuple[bytes, bytes]:
    """The bytes of a record whose payload goes on with `more`, which may be large and is not copied."""
    size = len(record.payload) + len(more)
    checked = _CHECKED.pack(size, record.kind, record.number, record.term, base) + record.payload
    crc = zlib.crc32(more, zlib.crc32(checked, salt))
    return b"".join((_LEAD.pack(MAGIC, crc), checked)), more


def read(data: bytes, offset: int, salt: int) -> Found | None:
    """The record at `offset`, or None if there is no good one."""
    found = _read(data, offset, salt)
    return found[0] if found else None


def damage(data: bytes, offset: int, salt: int) -> Damage | None:
    """What is wrong at `offset`, where no good record is; None if the file just ends there, in zeros or nothing."""
    if not data[offset:].strip(b"\0"):
        return None
    at = data.find(MAGIC, offset)
    while at >= 0:
        found = _read(data, at, salt)
        if found and found[1] > offset:
            return Damage(offset, promised=True)
        at = data.find(MAGIC, at + 1)
    return Damage(offset, promised=False)


def _read(data: bytes, offset: int, salt: int) -> tuple[Found, int] | None:
    """The good record at `offset` with its base."""
    body = offset + HEAD_BYTES
    if body > len(data):
        return None
    magic, crc = _LEAD.unpack_from(data, offset)
    length, kind, number, term, base = _CHECKED.unpack_from(data, offset + _LEAD.size)
    end = body + length
    if magic != MAGIC or end > len(data):
        return None
    if zlib.crc32(memoryview(data)[offset + _LEAD.size : end], salt) != crc:
        return None
    return Found(Record(kind, number, term, data[body:end]), end), base
