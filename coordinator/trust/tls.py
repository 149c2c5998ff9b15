"""TLS contexts of the hops and of the web, and who stands at the other end.

Law: on a hop both ends show a certificate of the cluster's own root; that it has run out is visible and refuses nobody,
for time never ends an identity, revocation does. Whether an identity is revoked is the caller's question to `trust`.
"""

import os
import ssl
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from coordinator import errors, names
from coordinator.trust import authority, certificates, peers

NO_CHECK_TIME = ssl.VerifyFlags(0x200000)  # X509_V_FLAG_NO_CHECK_TIME; Python has no name for it


def server_context(identity: authority.Identity, roots: Iterable[bytes] = ()) -> ssl.SSLContext:
    """Of a hop's parent; `roots` are those of `trust`, without which the identity's own is trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.num_tickets = 0  # a resumed session would show the certificate of another day
    return _hop_context(context, identity, roots)


def client_context(identity: authority.Identity, roots: Iterable[bytes] = ()) -> ssl.SSLContext:
    """Of a hop's child. No host name is checked: the certificate names a server id, see `peer_identity`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    return _hop_context(context, identity, roots)


def door_context(identity: authority.Identity) -> ssl.SSLContext:
    """Towards a machine that has no identity yet: this server shows its own and asks for none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    _load(context, identity.cert_pem, identity.key_pem)
    return context


def stranger_context() -> ssl.SSLContext:
    """Of a machine that knows a root by its fingerprint alone; it must look at the certificate itself, before it speaks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def https_context(cert_pem: bytes, key_pem: bytes) -> ssl.SSLContext:
    """Of the web role: the client proves itself by token, not by certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    renew_https(context, cert_pem, key_pem)
    return context


def renew_https(context: ssl.SSLContext, cert_pem: bytes, key_pem: bytes) -> None:
    """Whoever connects from now on is shown this certificate; connections that stand keep theirs."""
    _load(context, cert_pem, key_pem)


def pinned_client_context(ca_pem: bytes) -> ssl.SSLContext:
    """Of the command line: this one root and no other, host name or address checked, TLS 1.3."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=ca_pem.decode("ascii"))
    return context


def peer_identity(peer: ssl.SSLObject, cluster: names.ClusterId, wall_s: float) -> peers.PeerIdentity:
    """Who is at the other end of a finished handshake. Raises `IdentityError`."""
    return identified(peer.getpeercert(True), cluster, wall_s)


def identified(der: bytes | None, cluster: names.ClusterId, wall_s: float) -> peers.PeerIdentity:
    """Whom a verified certificate names; `wall_s` says only whether to call it expired. Raises `IdentityError`."""
    if der is None:
        raise errors.IdentityError("the peer shows no certificate")
    try:
        certificate = x509.load_der_x509_certificate(der)
        found_cluster, server_id = certificates.named(certificate)
        key = certificates.key_digest(certificate.public_key())
        issuer = certificates.issuer_id(certificate)
    except certificates.UNREADABLE as wrong:
        raise errors.IdentityError("the peer's certificate cannot be read") from wrong
    if found_cluster != cluster:
        raise errors.IdentityError(f"the peer is of another cluster (got {found_cluster}, have {cluster})")
    expired = certificate.not_valid_after_utc.timestamp() < wall_s
    return peers.PeerIdentity(server_id, found_cluster, expired, key, issuer)


def identified_pem(pem: bytes, cluster: names.ClusterId, wall_s: float) -> peers.PeerIdentity:
    """As `identified`, of a certificate as text. Raises `IdentityError`."""
    try:
        der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    except certificates.UNREADABLE as wrong:
        raise errors.IdentityError("the peer shows no certificate that can be read") from wrong
    return identified(der, cluster, wall_s)


def _hop_context(
    context: ssl.SSLContext, identity: authority.Identity, roots: Iterable[bytes]
) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= NO_CHECK_TIME
    for root in dict.fromkeys(list(roots) or [identity.ca_pem]):
        context.load_verify_locations(cadata=root.decode("ascii"))
    _load(context, identity.cert_pem, identity.key_pem)
    return context


def _load(context: ssl.SSLContext, cert_pem: bytes, key_pem: bytes) -> None:
    """`load_cert_chain` takes paths only: an anonymous file in memory keeps the key off the disk."""
    descriptor = os.memfd_create("tiercast-identity", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, cert_pem + key_pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
