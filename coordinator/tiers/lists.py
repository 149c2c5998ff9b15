"""Servers, worker nodes and roles by page, and what is not as it should be: read off the picture and the active document.

Law: a page is bounded whatever was asked for, and following `next` shows each entry once. What MIC knows of a role is
what its server's last ack says: those in trouble by name, the others as far as the server is.
"""

import bisect
import collections
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec

from coordinator import names
from coordinator.propagation import convergence, messages
from coordinator.tiers import desk, layout, parking, requests, requests_looking, sight, views

PAGE = 1_000
READY = "ready"
LAST = "~"  # sorts after every name of a site: the parked ones, who have none

_Entry = TypeVar("_Entry")
_Key = tuple[str, str, str]
"""Site, server, and the name of what is on it."""


class _Place(msgspec.Struct, frozen=True):
    """One server of the active document, and how it stands."""

    site: names.SiteName
    server: names.ServerName
    facts: convergence.Facts | None

    @property
    def sync(self) -> convergence.Sync:
        return convergence.Sync.UNKNOWN if self.facts is None else self.facts.sync


def _page(
    entries: Sequence[_Entry], key: Callable[[_Entry], str], after: str, limit: int
) -> tuple[Sequence[_Entry], str]:
    """Entries sorted by `key` that come after the cursor, and the next cursor."""
    begin = bisect.bisect_right(entries, after, key=key) if after else 0
    end = begin + min(max(limit, 1), PAGE)
    page = entries[begin:end]
    return page, key(page[-1]) if end < len(entries) else ""


# --- servers ----------------------------------------------------------------------------------------------------------


async def servers(
    at: desk.Desk, caller: desk.Caller, asked: requests_looking.Servers
) -> requests_looking.ServersView:
    """Everybody asked, then the parked ones; for people of another domain those of their sites."""
    picture, seen = at.master.convergence, sight.sites(at, caller.person)
    found: list[tuple[str, names.ServerId | requests.ServerView]] = [
        (f"{one.site}/{one.name}", server)
        for server, one in picture.asked.items()
        if asked.site in {"", one.site} and not (asked.not_converged and views.good(at, server))
        if seen is None or one.site in seen
    ]
    if not asked.site and not asked.not_converged and seen is None:
        found += [(f"{LAST}/{one.server}", one) for one in parking.views(at)]
    found.sort(key=_first)
    page, following = _page(found, _first, asked.after, asked.limit)
    shown = tuple(
        one if isinstance(one, requests.ServerView) else views.server_view(at, one) for _, one in page
    )
    return requests_looking.ServersView(at.past.version, shown, following)


def _first(entry: tuple[str, object]) -> str:
    return entry[0]


# --- nodes and roles --------------------------------------------------------------------------------------------------


def _places(at: desk.Desk, caller: desk.Caller, site: str, server: str) -> list[_Place]:
    """Servers of the active document that were asked for and that the caller sees, by site and name."""
    picture, seen = at.master.convergence, sight.sites(at, caller.person)
    ids = {one.name: server_id for server_id, one in picture.asked.items()}
    return [
        _Place(one.site, one.server, picture.facts.get(ids[one.server]) if one.server in ids else None)
        for one in layout.of(at)
        if site in {"", one.site} and server in {"", one.server} and (seen is None or one.site in seen)
    ]


def _troubles(place: _Place) -> Mapping[names.RoleName, messages.RoleAck]:
    """Roles that a server names in its ack."""
    if place.facts is None or place.facts.ack is None:
        return {}
    return {one.role: one for one in place.facts.ack.roles}


def _state(place: _Place, trouble: messages.RoleAck | None) -> tuple[str, str]:
    """(state, reason) of a role."""
    if trouble is not None:
        word = trouble.health or (
            str(trouble.outcome) if trouble.outcome != messages.Outcome.OK else trouble.level.word
        )
        return word, f"{trouble.code}: {trouble.detail}" if trouble.detail else trouble.code
    if place.sync is convergence.Sync.CONVERGED:
        return READY, ""
    return str(place.sync), ""


async def roles(
    at: desk.Desk, caller: desk.Caller, asked: requests_looking.Roles
) -> requests_looking.RolesView:
    """Counted by type and state, named by page."""
    places = _places(at, caller, asked.site, asked.server)
    counts: dict[str, collections.Counter[str]] = {}
    for place in places:
        _count_roles(layout.on(at, place.server), place, asked.type, counts)
    rows = (row for place in _from(places, asked.after) for row in _roles(at, place, asked.type))
    page, following = _paged(rows, _role_key, asked.after, asked.limit)
    counted = {kind: dict(some) for kind, some in sorted(counts.items())}
    total = sum(number for some in counted.values() for number in some.values())
    return requests_looking.RolesView(at.past.version, total, counted, page, following)


