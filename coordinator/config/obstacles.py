"""The rules of change D1-D12: what stands between one live document and the next, found and named.

One function per rule, each reading a `pair.Pair`; none of them knows of overrides or verdicts (that is `transition`).
Law: an obstacle is found relative to the two documents and the state of the world given, never by memory.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Literal, get_args

import msgspec

from coordinator import names
from coordinator.config import expansion, kinds, pair, topology, ways

Rule = Literal["D1", "D2", "D3", "D4", "D5", "D6", "D7", "D8", "D9", "D10", "D11", "D12"]
RULES: tuple[Rule, ...] = get_args(Rule)
NOT_OVERRIDABLE: frozenset[str] = frozenset({"D8"})

Steps = tuple[str, ...]

_CONVERGE = "wait until every server has converged: tiercast status --not-converged names none"


class Obstacle(msgspec.Struct, frozen=True):
    """One change that cannot be made in one move, and how it can be made by hand."""

    rule: Rule
    subject: str
    """The role, server or site it is about; with the rule, what makes it one obstacle."""
    message: str
    steps: Steps
    forbids: bool = True
    """False where people are only told."""


def obstacles(between: pair.Pair) -> Iterator[Obstacle]:
    """All of them, rule by rule."""
    for rule in _CHECKS:
        yield from rule(between)


def _mic_servers(between: pair.Pair) -> Iterator[Obstacle]:
    if pair.master_moved(between):
        return
    old, new = pair.servers_of_mic(between.old), pair.servers_of_mic(between.new)
    if old == new or not old or (between.members is not None and new == tuple(sorted(between.members))):
        return
    wanted = ",".join(
        sorted(f"{one.server}={one.address}" for one in topology.instances(between.new, kinds.MIC))
    )
    yield Obstacle(
        "D1",
        "mic",
        f"mic would run on {_listed(new)} (now {_listed(old)}), but the store's members stay where they are",
        (
            f"hand the store over first: tiercast store members --set {wanted}",
            "then apply this document: it passes once its mic instances are exactly the store's members",
        ),
    )


def _mic_site(between: pair.Pair) -> Iterator[Obstacle]:
    if not pair.master_moved(between):
        return
    old, new = pair.master_site(between.old), pair.master_site(between.new)
    yield Obstacle(
        "D2",
        "mic",
        f"the master site would move from {old!r} to {new!r}; whoever is away would look for mic at the old one",
        (
            f"make {new!r} a communication site with an ic, leave mic on {old!r}, and apply",
            _CONVERGE,
            f"hand the store over to servers of {new!r}: tiercast store members --set NAME=ADDRESS,...",
            "override D2 with a reason, apply, and wait until every site has converged",
        ),
    )


def _addresses(between: pair.Pair) -> Iterator[Obstacle]:
    for name in sorted(between.old_places.keys() & between.new_places.keys()):
        old, new = between.old.document.servers[name], between.new.document.servers[name]
        if old.interfaces == new.interfaces and old.control == new.control:
            continue
        moved = {
            alias: (address, new.interfaces[alias])
            for alias, address in old.interfaces.items()
            if new.interfaces.get(alias, address) != address
        }
        control = (expansion.control_address(old), expansion.control_address(new))
        if control[0] != control[1]:
            moved.setdefault(expansion.control_interface(new), control)
        for alias, (before, after) in sorted(moved.items()):
            yield _address(name, alias, before, after)


def _address(name: names.ServerName, alias: str, before: str, after: str) -> Obstacle:
    return Obstacle(
        "D3",
        f"{name}.{alias}",
        f"the address of {name} ({alias}) would change from {before} to {after}; "
        "whoever dials it looks for it at the old one, and its nodes would restart under new names",
        (
            _CONVERGE,
            f"give {name} both addresses",
            f"write `{alias}: {after}` with `former: {{{alias}: [{before}]}}`, override D3 with a reason, and apply",
            f"once every server has converged, remove `former` and the override, apply, then take {before} away",
        ),
    )


def _stateful_moves(between: pair.Pair) -> Iterator[Obstacle]:
    for old, new in pair.moved(between):
        if old.type == kinds.MIC or not pair.stateful(between, old):
            continue
        yield Obstacle(
            "D4",
            old.name,
            f"{old.name} is stateful ({old.type}) and would move from {old.server} to {new.server} without its state",
            (
                f"leave {old.name} on {old.server}, place a second {old.type} role under another name on {new.server}, apply",
                "wait until the new one is ready and has what it needs",
                f"remove {old.name}, apply, and wait until {old.server} has acked `applied`",
            ),
        )


def _site_names(between: pair.Pair) -> Iterator[Obstacle]:
    for old, new in sorted(between.renamed.items()):
        yield Obstacle(
            "D5",
            old,
            f"the site {old!r} would be called {new!r}; servers that are away know it by the old name only",
            (
                _CONVERGE,
                f"list `former: [{old}]` in the site {new!r}, override D5 with a reason, and apply",
                "once every server has converged, remove `former` and the override, and apply",
            ),
        )


def _ids(between: pair.Pair) -> Iterator[Obstacle]:
    old_roles, new_roles = between.old.document.roles, between.new.document.roles
    for name in sorted(old_roles.keys() & new_roles.keys()):
        before, after = old_roles[name].id, new_roles[name].id
        if before is None or before == after:
            continue
        yield Obstacle(
            "D6",
            name,
            f"the id of {name} would change from {before} to {'none' if after is None else after}; an id is for life",
            ("add a role under another name with the new id, and apply", f"then remove {name}, and apply"),
        )


def _entities(between: pair.Pair) -> Iterator[Obstacle]:
    for name, entities in sorted(between.attached.items()):
        old, new = between.old.roles.get(name), between.new.roles.get(name)
        if not entities or old is None or not old.running:
            continue
        if new is not None and new.running and new.server == old.server:
            continue
        where = f"move to {new.server}" if new is not None and new.running else "stop"
        yield Obstacle(
            "D7",
            name,
            f"{name} would {where}, but {_listed(entities)} {'is' if len(entities) == 1 else 'are'} attached to it",
            (f"attach {_listed(entities)} to another role", "then apply this document"),
        )


def _inhabited_domains(between: pair.Pair) -> Iterator[Obstacle]:
    for domain in sorted(between.old.document.domains.keys() - between.new.document.domains.keys()):
        inside = between.inhabited.get(domain)
        if not inside or domain == between.old.document.general.master_domain:
            continue
        yield Obstacle(
            "D11",
            domain,
            f"the domain {domain} would go, with {inside} in it; none of them could log in any more",
            (
                f"keep a copy: tiercast domains export {domain} -o FILE",
                f"take them out: tiercast admin remove NAME --domain {domain}, tiercast domains detach NAME --domain {domain}",
                f"delete its keys: tiercast kv del --prefix @{domain}/",
                "then apply this document",
            ),
        )


def _master_domain(between: pair.Pair) -> Iterator[Obstacle]:
    old = between.old.document.general.master_domain
    new = between.new.document.general.master_domain
    if old != new:
        yield Obstacle(
            "D8",
            "master_domain",
            f"the master domain would be called {new!r} (now {old!r}); its name can never change, with no override",
            (f"keep `master_domain: {old}`; what may change is its fqdn and description",),
        )


def _other_site(between: pair.Pair) -> Iterator[Obstacle]:
    for name in sorted(between.old_places.keys() & between.new_places.keys()):
        old, new = between.old_places[name], between.new_places[name]
        if between.renamed.get(old, old) == new:
            continue
        yield Obstacle(
            "D9",
            name,
            f"the server {name} would go from site {old!r} to {new!r} and lose its parent on the way",
            (
                f"take {name} out of the structure, apply, and wait until it is released and parked",
                f"then place it on {new!r}, and apply",
            ),
        )


def _last_ic(between: pair.Pair) -> Iterator[Obstacle]:
    old, new = pair.sites_with_ic(between.old), pair.sites_with_ic(between.new)
    staying = set(between.new_places.values())
    for site in sorted(old):
        now = between.renamed.get(site, site)
        if now in new or now not in staying:
            continue
        yield Obstacle(
            "D9",
            site,
            f"the last ic of the site {site!r} would go, and leave {_listed(pair.servers_on(between.new_places, now))} without one",
            (f"keep an ic on {site!r}, or take its servers out of the structure with it",),
        )


def _twice(between: pair.Pair) -> Iterator[Obstacle]:
    for old, new in pair.moved(between):
        if old.server not in between.silent:
            continue
        stateful = pair.stateful(between, old)
        yield Obstacle(
            "D10",
            old.name,
            f"{old.name} would move from {old.server} to {new.server}; it may run twice until {old.server} returns",
            (
                f"bring {old.server} back and wait until it has acked `applied` or `released`",
                f"or, if {old.server} is lost for good, override D10 with a reason, and apply",
            ),
            forbids=stateful,
        )


def _way_in(between: pair.Pair) -> Iterator[Obstacle]:
    lost = ways.lost(between)
    if lost is not None:
        assert between.entry is not None, "only then something is lost"
        yield Obstacle("D12", "way in", lost.message, lost.steps, forbids=not between.entry.local)


_CHECKS: tuple[Callable[[pair.Pair], Iterator[Obstacle]], ...] = (
    _mic_servers,
    _mic_site,
    _addresses,
    _stateful_moves,
    _site_names,
    _ids,
    _entities,
    _master_domain,
    _inhabited_domains,
    _other_site,
    _last_ic,
    _twice,
    _way_in,
)


def _listed(some: Collection[str]) -> str:
    ordered = sorted(some)
    shown = ", ".join(ordered[:5])
    return shown if len(ordered) <= 5 else f"{shown} and {len(ordered) - 5} more"
