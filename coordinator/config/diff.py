"""What differs between two documents, by site, server, node and role, and what that does to each role.

It is the difference of the expanded documents: a changed template shows at every role that uses it.
Law: `applied(difference(a, b), running(a)) == running(b)`; a role of which nothing differs is not named.
"""

import enum
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from coordinator import names, role
from coordinator.config import expansion, model, topology

_PLAIN = {
    "site": "site",
    "server": "server",
    "address": "address",
    "type": "type",
    "interface": "interface",
    "order": "order",
    "group": "group",
    "id": "id",
    "separate": "separate",
    "node": "label",  # the path "node" is that of the node's name
}
_NEEDS_RESTART = ("site", "address", "type")
_SECTIONS = ("schema", "general", "aliases", "domains", "requirements", "overrides", "transition")


class Action(enum.StrEnum):
    """What a role meets with."""

    START = "start"
    STOP = "stop"
    HOT = "hot"
    RESTART = "restart"
    MOVE = "move"


class Change(msgspec.Struct, frozen=True):
    """One value at a dotted path; None where there is none."""

    path: str
    old: Any
    new: Any


class Spot(msgspec.Struct, frozen=True):
    """Where a role runs."""

    site: names.SiteName
    server: names.ServerName
    node: names.NodeName


class RoleChange(msgspec.Struct, frozen=True):
    """What one role meets with, and why."""

    role: names.RoleName
    action: Action
    old: Spot | None
    new: Spot | None
    changes: tuple[Change, ...] = ()
    placed: expansion.PlacedRole | None = None
    """As it is to run; None where it stops."""


class NodeChange(msgspec.Struct, frozen=True):
    """A worker node that comes or goes; one whose set of roles changed does both, under two names."""

    node: names.NodeName
    server: names.ServerName
    action: Literal["start", "stop"]


class ItemChange(msgspec.Struct, frozen=True):
    """A site or a server that comes, goes or is described otherwise."""

    name: str
    action: Literal["added", "removed", "changed"]
    changes: tuple[Change, ...] = ()


class Difference(msgspec.Struct, frozen=True):
    """Everything that differs, sorted by name."""

    sites: tuple[ItemChange, ...] = ()
    servers: tuple[ItemChange, ...] = ()
    nodes: tuple[NodeChange, ...] = ()
    roles: tuple[RoleChange, ...] = ()
    settings: tuple[Change, ...] = ()
    """Of the other sections of the document."""
    unchanged: int = 0
    """Running roles of which nothing differs."""

    def count(self, action: Action) -> int:
        """How many roles meet with this."""
        return sum(change.action is action for change in self.roles)


Running = Mapping[names.RoleName, expansion.PlacedRole]


def running(expanded: expansion.Expanded) -> Running:
    """Roles that are to run."""
    return {name: placed for name, placed in expanded.roles.items() if placed.running}


def applied(difference: Difference, before: Running) -> Running:
    """The roles that run once every change has been made to `before`."""
    after = dict(before)
    for change in difference.roles:
        if change.placed is None:
            after.pop(change.role)
        else:
            after[change.role] = change.placed
    return after


def difference(old: model.Document, new: model.Document, catalogue: role.Catalogue) -> Difference:
    """From `old` to `new`; a type that the catalogue lacks is taken to need restarts."""
    return between(expansion.expand(old), expansion.expand(new), catalogue)


def between(old: expansion.Expanded, new: expansion.Expanded, catalogue: role.Catalogue) -> Difference:
    """As `difference`, of documents already expanded."""
    old_spots, new_spots = _spots(old), _spots(new)
    before, after = running(old), running(new)
    changes = tuple(
        change
        for name in sorted(before.keys() | after.keys())
        if (
            change := _role_change(
                before.get(name), after.get(name), (old_spots.get(name), new_spots.get(name)), catalogue
            )
        )
    )
    return Difference(
        sites=_items(old.document.sites, new.document.sites),
        servers=_items(old.document.servers, new.document.servers),
        nodes=tuple(_nodes(old_spots, new_spots)),
        roles=changes,
        settings=_settings(old.document, new.document),
        unchanged=len(after) - sum(change.placed is not None for change in changes),
    )