def _count_roles(
    laid: layout.Laid, place: _Place, wanted: str, counts: dict[str, collections.Counter[str]]
) -> None:
    """By type, and one by one only those that the server complains of."""
    state, troubles = _state(place, None)[0], _troubles(place)
    for kind, number in laid.types.items():
        if wanted in {"", kind}:
            counts.setdefault(kind, collections.Counter())[state] += number
    for role, kind, _ in laid.roles if troubles else ():
        if role in troubles and wanted in {"", kind}:
            counts[kind][state] -= 1
            counts[kind][_state(place, troubles[role])[0]] += 1
            if not counts[kind][state]:
                del counts[kind][state]


def _role_key(row: requests_looking.RoleRow) -> _Key:
    return row.site, row.server, row.role


def _roles(at: desk.Desk, place: _Place, wanted: str) -> Iterator[requests_looking.RoleRow]:
    troubles = _troubles(place)
    for role, kind, node in layout.on(at, place.server).roles:
        if wanted in {"", kind}:
            state, reason = _state(place, troubles.get(role))
            yield requests_looking.RoleRow(role, kind, node, place.server, place.site, state, reason)


async def nodes(
    at: desk.Desk, caller: desk.Caller, asked: requests_looking.Nodes
) -> requests_looking.NodesView:
    """Counted by state, named by page."""
    places = _places(at, caller, asked.site, asked.server)
    counts: collections.Counter[str] = collections.Counter()
    for place in places:
        if _troubles(place):
            counts.update(row.state for row in _nodes(at, place))
        else:
            counts[_state(place, None)[0]] += len(layout.on(at, place.server).nodes)
    rows = (row for place in _from(places, asked.after) for row in _nodes(at, place))
    page, following = _paged(rows, _node_key, asked.after, asked.limit)
    counted = {state: number for state, number in counts.items() if number}
    return requests_looking.NodesView(at.past.version, sum(counted.values()), counted, page, following)


def _node_key(row: requests_looking.NodeRow) -> _Key:
    return row.site, row.server, row.node


def _nodes(at: desk.Desk, place: _Place) -> Iterator[requests_looking.NodeRow]:
    troubles = _troubles(place)
    for node in layout.on(at, place.server).nodes:
        states = [_state(place, troubles.get(one.name))[0] for one in node.roles]
        worst = next((state for state in states if state != READY), READY)
        placed = tuple(one.name for one in node.roles)
        yield requests_looking.NodeRow(node.name, place.server, place.site, worst, placed)


def _from(places: Sequence[_Place], after: str) -> Iterable[_Place]:
    """From the cursor's own server on."""
    if not after:
        return places
    return places[bisect.bisect_left(places, _cursor(after)[:2], key=lambda one: (one.site, one.server)) :]


def _cursor(after: str) -> _Key:
    site, _, rest = after.partition("/")
    server, _, name = rest.partition("/")
    return site, server, name


def _paged(
    rows: Iterator[_Entry], key: Callable[[_Entry], _Key], after: str, limit: int
) -> tuple[tuple[_Entry, ...], str]:
    """The next rows after the cursor, of rows in order, and the cursor after them; no more are made than are shown."""
    begun = (row for row in rows if not after or key(row) > _cursor(after))
    page = tuple(itertools.islice(begun, min(max(limit, 1), PAGE)))
    more = next(begun, None) is not None
    return page, "/".join(key(page[-1])) if more and page else ""


# --- what is not as it should be --------------------------------------------------------------------------------------


async def state(
    at: desk.Desk, _caller: desk.Caller, asked: requests_looking.State
) -> requests_looking.StateView:
    """Deviations alone, by site and server; empty is healthy."""
    picture = at.master.convergence
    wrong = sorted(
        (f"{one.site}/{one.name}", server)
        for server, one in picture.asked.items()
        if not views.good(at, server) or _complaining(picture.facts[server])
    )
    page, following = _page(wrong, _first, asked.after, asked.limit)
    found = tuple(row for _, server in page for row in _deviations(at, server))
    return requests_looking.StateView(at.past.version, views.coordinator(at), len(wrong), found, following)


def _complaining(facts: convergence.Facts) -> bool:
    return facts.ack is not None and bool(facts.ack.roles)


def _deviations(at: desk.Desk, server: names.ServerId) -> Iterator[requests_looking.Deviation]:
    one, facts = at.master.convergence.asked[server], at.master.convergence.facts[server]
    ago = views.since_s(at, server)
    if not views.good(at, server):
        reason = views.reason(at, server)
        yield requests_looking.Deviation(one.site, one.name, "", str(facts.sync), reason, ago)
    place = _Place(one.site, one.name, facts)
    for name, trouble in sorted(_troubles(place).items()):
        yield requests_looking.Deviation(one.site, one.name, name, *_state(place, trouble), ago)
