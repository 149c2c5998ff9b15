"""etcd's API beside a MIC in office, where its role names a port for it.

A trouble with it (the extra is not installed, the port is taken) is told in the log and in `report`, and never keeps MIC
from its office.
"""

from typing import Protocol

from coordinator import errors, role
from coordinator.config import kinds
from coordinator.host import logs
from coordinator.tiers import mic
from coordinator.trust import authority, certificates

RENEWED_S = 30 * 86400.0  # of a certificate for a year
_LOG = logs.Log("etcd_api")


class Closing(Protocol):
    """What is left to do with a listener."""

    async def close(self) -> None: ...


async def listen(served: mic.Mic, context: role.Context, params: kinds.MicParams) -> Closing | None:
    """None where it is not wanted, or cannot be had. Rotated roots and keys are followed without a restart."""
    if params.etcd_port is None or served.recovery:
        return None
    try:
        from coordinator.api.etcd import listener  # noqa: PLC0415 gRPC is an extra, and 11 MiB
    except ImportError as missing:
        _LOG.error("etcd's API is not installed", reason=str(missing), hint="install tiercast[etcd-api]")
        return None
    issued: list[tuple[int, float, bytes, bytes]] = []

    def shown() -> listener.Tls:
        """With the roots that are trusted now, and a certificate of the newest of them."""
        held, wall = served.at.means.authority, context.clock.wall()
        if not issued or issued[0][0] != held.number or wall - issued[0][1] > RENEWED_S:
            key = certificates.new_key()
            public, names = certificates.public_pem(key), [context.server, "localhost"]
            cert = authority.issue_https(held, public, [context.address], names, wall)
            issued[:] = [(held.number, wall, cert, key)]
        _, _, cert, key = issued[0]
        return listener.Tls(cert, key, b"".join(served.at.past.content.trust.content.roots))

    made = listener.Listener(served)
    try:
        await made.listen(context.address, params.etcd_port, shown)
    except errors.InUseError as problem:
        _LOG.error("etcd's API is not served", reason=problem.message)
        await made.close()
        return None
    _LOG.info("etcd's API is served", address=context.address, port=params.etcd_port)
    return made
