"""The signed objects that cross a hop, as content. The envelope around each is `trust.signing.Envelope`.

Law: every kind is ordered by its `Serial` (generation, seq) alone; the same serial with other bytes is a conflict.
Of `trust` the content is `trust.signing.TrustBody`.
"""

import enum
from collections.abc import Callable

import msgspec

from coordinator import names


class Kind(enum.StrEnum):
    """The kinds of signed objects; the value stands in the envelope and under the signature."""

    TARGET = "target"
    RECORD = "record"
    TRUST = "trust"
    ADMISSION = "admission"
    FRESH = "fresh"


class Pointer(msgspec.Struct, frozen=True, array_like=True):
    """One revision and the digest of its body."""

    revision: int
    digest: names.Digest
    size_bytes: int = 0
    """Of the body, where it is prepared: there is no record yet to say so."""


class Target(msgspec.Struct, frozen=True, array_like=True):
    """The one that moves: what is to run, signed by the active MIC."""

    generation: int
    seq: int
    active: Pointer
    prepared: Pointer | None
    rollout: names.RolloutId
    term: int

    @property
    def serial(self) -> names.Serial:
        return names.Serial(self.generation, self.seq)

    @property
    def version(self) -> names.Version:
        return names.Version(self.generation, self.active.revision)

    def follows(self, other: "Target") -> bool:
        """Whether it is newer in all that orders it, as nearly every one is; where it is not, `serial` and `version` tell."""
        return (
            self.generation == other.generation
            and self.seq > other.seq
            and self.active.revision > other.active.revision
        )


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One per revision, signed once, when the revision gets its number."""

    generation: int
    revision: int
    parent: str
    """Digest of the body it was made from; empty for the first."""
    digest: names.Digest
    size_bytes: int
    author: str
    message: str
    issued: float
    """Wall seconds, for people; orders nothing."""

    @property
    def serial(self) -> names.Serial:
        return names.Serial(self.generation, self.revision)

    def is_of(self, target: Target) -> bool:
        """Whether it is about the active revision of `target`."""
        return self.revision == target.active.revision and self.generation == target.generation


class AdmissionState(enum.StrEnum):
    """Of one server: has a place, waits for one, or is out for ever."""

    PLACED = "placed"
    PARKED = "parked"
    EXPELLED = "expelled"


class ParentAddress(msgspec.Struct, frozen=True, array_like=True):
    """Where a server may dial, before any document tells it better."""

    server: names.ServerName
    address: str
    port: int


class Admission(msgspec.Struct, frozen=True, array_like=True):
    """One per server: who it is. `seq` is shared by all admissions, so that one number is a cursor over them."""

    generation: int
    seq: int
    server_id: names.ServerId
    key_digest: str
    """sha256 of the public key in its certificate, hexadecimal; empty where only the id is pinned."""
    state: AdmissionState
    name: names.ServerName
    site: names.SiteName
    """Empty while parked."""
    parents: tuple[ParentAddress, ...]
    former: str = ""
    """Digest of the key before this one, which counts until the server has said that it uses the new one."""

    def names_key(self, digest: str) -> bool:
        """Whether a peer that holds this key may be this server; where no key is pinned the id alone counts."""
        return not self.key_digest or digest in {self.key_digest, self.former or self.key_digest}

    @property
    def serial(self) -> names.Serial:
        return names.Serial(self.generation, self.seq)


class Fresh(msgspec.Struct, frozen=True, array_like=True):
    """MIC's sign of life, relayed unchanged; only a rising (generation, term, count) counts."""

    generation: int
    term: int
    count: int
    target: names.Serial
    trust: names.Serial
    wall: float = 0.0
    """What MIC's clock said, wall seconds; for people to notice a clock that is wrong, it orders nothing."""

    @property
    def order(self) -> tuple[int, int, int]:
        return (self.generation, self.term, self.count)


class Numbers(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How far a tier has each kind: a cursor per kind, the greatest serial held."""

    target: names.Serial = names.NO_SERIAL
    trust: names.Serial = names.NO_SERIAL
    admission: names.Serial = names.NO_SERIAL


def encode(content: msgspec.Struct) -> bytes:
    """The payload to be signed."""
    return msgspec.msgpack.encode(content)


_TARGET = msgspec.msgpack.Decoder(Target)
_RECORD = msgspec.msgpack.Decoder(Record)
_ADMISSION = msgspec.msgpack.Decoder(Admission)
_FRESH = msgspec.msgpack.Decoder(Fresh)


decode_target: Callable[[bytes], Target] = _TARGET.decode
"""Raises `msgspec.ValidationError` or `DecodeError`."""
decode_record: Callable[[bytes], Record] = _RECORD.decode
"""As `decode_target`; the two are read in every child with every revision, so nothing stands around them."""


def decode_admission(payload: bytes) -> Admission:
    """Raises `msgspec.ValidationError` or `DecodeError`."""
    return _ADMISSION.decode(payload)


def decode_fresh(payload: bytes) -> Fresh:
    """Raises `msgspec.ValidationError` or `DecodeError`."""
    return _FRESH.decode(payload)
