from collections.abc import Sequence

import msgspec
import pytest
from cryptography import x509

from coordinator import errors, names
from coordinator.trust import authority, certificates, signing

CLUSTER = names.ClusterId("c1")
SERVER = names.ServerId("5f3a")
NOW = 1_800_000_000.0


class DictDisk:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def read(self, name: str) -> bytes | None:
        return self.files.get(name)

    def write(self, name: str, data: bytes) -> None:
        self.files[name] = data

    def remove(self, name: str) -> None:
        self.files.pop(name, None)

    def names(self, prefix: str = "") -> Sequence[str]:
        return sorted(name for name in self.files if name.startswith(prefix))


@pytest.fixture(scope="module")
def ours() -> authority.Authority:
    return authority.create_authority(CLUSTER, NOW)


def test_a_server_certificate_names_cluster_and_server_and_lasts_a_year(ours: authority.Authority) -> None:
    identity = authority.enrolled(ours, SERVER, NOW)
    certificate = x509.load_pem_x509_certificate(identity.cert_pem)
    assert certificates.named(certificate) == (CLUSTER, SERVER)
    assert certificate.not_valid_after_utc.timestamp() == NOW + 365 * 86_400
    assert certificate.not_valid_before_utc.timestamp() < NOW


def test_a_web_certificate_names_addresses_and_is_nobody_on_a_hop(ours: authority.Authority) -> None:
    public = certificates.public_pem(certificates.new_key())
    pem = authority.issue_https(ours, public, ["127.0.1.1", "::1"], ["c1.example"], NOW)
    certificate = x509.load_pem_x509_certificate(pem)
    alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(a) for a in alternative.get_values_for_type(x509.IPAddress)] == ["127.0.1.1", "::1"]
    assert alternative.get_values_for_type(x509.DNSName) == ["c1.example"]
    with pytest.raises(errors.IdentityError):
        certificates.named(certificate)


def test_only_p256_keys_are_certified(ours: authority.Authority) -> None:
    with pytest.raises(errors.IdentityError):
        authority.issue(ours, SERVER, b"no key", NOW)


def test_an_identity_is_saved_and_loaded_whole_or_not_at_all(ours: authority.Authority) -> None:
    identity, disk = authority.enrolled(ours, SERVER, NOW), DictDisk()
    with pytest.raises(errors.NotFoundError):
        authority.Identity.load(disk)
    identity.save(disk)
    assert authority.Identity.load(disk) == identity
    assert list(disk.files)[-1] == "identity/server.pem"
    disk.files["identity/server.key"] = certificates.new_key()
    with pytest.raises(errors.DamagedError):
        authority.Identity.load(disk)


def test_the_authority_is_saved_and_loaded_and_signs_the_first_trust(ours: authority.Authority) -> None:
    disk = DictDisk()
    with pytest.raises(errors.NotFoundError):
        authority.Authority.load(disk)
    ours.save(disk)
    again = authority.Authority.load(disk)
    assert again == ours
    keyring = signing.Keyring.trusting(again.first_trust(), CLUSTER)
    assert keyring.body.roots == (ours.ca_pem,)


def test_a_bundle_carries_a_server_to_its_machine(ours: authority.Authority) -> None:
    identity = authority.enrolled(ours, SERVER, NOW)
    data = authority.bundle(identity, b"trust\xff", b"admission", [("127.0.1.1", 7401)])
    assert authority.unbundle(data) == authority.Bundle(
        identity, b"trust\xff", b"admission", (("127.0.1.1", 7401),)
    )


def test_a_damaged_or_mixed_bundle_is_refused(ours: authority.Authority) -> None:
    identity = authority.enrolled(ours, SERVER, NOW)
    foreign = authority.create_authority(CLUSTER, NOW)
    mixed = [
        msgspec.structs.replace(identity, ca_pem=foreign.ca_pem),
        msgspec.structs.replace(identity, key_pem=certificates.new_key()),
        msgspec.structs.replace(identity, cert_pem=b""),
    ]
    files = [b"", b"{}", b'{"trust": "\xff"}', *(authority.bundle(parts, b"", b"", []) for parts in mixed)]
    files.append(authority.bundle(identity, b"", b"", []).replace(b'"tiercast": 1', b'"tiercast": 9'))
    for data in files:
        with pytest.raises(errors.DamagedError):
            authority.unbundle(data)


def test_no_key_shows_in_a_representation(ours: authority.Authority) -> None:
    identity = authority.enrolled(ours, SERVER, NOW)
    shown = repr(ours) + repr(identity) + repr(authority.unbundle(authority.bundle(identity, b"", b"", [])))
    assert "PRIVATE" not in shown
    assert "BEGIN" not in shown
