"""The durable copy of a tier: the newest signed objects, the last bodies, and a boot counter.

It keeps bytes and understands none but the number of the target, which it never lets fall. Whoever loads verifies.
Law: after a crash at any point `load` gives the objects last stored or those being stored, never fewer than were
acknowledged and never a mixture: the body is durable first, then all objects change with one small file. Whatever fails
its check is set aside as `.damaged` and reported, never returned.
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
BOOT = "boot"
BODIES = "bodies/"
_BODY_SUFFIX = ".zst"
_DAMAGED_SUFFIX = ".damaged"
_MAGIC = b"TCL1"
_CRC_BYTES = 4
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
    """The one file that changes what counts."""

    accepted: names.Version
    objects: Mapping[str, bytes]
    bodies: tuple[names.Digest, ...]


_EMPTY = _Head(names.NO_VERSION, {}, ())


class Ledger:
    """Below one directory, which no other process writes. Raises `OSError` as the disk does; nothing is retried."""

    def __init__(self, disk: effects.Disk) -> None:
        """Raises `DamagedError` on files that are whole and of another version: to start empty would forget them."""
        self._disk = disk
        self._damaged: list[str] = []
        head = self._read(HEAD, _Head)
        self._head = _EMPTY if head is None else head
        boot = self._read(BOOT, int)
        self._boot = 0 if boot is None else boot

    def load(self) -> Contents:
        """All but the bodies themselves."""
        bodies = tuple(self._shelf())
        return Contents(self._head.objects, bodies, self._head.accepted, self._boot, tuple(self._damaged))

    def body(self, digest: names.Digest) -> bytes | None:
        """The body, its digest checked; None if there is none, or it is damaged and was set aside."""
        name = _body_name(digest)
        data = self._disk.read(name)
        if data is None:
            return None
        body = _decompressed(data)
        if body is None or hashlib.sha256(body).hexdigest() != digest:
            self._set_aside(name, data)
            return None
        return body

    def store(
        self,
        changed: Mapping[str, bytes],
        body: tuple[names.Digest, bytes] | None = None,
        keep: Collection[names.Digest] = (),
    ) -> None:
        """Make this durable as one: `changed` replaces objects key by key, `body` is added.

        Of the bodies the last `BODIES_KEPT_BY_MIRROR` stay, and those in `keep` however old.
        """
        shelf = [digest for digest in self._shelf() if body is None or digest != body[0]]
        if body is not None:
            digest, data = body
            assert hashlib.sha256(data).hexdigest() == digest
            self._disk.write(_body_name(digest), zstd.compress(data))
            shelf.append(digest)
        kept = tuple(d for d in shelf if d in keep or d in shelf[-limits.BODIES_KEPT_BY_MIRROR :])
        accepted = _accepted(changed, self._head.accepted)
        assert accepted >= self._head.accepted, (
            f"accepted would fall (got {accepted}, have {self._head.accepted})"
        )
        head = _Head(accepted, {**self._head.objects, **changed}, kept)
        self._disk.write(HEAD, _sealed(msgspec.msgpack.encode(head)))
        self._head = head
        for digest in set(shelf) - set(kept):
            self._disk.remove(_body_name(digest))

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
        found = [match[1] for match in map(_BODY_NAME.fullmatch, self._disk.names(BODIES)) if match]
        there = {names.Digest(digest) for digest in found}
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
