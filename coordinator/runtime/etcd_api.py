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

_LOG = logs.Log("etcd_api")


class Closing(Protocol):
    """What is left to do with a listener."""

    async def close(self) -> None: ...


async def listen(
    served: mic.Mic, context: role.Context, params: kinds.MicParams, held: authority.Authority
) -> Closing | None:
    """None where it is not wanted, or cannot be had."""
    if params.etcd_port is None or served.recovery:
        return None
    try:
        from coordinator.api.etcd import listener  # noqa: PLC0415 gRPC is an extra, and 11 MiB
    except ImportError as missing:
        _LOG.error("etcd's API is not installed", reason=str(missing), hint="install tiercast[etcd-api]")
        return None
    key = certificates.new_key()
    cert = authority.issue_https(
        held,
        certificates.public_pem(key),
        [context.address],
        [context.server, "localhost"],
        context.clock.wall(),
    )
    made = listener.Listener(served)
    roots = b"".join(served.at.past.content.trust.content.roots)
    try:
        await made.listen(context.address, params.etcd_port, listener.Tls(cert, key, roots))
    except errors.InUseError as problem:
        _LOG.error("etcd's API is not served", reason=problem.message)
        await made.close()
        return None
    _LOG.info("etcd's API is served", address=context.address, port=params.etcd_port)
    return made
