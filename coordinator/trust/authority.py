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
CURRENT_FILE = "identity/current"
"""The identity after its first renewal; before that it is the files of the enrolment."""
NEXT_KEY_FILE = "identity/next.key"
"""A private key for which a certificate has been asked and not been given yet."""
ROTATED_FILE = "identity/authority/current"
"""The authority after its first rotation."""
_BACK = "put a copy of identity/ back, or move this file away: the identity before it may still be good"
CHAIN = 32  # CAs back that a handshake leads to, at 700 bytes each; contexts that pin an older one are to be made anew
BUNDLE_VERSION = 1


class Authority(msgspec.Struct, frozen=True):
    """What only the holders of the master's keys have: the CA and the first signing key."""

    cluster: names.ClusterId
    ca_key_pem: bytes
    ca_pem: bytes
    signing_private: bytes
    """Raw Ed25519 seed."""
    chain: tuple[bytes, ...] = ()
    """From this CA to the first one: each root certified by the one before it, PEM; the newest first."""
    number: int = 1
    """Rises with every rotation."""

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
        """Write it below `identity/authority/`; after a rotation as one file, and what it replaces is removed."""
        if self.number > 1:
            disk.write(ROTATED_FILE, msgspec.msgpack.encode(self))
            for name in ("ca.key", "signing.key"):
                disk.remove(AUTHORITY_DIRECTORY + name)
            return
        disk.write(AUTHORITY_DIRECTORY + "ca.key", self.ca_key_pem)
        disk.write(AUTHORITY_DIRECTORY + "ca.pem", self.ca_pem)
        disk.write(AUTHORITY_DIRECTORY + "signing.key", self.signing_private)
        disk.write(AUTHORITY_DIRECTORY + "cluster", self.cluster.encode())

    @classmethod
    def load(cls, disk: effects.Disk) -> "Authority":
        """Raises `NotFoundError` where this server holds no authority, `DamagedError`."""
        rotated = disk.read(ROTATED_FILE)
        if rotated is not None:
            return cls.decode(rotated)
        return cls(
            names.ClusterId(_read(disk, AUTHORITY_DIRECTORY + "cluster").decode()),
            _read(disk, AUTHORITY_DIRECTORY + "ca.key"),
            _read(disk, AUTHORITY_DIRECTORY + "ca.pem"),
            _read(disk, AUTHORITY_DIRECTORY + "signing.key"),
        )

    def encode(self) -> bytes:
        """Everything, private keys included."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> "Authority":
        """Raises `DamagedError`."""
        try:
            return msgspec.msgpack.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
            hint = (
                "put a copy of identity/authority/ back, or `tiercast server export-keys` of another member"
            )
            raise errors.DamagedError(f"the authority's keys cannot be read: {wrong}", hint=hint) from wrong

    def with_new_ca(self, wall_s: float) -> "Authority":
        """The next authority: another CA, certified by this one; the signing key stays."""
        issuer = certificates.root(self.cluster, wall_s)
        crossed = certificates.succeeded(_issuer(self), issuer, wall_s)
        return Authority(
            self.cluster,
            issuer.key_pem,
            issuer.ca_pem,
            self.signing_private,
            (crossed, *self.chain)[:CHAIN],
            self.number + 1,
        )

    def with_new_signer(self) -> "Authority":
        """The next authority: another signing key; the CA stays."""
        private = ed25519.Ed25519PrivateKey.generate().private_bytes_raw()
        return msgspec.structs.replace(self, signing_private=private, number=self.number + 1)


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

    @property
    def key_digest(self) -> str:
        """By which its admission names its key."""
        return certificates.key_digest(certificates.private_key(self.key_pem).public_key())

    def replace(self, disk: effects.Disk) -> None:
        """In place of the one that is there: one file, so that a crash leaves the old one or this one, never none."""
        disk.write(CURRENT_FILE, msgspec.msgpack.encode((self.key_pem, self.cert_pem, self.ca_pem)))

    @classmethod
    def load(cls, disk: effects.Disk) -> "Identity":
        """Raises `NotFoundError` where there is none, `DamagedError` where its parts do not belong together."""
        current = disk.read(CURRENT_FILE)
        if current is not None:
            try:
                return _checked(*msgspec.msgpack.decode(current, type=tuple[bytes, bytes, bytes]))
            except msgspec.DecodeError as wrong:
                raise errors.DamagedError(f"{CURRENT_FILE} cannot be read: {wrong}", hint=_BACK) from wrong
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
    """The certificate (PEM) of a server's public key (PEM), and behind it what leads to the CAs before this one.

    Raises `IdentityError` on a key that is not P-256.
    """
    leaf = certificates.of_server(_issuer(authority), authority.cluster, server_id, public, wall_s)
    return b"".join((leaf, *authority.chain))


def issue_https(
    authority: Authority, public: bytes, addresses: Sequence[str], host_names: Sequence[str], wall_s: float
) -> bytes:
    """The web role's certificate (PEM) for these addresses and names; good for nothing on a hop.

    Raises `IdentityError` on a key that is not P-256, `ValueError` where an address is none.
    """
    leaf = certificates.of_web(_issuer(authority), public, addresses, host_names, wall_s)
    return b"".join((leaf, *authority.chain))


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
