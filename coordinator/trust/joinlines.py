"""Join lines, `tc1.<CA pin>.<id>.<secret>`, and what is proven by the secret, which is never sent. Pure.

The secret of a line is derived from the authority's own key and the line's id: whoever issues certificates can verify it,
and nothing of it is stored. Law: a proof covers cluster, line, public key and what it is for, each behind its own length, so
that no proof is good for anything else; proofs are compared in constant time.
"""

import hashlib
import hmac
import re

import msgspec
from cryptography import exceptions, x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf import hkdf

from coordinator import errors, names
from coordinator.trust import certificates

ID_BYTES = 6
SECRET_BYTES = 32
_DOMAIN = b"tiercast/1"
_JOIN, _GRANT, _LEAVE, _SECRET = b"join", b"grant", b"leave", b"join secret"
_FORM = re.compile(rf"tc1\.([0-9a-f]{{64}})\.([0-9a-f]{{{2 * ID_BYTES}}})\.([0-9a-f]{{{2 * SECRET_BYTES}}})")


class Line(msgspec.Struct, frozen=True):
    """What an administrator hands to the owner of a new machine."""

    pin: str
    """sha256 of the CA certificate, hexadecimal."""
    id: str
    secret: str

    def __repr__(self) -> str:
        return f"Line(pin={self.pin!r}, id={self.id!r})"

    @property
    def text(self) -> str:
        return f"tc1.{self.pin}.{self.id}.{self.secret}"


def parse(text: str) -> Line:
    """Raises `UsageError`; the text is never repeated in it."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise errors.UsageError(
            f"this is no join line (got {len(text.strip())} characters)",
            hint="copy the whole of it, tc1.<CA pin>.<id>.<secret>, from `tiercast token create`",
        )
    return Line(found[1], found[2], found[3])


def pin(ca_pem: bytes) -> str:
    """The fingerprint of a CA certificate (PEM). Raises `IdentityError` where it is none."""
    try:
        return x509.load_pem_x509_certificate(ca_pem).fingerprint(hashes.SHA256()).hex()
    except ValueError as wrong:
        raise errors.IdentityError("the root certificate cannot be read") from wrong


def vouched(wanted: str, roots: tuple[bytes, ...], der: bytes) -> tuple[names.ClusterId, bytes]:
    """Cluster and CA (PEM) of whoever shows this certificate; `wanted` is the pin, `roots` are what it says its CAs are.

    Raises `IdentityError`: another cluster, with both fingerprints, or a certificate that the pinned CA did not issue.
    """
    pinned = next((root for root in roots if pin(root) == wanted), None)
    if pinned is None:
        got = pin(roots[0]) if roots else "none"
        raise errors.IdentityError(f"it is another cluster (got CA {got}, have {wanted})")
    try:
        certificate = x509.load_der_x509_certificate(der)
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(pinned))
    except (exceptions.InvalidSignature, ValueError, TypeError) as wrong:
        raise errors.IdentityError("its certificate is not of the CA that the line pins") from wrong
    return certificates.named(certificate)[0], pinned


def secret(ca_key_pem: bytes, cluster: names.ClusterId, line_id: str) -> str:
    """Of the line with this id, as only the holder of the authority's key can tell it."""
    key = serialization.load_pem_private_key(ca_key_pem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    number = key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big")
    info = _statement(_SECRET, cluster.encode(), line_id.encode())
    return hkdf.HKDF(hashes.SHA256(), SECRET_BYTES, cluster.encode(), info).derive(number).hex()


def request_proof(line: Line, cluster: names.ClusterId, public: bytes, wall_s: float) -> bytes:
    """What a machine shows to be given a certificate for its public key (DER); `wall_s` is what its clock says."""
    return _proof(line.secret, _JOIN, cluster, line.id, public, repr(wall_s).encode())


def grant_proof(line: Line, cluster: names.ClusterId, public: bytes, grant: bytes) -> bytes:
    """What MIC shows so that the machine believes the answer, whoever relayed it."""
    return _proof(line.secret, _GRANT, cluster, line.id, public, grant)


def same(one: bytes, other: bytes) -> bool:
    """Whether two proofs are equal, in constant time."""
    return hmac.compare_digest(one, other)


def signed_leave(key_pem: bytes, cluster: names.ClusterId, server_id: names.ServerId) -> tuple[bytes, bytes]:
    """A server's own public key (DER) and its word that it leaves for ever."""
    key = serialization.load_pem_private_key(key_pem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return public_der(key.public_key()), key.sign(_leaving(cluster, server_id), ec.ECDSA(hashes.SHA256()))


def says_leave(public: bytes, signature: bytes, cluster: names.ClusterId, server_id: names.ServerId) -> bool:
    """Whether the holder of this public key (DER) said that this server leaves."""
    try:
        key = serialization.load_der_public_key(public)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        key.verify(signature, _leaving(cluster, server_id), ec.ECDSA(hashes.SHA256()))
    except (exceptions.InvalidSignature, exceptions.UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def key_digest(public: bytes) -> str:
    """By which an admission names a public key (DER)."""
    return hashlib.sha256(public).hexdigest()


def public_der(key: ec.EllipticCurvePublicKey) -> bytes:
    """As it stands in proofs and, hashed, in admissions."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.DER, form)


def _leaving(cluster: names.ClusterId, server_id: names.ServerId) -> bytes:
    return _statement(_LEAVE, cluster.encode(), server_id.encode())


def _proof(key: str, *parts: bytes | str) -> bytes:
    encoded = [part.encode() if isinstance(part, str) else part for part in parts]
    return hmac.digest(bytes.fromhex(key), _statement(*encoded), hashlib.sha256)


def _statement(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in (_DOMAIN, *parts))
