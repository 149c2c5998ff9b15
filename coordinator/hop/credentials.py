"""What one end of a hop shows and asks for: contexts made once of an identity, and the name of whoever is there.

Made anew when the identity is renewed or the roots of `trust` change. Law: once a CA is trusted no more, a certificate of it
opens nothing, and whoever holds links is told, so that those which such a certificate has opened end too.
"""

import asyncio
import functools
import ssl
from collections.abc import Callable, Iterable

from coordinator import effects, errors, names
from coordinator.trust import authority, certificates, peers, tls


class Credentials:
    """Of one server, for all its hops."""

    def __init__(
        self, identity: authority.Identity, clock: effects.Clock, roots: Iterable[bytes] = ()
    ) -> None:
        """`roots` are the CA certificates of `trust`, PEM; without them the identity's own is trusted."""
        self.identity = identity
        self._clock = clock
        self._roots = tuple(roots)
        self._dropped: frozenset[str] = frozenset()
        self._watching: list[Callable[[], None]] = []
        self.revoked: frozenset[names.ServerId] = frozenset()
        self.pins: dict[names.ServerId, Callable[[str], bool]] = {}
        """Whether a key is that of a server, where no hello shows an admission: among the members of the store."""

    def renew(self, identity: authority.Identity) -> None:
        """Shown from the next handshake on; the links that stand keep theirs."""
        self.identity = identity
        self._forget()

    def trust(self, roots: Iterable[bytes], revoked: Iterable[names.ServerId] = ()) -> None:
        """Nobody else's certificates open a link from now on, and those of a CA that is missing here keep none."""
        self.revoked = frozenset(revoked)
        wanted = tuple(roots)
        if self._roots == wanted:
            return
        before = _ids(self.roots)
        self._roots = wanted
        now = _ids(self.roots)
        self._forget()
        self._dropped = (self._dropped | before) - now
        if before - now:
            for told in tuple(self._watching):
                told()

    @property
    def roots(self) -> tuple[bytes, ...]:
        """The CAs that are trusted, PEM."""
        return self._roots or (self.identity.ca_pem,)

    def counts(self, peer: peers.PeerIdentity) -> bool:
        """Whether its certificate is of no CA that was trusted before and is not any more."""
        return peer.issuer not in self._dropped

    def watch(self, told: Callable[[], None]) -> None:
        """`told` is called when a CA has gone, until `unwatch`."""
        self._watching.append(told)

    def unwatch(self, told: Callable[[], None]) -> None:
        if told in self._watching:
            self._watching.remove(told)

    @property
    def expired(self) -> bool:
        """Whether the certificate has run out by this machine's clock."""
        return certificates.validity(self.identity.cert_pem)[1] < self._clock.wall()

    def _forget(self) -> None:
        for made in ("server", "client"):
            self.__dict__.pop(made, None)

    @functools.cached_property
    def server(self) -> ssl.SSLContext:
        return tls.server_context(self.identity, self._roots)

    @functools.cached_property
    def client(self) -> ssl.SSLContext:
        return tls.client_context(self.identity, self._roots)

    def peer(self, transport: asyncio.BaseTransport) -> peers.PeerIdentity:
        """Who is at the other end of a TLS connection. Raises `IdentityError`."""
        session: ssl.SSLObject = transport.get_extra_info("ssl_object")
        peer = tls.peer_identity(session, self.identity.cluster, self._clock.wall())
        if not self.counts(peer):  # it went while the hands were being shaken
            raise errors.IdentityError("the peer's certificate is of a CA that counts no more")
        return peer


def _ids(roots: Iterable[bytes]) -> frozenset[str]:
    return frozenset(certificates.authority_id(root) for root in roots)
