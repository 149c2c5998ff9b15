"""A server's request for another certificate, proven by the key of its present one, and the answer. Pure.

Whoever relays it can read it and change nothing: the request says for which public key, and is signed by the old key; the
new key signs its own request (PKCS #10). Law: the signature covers cluster, server and everything that is asked.
"""

import msgspec
from cryptography import exceptions, x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from coordinator import errors, names
from coordinator.trust import certificates

_DOMAIN = b"tiercast/1"
_RENEW = b"renew"


class Request(msgspec.Struct, frozen=True, array_like=True):
    """What travels."""

    server_id: names.ServerId
    csr: bytes
    """Of the key that is to be certified, PKCS #10, PEM."""
    public: bytes
    """PEM, of the key that signs this request."""
    uses: bool
    """The server uses that key now: the one before need not count any more."""
    signature: bytes


class Renewed(msgspec.Struct, frozen=True):
    """The answer; nothing of it is secret."""

    certificate_pem: bytes
    """And behind it what leads from its CA to those before."""
    ca_pem: bytes
    trust: bytes
    admission: bytes


class Wanted(msgspec.Struct, frozen=True):
    """A request that proves itself."""

    server_id: names.ServerId
    public_pem: bytes
    """To be certified."""
    digest: str
    """Of that key."""
    signer: str
    """Digest of the key that signed."""
    uses: bool


def request(
    cluster: names.ClusterId, server_id: names.ServerId, old_pem: bytes, new_pem: bytes, *, uses: bool
) -> bytes:
    """Of the holder of both private keys (PEM), which may be one."""
    csr = certificates.signing_request(new_pem, server_id)
    statement = _statement(cluster, server_id, csr, uses=uses)
    signature = certificates.private_key(old_pem).sign(statement, ec.ECDSA(hashes.SHA256()))
    made = Request(server_id, csr, certificates.public_pem(old_pem), uses, signature)
    return msgspec.msgpack.encode(made)


def read(cluster: names.ClusterId, data: bytes) -> Wanted:
    """Raises `UnauthenticatedError` where it does not prove itself; whose key that is, is the caller's question."""
    try:
        asked = msgspec.msgpack.decode(data, type=Request)
        csr = x509.load_pem_x509_csr(asked.csr)
        wanted = csr.public_key()
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        public = wanted.public_bytes(serialization.Encoding.PEM, form)
        digest = certificates.key_digest(certificates.public_key(public))
        signer = certificates.public_key(asked.public)
        statement = _statement(cluster, asked.server_id, asked.csr, uses=asked.uses)
        signer.verify(asked.signature, statement, ec.ECDSA(hashes.SHA256()))
        proven = csr.is_signature_valid
    except (
        msgspec.DecodeError,
        exceptions.InvalidSignature,
        errors.IdentityError,
        *certificates.UNREADABLE,
    ) as wrong:
        raise errors.UnauthenticatedError("the request for a certificate does not prove itself") from wrong
    if not proven:
        raise errors.UnauthenticatedError("the request for a certificate is not signed by its own key")
    return Wanted(asked.server_id, public, digest, certificates.key_digest(signer), asked.uses)


def _statement(cluster: names.ClusterId, server_id: names.ServerId, csr: bytes, *, uses: bool) -> bytes:
    """Each part behind its own length."""
    parts = (_DOMAIN, _RENEW, cluster.encode(), server_id.encode(), csr, b"uses" if uses else b"")
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
