"""X.509 as this system uses it: one root, certificates of servers and of the web, and whom a certificate names.

No file, no policy: `authority` decides who gets one. Law: a server's certificate names its random id in the subject and,
with the cluster, in one URI; a web certificate has no such URI and no client purpose, so it is nobody on a hop.
"""

import datetime as dt
import hashlib
import ipaddress
import re
from collections.abc import Sequence

import msgspec
from cryptography import exceptions, x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid

from coordinator import errors, names

SCHEME = "tiercast"
CERTIFICATE_DAYS = 365  # renewed at half; past its end it still receives, acks and renews
ROOT_DAYS = 365 * 20  # time never ends an identity inside the cluster, so this is for foreign tools only
BACKDATED_S = (
    86_400.0  # a client whose clock is hours behind must not find a fresh web certificate "not yet valid"
)

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")  # no space: the peer of a Unix socket is called `process N`

UNREADABLE = (ValueError, TypeError, x509.InvalidVersion, exceptions.UnsupportedAlgorithm)
"""What the library raises on keys and certificates that are none of ours."""

_Extensions = list[tuple[x509.ExtensionType, bool]]


class Issuer(msgspec.Struct, frozen=True):
    """The root and its private key, PEM."""

    key_pem: bytes
    ca_pem: bytes

    def __repr__(self) -> str:
        return "Issuer()"


def new_key() -> bytes:
    """A new ECDSA P-256 private key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def public_pem(key_pem: bytes) -> bytes:
    """The public half of a private key, PEM; what a server sends to have a certificate issued."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return private_key(key_pem).public_key().public_bytes(serialization.Encoding.PEM, form)


def key_digest(key: object) -> str:
    """By which an admission names a public key: sha256 of its DER form, hexadecimal. Raises `IdentityError`."""
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise errors.IdentityError("the key is not ECDSA P-256")
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).hexdigest()


def signing_request(key_pem: bytes, common: str) -> bytes:
    """What is sent to have a certificate issued (PKCS #10, PEM): the public half, signed by its own key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(common))
    return builder.sign(private_key(key_pem), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def root(cluster: names.ClusterId, wall_s: float) -> Issuer:
    """A new root of this cluster, dated `wall_s`."""
    key_pem = new_key()
    key = private_key(key_pem)
    name = _name(f"{SCHEME} {cluster}")
    extensions: _Extensions = [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (_usage(ca=True), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    ]
    builder = _dated(wall_s, ROOT_DAYS).subject_name(name).issuer_name(name).public_key(key.public_key())
    return Issuer(key_pem, _signed(builder, extensions, key))


def succeeded(old: Issuer, new: Issuer, wall_s: float) -> bytes:
    """The certificate (PEM) by which whoever trusts the old root alone comes to trust the new one.

    Both have one name, so that this is self-issued (RFC 5280 section 3.2), and the length of a path does not count it.
    """
    successor = x509.load_pem_x509_certificate(new.ca_pem)
    root_name = x509.load_pem_x509_certificate(old.ca_pem).subject
    key = private_key(old.key_pem)
    extensions: _Extensions = [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (_usage(ca=True), True),
        (x509.SubjectKeyIdentifier.from_public_key(private_key(new.key_pem).public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), False),
    ]
    builder = _dated(wall_s, ROOT_DAYS).subject_name(successor.subject).issuer_name(root_name)
    return _signed(builder.public_key(private_key(new.key_pem).public_key()), extensions, key)


def of_server(
    issuer: Issuer, cluster: names.ClusterId, server_id: names.ServerId, public: bytes, wall_s: float
) -> bytes:
    """The certificate (PEM) of a server's public key (PEM), for both ends of a hop.

    Raises `IdentityError` where the key is not ECDSA P-256.
    """
    uri = x509.UniformResourceIdentifier(f"{SCHEME}:{cluster}/{server_id}")
    purposes = [oid.ExtendedKeyUsageOID.CLIENT_AUTH, oid.ExtendedKeyUsageOID.SERVER_AUTH]
    extensions: _Extensions = [
        (x509.SubjectAlternativeName([uri]), False),
        (x509.ExtendedKeyUsage(purposes), False),
    ]
    return _leaf(issuer, server_id, public, extensions, wall_s)


def of_web(
    issuer: Issuer, public: bytes, addresses: Sequence[str], host_names: Sequence[str], wall_s: float
) -> bytes:
    """The certificate (PEM) under which the web role is found at these addresses.

    Raises `IdentityError` where the key is not ECDSA P-256, `ValueError` where an address is none.
    """
    found: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    found += [x509.DNSName(name) for name in host_names]
    extensions: _Extensions = [
        (x509.SubjectAlternativeName(found), False),
        (x509.ExtendedKeyUsage([oid.ExtendedKeyUsageOID.SERVER_AUTH]), False),
    ]
    return _leaf(issuer, f"{SCHEME} web", public, extensions, wall_s)


def named(certificate: x509.Certificate) -> tuple[names.ClusterId, names.ServerId]:
    """Whom a hop's certificate names. Raises `IdentityError` where it names no server."""
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = alternative.get_values_for_type(x509.UniformResourceIdentifier)
        common = [
            str(part.value) for part in certificate.subject.get_attributes_for_oid(oid.NameOID.COMMON_NAME)
        ]
    except (
        x509.ExtensionNotFound,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
        *UNREADABLE,
    ) as wrong:
        raise errors.IdentityError("the certificate names no server") from wrong
    if len(uris) != 1 or len(common) != 1 or not uris[0].startswith(f"{SCHEME}:"):
        raise errors.IdentityError("the certificate names no server")
    cluster, _, server_id = uris[0].removeprefix(f"{SCHEME}:").partition("/")
    if not _ID.fullmatch(cluster) or not _ID.fullmatch(server_id) or common[0] != server_id:
        raise errors.IdentityError("the certificate names no server")
    return names.ClusterId(cluster), names.ServerId(server_id)


