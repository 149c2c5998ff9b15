"""What every static rule reads: the document, its expansion and the known role types, each worked out once."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from coordinator import names, role
from coordinator.config import expansion, findings, model, topology


class Scope(msgspec.Struct, frozen=True):
    """One document under judgement."""

    document: model.Document
    expanded: expansion.Expanded
    places: Mapping[names.ServerName, names.SiteName]
    catalogue: role.Catalogue
    body: bytes
    """Canonical."""


def of(document: model.Document, catalogue: role.Catalogue) -> Scope:
    """The scope of a document, its keys sorted: who came first in the text is nobody's business."""
    body = model.canonical(document)
    sorted_document = model.decode(body)
    places = topology.places(sorted_document)
    return Scope(sorted_document, expansion.expand(sorted_document), places, catalogue, body)


def enabled(scope: Scope) -> Iterator[expansion.PlacedRole]:
    """Roles that are judged: a disabled one is neither validated nor started."""
    return (placed for placed in scope.expanded.roles.values() if placed.enabled)


def of_type(scope: Scope, kind: names.RoleTypeName, site: names.SiteName) -> int:
    """How many enabled roles of this type a site has."""
    return sum(placed.site == site for placed in scope.expanded.by_type.get(kind, ()))


def written_at(
    scope: Scope, placed: expansion.PlacedRole, field: str, below: findings.Path = ()
) -> findings.Path:
    """Where a value of a role was written: at the role itself, or else at its template."""
    given = scope.document.roles[placed.name]
    template = scope.document.templates.get(given.like or "")
    own = _has(getattr(given, field), below)
    if not own and template is not None and _has(getattr(template, field, None), below):
        return ("templates", given.like or "", field, *below)
    return ("roles", placed.name, field, *below)


def _has(value: Any, below: findings.Path) -> bool:  # noqa: ANN401 plain data of any shape
    for part in below:
        match (value, part):
            case (Mapping(), _) if part in value:
                value = value[part]
            case (list() | tuple(), int(index)) if index < len(value):
                value = value[index]
            case _:
                return False
    return value is not None and value != {}
