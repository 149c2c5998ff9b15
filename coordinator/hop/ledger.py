"""The durable copy of a tier: the newest signed objects, the last bodies, and a boot counter.

It keeps bytes and understands none but the number of the target, which it never lets fall. Whoever loads verifies.
Two files change what counts: `head` holds everything, `newest` lies on the head of its own number and replaces target and
record, which move with every revision, while the rest (thousands of admissions at an IC) seldom does. A small body stands
in `newest` too, a large one in a file of its own: a small revision costs one durable write.
Law: after a crash at any point `load` gives the objects last stored or those being stored, never fewer than were
acknowledged and never a mixture: a large body is durable first, then all that changes changes with one file. Whatever
fails its check is set aside as `.damaged` and reported, never returned; without `newest` no older target takes its place.
"""

import hashlib
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

import msgspec
from backports import zstd

from coordinator import effects, errors, limits, names
from coordinator.host import logs
from coordinator.propagation import mirror, objects
from coordinator.trust import signing

HEAD = "head"
NEWEST = "newest"
BOOT = "boot"
BODIES = "bodies/"
_BODY_SUFFIX = ".zst"
_DAMAGED_SUFFIX = ".damaged"
_MAGIC = b"TCL1"
_CRC_BYTES = 4
_LEVEL = 1  # children wait for this; a better one takes twice as long and saves a hundredth
_MOVING = frozenset({mirror.TARGET_KEY, mirror.RECORD_KEY})
_BODY_NAME = re.compile(r"bodies/([0-9a-f]{64})\.zst")

_T = TypeVar("_T")

_LOG = logs.Log("ledger")


class Contents(msgspec.Struct, frozen=True):
    """What the disk holds."""

    objects: Mapping[str, bytes]
    """Signed objects as received, by ledger key; unverified."""
    bodies: tuple[names.Digest, ...]
    """That seem to be there, the newest last; `body` checks."""
    accepted: names.Version
    boot: int
    """0 where no counter was ever written, or it was lost."""
    damaged: tuple[str, ...]
    """Files set aside since this process opened the ledger."""


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """What counts, whole; or, in `newest`, the part of it that moves."""

    accepted: names.Version
    objects: Mapping[str, bytes]
    bodies: tuple[names.Digest, ...]
    """All, the newest last."""
    number: int = 0
    """Rises with every head; `newest` has that of the head it lies on."""
    small: Mapping[names.Digest, bytes] = {}
    """Those of the bodies that stand here, compressed; none in `head`."""


_EMPTY = _Head(names.NO_VERSION, {}, ())


