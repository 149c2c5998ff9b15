"""The active document by site, server, node and role, in the order in which lists show it; worked out once per revision.

Working out the nodes of 10,000 servers takes a good part of a second, and nobody who looks should wait for that twice.
"""

import collections
from collections.abc import Mapping, Sequence

import msgspec

from coordinator import names
from coordinator.config import expansion, topology
from coordinator.tiers import desk


class Laid(msgspec.Struct, frozen=True):
    """One server."""

    site: names.SiteName
    server: names.ServerName
    nodes: tuple[topology.Node, ...]
    roles: tuple[tuple[names.RoleName, names.RoleTypeName, names.NodeName], ...]
    """By name; only those that are to run."""
    types: Mapping[names.RoleTypeName, int]


_NOTHING = Laid(names.SiteName(""), names.ServerName(""), (), (), {})


def of(at: desk.Desk) -> Sequence[Laid]:
    """Every server of the active document, by site and name."""
    return _known(at)[0]


def on(at: desk.Desk, server: names.ServerName) -> Laid:
    return _known(at)[1].get(server, _NOTHING)


def _known(at: desk.Desk) -> tuple[Sequence[Laid], Mapping[names.ServerName, Laid]]:
    expanded = at.past.expanded
    if at.laid_out is None or at.laid_out[0] is not expanded:
        places = sorted((site, server) for server, site in topology.places(expanded.document).items())
        every = [_laid(expanded, site, server) for site, server in places]
        at.laid_out = expanded, (every, {one.server: one for one in every})
    found: tuple[Sequence[Laid], Mapping[names.ServerName, Laid]] = at.laid_out[1]
    return found


def _laid(expanded: expansion.Expanded, site: names.SiteName, server: names.ServerName) -> Laid:
    nodes = topology.nodes(expanded, server)
    roles = sorted((one.name, one.type, node.name) for node in nodes for one in node.roles)
    return Laid(site, server, nodes, tuple(roles), collections.Counter(kind for _, kind, _ in roles))
