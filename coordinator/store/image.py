"""A state as a run of chunks of bytes, and back: what a snapshot holds between its header and its end.

Pure. Laws: `decode(encode(s))` equals `s` in everything the log made; equal states give equal chunks, whatever path
led to them; a chunk is about CHUNK_BYTES, or one item if that is larger, so that encoding can stop between any two.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from coordinator import errors
from coordinator.store import commands, mvcc, port, tree

CHUNK_BYTES: Final = 256 * 1024
CHUNK_ITEMS: Final = 1024
FORMAT: Final = 1


class _Head(msgspec.Struct, frozen=True, array_like=True, tag=0):
    format: int
    revision: int
    compacted: int
    level: int
    sealed: tuple[str, ...]
    counter: int


class _Keys(msgspec.Struct, frozen=True, array_like=True, tag=1):
    items: tuple[port.KeyValue, ...]


class _Leases(msgspec.Struct, frozen=True, array_like=True, tag=2):
    items: tuple[tuple[bytes, mvcc.Lease], ...]


class _Sessions(msgspec.Struct, frozen=True, array_like=True, tag=3):
    items: tuple[tuple[bytes, mvcc.Session], ...]


_Chunk = _Head | _Keys | _Leases | _Sessions
_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[_Chunk] = msgspec.msgpack.Decoder(_Chunk)


def encode(state: mvcc.State) -> Iterator[bytes]:
    """Chunks in order; may be driven slowly, for the state never changes."""
    yield _ENCODER.encode(
        _Head(FORMAT, state.revision, state.compacted, state.level, state.sealed, state.counter)
    )
    pending: list[port.KeyValue] = []
    size = 0
    for _key, item in state.keys.pairs():
        pending.append(item)
        size += len(item.value) + len(item.key)
        if size >= CHUNK_BYTES or len(pending) >= CHUNK_ITEMS:
            yield _ENCODER.encode(_Keys(tuple(pending)))
            pending, size = [], 0
    yield _ENCODER.encode(_Keys(tuple(pending)))
    yield _ENCODER.encode(_Leases(tuple(state.leases.pairs())))
    yield _ENCODER.encode(_Sessions(tuple(state.sessions.pairs())))


def decode(chunks: Iterable[bytes]) -> mvcc.State:
    """The state; raises DamagedError for chunks that are none."""
    head: _Head | None = None
    items: list[port.KeyValue] = []
    leases: list[tuple[bytes, mvcc.Lease]] = []
    sessions: list[tuple[bytes, mvcc.Session]] = []
    try:
        for data in chunks:
            match _DECODER.decode(data):
                case _Head() as head:
                    pass
                case _Keys(more):
                    items.extend(more)
                case _Leases(granted):
                    leases.extend(granted)
                case _Sessions(opened):
                    sessions.extend(opened)
        if head is None or head.format != FORMAT:
            raise errors.DamagedError(
                f"a snapshot of an unknown format (got {head and head.format}, have {FORMAT})"
            )
        commands.check_level(head.level)
        return _state(head, items, leases, sessions)
    except (msgspec.MsgspecError, ValueError) as error:
        raise errors.DamagedError(f"a snapshot does not decode: {error}") from error


def _state(
    head: _Head,
    items: list[port.KeyValue],
    leases: list[tuple[bytes, mvcc.Lease]],
    sessions: list[tuple[bytes, mvcc.Session]],
) -> mvcc.State:
    attached = sorted((mvcc.id_key(item.lease) + item.key, item.key) for item in items if item.lease)
    return mvcc.State(
        revision=head.revision,
        compacted=head.compacted,
        level=head.level,
        sealed=head.sealed,
        counter=head.counter,
        size_bytes=sum(len(item.key) + len(item.value) for item in items),
        keys=tree.build((item.key, item) for item in items),
        leases=tree.build(leases),
        attached=tree.build(attached),
        sessions=tree.build(sessions),
    )
