"""What one end of a hop shows and asks for: contexts made once of an identity, and the name of whoever is there.

Made anew when the identity is renewed or the roots of `trust` change; links that stand keep theirs.
"""

import asyncio
import functools
import ssl
from collections.abc import Iterable

from coordinator import effects
from coordinator.trust import authority, peers, tls


class Credentials:
    """Of one server, for all its hops."""

    def __init__(
        self, identity: authority.Identity, clock: effects.Clock, roots: Iterable[bytes] = ()
    ) -> None:
        """`roots` are the CA certificates of `trust`, PEM, beside the identity's own."""
        self.identity = identity
        self._clock = clock
        self._roots = tuple(roots)

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
