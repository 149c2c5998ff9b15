"""The server's own view of the configuration, as programs on this machine see it: pure, and one encoding for all of them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from coordinator import names
from coordinator.config import expansion, topology
from coordinator.propagation import mirror, objects


class SeenRole(msgspec.Struct, frozen=True):
    """A role that the configuration places on this server; `params` with its template merged in."""

    type: str
    node: str
    """Empty where it is disabled."""
    address: str
    params: Mapping[str, Any]


class Outlook(msgspec.Struct, frozen=True):
    """What this server has accepted: revision 0 until there is something, no roles where it places none here."""

    generation: int
    revision: int
    digest: str
    server: str
    site: str
    state: str
    """`placed`, `parked` or `expelled`."""
    address: str
    roles: Mapping[names.RoleName, SeenRole]


def of(
    own: objects.Admission | None, content: mirror.Content, expanded: expansion.Expanded | None
) -> Outlook:
    """The view that follows from what the server holds."""
    version = content.version
    if own is None:
        return Outlook(version.generation, version.revision, content.digest, "", "", "parked", "", {})
    place = None if expanded is None else topology.place(expanded.document, own.name)
    if place is None or expanded is None:
        return Outlook(
            version.generation, version.revision, content.digest, own.name, "", own.state.value, "", {}
        )
    nodes = {role.name: node.name for node in topology.nodes(expanded, own.name) for role in node.roles}
    roles = {
        role.name: SeenRole(role.type, nodes.get(role.name, ""), role.address, role.params)
        for role in expanded.by_server.get(own.name, ())
    }
    return Outlook(
        version.generation,
        version.revision,
        content.digest,
        own.name,
        place.site,
        own.state.value,
        place.control_address,
        roles,
    )


def line(outlook: Outlook, document: bytes | None) -> bytes:
    """One line of JSON; with `document` (canonical JSON) it carries the whole configuration."""
    plain = msgspec.json.encode(outlook)
    if document is None:
        return plain + b"\n"
    return plain[:-1] + b',"document":' + (document or b"null") + b"}\n"
