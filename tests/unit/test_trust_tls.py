import ssl
import time

import pytest
from cryptography import x509

from coordinator import errors, names
from coordinator.trust import authority, certificates, peers, tls

CLUSTER = names.ClusterId("c1")
NOW = 1_800_000_000.0
LONG_AGO = NOW - 400 * 86_400 * 5


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None = None) -> list[ssl.SSLObject]:
    """Both ends after a handshake in memory, the client's first."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_side=False, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(ends)
    for _round in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(end)
    assert not waiting
    return ends


@pytest.fixture(scope="module")
def ours() -> authority.Authority:
    return authority.create_authority(CLUSTER, NOW)


def test_both_ends_know_each_other_over_tls_1_3(ours: authority.Authority) -> None:
    parent, child = (authority.enrolled(ours, names.ServerId(name), NOW) for name in ("p", "c"))
    client, server = shake(tls.server_context(parent), tls.client_context(child))
    assert client.version() == "TLSv1.3"
    key = certificates.key_digest(x509.load_pem_x509_certificate(parent.cert_pem).public_key())
    assert tls.peer_identity(client, CLUSTER, NOW) == peers.PeerIdentity(
        names.ServerId("p"), CLUSTER, False, key, certificates.authority_id(ours.ca_pem)
    )
    assert tls.peer_identity(server, CLUSTER, NOW).server_id == "c"


def test_a_ca_of_the_same_name_is_another_one(ours: authority.Authority) -> None:
    """After a rotation all of them have one name, and so has one that somebody made."""
    later, foreign = ours.with_new_ca(NOW), authority.create_authority(CLUSTER, NOW)
    web = authority.issue_https(later, certificates.public_pem(certificates.new_key()), ["10.0.0.1"], [], NOW)
    assert certificates.is_of(web, later.ca_pem)
    assert not certificates.is_of(web, ours.ca_pem)
    assert not certificates.is_of(web, foreign.ca_pem)
    assert len({certificates.authority_id(one.ca_pem) for one in (ours, later, foreign)}) == 3


def test_an_expired_identity_is_let_in_and_shows(ours: authority.Authority) -> None:
    old = authority.enrolled(ours, names.ServerId("old"), LONG_AGO)
    client, server = shake(tls.server_context(old), tls.client_context(old))
    assert tls.peer_identity(client, CLUSTER, NOW).expired
    assert tls.peer_identity(server, CLUSTER, NOW).expired


def test_a_certificate_of_another_root_ends_the_handshake(ours: authority.Authority) -> None:
    other = authority.create_authority(CLUSTER, NOW)
    stranger = authority.enrolled(other, names.ServerId("s"), NOW)
    known = authority.enrolled(ours, names.ServerId("k"), NOW)
    with pytest.raises(ssl.SSLError):
        shake(tls.server_context(known), tls.client_context(stranger))
    with pytest.raises(ssl.SSLError):
        shake(tls.server_context(stranger), tls.client_context(known))
    both = [ours.ca_pem, other.ca_pem]
    client, _server = shake(tls.server_context(known, both), tls.client_context(stranger, both))
    assert tls.peer_identity(client, CLUSTER, NOW).server_id == "k"


def test_a_certificate_of_another_cluster_is_no_peer(ours: authority.Authority) -> None:
    peer = authority.enrolled(ours, names.ServerId("p"), NOW)
    client, _server = shake(tls.server_context(peer), tls.client_context(peer))
    with pytest.raises(errors.IdentityError, match="another cluster"):
        tls.peer_identity(client, names.ClusterId("c2"), NOW)


def test_a_web_certificate_opens_no_hop(ours: authority.Authority) -> None:
    key = certificates.new_key()
    cert = authority.issue_https(ours, certificates.public_pem(key), ["127.0.0.1"], [], NOW)
    web = authority.Identity(names.ServerId("w"), CLUSTER, key, cert, ours.ca_pem)
    known = authority.enrolled(ours, names.ServerId("k"), NOW)
    with pytest.raises(ssl.SSLError):  # it has no client purpose
        shake(tls.server_context(known), tls.client_context(web))
    client, _server = shake(tls.server_context(web), tls.client_context(known))
    with pytest.raises(errors.IdentityError, match="names no server"):
        tls.peer_identity(client, CLUSTER, NOW)


def test_a_peer_without_certificate_is_nobody() -> None:
    for der in (None, b"", b"\x30\x03abc"):
        with pytest.raises(errors.IdentityError):
            tls.identified(der, CLUSTER, NOW)


def test_the_command_line_trusts_its_pinned_root_and_the_address_only() -> None:
    now = float(time.clock_gettime(time.CLOCK_REALTIME))  # this side of TLS does check the time
    ours, other = (authority.create_authority(CLUSTER, now) for _ in range(2))
    key = certificates.new_key()
    cert = authority.issue_https(ours, certificates.public_pem(key), ["127.0.1.1"], ["web.example"], now)
    server = tls.https_context(cert, key)
    shake(server, tls.pinned_client_context(ours.ca_pem), "127.0.1.1")
    shake(server, tls.pinned_client_context(ours.ca_pem), "web.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server, tls.pinned_client_context(ours.ca_pem), "127.0.1.2")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server, tls.pinned_client_context(other.ca_pem), "127.0.1.1")
