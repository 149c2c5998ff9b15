"""What one end of a hop shows and asks for: contexts made once of an identity, and the name of whoever is there.

Made anew when the identity is renewed or the roots of `trust` change; links that stand keep theirs.
"""

import asyncio
import functools
import os
import socket
import ssl
import struct
from collections.abc import Iterable

from coordinator import effects, errors
from coordinator.hop import link
from coordinator.trust import authority, tls

_UCRED = struct.Struct("3i")  # pid, uid, gid
_ROOT_UID = 0


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

    def peer(self, transport: asyncio.BaseTransport) -> tls.PeerIdentity:
        """Who is at the other end of a TLS connection. Raises `IdentityError`."""
        session: ssl.SSLObject = transport.get_extra_info("ssl_object")
        return tls.peer_identity(session, self.identity.cluster, self._clock.wall())


def unix_peer(connected: socket.socket) -> link.UnixPeer:
    """Who is at the other end of a Unix socket. Raises `IdentityError` unless it is this user or root."""
    pid, uid, _gid = _UCRED.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    if uid not in {os.geteuid(), _ROOT_UID}:
        raise errors.IdentityError(
            f"the process at the socket is another user's (got {uid}, have {os.geteuid()})"
        )
    return link.UnixPeer(uid, pid)
