"""Parameters of the four core role types, as every part that reads a document must know them.

The `role.RoleType` values, with their implementations, are made by the composition root.
"""

from typing import Annotated

import msgspec

from coordinator import limits, names, role

MIC = names.RoleTypeName("mic")
IC = names.RoleTypeName("ic")
DC = names.RoleTypeName("dc")
WS = names.RoleTypeName("ws")

SHARED_NODE = frozenset({IC, DC, WS})
"""Core types that share one node per server; mic is always alone."""
STATEFUL = frozenset({IC, DC})

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class MicParams(role.Params, frozen=True):
    """Where MIC serves its children."""

    port: Port = limits.PORT_MIC
    etcd_port: Port | None = None
    """Where the active one answers etcd's v3 API over the users' keys; none: it does not."""


class IcParams(role.Params, frozen=True):
    """Where an IC serves the servers of its site."""

    port: Port = limits.PORT_IC


class DcParams(role.Params, frozen=True):
    """A domain centre has no port: it is reached through WS."""


class WsParams(role.Params, frozen=True):
    """Where WS answers HTTPS, and whether it serves the administration API away from the master site."""

    port: Port = limits.PORT_WS
    admin: bool = False