def changed(old: object, new: object, path: str = "") -> Iterator[Change]:
    """Values that differ, by dotted path; maps are followed, lists compared whole."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from changed(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif old != new:
        yield Change(path, old, new)


Spots = Mapping[names.RoleName, Spot]


def _spots(expanded: expansion.Expanded) -> Spots:
    spots = {}
    for server, site in topology.places(expanded.document).items():
        for node in topology.nodes(expanded, server):
            spot = Spot(site, server, node.name)
            spots.update({placed.name: spot for placed in node.roles})
    return spots


def _role_change(
    old: expansion.PlacedRole | None,
    new: expansion.PlacedRole | None,
    spots: tuple[Spot | None, Spot | None],
    catalogue: role.Catalogue,
) -> RoleChange | None:
    if old is None:
        assert new is not None
        return RoleChange(new.name, Action.START, *spots, placed=new)
    if new is None:
        return RoleChange(old.name, Action.STOP, *spots)
    if old == new and spots[0] == spots[1]:
        return None
    assert spots[0] is not None
    assert spots[1] is not None
    changes = tuple(_why(old, new, (spots[0], spots[1])))
    action = _action(old, new, spots[0].node != spots[1].node, catalogue)
    return RoleChange(new.name, action, *spots, changes=changes, placed=new)


def _why(old: expansion.PlacedRole, new: expansion.PlacedRole, spots: tuple[Spot, Spot]) -> Iterator[Change]:
    for field, path in _PLAIN.items():
        before, after = getattr(old, field), getattr(new, field)
        if before != after:
            yield Change(path, before, after)
    if spots[0].node != spots[1].node:
        yield Change("node", spots[0].node, spots[1].node)
    yield from changed(old.params, new.params, "params")


def _action(
    old: expansion.PlacedRole, new: expansion.PlacedRole, renamed: bool, catalogue: role.Catalogue
) -> Action:
    if old.server != new.server:
        return Action.MOVE
    if renamed or any(getattr(old, field) != getattr(new, field) for field in _NEEDS_RESTART):
        return Action.RESTART
    if old.params == new.params or _hot(old, new, catalogue):
        return Action.HOT
    return Action.RESTART


def _hot(old: expansion.PlacedRole, new: expansion.PlacedRole, catalogue: role.Catalogue) -> bool:
    known = catalogue.get(new.type)
    if known is None:
        return False
    try:
        return known.hot(msgspec.convert(old.params, known.params), msgspec.convert(new.params, known.params))
    except msgspec.ValidationError:
        return False


def _nodes(old: Spots, new: Spots) -> Iterator[NodeChange]:
    before = {(spot.server, spot.node) for spot in old.values()}
    after = {(spot.server, spot.node) for spot in new.values()}
    for server, node in sorted(before ^ after):
        yield NodeChange(node, server, "start" if (server, node) in after else "stop")


def _items(old: Mapping[Any, model.Struct], new: Mapping[Any, model.Struct]) -> tuple[ItemChange, ...]:
    return tuple(
        change
        for name in sorted(old.keys() | new.keys())
        if (change := _item(name, old.get(name), new.get(name)))
    )


def _item(name: str, old: model.Struct | None, new: model.Struct | None) -> ItemChange | None:
    if old == new:
        return None
    if old is None:
        return ItemChange(name, "added")
    if new is None:
        return ItemChange(name, "removed")
    return ItemChange(name, "changed", tuple(changed(msgspec.to_builtins(old), msgspec.to_builtins(new))))


def _settings(old: model.Document, new: model.Document) -> tuple[Change, ...]:
    before = {section: msgspec.to_builtins(getattr(old, section)) for section in _SECTIONS}
    after = {section: msgspec.to_builtins(getattr(new, section)) for section in _SECTIONS}
    return tuple(changed(before, after))
