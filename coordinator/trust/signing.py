"""Signed objects: what a signature covers, who may sign, and how trust in a key passes to the next one.

Pure: no file, clock or randomness; `propagation` may import this module and nothing else of `trust`.
Law: a payload is returned only if a trusted key signed exactly these bytes as this kind for this cluster. Nothing is
re-encoded to verify, and a key becomes trusted only by the endorsement of one that was trusted before.
"""

import hashlib
from collections.abc import Mapping

import msgspec
from cryptography import exceptions
from cryptography.hazmat.primitives.asymmetric import ed25519

from coordinator import errors, names

DOMAIN = b"tiercast/1"
TRUST = "trust"
ENDORSEMENT = "key-endorsement"  # never the kind of an object, so an endorsement cannot be passed off as one
KEYS = 512  # in one trust object, retired ones included: a rotation a week for ten years, at 120 bytes each


class Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One signed object as it is stored and travels."""

    kind: str
    cluster: names.ClusterId
    key: names.KeyId
    payload: bytes
    signature: bytes


class SigningKey(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A key that may sign, vouched for by its predecessor; the first one has none."""

    id: names.KeyId
    public: bytes
    predecessor: names.KeyId | None = None
    endorsement: bytes = b""


class TrustBody(msgspec.Struct, frozen=True, array_like=True):
    """The content of the `trust` object: certificate roots, signing keys and identities that no longer count."""

    generation: int
    seq: int
    keys: tuple[SigningKey, ...]
    roots: tuple[bytes, ...]
    """CA certificates, PEM."""
    revoked: tuple[names.ServerId, ...] = ()
    retired: tuple[names.KeyId, ...] = ()
    """Of the keys: those that sign nothing any more and stay as steps to their successors."""

    @property
    def serial(self) -> names.Serial:
        return names.Serial(self.generation, self.seq)


_ENVELOPES = msgspec.msgpack.Decoder(Envelope)
_TRUSTS = msgspec.msgpack.Decoder(TrustBody)


def key_id(public: bytes) -> names.KeyId:
    """The name of a raw Ed25519 public key."""
    return names.KeyId(hashlib.sha256(public).hexdigest()[:16])


def root_id(ca_pem: bytes) -> str:
    """The short name of a CA certificate (PEM), by which servers say of which one their own is."""
    return hashlib.sha256(ca_pem.strip()).hexdigest()[:16]


def opened(raw: bytes) -> Envelope:
    """The envelope, unverified: for routing by kind only. Raises `SignatureError` where it is none."""
    try:
        return _ENVELOPES.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise errors.SignatureError(f"a signed object cannot be read: {wrong}") from wrong


class Signer:
    """Signs objects of one cluster with one key."""

    def __init__(self, cluster: names.ClusterId, private: bytes) -> None:
        """`private` is the raw Ed25519 seed, 32 bytes."""
        self._key = ed25519.Ed25519PrivateKey.from_private_bytes(private)
        self.cluster = cluster
        self.public = self._key.public_key().public_bytes_raw()
        self.key_id = key_id(self.public)

    def sign(self, kind: str, payload: bytes) -> bytes:
        """The envelope of these exact bytes, encoded."""
        assert kind != ENDORSEMENT
        signature = self._key.sign(_statement(self.cluster, kind, self.key_id, payload))
        return msgspec.msgpack.encode(Envelope(kind, self.cluster, self.key_id, payload, signature))

    def endorse(self, public: bytes) -> SigningKey:
        """The entry by which whoever trusts this key comes to trust `public` too."""
        statement = _statement(self.cluster, ENDORSEMENT, self.key_id, public)
        return SigningKey(key_id(public), public, self.key_id, self._key.sign(statement))

    def unendorsed(self) -> SigningKey:
        """The key itself, as the first of its line."""
        return SigningKey(self.key_id, self.public)


