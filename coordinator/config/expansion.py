"""From the written document to its roles as they run: templates merged, aliases replaced, places filled in.

Placeholders of `process` (`{files}`, `{server}` ...) stay: that role type replaces them where it runs.
Total: a reference that does not resolve leaves its part empty, `config.validation` says so to people.
Law: `expand` depends on the document alone, and every role of the document stands in the result once.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from coordinator import names
from coordinator.config import model

ALIAS = re.compile(r"alias://paths/([A-Za-z0-9_-]+)")
ALIAS_MARK = "alias://"

Params = Mapping[str, Any]


class PlacedRole(msgspec.Struct, frozen=True, gc=False):
    """One role with everything it takes from its template, its server and its place."""

    name: names.RoleName
    type: names.RoleTypeName
    params: Params
    interface: str
    address: str
    order: int | None
    group: str | None
    id: int | None
    enabled: bool
    separate: bool
    node: str | None
    site: names.SiteName | None
    server: names.ServerName | None

    @property
    def running(self) -> bool:
        """Whether anything of it is to run."""
        return self.enabled and self.server is not None


class Expanded(msgspec.Struct, frozen=True):
    """The document with all its roles: by name, by server and by type."""

    document: model.Document
    roles: Mapping[names.RoleName, PlacedRole]
    by_server: Mapping[names.ServerName, tuple[PlacedRole, ...]]
    """Placed roles only, in the order of the document's structure; disabled ones too."""
    by_type: Mapping[names.RoleTypeName, tuple[PlacedRole, ...]]
    """Placed and enabled roles only."""


def expand(document: model.Document) -> Expanded:
    """All roles of the document, placed and filled in."""
    expander = _Expander(document)
    spots = {
        name: (site, server)
        for site, servers in document.structure.items()
        for server, placed in servers.items()
        for name in placed
    }
    roles = {name: expander.role(name, given, spots.get(name)) for name, given in document.roles.items()}
    by_server = {
        server: tuple(
            roles[name] for name in dict.fromkeys(placed) if name in roles and spots[name] == (site, server)
        )
        for site, servers in document.structure.items()
        for server, placed in servers.items()
    }
    by_type: dict[names.RoleTypeName, list[PlacedRole]] = {}
    for role in roles.values():
        if role.running:
            by_type.setdefault(role.type, []).append(role)
    return Expanded(document, roles, by_server, {kind: tuple(some) for kind, some in by_type.items()})


def control_interface(server: model.Server) -> str:
    """The interface where its ServerShell answers, and where roles listen that name none."""
    if server.control is not None:
        return server.control
    return min(server.interfaces, default="")


def control_address(server: model.Server) -> str:
    """The address where its ServerShell answers."""
    return server.interfaces.get(control_interface(server), "")


def merged(base: Params, over: Params) -> dict[str, Any]:
    """`over` upon `base`: maps merge by key, lists and scalars replace, `None` takes a key away."""
    result = dict(base)
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            below = result.get(key)
            result[key] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def replaced(value: object, paths: Mapping[str, str]) -> object:
    """`value` with every `alias://paths/x` in its texts replaced; an unknown alias stays as it is."""
    if isinstance(value, str):
        if ALIAS_MARK not in value:
            return value
        return ALIAS.sub(lambda match: paths.get(match[1], match[0]), value)
    if isinstance(value, Mapping):
        return {key: replaced(item, paths) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replaced(item, paths) for item in value]
    return value


_NOWHERE = model.Server(interfaces={})
_NO_TEMPLATE = model.Template(type=names.RoleTypeName(""))


class _Expander:
    """Expands roles of one document; what roles share is computed once."""

    def __init__(self, document: model.Document) -> None:
        self._document = document
        self._template_params = functools.cache(self._template_params_uncached)

    def role(
        self,
        name: names.RoleName,
        role: model.Role,
        spot: tuple[names.SiteName, names.ServerName] | None,
    ) -> PlacedRole:
        template = self._document.templates.get(role.like or "", _NO_TEMPLATE)
        site, server_name = spot or (None, None)
        server = self._document.servers.get(server_name or names.ServerName(""), _NOWHERE)
        interface = role.interface or template.interface or control_interface(server)
        enabled = template.enabled if role.enabled is None else role.enabled
        separate = template.separate if role.separate is None else role.separate
        return PlacedRole(
            name=name,
            type=template.type if role.type is None else role.type,
            params=self._params(role, server, server_name),
            interface=interface,
            address=server.interfaces.get(interface, ""),
            order=role.order,
            group=template.group if role.group is None else role.group,
            id=role.id,
            enabled=enabled is not False,
            separate=separate is True,
            node=template.node if role.node is None else role.node,
            site=site,
            server=server_name,
        )

    def _params(self, role: model.Role, server: model.Server, name: names.ServerName | None) -> Params:
        own_paths = name if server.paths else None
        base = self._template_params(role.like or "", own_paths)
        if not role.params:
            return base
        own = replaced(role.params, self._paths(own_paths))
        assert isinstance(own, Mapping)
        return merged(base, own)

    def _template_params_uncached(self, like: str, own_paths: names.ServerName | None) -> Params:
        params = replaced(self._document.templates.get(like, _NO_TEMPLATE).params, self._paths(own_paths))
        assert isinstance(params, Mapping)
        return merged({}, params)

    def _paths(self, own_paths: names.ServerName | None) -> Mapping[str, str]:
        shared = self._document.aliases.paths
        return shared if own_paths is None else {**shared, **self._document.servers[own_paths].paths}
