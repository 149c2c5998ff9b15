"""The child's end of a hop: one attempt to connect, which ends as a link or as an error within `DIAL_TIMEOUT_S`.

When to try, and whom next, is the subscriber's affair. A dialled link takes small frames only until its owner calls
`authenticated`, like an accepted one.
"""

import asyncio
import socket
import ssl

from coordinator import errors, limits
from coordinator.hop import link


async def dial(
    address: str,
    port: int,
    own: link.Own,
    events: link.LinkEvents,
    *,
    local_address: str | None = None,
) -> link.Link:
    """A link to whoever listens there, `events.opened` already called.

    Raises `UnreachableError`, or `IdentityError` where the peer is not of this cluster. `local_address` is where the
    connection comes from, for servers that share one machine.
    """
    made = link.Link(events, own.peer)
    try:
        async with asyncio.timeout(limits.DIAL_TIMEOUT_S):
            await asyncio.get_running_loop().create_connection(
                lambda: made,
                address,
                port,
                ssl=own.client,
                server_hostname="",  # the certificate names a server id, no host
                local_addr=None if local_address is None else (local_address, 0),
                ssl_handshake_timeout=limits.DIAL_TIMEOUT_S,
                ssl_shutdown_timeout=link.CLOSE_S,
            )
    except ssl.SSLCertVerificationError as wrong:
        raise errors.IdentityError(
            f"{address}:{port} is not of this cluster: {wrong.verify_message}"
        ) from wrong
    except TimeoutError as wrong:
        raise errors.UnreachableError(
            f"{address}:{port} does not answer within {limits.DIAL_TIMEOUT_S} s"
        ) from wrong
    except OSError as wrong:
        raise errors.UnreachableError(
            f"{address}:{port} cannot be reached: {wrong.strerror or wrong}"
        ) from wrong
    return _accepted(made)


async def dial_unix(path: str, events: link.LinkEvents) -> link.Link:
    """A link to the ServerShell at this socket. Raises `UnreachableError`, or `IdentityError` on another user's."""
    loop = asyncio.get_running_loop()
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.setblocking(False)
        async with asyncio.timeout(limits.DIAL_TIMEOUT_S):
            await loop.sock_connect(connected, path)
        peer = link.unix_peer(connected)
        made = link.Link(events, lambda _: peer)
        await loop.create_unix_connection(lambda: made, sock=connected)
    except (OSError, errors.IdentityError) as wrong:
        connected.close()
        if isinstance(wrong, errors.IdentityError):
            raise
        raise errors.UnreachableError(f"{path} cannot be reached: {wrong.strerror or wrong}") from wrong
    return _accepted(made)


def _accepted(made: link.Link) -> link.Link:
    if made.refused is not None:
        raise made.refused
    return made
