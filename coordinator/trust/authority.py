"""The cluster's own authority, and the identity of one server as files and as an enrolment bundle.

Decides who gets a certificate; how one is built stands in `certificates`. It touches no file itself: what it saves goes
through `effects.Disk`, whose files are 0600 below 0700. Law: of the several files of an identity the last one written
makes it exist, so a crash between them leaves none rather than half of one.
"""

from collections.abc import Sequence

import msgspec
from cryptography.hazmat.primitives.asymmetric import ed25519

from coordinator import effects, errors, names
from coordinator.trust import certificates, signing

DIRECTORY = "identity/"
AUTHORITY_DIRECTORY = "identity/authority/"
TRUST_FILE = "identity/trust"
"""The signed `trust` object that an identity begins with."""
ADMISSION_FILE = "identity/admission"
"""The signed admission that an enrolled server begins with, until its ledger has a newer one."""
JOINED_FILE = "identity/joined"
"""JSON, [[address, port], ...]: where an enrolled server may subscribe first."""
BUNDLE_VERSION = 1


class Authority(msgspec.Struct, frozen=True):
    """What only the holders of the master's keys have: the CA and the first signing key."""

    cluster: names.ClusterId
    ca_key_pem: bytes
    ca_pem: bytes
    signing_private: bytes
    """Raw Ed25519 seed."""

    def __repr__(self) -> str:
        return f"Authority(cluster={self.cluster!r})"

    def signer(self) -> signing.Signer:
        return signing.Signer(self.cluster, self.signing_private)

    def first_trust(self) -> bytes:
        """The signed `trust` object that the cluster starts with."""
        signer = self.signer()
        body = signing.TrustBody(1, 1, (signer.unendorsed(),), (self.ca_pem,))
        return signer.sign(signing.TRUST, msgspec.msgpack.encode(body))

    def save(self, disk: effects.Disk) -> None:
        """Write it below `identity/authority/`."""
        disk.write(AUTHORITY_DIRECTORY + "ca.key", self.ca_key_pem)
        disk.write(AUTHORITY_DIRECTORY + "ca.pem", self.ca_pem)
        disk.write(AUTHORITY_DIRECTORY + "signing.key", self.signing_private)
        disk.write(AUTHORITY_DIRECTORY + "cluster", self.cluster.encode())

    @classmethod
    def load(cls, disk: effects.Disk) -> "Authority":
        """Raises `NotFoundError` where this server holds no authority."""
        return cls(
            names.ClusterId(_read(disk, AUTHORITY_DIRECTORY + "cluster").decode()),
            _read(disk, AUTHORITY_DIRECTORY + "ca.key"),
            _read(disk, AUTHORITY_DIRECTORY + "ca.pem"),
            _read(disk, AUTHORITY_DIRECTORY + "signing.key"),
        )


class Identity(msgspec.Struct, frozen=True):
    """One server's certificate, its private key, and the root it trusts."""

    server_id: names.ServerId
    cluster: names.ClusterId
    key_pem: bytes
    cert_pem: bytes
    ca_pem: bytes

    def __repr__(self) -> str:
        return f"Identity(server_id={self.server_id!r}, cluster={self.cluster!r})"

    def save(self, disk: effects.Disk) -> None:
        """Write it below `identity/`."""
        disk.write(DIRECTORY + "ca.pem", self.ca_pem)
        disk.write(DIRECTORY + "server.key", self.key_pem)
        disk.write(DIRECTORY + "server.pem", self.cert_pem)

    @classmethod
    def load(cls, disk: effects.Disk) -> "Identity":
        """Raises `NotFoundError` where there is none, `DamagedError` where its parts do not belong together."""
        cert_pem = _read(disk, DIRECTORY + "server.pem")
        return _checked(_read(disk, DIRECTORY + "server.key"), cert_pem, _read(disk, DIRECTORY + "ca.pem"))


class Bundle(msgspec.Struct, frozen=True):
    """Everything another server needs to start for the first time; secret, for it holds the private key."""

    identity: Identity
    trust: bytes
    admission: bytes
    parents: tuple[tuple[str, int], ...]
    """Address and port of each place to subscribe at."""


class _BundleFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The bundle as JSON; bytes are base64."""

    tiercast: int
    key_pem: bytes
    cert_pem: bytes
    ca_pem: bytes
    trust: bytes
    admission: bytes
    parents: tuple[tuple[str, int], ...]


def create_authority(cluster: names.ClusterId, wall_s: float) -> Authority:
    """A new CA and a new signing key; `wall_s` dates the root."""
    issuer = certificates.root(cluster, wall_s)
    private = ed25519.Ed25519PrivateKey.generate().private_bytes_raw()
    return Authority(cluster, issuer.key_pem, issuer.ca_pem, private)


def issue(authority: Authority, server_id: names.ServerId, public: bytes, wall_s: float) -> bytes:
    """The certificate (PEM) of a server's public key (PEM). Raises `IdentityError` on a key that is not P-256."""
    return certificates.of_server(_issuer(authority), authority.cluster, server_id, public, wall_s)


def issue_https(
    authority: Authority, public: bytes, addresses: Sequence[str], host_names: Sequence[str], wall_s: float
) -> bytes:
    """The web role's certificate (PEM) for these addresses and names; good for nothing on a hop.

    Raises `IdentityError` on a key that is not P-256, `ValueError` where an address is none.
    """
    return certificates.of_web(_issuer(authority), public, addresses, host_names, wall_s)


def enrolled(authority: Authority, server_id: names.ServerId, wall_s: float) -> Identity:
    """A whole new identity, its key made here."""
    key_pem = certificates.new_key()
    cert_pem = issue(authority, server_id, certificates.public_pem(key_pem), wall_s)
    return Identity(server_id, authority.cluster, key_pem, cert_pem, authority.ca_pem)


def bundle(identity: Identity, trust: bytes, admission: bytes, parents: Sequence[tuple[str, int]]) -> bytes:
    """The file that `server enroll` writes and `server run --identity` reads."""
    pems = (identity.key_pem, identity.cert_pem, identity.ca_pem)
    file = _BundleFile(BUNDLE_VERSION, *pems, trust, admission, tuple(parents))
    return msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n"


def unbundle(data: bytes) -> Bundle:
    """Raises `DamagedError` where it is no bundle, or its parts do not belong together."""
    hint = "enroll the server again"
    try:
        file = msgspec.json.decode(data, type=_BundleFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise errors.DamagedError(f"the identity file cannot be read: {wrong}", hint=hint) from wrong
    if file.tiercast != BUNDLE_VERSION:
        wanted = f"(got {file.tiercast}, have {BUNDLE_VERSION})"
        raise errors.DamagedError(f"the identity file is of another kind {wanted}", hint=hint)
    identity = _checked(file.key_pem, file.cert_pem, file.ca_pem)
    return Bundle(identity, file.trust, file.admission, file.parents)


def _issuer(authority: Authority) -> certificates.Issuer:
    return certificates.Issuer(authority.ca_key_pem, authority.ca_pem)


def _checked(key_pem: bytes, cert_pem: bytes, ca_pem: bytes) -> Identity:
    cluster, server_id = certificates.belonging(key_pem, cert_pem, ca_pem)
    return Identity(server_id, cluster, key_pem, cert_pem, ca_pem)


def _read(disk: effects.Disk, name: str) -> bytes:
    data = disk.read(name)
    if data is None:
        hint = "run `tiercast server init`, or enroll this server"
        raise errors.NotFoundError(f"there is no {name} here", hint=hint)
    return data
