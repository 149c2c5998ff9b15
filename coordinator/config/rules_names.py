"""Static rules about names, references and bounds: S01, S02, S03, S05, S06, S13, S19."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from coordinator import limits
from coordinator.config import findings, model, scope

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_FQDN = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_ID_MAX = 9_999_999
_ABOVE_PARAMS = 3  # the document, its roles, the role


def schema(judged: scope.Scope, found: findings.Findings) -> None:
    """S01: the format is one we know."""
    if judged.document.schema != model.SCHEMA:
        found.error(
            "S01",
            ("schema",),
            f"unknown schema {judged.document.schema!r} (got {judged.document.schema}, have {model.SCHEMA})",
            f"write schema: {model.SCHEMA}",
        )


def master_domain(judged: scope.Scope, found: findings.Findings) -> None:
    """S02: the master domain exists."""
    name, domains = judged.document.general.master_domain, judged.document.domains
    if name not in domains:
        hint = found.near(name, domains, "add it to `domains`")
        found.error("S02", ("general", "master_domain"), f"no domain is called {name!r}", hint)


def names_of_things(judged: scope.Scope, found: findings.Findings) -> None:
    """S03: names can become file and host names."""
    for path, name in _named(judged.document):
        if not _NAME.fullmatch(name):
            found.error(
                "S03",
                path,
                f"{name[:80]!r} is not a name",
                "a name is letters, digits, - and _, and starts with a letter",
            )
        elif len(name) > limits.NAME_CHARACTERS:
            have = f"(got {len(name)} characters, have {limits.NAME_CHARACTERS})"
            found.error("S03", path, f"the name {name[:40]!r}... is too long {have}")
    for name, domain in judged.document.domains.items():
        if not _FQDN.fullmatch(domain.fqdn):
            found.error("S03", ("domains", name, "fqdn"), f"{domain.fqdn[:80]!r} is not a domain name")


def _named(document: model.Document) -> Iterator[tuple[findings.Path, str]]:
    maps: dict[str, Mapping[Any, object]] = {
        "domains": document.domains,
        "templates": document.templates,
        "sites": document.sites,
        "servers": document.servers,
        "roles": document.roles,
    }
    yield from (((section, name), name) for section, things in maps.items() for name in things)
    yield from ((("aliases", "paths", name), name) for name in document.aliases.paths)
    for host, server in document.servers.items():
        yield from ((("servers", host, "interfaces", alias), alias) for alias in server.interfaces)
        yield from ((("servers", host, "paths", alias), alias) for alias in server.paths)
    shared: dict[str, Mapping[Any, model.Role | model.Template]]
    shared = {"roles": document.roles, "templates": document.templates}
    for section, things in shared.items():
        for name, thing in things.items():
            if thing.group is not None:
                yield (section, name, "group"), thing.group
            if thing.node is not None:
                yield (section, name, "node"), thing.node


def structure(judged: scope.Scope, found: findings.Findings) -> None:
    """S05: what the structure names exists, a server on one site, a role on one server."""
    document = judged.document
    site_of: dict[str, str] = {}
    server_of: dict[str, str] = {}
    for site, servers in document.structure.items():
        if site not in document.sites:
            hint = found.near(site, document.sites, "add it to `sites`")
            found.error("S05", ("structure", site), f"no site is called {site!r}", hint)
        for server, placed in servers.items():
            at = ("structure", site, server)
            if server not in document.servers:
                hint = found.near(server, document.servers, "add it to `servers`")
                found.error("S05", at, f"no server is called {server!r}", hint)
            if site_of.setdefault(server, site) != site:
                found.error("S05", at, f"the server {server} is on site {site_of[server]} already")
            _placed(document, at, placed, server_of, found)


def _placed(
    document: model.Document,
    at: tuple[str, str, str],
    placed: Iterable[str],
    server_of: dict[str, str],
    found: findings.Findings,
) -> None:
    for index, name in enumerate(placed):
        if name not in document.roles:
            hint = found.near(name, document.roles, "add it to `roles`")
            found.error("S05", (*at, index), f"no role is called {name!r}", hint)
        elif name in server_of:
            found.error("S05", (*at, index), f"the role {name} is on server {server_of[name]} already")
        server_of.setdefault(name, at[2])


def unused(judged: scope.Scope, found: findings.Findings) -> None:
    """S06: what stands in the document and does nothing, as warnings."""
    document = judged.document
    for name, placed in judged.expanded.roles.items():
        if placed.server is None and placed.enabled:
            found.warn("S06", ("roles", name), f"the role {name} is on no server", "place it in `structure`")
    for server in document.servers.keys() - judged.places.keys():
        found.warn(
            "S06", ("servers", server), f"the server {server} is on no site", "place it in `structure`"
        )
    for site in document.sites.keys() - document.structure.keys():
        found.warn("S06", ("sites", site), f"the site {site} has no server", "place servers in `structure`")
    for template in document.templates.keys() - {role.like for role in document.roles.values()}:
        found.warn("S06", ("templates", template), f"no role is like {template}")


def ids(judged: scope.Scope, found: findings.Findings) -> None:
    """S13: an id is one role's alone."""
    owner: dict[int, str] = {}
    for name, role in judged.document.roles.items():
        if role.id is None:
            continue
        path = ("roles", name, "id")
        if not 1 <= role.id <= _ID_MAX:
            found.error("S13", path, f"an id is a number from 1 to {_ID_MAX} (got {role.id})")
        elif owner.setdefault(role.id, name) != name:
            found.error("S13", path, f"the id {role.id} belongs to the role {owner[role.id]}")


def bounds(judged: scope.Scope, found: findings.Findings) -> None:
    """S19: nobody is asked to carry more than was measured."""
    document, size = judged.document, len(judged.body)
    if size > limits.DOCUMENT_BYTES:
        found.error("S19", (), f"the document is too large (got {size} bytes, have {limits.DOCUMENT_BYTES})")
    elif size > limits.DOCUMENT_WARN_BYTES:
        found.warn(
            "S19", (), f"the document is large (got {size} bytes)", "share by templates what roles repeat"
        )
    counts = (
        ("sites", len(document.sites), limits.SITES),
        ("servers", len(document.servers), limits.SERVERS),
        ("roles", len(document.roles), limits.ROLES),
    )
    for section, got, have in counts:
        if got > have:
            found.error("S19", (section,), f"too many {section} (got {got}, have {have})")
    for section, things in (("roles", document.roles), ("templates", document.templates)):
        for name, thing in things.items():
            if thing.params:
                _measure(thing.params, (section, name, "params"), _ABOVE_PARAMS + 1, found)


def _measure(value: object, path: findings.Path, depth: int, found: findings.Findings) -> None:
    if isinstance(value, str):
        if len(value) > limits.STRING_BYTES // 4 and len(value.encode()) > limits.STRING_BYTES:
            have = f"(got {len(value.encode())} bytes, have {limits.STRING_BYTES})"
            found.error(
                "S19", path, f"the text is too long {have}", "keep large content outside the document"
            )
        return
    if not isinstance(value, Mapping | list | tuple):
        return
    if depth > limits.NESTING:
        found.error("S19", path, f"nested too deeply (have {limits.NESTING} levels)")
        return
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, item in items:
        _measure(item, (*path, key), depth + 1, found)
