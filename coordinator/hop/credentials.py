"""What one end of a hop shows and asks for: contexts made once of an identity, and the name of whoever is there.

Made anew when the identity is renewed or the roots of `trust` change; links that stand keep theirs.
"""

import asyncio
import functools
import ssl
from collections.abc import Callable, Iterable

from coordinator import effects, names
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
        self._attached: list[ssl.SSLContext] = []
        self.revoked: frozenset[names.ServerId] = frozenset()
        self.pins: dict[names.ServerId, Callable[[str], bool]] = {}
        """Whether a key is that of a server, where no hello shows an admission: among the members of the store."""

    def attach(self, context: ssl.SSLContext) -> ssl.SSLContext:
        """One that cannot be made anew: it shows the newest certificate too, and takes every root that comes."""
        self._attached.append(context)
        return context

    def renew(self, identity: authority.Identity) -> None:
        """Shown from the next handshake on; the links that stand keep theirs."""
        self.identity = identity
        self._forget()

    def trust(self, roots: Iterable[bytes], revoked: Iterable[names.ServerId] = ()) -> None:
        """Nobody else's certificates open a link from now on."""
        self.revoked = frozenset(revoked)
        if self._roots != tuple(roots):
            self._roots = tuple(roots)
            self._forget()

    @property
    def expired(self) -> bool:
        """Whether the certificate has run out by this machine's clock."""
        return certificates.validity(self.identity.cert_pem)[1] < self._clock.wall()

    def _forget(self) -> None:
        for made in ("server", "client"):
            self.__dict__.pop(made, None)
        for context in self._attached:
            tls.refresh(context, self.identity, self._roots)

    @functools.cached_property
    def server(self) -> ssl.SSLContext:
        return tls.server_context(self.identity, self._roots)

    @functools.cached_property
    def client(self) -> ssl.SSLContext:
        return tls.client_context(self.identity, self._roots)

    def peer(self, transport: asyncio.BaseTransport) -> peers.PeerIdentity:
        """Who is at the other end of a TLS connection. Raises `IdentityError`."""
        session: ssl.SSLObject = transport.get_extra_info("ssl_object")
        return tls.peer_identity(session, self.identity.cluster, self._clock.wall())