class Keyring:
    """The keys trusted under one `trust` object, and whom that object revokes."""

    def __init__(self, cluster: names.ClusterId, body: TrustBody) -> None:
        """Takes `body` as given: it comes from `init`, an identity file or a keyring that verified it."""
        self.cluster = cluster
        self.body = body
        self.revoked = frozenset(body.revoked)
        self._keys: Mapping[names.KeyId, ed25519.Ed25519PublicKey] = {
            key.id: _public(key.public) for key in body.keys if key.id not in body.retired
        }

    @classmethod
    def trusting(cls, raw: bytes, cluster: names.ClusterId) -> "Keyring":
        """The keyring of a `trust` object from a trusted place (own disk, identity file): it must verify itself.

        Raises `SignatureError`.
        """
        body = _body(opened(raw).payload)
        keyring = cls(cluster, body)
        keyring.verify(raw, TRUST, cluster)
        return keyring

    def verify(self, raw: bytes, kind: str, cluster: names.ClusterId | None = None) -> bytes:
        """The payload, exactly as signed. Raises `SignatureError`."""
        return self.proved(opened(raw), kind, cluster)

    def proved(self, envelope: Envelope, kind: str, cluster: names.ClusterId | None = None) -> bytes:
        """The payload of an envelope that is open already. Raises `SignatureError`."""
        self._check_place(envelope, kind, cluster)
        key = self._keys.get(envelope.key)
        if key is None:
            raise errors.SignatureError(
                f"{kind} is signed by a key nobody vouches for (got {envelope.key[:64]})"
            )
        _check(key, envelope)
        return envelope.payload

    def renewed(self, raw: bytes) -> "Keyring":
        """The keyring of a newer or equal `trust` object, reached from this one by endorsements alone.

        Its signing key may be several rotations ahead, for a server that was away meanwhile: every step stands in
        the object. Raises `SignatureError` also where it is older than this one.
        """
        envelope = opened(raw)
        self._check_place(envelope, TRUST, None)
        body = _body(envelope.payload)
        reached = self._reached(body)
        if envelope.key not in reached or envelope.key in body.retired:
            raise errors.SignatureError(
                f"trust is signed by a key nobody vouches for (got {envelope.key[:64]})"
            )
        _check(reached[envelope.key], envelope)
        if body.serial < self.body.serial:
            raise errors.SignatureError(
                f"trust is older than ours (got {body.serial}, have {self.body.serial})"
            )
        return Keyring(self.cluster, body)

    def _check_place(self, envelope: Envelope, kind: str, cluster: names.ClusterId | None) -> None:
        wanted = self.cluster if cluster is None else cluster
        if envelope.kind != kind:
            raise errors.SignatureError(f"signed as another kind (got {envelope.kind[:64]}, have {kind})")
        if envelope.cluster != wanted or wanted != self.cluster:
            raise errors.SignatureError(
                f"signed for another cluster (got {envelope.cluster[:64]}, have {self.cluster})"
            )

    def _reached(self, body: TrustBody) -> Mapping[names.KeyId, ed25519.Ed25519PublicKey]:
        """Every key of `body`, provided that each is ours or endorsed by one that is ours or was reached before it."""
        known = dict(self._keys)
        for key in body.keys:
            if key.id in known:
                continue
            endorser = None if key.predecessor is None else known.get(key.predecessor)
            if (key.predecessor is None or endorser is None) and key.id in body.retired:
                continue  # from before our time: nothing rests on it
            if key.predecessor is None or endorser is None:
                raise errors.SignatureError(f"trust names a key without a trusted predecessor (got {key.id})")
            statement = _statement(self.cluster, ENDORSEMENT, key.predecessor, key.public)
            try:
                endorser.verify(key.endorsement, statement)
            except exceptions.InvalidSignature as wrong:
                raise errors.SignatureError(
                    f"trust names a key with a false endorsement (got {key.id})"
                ) from wrong
            known[key.id] = _public(key.public)
        return {key.id: known[key.id] for key in body.keys if key.id in known}


def _body(payload: bytes) -> TrustBody:
    try:
        body = _TRUSTS.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise errors.SignatureError(f"trust cannot be read: {wrong}") from wrong
    if not 1 <= len(body.keys) <= KEYS:
        raise errors.SignatureError(
            f"trust has a wrong number of keys (got {len(body.keys)}, have room for {KEYS})"
        )
    for key in body.keys:
        if key.id != key_id(key.public):
            raise errors.SignatureError(f"trust names a key by another's id (got {key.id[:64]})")
    return body


def _public(raw: bytes) -> ed25519.Ed25519PublicKey:
    try:
        return ed25519.Ed25519PublicKey.from_public_bytes(raw)
    except ValueError as wrong:
        raise errors.SignatureError(
            f"a signing key is no Ed25519 key (got {len(raw)} bytes, have 32)"
        ) from wrong


def _check(key: ed25519.Ed25519PublicKey, envelope: Envelope) -> None:
    statement = _statement(envelope.cluster, envelope.kind, envelope.key, envelope.payload)
    try:
        key.verify(envelope.signature, statement)
    except exceptions.InvalidSignature as wrong:
        raise errors.SignatureError(
            f"the signature of {envelope.kind} does not hold (key {envelope.key})"
        ) from wrong


def _statement(cluster: str, kind: str, key: str, payload: bytes) -> bytes:
    """Each part behind its own length, so that no two different objects share one statement."""
    parts = (DOMAIN, cluster.encode(), kind.encode(), key.encode(), payload)
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
