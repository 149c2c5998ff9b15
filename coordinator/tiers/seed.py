"""What `server init` signs: generation 1, revision 1, and everything that an empty store takes, exactly once.

Law: `decode(encode(seed)) == seed`; what is taken was signed by the authority's own key.
"""

import msgspec

from coordinator import errors, limits, names
from coordinator.config import expansion, kinds, model, topology
from coordinator.domains import people
from coordinator.propagation import mirror, objects
from coordinator.trust import authority, signing, tokens

FILE = "identity/seed"
"""Below the server's directory."""
GENERATION = 1
AUTHOR = "init"
_FORMAT = 1


class Seed(msgspec.Struct, frozen=True, array_like=True):
    """Signed objects as they travel, the first document, and the administrator's token by its hash."""

    target: bytes
    record: bytes
    trust: bytes
    admission: bytes
    body: bytes
    token: people.TokenRecord


class _File(msgspec.Struct, frozen=True, array_like=True):
    format: int
    seed: Seed


class First(msgspec.Struct, frozen=True):
    """The first server, as its identity has it."""

    server_id: names.ServerId
    name: names.ServerName
    key_digest: str = ""
    """Of its public key; without it the id alone is pinned until its first renewal."""


def first_objects(
    authority: authority.Authority,
    server: First,
    document: model.Document,
    token: tokens.Token,
    wall: float,
) -> Seed:
    """Of the first server, which `document` places."""
    place = topology.place(document, server.name)
    assert place is not None
    signer, body = authority.signer(), model.canonical(document)
    digest = model.digest(body)
    rollout = names.RolloutId(f"r{GENERATION}-init")
    target = objects.Target(GENERATION, 1, objects.Pointer(1, digest), None, rollout, 0)
    record = objects.Record(GENERATION, 1, "", digest, len(body), AUTHOR, "the basic document", wall)
    admission = objects.Admission(
        GENERATION,
        1,
        server.server_id,
        server.key_digest,
        objects.AdmissionState.PLACED,
        server.name,
        place.site,
        coordinator_addresses(expansion.expand(document)),
    )
    return Seed(
        signer.sign(objects.Kind.TARGET, objects.encode(target)),
        signer.sign(objects.Kind.RECORD, objects.encode(record)),
        authority.first_trust(),
        signer.sign(objects.Kind.ADMISSION, objects.encode(admission)),
        body,
        people.first_administrator(token, wall, document.general.master_domain),
    )


def coordinator_addresses(expanded: expansion.Expanded) -> tuple[objects.ParentAddress, ...]:
    """Where the document's MIC instances serve, for an admission."""
    found = topology.services(expanded, kinds.MIC)
    return tuple(objects.ParentAddress(one.server, one.address, one.port or limits.PORT_MIC) for one in found)


def content(seed: Seed, cluster: names.ClusterId) -> mirror.Content:
    """What it holds, verified. Raises `SignatureError`."""
    keyring = signing.Keyring.trusting(seed.trust, cluster)
    raws = (seed.target, seed.record, seed.admission)
    taken = mirror.Content(mirror.SignedTrust(seed.trust, keyring.body))
    taken = taken.take_all(tuple(mirror.verify(raw, keyring) for raw in raws))
    if taken.digest != model.digest(seed.body):
        raise errors.SignatureError("the seed's document is not the one its target names")
    return taken


def encode(seed: Seed) -> bytes:
    """One file."""
    return msgspec.msgpack.encode(_File(_FORMAT, seed))


def decode(data: bytes) -> Seed:
    """Raises `DamagedError`."""
    try:
        file = msgspec.msgpack.decode(data, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise errors.DamagedError(f"the seed cannot be read: {wrong}") from wrong
    if file.format != _FORMAT:
        raise errors.DamagedError(f"the seed is of another kind (got {file.format}, have {_FORMAT})")
    return file.seed
