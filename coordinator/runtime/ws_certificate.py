"""The HTTPS certificate of one ws role: issued here where the authority is, else by MIC over the link; kept, and renewed.

Laws: the key is made here and never leaves this server; a certificate that still holds is used again after a restart, so
that WS answers with MIC away; it is renewed at half of its life, when this server has another address, and when its own
certificate is of another CA. Which CA it is of is told by its signature: all CAs of a cluster have one name.
"""

import ipaddress
from collections.abc import Sequence

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from coordinator import effects, errors, role
from coordinator.config import model
from coordinator.host import disk, logs
from coordinator.propagation import bodies, gates
from coordinator.runtime import home
from coordinator.tiers import upstream, web
from coordinator.trust import authority, certificates

KEY_FILE, CERTIFICATE_FILE = "https.key", "https.pem"

_LOG = logs.Log("ws")


class Pair(msgspec.Struct, frozen=True):
    """PEM, both."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "Pair()"

    @property
    def span(self) -> tuple[float, float]:
        """Wall seconds of its beginning and end."""
        read = x509.load_pem_x509_certificate(self.certificate)
        return read.not_valid_before_utc.timestamp(), read.not_valid_after_utc.timestamp()

    def covers(self, addresses: Sequence[str]) -> bool:
        """Whether clients may come by every one of these."""
        read = x509.load_pem_x509_certificate(self.certificate)
        named = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return {ipaddress.ip_address(one) for one in addresses} <= set(
            named.get_values_for_type(x509.IPAddress)
        )

    def fresh(self, wall: float) -> bool:
        """In the first half of its life."""
        begin, end = self.span
        return begin <= wall < (begin + end) / 2

    def holds(self, wall: float) -> bool:
        begin, end = self.span
        return begin <= wall < end


class Certificate:
    """See the module."""

    def __init__(self, context: role.Context, here: home.Home, link: upstream.Upstream) -> None:
        self._context = context
        self._home = here
        self._link = link
        self._disk: effects.Disk = disk.DirectoryDisk(context.state_directory)

    @property
    def addresses(self) -> list[str]:
        """Of this server, by the document that it has accepted."""
        read = accepted(self._context)
        known = () if read is None else web.addresses(read, self._context.server)
        found = dict.fromkeys((self._context.address, *known))
        return [one for one in found if _is_address(one)]

    def kept(self) -> Pair | None:
        """Of an earlier start, as long as it is of use."""
        key, certificate = self._disk.read(KEY_FILE), self._disk.read(CERTIFICATE_FILE)
        if key is None or certificate is None:
            return None
        pair = Pair(certificate, key)
        try:
            mine = certificates.public_pem(key) == _public(certificate)
            good = mine and self._of_a_trusted_ca(certificate) and pair.holds(self._context.clock.wall())
            return pair if good and pair.covers(self.addresses) else None
        except (ValueError, x509.ExtensionNotFound, errors.TiercastError) as wrong:
            _LOG.warning("kept certificate cannot be used", reason=str(wrong))
            return None

    def _of_a_trusted_ca(self, certificate: bytes) -> bool:
        """What contexts pin leads to it, also after this directory was copied. Raises what the library does."""
        return any(certificates.is_of(certificate, root) for root in self._home.own.roots)

    def here(self) -> Pair | None:
        """Issued on the spot, where this server holds the authority as it is now, and not as it was when MIC ran here."""
        try:
            held = authority.Authority.load(self._home.root)
        except errors.NotFoundError:
            return None
        if held.ca_pem.strip() != self._home.own.roots[-1].strip():
            return None
        key = certificates.new_key()
        wall, named = self._context.clock.wall(), [self._context.server, "localhost"]
        made = authority.issue_https(held, certificates.public_pem(key), self.addresses, named, wall)
        return self._keep(Pair(made, key))

    async def asked(self) -> Pair:
        """Issued by MIC. Raises `TiercastError`."""
        key = certificates.new_key()
        request = certificates.signing_request(key, self._context.server).decode()
        code, data = await self._link.ask(web.CERTIFICATE, msgspec.json.encode(web.Wanted(request)))
        if code:
            raise errors.NoCoordinatorError(f"MIC issued no certificate: {code}")
        try:
            issued = msgspec.json.decode(data, type=web.Issued)
            made = issued.certificate_pem.encode()
            if _public(made) != certificates.public_pem(key):
                raise errors.ProtocolError("the certificate is of another key")
        except (msgspec.DecodeError, ValueError) as wrong:
            raise errors.ProtocolError(f"the certificate cannot be read: {wrong}") from wrong
        return self._keep(Pair(made, key))

    def _keep(self, pair: Pair) -> Pair:
        """The certificate last: a crash in between leaves a pair that does not belong together, and is not used."""
        try:
            self._disk.write(KEY_FILE, pair.key)
            self._disk.write(CERTIFICATE_FILE, pair.certificate)
        except OSError as wrong:
            _LOG.warning("certificate not kept", reason=str(wrong))  # it is as good until the next start
        return pair

    def due(self, pair: Pair) -> bool:
        """Whether another one is wanted."""
        newest = certificates.is_of(pair.certificate, self._home.own.identity.ca_pem)
        return not newest or not pair.fresh(self._context.clock.wall()) or not pair.covers(self.addresses)


def accepted(context: role.Context) -> model.Document | None:
    """What this server has accepted; read once per revision and node."""
    view = context.view()
    read = gates.Reader().read(view.digest or bodies.digest_of(view.body), view.body) if view.body else None
    return None if read is None else read.document


def _public(certificate: bytes) -> bytes:
    key = x509.load_pem_x509_certificate(certificate).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
