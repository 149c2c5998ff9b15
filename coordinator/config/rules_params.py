"""Static rules about types and parameters: S00 (overrides), S08, S15, S18."""

import itertools
from collections.abc import Iterator, Mapping

import msgspec

from coordinator import limits, role
from coordinator.config import expansion, findings, model, obstacles, scope, shape


def overrides(judged: scope.Scope, found: findings.Findings) -> None:
    """S00: overrides name rules that are there and can be overridden, with a reason and an author."""
    for rule, override in judged.document.overrides.items():
        path = ("overrides", rule)
        if rule not in obstacles.RULES:
            hint = found.near(rule, obstacles.RULES, f"rules of change are {', '.join(obstacles.RULES)}")
            found.error("S00", path, f"unknown key {rule!r}", hint)
        elif rule in obstacles.NOT_OVERRIDABLE:
            found.error("S00", path, f"{rule} has no override", "the name of the master domain never changes")
        for field in ("reason", "author"):
            if not getattr(override, field).strip():
                found.error(
                    "S00", (*path, field), f"the {field} is empty", "say it to whoever reads this later"
                )


def types(judged: scope.Scope, found: findings.Findings) -> None:
    """S08: templates resolve, and every role has one type."""
    templates = judged.document.templates
    for placed in scope.enabled(judged):
        given = judged.document.roles[placed.name]
        if given.like is None:
            if given.type is None:
                hint = "write its `type`, or `like` and a template's name"
                found.error("S08", ("roles", placed.name), f"the role {placed.name} has no type", hint)
        elif given.like not in templates:
            hint = found.near(given.like, templates, "add it to `templates`")
            found.error("S08", ("roles", placed.name, "like"), f"no template is called {given.like!r}", hint)
        elif given.type is not None and given.type != templates[given.like].type:
            message = f"the type is {given.type}, but that of its template is {templates[given.like].type}"
            found.error("S08", ("roles", placed.name, "type"), message, "leave it out")


def aliases(judged: scope.Scope, found: findings.Findings) -> None:
    """S08: every `alias://` resolves on the server where it is used."""
    if expansion.ALIAS_MARK.encode() not in judged.body:
        return
    for placed in scope.enabled(judged):
        for below, text in _left(placed.params, ()):
            match = expansion.ALIAS.search(text)
            known = _paths(judged.document, placed)
            hint = (
                found.near(match[1], known, "add it to `aliases.paths`")
                if match
                else "known: alias://paths/NAME"
            )
            shown = match[0] if match else text[:80]
            found.error("S08", scope.written_at(judged, placed, "params", below), f"no alias {shown!r}", hint)


def _paths(document: model.Document, placed: expansion.PlacedRole) -> Mapping[str, str]:
    server = document.servers.get(placed.server) if placed.server else None
    return {**document.aliases.paths, **(server.paths if server else {})}


def _left(value: object, path: findings.Path) -> Iterator[tuple[findings.Path, str]]:
    if isinstance(value, str):
        if expansion.ALIAS_MARK in value:
            yield path, value
    elif isinstance(value, Mapping | list | tuple):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            yield from _left(item, (*path, key))


def params(judged: scope.Scope, found: findings.Findings) -> None:
    """S18: parameters fit their type; S15: no two roles of a server want one port."""
    taken: dict[tuple[str, int], str] = {
        (server, limits.PORT_SHELL): "its ServerShell" for server in judged.document.servers
    }
    for placed in scope.enabled(judged):
        known = judged.catalogue.get(placed.type)
        if known is None:
            if placed.type:
                _unknown(judged, placed, found)
            continue
        fitting = _fitting(judged, placed, known, found)
        if fitting is not None and placed.server is not None:
            _ports(placed, known.ports(fitting), taken, found)


def _unknown(judged: scope.Scope, placed: expansion.PlacedRole, found: findings.Findings) -> None:
    otherwise = f"the server that runs {placed.name} may refuse it"
    hint = found.near(placed.type, judged.catalogue, otherwise)
    found.warn(
        "S18", scope.written_at(judged, placed, "type"), f"no role type {placed.type!r} is known here", hint
    )


def _fitting(
    judged: scope.Scope, placed: expansion.PlacedRole, known: role.RoleType, found: findings.Findings
) -> role.Params | None:
    try:
        return msgspec.convert(placed.params, known.params)
    except msgspec.ValidationError:
        for fault in itertools.islice(shape.faults(placed.params, known.params), limits.FINDINGS):
            path = scope.written_at(judged, placed, "params", fault.path)
            message = f"{placed.type} {findings.dotted(fault.path) or placed.name}: {fault.message}"
            found.error("S18", path, message, fault.hint)
        return None


def _ports(
    placed: expansion.PlacedRole,
    ports: tuple[int, ...],
    taken: dict[tuple[str, int], str],
    found: findings.Findings,
) -> None:
    assert placed.server is not None
    for port in ports:
        if taken.setdefault((placed.server, port), placed.name) != placed.name:
            path = ("roles", placed.name, "params", *_where(placed, port))
            message = f"the port {port} on {placed.server} is taken by {taken[placed.server, port]}"
            found.error("S15", path, message, "every role of a server has ports of its own")


def _where(placed: expansion.PlacedRole, port: int) -> findings.Path:
    """Where among a role's parameters a port stands; nowhere where it is a default."""
    ready = placed.params.get("ready")
    if placed.params.get("port") == port:
        return ("port",)
    return ("ready", "tcp") if isinstance(ready, Mapping) and ready.get("tcp") == port else ()
