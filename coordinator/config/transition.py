"""From what lives to what is wanted: the plan of a change, as immutable data that a person sees beforehand.

Pure: `plan(live documents, target)` and the state of the world as arguments; whoever carries it out makes no choices.
Law: the verdict is the worst over all live documents, the active one and every one that a server still holds;
a rule of change (`obstacles`) is never passed over in silence: it refuses, or is overridden by name and told.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from coordinator import limits, names, role
from coordinator.config import diff, expansion, kinds, model, obstacles, pair, topology

Verdict = Literal["unchanged", "direct", "refused"]


class Live(msgspec.Struct, frozen=True):
    """A document that is in force somewhere."""

    version: names.Version | None
    document: model.Document
    servers: frozenset[names.ServerName] = frozenset()
    """Those that still hold it and have not acked `released`."""
    attached: Mapping[names.RoleName, tuple[str, ...]] = {}
    """Domain entities attached to its roles, for D7."""
    inhabited: Mapping[str, str] = {}
    """By domain who and what is kept in it, in words, for D11."""


class Refusal(msgspec.Struct, frozen=True):
    """A rule that forbids the change, and the way around it by hand."""

    rule: str
    message: str
    steps: tuple[str, ...]


class Warned(msgspec.Struct, frozen=True):
    """A rule that is told of and does not forbid."""

    rule: str
    message: str


Fate = Literal["will catch up", "would be stranded", "not enrolled yet"]


class AbsentServer(msgspec.Struct, frozen=True):
    """A server without a link, and what becomes of it."""

    name: names.ServerName
    outcome: Fate


class Plan(msgspec.Struct, frozen=True):
    """What a change does, and whether it may be made."""

    verdict: Verdict
    difference: diff.Difference
    """Relative to the active document."""
    refusals: tuple[Refusal, ...] = ()
    warnings: tuple[Warned, ...] = ()
    absent: tuple[AbsentServer, ...] = ()


class _World(msgspec.Struct, frozen=True):
    """What a plan is made from, each document expanded once."""

    live: tuple[tuple[Live, expansion.Expanded], ...]
    target: expansion.Expanded
    absent: frozenset[names.ServerName]
    unenrolled: frozenset[names.ServerName]
    entry: pair.Entry


_ANYWHERE = pair.Entry()


def plan(  # noqa: PLR0913 the state of the world, each part by name
    live: Sequence[Live],
    target: model.Document,
    catalogue: role.Catalogue,
    *,
    absent: frozenset[names.ServerName] = frozenset(),
    unenrolled: frozenset[names.ServerName] = frozenset(),
    members: frozenset[names.ServerName] | None = None,
    today: dt.date | None = None,
    entry: pair.Entry = _ANYWHERE,
) -> Plan:
    """The plan of making valid `target` the active document; the first of `live` is the active one now.

    `absent` names servers without a link, `unenrolled` those of them that have no identity yet, `members` those of the store's members (D1), `today` is what the expiry
    of overrides is compared with; without it none counts. `entry` is how whoever asks has come in (D12).
    """
    expanded = expansion.expand(target)
    lives = tuple((one, expansion.expand(one.document)) for one in live)
    world = _World(lives, expanded, absent, unenrolled, entry)
    before = world.live[0][1] if live else expansion.expand(_nothing(target))
    difference = diff.between(before, expanded, catalogue)
    fates = _fates(world)
    if live and target == live[0].document:
        return Plan("unchanged", difference, absent=fates)
    found = _found(world, catalogue, members) + _stranded(fates)
    refusals, warnings = _judged(found, target.overrides, today)
    return Plan("refused" if refusals else "direct", difference, refusals, warnings, fates)


def _nothing(target: model.Document) -> model.Document:
    return model.Document(schema=target.schema, general=target.general)


def _found(
    world: _World, catalogue: role.Catalogue, members: frozenset[names.ServerName] | None
) -> tuple[obstacles.Obstacle, ...]:
    found: dict[tuple[str, str], obstacles.Obstacle] = {}
    new_places = topology.places(world.target.document)
    for index, (live, expanded) in enumerate(world.live):
        old_places = topology.places(expanded.document)
        between = pair.Pair(
            old=expanded,
            new=world.target,
            old_places=old_places,
            new_places=new_places,
            renamed=pair.renamed_sites(expanded, world.target, old_places, new_places),
            catalogue=catalogue,
            silent=world.absent - world.unenrolled if index == 0 else live.servers,
            members=members,
            attached=live.attached,
            inhabited=live.inhabited,
            entry=world.entry if index == 0 else None,
            away=world.absent,
        )
        for obstacle in obstacles.obstacles(between):
            told = (
                obstacle
                if index == 0
                else msgspec.structs.replace(obstacle, message=_of(live, obstacle.message))
            )
            found.setdefault((obstacle.rule, obstacle.subject), told)
    return tuple(found.values())


def _of(live: Live, message: str) -> str:
    holders = ", ".join(sorted(live.servers)[:5]) or "somebody"
    return f"{message} (relative to {live.version or 'an older document'}, still held by {holders})"


def _judged(
    found: tuple[obstacles.Obstacle, ...], overrides: Mapping[str, model.Override], today: dt.date | None
) -> tuple[tuple[Refusal, ...], tuple[Warned, ...]]:
    refusals, warnings = [], []
    for obstacle in sorted(found, key=lambda one: (obstacles.RULES.index(one.rule), one.subject)):
        override = overrides.get(obstacle.rule)
        fault = _override_fault(obstacle.rule, override, today)
        if not obstacle.forbids:
            warnings.append(Warned(obstacle.rule, obstacle.message))
        elif override is not None and not fault:
            told = f"{obstacle.message}; overridden by {override.author} until {override.expires}: {override.reason}"
            warnings.append(Warned(obstacle.rule, told))
        else:
            message = f"{obstacle.message}; {fault}" if fault else obstacle.message
            refusals.append(Refusal(obstacle.rule, message, obstacle.steps))
    return tuple(refusals), tuple(warnings)


def _override_fault(rule: str, override: model.Override | None, today: dt.date | None) -> str:
    """Why an override does not count; empty where it does, or where there is none."""
    if override is None:
        return ""
    if rule in obstacles.NOT_OVERRIDABLE:
        return f"{rule} cannot be overridden"
    if today is None:
        return "its override does not count here, where the date is not known"
    if override.expires < today:
        return f"its override expired on {override.expires}"
    days = (override.expires - today).days
    if days > limits.OVERRIDE_DAYS:
        return f"its override is for too long (got {days} days, have at most {limits.OVERRIDE_DAYS})"
    return ""


def _fates(world: _World) -> tuple[AbsentServer, ...]:
    """What becomes of every absent server that is asked: of the target, the active one, or holding an older one."""
    asked = set(topology.places(world.target.document))
    asked.update(*(topology.places(expanded.document) for _, expanded in world.live[:1]))
    asked.update(*(live.servers for live, _ in world.live))
    gone = sorted(world.absent & asked)
    if not gone:
        return ()
    answering = _answering(world)
    known = [
        (live, topology.places(expanded.document), _Addresses(expanded)) for live, expanded in world.live
    ]
    fates: list[AbsentServer] = []
    for name in gone:
        waits = name in world.unenrolled
        fates.append(AbsentServer(name, "not enrolled yet" if waits else _fate(name, known, answering)))
    return tuple(fates)


_Endpoints = frozenset[tuple[str, int]]


class _Addresses:
    """Where the servers of one document look for a parent; those of a site look at the same places."""

    def __init__(self, expanded: expansion.Expanded) -> None:
        self._expanded = expanded
        self._by_site: dict[names.SiteName, _Endpoints] = {}

    def of(self, server: names.ServerName, site: names.SiteName) -> _Endpoints:
        if site not in self._by_site:
            tried = topology.parents(self._expanded, server)
            self._by_site[site] = frozenset((parent.address, parent.port) for parent in tried)
        return self._by_site[site]


def _fate(
    name: names.ServerName,
    known: Sequence[tuple[Live, Mapping[names.ServerName, names.SiteName], _Addresses]],
    answering: _Endpoints,
) -> Fate:
    """By the document it holds, else by the active one; a server of no live document joins at its own places."""
    held = [one for one in known if name in one[0].servers] or list(known[:1])
    for _, sites, addresses in held:
        if name in sites:
            tried = addresses.of(name, sites[name])
            return "will catch up" if not tried or tried & answering else "would be stranded"
    return "will catch up"


def _answering(world: _World) -> _Endpoints:
    """Every address that answers once the target is active; mic does, whose plan this is, link to its server or not."""
    expanded = world.target
    present = [server for server in topology.places(expanded.document) if server not in world.absent]
    shells = {
        (expansion.control_address(expanded.document.servers[server]), limits.PORT_SHELL)
        for server in present
    }
    mics = {(parent.address, parent.port) for parent in topology.coordinator_parents(expanded)}
    ics = {
        (parent.address, parent.port)
        for parent in topology.services(expanded, kinds.IC)
        if parent.server not in world.absent
    }
    return frozenset(shells | mics | ics)


def _stranded(fates: tuple[AbsentServer, ...]) -> tuple[obstacles.Obstacle, ...]:
    lost = [fate.name for fate in fates if fate.outcome == "would be stranded"]
    if not lost:
        return ()
    shown = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
    return (
        obstacles.Obstacle(
            "D9",
            "stranded",
            f"{shown} would be stranded: away now, and none of the addresses known there would answer afterwards",
            (
                f"bring {shown} back and wait until it has the active revision",
                "or keep a server, an ic or mic at an address that it knows until then",
                "or override D9 with a reason, and join it again by hand when it returns",
            ),
        ),
    )
