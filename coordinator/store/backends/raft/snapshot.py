"""Snapshots on disk: the state as of one entry, in a file that is whole or absent.

Blocking; runs in a thread, for a `State` never changes. Laws: a file carries its final name only once every byte of it
is durable; it is read whole, with every checksum and the digest of all, or refused.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from coordinator import errors, names
from coordinator.store import image, mvcc
from coordinator.store.backends.raft import files, log, records

FORMAT: Final = 1
PREFIX: Final = "snapshot-"
UNFINISHED: Final = ".new"
SYNC_BYTES: Final = 16 * 1024 * 1024  # in one go it would stand before every sync of the journal
HEADER_BYTES: Final = 4096  # five members of 64 bytes and more, many times over


class Header(msgspec.Struct, frozen=True, array_like=True):
    format: int
    cluster: names.ClusterId
    end: log.Position
    """The last entry that is in it."""
    members: tuple[str, ...]


class Loaded(msgspec.Struct, frozen=True):
    header: Header
    state: mvcc.State
    chunks: int


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Header)


def encode(header: Header, state: mvcc.State) -> Iterator[bytes]:
    """The file's bytes, piece by piece."""
    yield records.encode(records.Record(records.HEADER, 0, 0, _ENCODER.encode(header)), 0, 0)
    digest = hashlib.sha256()
    count = 0
    for chunk in image.encode(state):
        count += 1
        digest.update(chunk)
        yield records.encode(records.Record(records.CHUNK, count, header.end.term, chunk), 0, 0)
    yield records.encode(records.Record(records.END, count, header.end.term, digest.digest()), 0, 0)


def end_of(name: str, start: bytes) -> log.Position:
    """The last entry of a snapshot of which the first HEADER_BYTES are given; raises DamagedError."""
    return _header(name, start)[0].end


def decode(name: str, data: bytes) -> Loaded:
    """The state in a file; raises DamagedError."""
    header, offset = _header(name, data)
    chunks = list(_chunks(name, data, offset))
    return Loaded(header, image.decode(chunks), len(chunks))


def write(directory: files.Files, header: Header, pieces: Iterable[bytes]) -> None:
    """Store a snapshot durably; older ones stay until `drop_before`."""
    name = name_of(header.end.index)
    try:
        _written(directory.open(name + UNFINISHED, 0), pieces)
        directory.rename(name + UNFINISHED, name)
    except OSError:
        # On a full disk the room it took is what the journal needs.
        files.forget(directory, name + UNFINISHED)
        raise
    directory.sync_directory()


def _written(file: files.Appender, pieces: Iterable[bytes]) -> None:
    try:
        file.cut(0)
        synced = 0
        for piece in pieces:
            file.write([piece])
            if file.offset - synced > SYNC_BYTES:
                file.sync()
                synced = file.offset
        file.sync()
    finally:
        file.close()


def newest(directory: files.Files) -> str | None:
    """The name of the newest whole snapshot."""
    return max(_names(directory), default=None)


def drop_before(directory: files.Files, index: int) -> None:
    """Remove snapshots older than the one at `index`, and what a crash left of unfinished ones."""
    for name in directory.names():
        if name.startswith(PREFIX) and (name.endswith(UNFINISHED) or name < name_of(index)):
            directory.remove(name)
    directory.sync_directory()


def _header(name: str, data: bytes) -> tuple[Header, int]:
    """The header and where it ends."""
    found = records.read(data, 0, 0)
    if found is None or found.record.kind != records.HEADER:
        raise _damaged(name, "its header does not check")
    try:
        header = _DECODER.decode(found.record.payload)
    except msgspec.MsgspecError as error:
        raise _damaged(name, f"its header does not decode: {error}") from error
    if header.format != FORMAT:
        raise _damaged(name, f"unknown format (got {header.format}, have {FORMAT})")
    return header, found.end


def _chunks(name: str, data: bytes, offset: int) -> Iterator[bytes]:
    digest = hashlib.sha256()
    count = 0
    while (found := records.read(data, offset, 0)) is not None:
        record, offset = found
        if record.kind == records.END:
            if (record.number, record.payload) != (count, digest.digest()) or offset != len(data):
                raise _damaged(name, "its digest does not match")
            return
        count += 1
        if record.kind != records.CHUNK or record.number != count:
            raise _damaged(name, "a chunk is out of place")
        digest.update(record.payload)
        yield record.payload
    raise _damaged(name, f"it stops at byte {offset}")


def _names(directory: files.Files) -> list[str]:
    return [n for n in directory.names() if n.startswith(PREFIX) and not n.endswith(UNFINISHED)]


def name_of(index: int) -> str:
    """Of the snapshot whose last entry is `index`."""
    return f"{PREFIX}{index:020d}"


def _damaged(name: str, reason: str) -> errors.DamagedError:
    return errors.DamagedError(
        f"{name} is damaged: {reason}",
        hint="set the store's directory aside and restore it, or `tiercast store recover`",
    )
