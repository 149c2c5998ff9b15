"""The durable copy of a tier: the newest signed objects, the last bodies, and a boot counter.

It keeps bytes and understands none but the number of the target, which it never lets fall. Whoever loads verifies.
Two files change what counts: `head` holds everything, `newest` lies on the head of its own number and replaces target and
record, which move with every revision, while the rest (thousands of admissions at an IC) seldom does. A small body stands
in `newest` too, and so does a large one that came as a small delta; other large ones have files of their own. So a small
revision, or a small change of a large one, costs one durable write of what is new.
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
from coordinator.propagation import bodies as encodings
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
_CHAIN = 4  # deltas one upon the other, then a whole body again: how long a start may take, and how much hangs on one file
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
    deltas: Mapping[names.Digest, "_Delta"] = {}
    """Those that stand here as what they differ in from another that is kept; none in `head`."""


class _Delta(msgspec.Struct, frozen=True, array_like=True):
    """A body as `propagation.bodies` encodes it against `base`."""

    base: names.Digest
    size_bytes: int
    """Of the body."""
    data: bytes


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
        delta = self._head.deltas.get(digest)
        if delta is not None and digest not in self._files:
            return self._expanded(digest, delta)
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

    def _expanded(self, digest: names.Digest, delta: _Delta) -> bytes | None:
        base = self.body(delta.base)
        if base is None:
            return None
        try:
            body = encodings.decode(delta.data, base, delta.size_bytes)
        except errors.ProtocolError:
            return None
        return body if hashlib.sha256(body).hexdigest() == digest else None

    def store(
        self,
        changed: Mapping[str, bytes],
        body: tuple[names.Digest, bytes] | None = None,
        keep: Collection[names.Digest] = (),
        frame: bytes = b"",
        base: str = "",
    ) -> None:
        """Make this durable as one: `changed` replaces objects key by key, `body` is added (as `frame`, if there is one,
        which is one against `base` where that is given). The caller has checked the digest of `body`.

        Of the bodies the last `BODIES_KEPT_BY_MIRROR` stay, those in `keep` however old, and what deltas rest on.
        """
        shelf = [digest for digest in self._shelf() if body is None or digest != body[0]]
        small, deltas = dict(self._head.small), dict(self._head.deltas)
        moving = self._head.number > 0 and _MOVING.issuperset(changed)
        if body is not None:
            digest, data = body
            small.pop(digest, None)
            deltas.pop(digest, None)
            if moving and base and self._bears(base, frame, digest):
                deltas[digest] = _Delta(names.Digest(base), len(data), frame)
            else:
                packed = frame if frame and not base else zstd.compress(data, level=_LEVEL)
                if moving and len(packed) <= self._small_bytes:
                    small[digest] = packed
                else:
                    self._write_body(digest, packed)
            shelf.append(digest)
        kept = _kept(shelf, keep, deltas if moving else {})
        accepted = _accepted(changed, self._head.accepted)
        assert accepted >= self._head.accepted, (
            f"accepted would fall (got {accepted}, have {self._head.accepted})"
        )
        small = {digest: packed for digest, packed in small.items() if digest in kept}
        deltas = {digest: delta for digest, delta in deltas.items() if digest in kept}
        after = _Head(accepted, {**self._head.objects, **changed}, kept, self._head.number, small, deltas)
        try:
            self._write(after, moving=moving)
        except OSError:
            if body is not None and body[0] in self._files and body[0] not in self._head.bodies:
                self._drop(body[0])  # a full disk gets its space back
            raise
        for digest in self._files.difference(kept):
            self._drop(digest)

    def _bears(self, base: str, delta: bytes, digest: names.Digest) -> bool:
        """Whether this may stand as a delta: small, upon a body that is here, not on too many others, nor on itself."""
        known, depth = names.Digest(base), 1
        while known != digest and (under := self._head.deltas.get(known)) is not None:
            known, depth = under.base, depth + 1
        here = known != digest and (known in self._files or known in self._head.small)
        return here and depth <= _CHAIN and len(delta) <= self._small_bytes

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
            for digest in head.deltas:
                body = self.body(digest)
                if body is not None and digest not in self._files:
                    self._write_body(digest, zstd.compress(body, level=_LEVEL))
            head = msgspec.structs.replace(head, number=head.number + 1, small={}, deltas={})
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
        there = self._files.union(self._head.small, self._head.deltas)
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


def _kept(
    shelf: Sequence[names.Digest], keep: Collection[names.Digest], deltas: Mapping[names.Digest, _Delta]
) -> tuple[names.Digest, ...]:
    """Of a shelf, the newest last, what stays."""
    stays = {digest for digest in shelf if digest in keep or digest in shelf[-limits.BODIES_KEPT_BY_MIRROR :]}
    bearing = [deltas[digest].base for digest in stays if digest in deltas]
    while bearing:
        digest = bearing.pop()
        stays.add(digest)
        if digest in deltas:
            bearing.append(deltas[digest].base)
    return tuple(digest for digest in shelf if digest in stays)


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
