"""What a tier holds of its parent's `/config` prefix: the newest of every signed object, as raw bytes and as content.

Immutable; a change makes a new value. It is built from verified objects only (`intake`) or from the own ledger, whose
objects are verified again on the way in.
Law: `take` never lowers a number; `from_ledger(to_ledger(content))` is the same content.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from coordinator import errors, names
from coordinator.propagation import objects
from coordinator.trust import signing

TARGET_KEY = "target"
RECORD_KEY = "record"
TRUST_KEY = "trust"
ADMISSION_PREFIX = "admission/"


class SignedTarget(msgspec.Struct, frozen=True):
    raw: bytes
    content: objects.Target


class SignedRecord(msgspec.Struct, frozen=True):
    raw: bytes
    content: objects.Record


class SignedTrust(msgspec.Struct, frozen=True):
    raw: bytes
    content: signing.TrustBody


class SignedAdmission(msgspec.Struct, frozen=True):
    raw: bytes
    content: objects.Admission


AnySigned = SignedTarget | SignedRecord | SignedTrust | SignedAdmission


_KEYS: Mapping[type, str] = {SignedTarget: TARGET_KEY, SignedRecord: RECORD_KEY, SignedTrust: TRUST_KEY}
"""In the ledger, and in a `Content`."""
_TRUST = objects.Kind.TRUST.value
_SHAPES: Mapping[str, tuple[Callable[[bytes, Any], AnySigned], Callable[[bytes], msgspec.Struct]]] = {
    objects.Kind.TARGET.value: (SignedTarget, objects.decode_target),
    objects.Kind.RECORD.value: (SignedRecord, objects.decode_record),
    objects.Kind.ADMISSION.value: (SignedAdmission, objects.decode_admission),
}


class Admissions(dict[names.ServerId, SignedAdmission]):
    """By server; never changed once it stands in a `Content`."""

    @functools.cached_property
    def greatest(self) -> names.Serial:
        """The cursor over them: they travel in the order of their numbers."""
        return max((one.content.serial for one in self.values()), default=names.NO_SERIAL)


class Content(msgspec.Struct, frozen=True, dict=True):
    """The mirror itself."""

    trust: SignedTrust
    target: SignedTarget | None = None
    record: SignedRecord | None = None
    """Of the active revision of `target`."""
    admissions: Mapping[names.ServerId, SignedAdmission] = {}

    @property
    def version(self) -> names.Version:
        return names.NO_VERSION if self.target is None else self.target.content.version

    @property
    def digest(self) -> names.Digest:
        return names.Digest("") if self.target is None else self.target.content.active.digest

    @functools.cached_property
    def numbers(self) -> objects.Numbers:
        """The cursor of every kind, kept: every heartbeat asks for it.

        There may be thousands of admissions, which stay the same from revision to revision.
        """
        held = self.admissions
        greatest = held.greatest if isinstance(held, Admissions) else Admissions(held).greatest
        return objects.Numbers(
            target=names.NO_SERIAL if self.target is None else self.target.content.serial,
            trust=self.trust.content.serial,
            admission=greatest,
        )

    def take(self, signed: AnySigned) -> "Content":
        """With one object replaced; the caller has found it newer."""
        match signed:
            case SignedTarget():
                return msgspec.structs.replace(self, target=signed)
            case SignedRecord():
                return msgspec.structs.replace(self, record=signed)
            case SignedTrust():
                return msgspec.structs.replace(self, trust=signed)
            case SignedAdmission():
                merged = Admissions({**self.admissions, signed.content.server_id: signed})
                return msgspec.structs.replace(self, admissions=merged)

    def take_all(self, signed: tuple[AnySigned, ...]) -> "Content":
        """Several at once; admissions are merged in one step, since there may be thousands."""
        trust, target, record = self.trust, self.target, self.record
        admissions: dict[names.ServerId, SignedAdmission] = {}
        for one in signed:
            match one:
                case SignedTarget():
                    target = one
                case SignedRecord():
                    record = one
                case SignedTrust():
                    trust = one
                case SignedAdmission():
                    admissions[one.content.server_id] = one
        merged = Admissions({**self.admissions, **admissions}) if admissions else self.admissions
        return Content(trust, target, record, merged)


def ledger_key(signed: AnySigned) -> str:
    """Under which key of the ledger an object stands."""
    key = _KEYS.get(type(signed))
    if key is not None:
        return key
    assert isinstance(signed, SignedAdmission)
    return ADMISSION_PREFIX + signed.content.server_id


def verify(raw: bytes, keyring: signing.Keyring) -> AnySigned:
    """Any of the four as content. Raises `errors.SignatureError`, also where the payload makes no sense."""
    envelope = signing.opened(raw)
    kind = envelope.kind
    try:
        if kind == _TRUST:
            return SignedTrust(raw, keyring.renewed(raw).body)
        shape = _SHAPES.get(kind)
        if shape is None:
            raise errors.SignatureError(f"no object of a hop (got {kind[:64]})")
        signed, decode = shape
        return signed(raw, decode(keyring.proved(envelope, kind)))
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise errors.SignatureError(f"the payload of {kind} cannot be read ({problem})") from None


def from_ledger(stored: Mapping[str, bytes], keyring: signing.Keyring) -> Content:
    """The content of a ledger, each object verified again. Raises `errors.SignatureError`.

    `keyring` is the one of the identity; a newer `trust` in the ledger replaces it.
    """
    if TRUST_KEY in stored:
        keyring = keyring.renewed(stored[TRUST_KEY])
    trust_raw = stored.get(TRUST_KEY, b"")
    rest = tuple(verify(raw, keyring) for key, raw in sorted(stored.items()) if key != TRUST_KEY)
    return Content(SignedTrust(trust_raw, keyring.body)).take_all(rest)


def to_ledger(content: Content) -> dict[str, bytes]:
    """Everything, by ledger key."""
    every: list[AnySigned] = [content.trust, *content.admissions.values()]
    every += [one for one in (content.target, content.record) if one is not None]
    return {ledger_key(one): one.raw for one in every}