class Ledger:
    """Below one directory, which no other process writes. Raises `OSError` as the disk does; nothing is retried."""

    def __init__(self, disk: effects.Disk, *, small_bytes: int = limits.INLINE_BYTES) -> None:
        """Raises `DamagedError` on files that are whole and of another version: to start empty would forget them.

        Bodies of at most `small_bytes`, compressed, get no file of their own.
        """
        self._disk = disk
        self._small_bytes = small_bytes
        self._damaged: list[str] = []
        found = map(_BODY_NAME.fullmatch, disk.names(BODIES))
        self._files = {names.Digest(match[1]) for match in found if match}
        """Bodies with a file of their own; nobody else writes here."""
        head = self._read(HEAD, _Head)
        self._head = self._with_newest(_EMPTY if head is None else head)
        boot = self._read(BOOT, int)
        self._boot = 0 if boot is None else boot

    def _with_newest(self, head: _Head) -> _Head:
        newest = self._read(NEWEST, _Head)
        if newest is not None and head.number and newest.number == head.number:
            return msgspec.structs.replace(newest, objects={**head.objects, **newest.objects})
        if NEWEST in self._damaged:
            still = {key: raw for key, raw in head.objects.items() if key not in _MOVING}
            return msgspec.structs.replace(head, objects=still)
        return head

    def load(self) -> Contents:
        """All but the bodies themselves."""
        bodies = tuple(self._shelf())
        return Contents(self._head.objects, bodies, self._head.accepted, self._boot, tuple(self._damaged))

    def body(self, digest: names.Digest) -> bytes | None:
        """The body, its digest checked; None if there is none, or it is damaged and was set aside."""
        small = self._head.small.get(digest)
        if small is not None:
            return _decompressed(small)
        name = _body_name(digest)
        data = self._disk.read(name)
        if data is None:
            return None
        body = _decompressed(data)
        if body is None or hashlib.sha256(body).hexdigest() != digest:
            self._set_aside(name, data)
            self._files.discard(digest)
            return None
        return body

    def store(
        self,
        changed: Mapping[str, bytes],
        body: tuple[names.Digest, bytes] | None = None,
        keep: Collection[names.Digest] = (),
        frame: bytes = b"",
    ) -> None:
        """Make this durable as one: `changed` replaces objects key by key, `body` is added (as `frame`, if there is one).

        Of the bodies the last `BODIES_KEPT_BY_MIRROR` stay, and those in `keep` however old.
        """
        shelf = [digest for digest in self._shelf() if body is None or digest != body[0]]
        small = dict(self._head.small)
        moving = self._head.number > 0 and _MOVING.issuperset(changed)
        if body is not None:
            digest, data = body
            assert hashlib.sha256(data).hexdigest() == digest
            packed = frame or zstd.compress(data, level=_LEVEL)
            if moving and len(packed) <= self._small_bytes:
                small[digest] = packed
            else:
                self._write_body(digest, packed)
            shelf.append(digest)
        kept = tuple(d for d in shelf if d in keep or d in shelf[-limits.BODIES_KEPT_BY_MIRROR :])
        accepted = _accepted(changed, self._head.accepted)
        assert accepted >= self._head.accepted, (
            f"accepted would fall (got {accepted}, have {self._head.accepted})"
        )
        held = {digest: packed for digest, packed in small.items() if digest in kept}
        after = _Head(accepted, {**self._head.objects, **changed}, kept, self._head.number, held)
        try:
            self._write(after, moving=moving)
        except OSError:
            if body is not None and body[0] not in small and body[0] not in self._head.bodies:
                self._drop(body[0])  # a full disk gets its space back
            raise
        for digest in set(shelf).difference(kept, small):
            self._drop(digest)

    def _drop(self, digest: names.Digest) -> None:
        self._disk.remove(_body_name(digest))
        self._files.discard(digest)

    def _write(self, head: _Head, *, moving: bool) -> None:
        """One file, by which all that changes becomes true. A head holds no bodies: what damages one spares the other."""
        if moving:
            moved = {key: raw for key, raw in head.objects.items() if key in _MOVING}
            self._put(NEWEST, msgspec.structs.replace(head, objects=moved))
        else:
            for digest, packed in head.small.items():
                self._write_body(digest, packed)
            head = msgspec.structs.replace(head, number=head.number + 1, small={})
            self._put(HEAD, head)
        self._head = head

    def _write_body(self, digest: names.Digest, packed: bytes) -> None:
        self._disk.write(_body_name(digest), packed)
        self._files.add(digest)

    def _put(self, name: str, head: _Head) -> None:
        self._disk.write(name, _sealed(msgspec.msgpack.encode(head)))

    def next_boot(self) -> int:
        """The number of this start: greater than any before it, durable before it is used."""
        return self.raise_boot(self._boot + 1)

    def raise_boot(self, least: int) -> int:
        """Make the counter at least `least` (a parent has seen greater ones than we remember); the counter now."""
        if least > self._boot:
            self._disk.write(BOOT, _sealed(msgspec.msgpack.encode(least)))
            self._boot = least
        return self._boot

    def _shelf(self) -> Sequence[names.Digest]:
        """Digests of the body files, oldest first; those the head does not know (a crash, a lost head) count as old."""
        there = self._files.union(self._head.small)
        known = [digest for digest in self._head.bodies if digest in there]
        return [*sorted(there.difference(known)), *known]

    def _read(self, name: str, kind: type[_T]) -> _T | None:
        data = self._disk.read(name)
        if data is None:
            return None
        payload = _unsealed(data)
        if payload is not None:
            try:
                return msgspec.msgpack.decode(payload, type=kind)
            except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
                hint = "run the version that wrote it, or a newer one"
                raise errors.DamagedError(f"{name} was written by another version", hint=hint) from wrong
        self._set_aside(name, data)
        return None

    def _set_aside(self, name: str, data: bytes) -> None:
        """Out of the way, for whoever wants to know what happened; the newest of each name is enough."""
        _LOG.error("ledger file damaged", file=name, size=len(data))
        self._damaged.append(name)
        self._disk.write(name + _DAMAGED_SUFFIX, data)
        self._disk.remove(name)


def _accepted(changed: Mapping[str, bytes], before: names.Version) -> names.Version:
    """The version that the target among them makes active."""
    raw = changed.get(mirror.TARGET_KEY)
    return before if raw is None else objects.decode_target(signing.opened(raw).payload).version


def _body_name(digest: names.Digest) -> str:
    return f"{BODIES}{digest}{_BODY_SUFFIX}"


def _decompressed(data: bytes) -> bytes | None:
    try:
        body = zstd.ZstdDecompressor().decompress(data, max_length=limits.DOCUMENT_BYTES + 1)
    except zstd.ZstdError:
        return None
    return body if len(body) <= limits.DOCUMENT_BYTES else None


def _sealed(payload: bytes) -> bytes:
    return _MAGIC + zlib.crc32(payload).to_bytes(_CRC_BYTES, "big") + payload


def _unsealed(data: bytes) -> bytes | None:
    start = len(_MAGIC) + _CRC_BYTES
    payload = data[start:]
    whole = data[:start] == _MAGIC + zlib.crc32(payload).to_bytes(_CRC_BYTES, "big")
    return payload if whole else None
