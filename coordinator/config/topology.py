"""Who stands where and who dials whom, read off an expanded document.

Law: the same document gives the same nodes, names and order of parents everywhere; a child dials, a parent never does.
Grouping: mic always alone in its node; ic, dc and ws of a server share one; every other role has its own, unless
roles carry the same `node` label; `separate` gives a role a node of its own.
"""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from coordinator import limits, names
from coordinator.config import expansion, kinds, model

PARENTS = 64  # more places than anyone tries before the back-off is at its longest
_TAIL_CHARACTERS = 16
_PORTS = {"mic": limits.PORT_MIC, "ic": limits.PORT_IC}
_ORDER_LAST = 2**63


class Node(msgspec.Struct, frozen=True):
    """A worker node: one process of the operating system with its roles, sorted by name."""

    name: names.NodeName
    roles: tuple[expansion.PlacedRole, ...]


class Place(msgspec.Struct, frozen=True):
    """Where a server stands in the document."""

    server: names.ServerName
    site: names.SiteName
    control_address: str


class Parent(msgspec.Struct, frozen=True):
    """An address to try for the newest configuration."""

    kind: Literal["ic", "mic", "shell"]
    server: names.ServerName
    address: str
    port: int
    role: names.RoleName | None = None


def nodes(expanded: expansion.Expanded, server: names.ServerName) -> tuple[Node, ...]:
    """The worker nodes of a server, sorted by name; only enabled roles."""
    groups: dict[tuple[str, str], list[expansion.PlacedRole]] = {}
    for role in expanded.by_server.get(server, ()):
        if role.enabled:
            groups.setdefault(_group(role), []).append(role)
    address = _control_address(expanded.document, server)
    made = []
    for roles in groups.values():
        ordered = tuple(sorted(roles, key=_by_name))
        made.append(Node(node_name((role.name for role in ordered), address), ordered))
    return tuple(sorted(made, key=lambda node: node.name))


def node_name(roles: Iterable[names.RoleName], address: str) -> names.NodeName:
    """`dc1+icc1+ws1@10.1.0.11`; a name too long for a file keeps its start and a hash of the whole."""
    joined = "+".join(sorted(roles))
    whole = f"{joined}@{address}"
    if len(whole) <= limits.NODE_NAME_CHARACTERS:
        return names.NodeName(whole)
    tail = hashlib.sha256(whole.encode()).hexdigest()[:_TAIL_CHARACTERS]
    room = limits.NODE_NAME_CHARACTERS - len(address) - _TAIL_CHARACTERS - 2
    return names.NodeName(f"{joined[:room]}~{tail}@{address}")


def shell_name(place: Place) -> str:
    """ServerShell's own name: its server and the address where it answers."""
    return f"{place.server}@{place.control_address}"


def place(document: model.Document, server: names.ServerName) -> Place | None:
    """Where the document puts this server, if it does."""
    for site, servers in document.structure.items():
        if server in servers and server in document.servers:
            return Place(server, site, _control_address(document, server))
    return None


def places(document: model.Document) -> Mapping[names.ServerName, names.SiteName]:
    """The site of every placed server."""
    return {
        server: site
        for site, servers in document.structure.items()
        for server in servers
        if server in document.servers
    }


def servers_of(document: model.Document, site: names.SiteName) -> tuple[names.ServerName, ...]:
    """Servers the document places on this site, sorted."""
    return tuple(sorted(server for server in document.structure.get(site, {}) if server in document.servers))


def instances(expanded: expansion.Expanded, kind: names.RoleTypeName) -> tuple[expansion.PlacedRole, ...]:
    """Every enabled, placed role of a type, by order (those without come last), then name."""
    return tuple(sorted(expanded.by_type.get(kind, ()), key=_by_order))


def site_of_ic(expanded: expansion.Expanded, server: names.ServerName) -> names.SiteName | None:
    """The site for which an IC on this server serves, if there is one."""
    return next(
        (role.site for role in expanded.by_server.get(server, ()) if role.type == kinds.IC and role.enabled),
        None,
    )


def parents(expanded: expansion.Expanded, server: names.ServerName) -> tuple[Parent, ...]:
    """Where this server's shell looks for the newest configuration, best first.

    The ICs of its site, then MIC's instances, then the other servers of its site, then all the rest.
    """
    return tuple(itertools.islice(_parents(expanded, server), PARENTS))


def coordinator_parents(expanded: expansion.Expanded) -> tuple[Parent, ...]:
    """Where an IC, WS or DC finds MIC."""
    return services(expanded, kinds.MIC)


def services(expanded: expansion.Expanded, kind: names.RoleTypeName) -> tuple[Parent, ...]:
    """Where every mic, or every ic, of the document serves its children."""
    return tuple(_service(role) for role in instances(expanded, kind))


def _parents(expanded: expansion.Expanded, server: names.ServerName) -> Iterator[Parent]:
    document = expanded.document
    standing = place(document, server)
    own_site = servers_of(document, standing.site) if standing else ()
    yield from (_service(role) for role in _ics(expanded, own_site))
    yield from coordinator_parents(expanded)
    yield from (_shell(document, other) for other in own_site if other != server)
    for site in sorted(document.structure):
        if standing is None or site != standing.site:
            yield from (_shell(document, other) for other in servers_of(document, site) if other != server)


def _ics(
    expanded: expansion.Expanded, servers: tuple[names.ServerName, ...]
) -> tuple[expansion.PlacedRole, ...]:
    placed = (role for server in servers for role in expanded.by_server.get(server, ()))
    return tuple(sorted((role for role in placed if role.type == kinds.IC and role.enabled), key=_by_order))


def _service(role: expansion.PlacedRole) -> Parent:
    assert role.server is not None
    kind: Literal["ic", "mic"] = "mic" if role.type == kinds.MIC else "ic"
    given = role.params.get("port", _PORTS[kind])
    return Parent(
        kind, role.server, role.address, given if isinstance(given, int) else _PORTS[kind], role.name
    )


def _shell(document: model.Document, server: names.ServerName) -> Parent:
    return Parent("shell", server, _control_address(document, server), limits.PORT_SHELL)


def _control_address(document: model.Document, server: names.ServerName) -> str:
    known = document.servers.get(server)
    return expansion.control_address(known) if known else ""


def _group(role: expansion.PlacedRole) -> tuple[str, str]:
    if role.type == kinds.MIC or role.separate:
        return ("alone", role.name)
    if role.node is not None:
        return ("label", role.node)
    if role.type in kinds.SHARED_NODE:
        return ("core", "")
    return ("alone", role.name)


def _by_name(role: expansion.PlacedRole) -> str:
    return role.name


def _by_order(role: expansion.PlacedRole) -> tuple[int, str]:
    return (_ORDER_LAST if role.order is None else role.order, role.name)
