"""A new server: its certificate, and its admission, committed before anybody is told of it.

Law: of one name there is one live server; the same key may ask again and gets the same identity, another key does not.
"""

import re

from cryptography import exceptions, x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from coordinator import errors, limits, names
from coordinator.config import topology
from coordinator.propagation import objects
from coordinator.tiers import asking, desk, requests, seats, seed
from coordinator.trust import authority, joinlines

SERVER_ID_BYTES = 8
_NAME = re.compile(rf"[A-Za-z][A-Za-z0-9_-]{{0,{limits.NAME_CHARACTERS - 1}}}")  # rule S03


async def enroll(at: desk.Desk, caller: desk.Caller, asked: requests.Enroll) -> requests.Enrolled:
    """Raises `UsageError`, `IdentityError` on a request that cannot be used, `ConflictError` on a name that is taken."""
    name = names.ServerName(asked.name)
    check_name(name)
    public, key_digest = _requested(asked.request_pem)
    async with at.turn:
        at.may_change()
        held = asking.by_name(at.past.content).get(name)
        if held is not None and held.key_digest != key_digest:
            raise errors.ConflictError(f"there is a server {name} already", hint="choose another name")
        if held is None:
            new = admission(at, name, key_digest)
            await at.commit(seats.change(at, (new,), caller, f"server {name} enrolled"))
        return _answer(at, name, public)


def _requested(pem: str) -> tuple[bytes, str]:
    """The public key of a signing request, PEM, and its digest. Raises `UsageError`."""
    try:
        key = proven_key(x509.load_pem_x509_csr(pem.encode(errors="replace")))
    except (ValueError, TypeError, x509.InvalidVersion, exceptions.UnsupportedAlgorithm) as wrong:
        raise errors.UsageError(
            "the certificate request cannot be read", hint="it is PEM (PKCS #10)"
        ) from wrong
    return public_pem(key), joinlines.key_digest(joinlines.public_der(key))


def proven_key(request: x509.CertificateSigningRequest) -> ec.EllipticCurvePublicKey:
    """Its public key. Raises `UsageError` where it is none of ours or has not signed the request, and what the library does."""
    key = request.public_key()
    if not request.is_signature_valid:
        raise errors.UsageError("the certificate request is not signed by its own key")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise errors.UsageError("the key of the certificate request is not ECDSA P-256")
    return key


def public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    """As `authority.issue` takes it."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form)


def check_name(name: str) -> None:
    """Raises `UsageError` where no document could name a server so."""
    if not _NAME.fullmatch(name):
        raise errors.UsageError(
            f"this is no name for a server (got {name[:80]!r})", hint="letters, digits, - and _"
        )


def admission(at: desk.Desk, name: names.ServerName, key_digest: str) -> objects.Admission:
    """A new one, placed at once where the active document names the server, else parked; without a name it waits for one."""
    past = at.past
    server_id = names.ServerId(at.means.random.token(SERVER_ID_BYTES))
    place = topology.place(past.document, name) if name else None
    state = objects.AdmissionState.PARKED if place is None else objects.AdmissionState.PLACED
    site = names.SiteName("") if place is None else place.site
    parents = seed.coordinator_addresses(past.expanded)
    called = name or asking.unnamed(server_id)
    new = objects.Admission(0, 0, server_id, key_digest, state, called, site, parents)
    return asking.numbered(past.content, (new,))[0]


async def park(at: desk.Desk, server: names.ServerId) -> None:
    """Nothing runs on that server any more: it waits for a revision that names it. Nothing where that is not so."""
    async with at.turn:
        asked = at.master.convergence.asked.get(server)
        held = at.past.content.admissions.get(server)
        if asked is None or not asked.leaving or held is None:
            return
        if held.content.state is objects.AdmissionState.PLACED:
            await at.commit(seats.change(at, asking.parked(at.past.content, server)))


def _answer(at: desk.Desk, name: names.ServerName, public: bytes) -> requests.Enrolled:
    content, means = at.past.content, at.means
    held = asking.by_name(content)[name]
    certificate = authority.issue(means.authority, held.server_id, public, at.clock.wall())
    return requests.Enrolled(
        server_id=held.server_id,
        certificate_pem=certificate.decode(),
        ca_pem=means.authority.ca_pem.decode(),
        trust=content.trust.raw,
        admission=content.admissions[held.server_id].raw,
        cluster=means.cluster,
        parents=tuple((one.server, one.address, one.port) for one in held.parents),
    )