def authority_id(ca_pem: bytes) -> str:
    """By which the certificates of a CA name it: all CAs of a cluster have one name, so the name says nothing.

    Raises what the library does (`UNREADABLE`, `x509.ExtensionNotFound`).
    """
    found = x509.load_pem_x509_certificate(ca_pem).extensions
    return found.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()


def issuer_id(certificate: x509.Certificate) -> str:
    """Which CA it says has issued it; empty where it says nothing. True of one whose chain was verified."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, *UNREADABLE):
        return ""
    return (found.key_identifier or b"").hex()


def is_of(cert_pem: bytes, ca_pem: bytes) -> bool:
    """Whether this very CA has signed it, whatever either is called. Raises what the library does (`UNREADABLE`)."""
    try:
        certificate = x509.load_pem_x509_certificate(cert_pem)
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca_pem))
    except exceptions.InvalidSignature:
        return False
    except ValueError:  # another name
        return False
    return True


def belonging(key_pem: bytes, cert_pem: bytes, ca_pem: bytes) -> tuple[names.ClusterId, names.ServerId]:
    """Whom the three name together. Raises `DamagedError` where they do not belong to each other."""
    try:
        certificate = x509.load_pem_x509_certificate(cert_pem)
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca_pem))
        whom = named(certificate)
        same = certificate.public_key() == private_key(key_pem).public_key()
    except exceptions.InvalidSignature as wrong:
        raise errors.DamagedError("the identity's certificate is not its root's") from wrong
    except (*UNREADABLE, errors.IdentityError) as wrong:
        raise errors.DamagedError(f"the identity cannot be read: {wrong}") from wrong
    if not same:
        raise errors.DamagedError("the identity's key is not its certificate's")
    return whom


def validity(cert_pem: bytes) -> tuple[float, float]:
    """Wall seconds between which a certificate counts; of several the first one's."""
    found = x509.load_pem_x509_certificate(cert_pem)
    return found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()


def issued_after(cert_pem: bytes) -> float:
    """Wall second before which a certificate cannot have been made: a clock that shows less is behind."""
    return x509.load_pem_x509_certificate(cert_pem).not_valid_before_utc.timestamp()


def _leaf(issuer: Issuer, common: str, public: bytes, extensions: _Extensions, wall_s: float) -> bytes:
    key = public_key(public)
    ca = x509.load_pem_x509_certificate(issuer.ca_pem)
    ca_key = private_key(issuer.key_pem)
    usual: _Extensions = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(ca=False), True),
        (x509.SubjectKeyIdentifier.from_public_key(key), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False),
    ]
    builder = (
        _dated(wall_s, CERTIFICATE_DAYS).subject_name(_name(common)).issuer_name(ca.subject).public_key(key)
    )
    return _signed(builder, usual + extensions, ca_key)


def _dated(wall_s: float, days: int) -> x509.CertificateBuilder:
    start = dt.datetime.fromtimestamp(wall_s, dt.UTC)
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - dt.timedelta(seconds=BACKDATED_S))
        .not_valid_after(start + dt.timedelta(days=days))
    )


def _signed(
    builder: x509.CertificateBuilder, extensions: _Extensions, key: ec.EllipticCurvePrivateKey
) -> bytes:
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, common)])


def private_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Raises `IdentityError` on one of another kind, `ValueError` where it is none."""
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise errors.IdentityError("the private key is not ECDSA P-256")
    return key


def public_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    """Raises `IdentityError` where it is not ECDSA P-256."""
    try:
        key = serialization.load_pem_public_key(pem)
    except UNREADABLE as wrong:
        raise errors.IdentityError("the public key cannot be read") from wrong
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise errors.IdentityError("the public key is not ECDSA P-256")
    return key
