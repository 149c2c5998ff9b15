"""Servers, worker nodes and roles by page, and what is not as it should be: read off the picture and the active document.

Law: a page is bounded whatever was asked for, and following `next` shows each entry once. What MIC knows of a role is
what its server's last ack says: those in trouble by name, the others as far as the server is.
"""

import bisect
import collections
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import msgspec

from coordinator import names
from coordinator.config import expansion, topology
from coordinator.propagation import convergence, messages
from coordinator.tiers import desk, requests, requests_looking, views

PAGE = 1_000
READY = "ready"
LAST = "~"  # sorts after every name of a site: the parked ones, who have none

_Entry = TypeVar("_Entry")


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
    at: desk.Desk, _caller: desk.Caller, asked: requests_looking.Servers
) -> requests_looking.ServersView:
    """Everybody asked, then the parked ones."""
    picture = at.master.convergence
    found: list[tuple[str, names.ServerId | requests.ServerView]] = [
        (f"{one.site}/{one.name}", server)
        for server, one in picture.asked.items()
        if asked.site in {"", one.site} and not (asked.not_converged and views.good(at, server))
    ]
    if not asked.site and not asked.not_converged:
        found += [(f"{LAST}/{one.server}", one) for one in views.parked_views(at)]
    found.sort(key=_first)
    page, following = _page(found, _first, asked.after, asked.limit)
    shown = tuple(
        one if isinstance(one, requests.ServerView) else views.server_view(at, one) for _, one in page
    )
    return requests_looking.ServersView(at.past.version, shown, following)


def _first(entry: tuple[str, object]) -> str:
    return entry[0]


# --- nodes and roles --------------------------------------------------------------------------------------------------


def _places(at: desk.Desk, site: str, server: str) -> list[_Place]:
    """Servers of the active document that were asked for, by site and name."""
    picture = at.master.convergence
    ids = {one.name: server for server, one in picture.asked.items()}
    found = [
        _Place(where, name, picture.facts.get(ids[name]) if name in ids else None)
        for name, where in topology.places(at.past.document).items()
        if site in {"", where} and server in {"", name}
    ]
    return sorted(found, key=lambda one: (one.site, one.server))


def _troubles(place: _Place) -> Mapping[names.RoleName, messages.RoleAck]:
    """Roles that a linked server names in its ack."""
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
    at: desk.Desk, _caller: desk.Caller, asked: requests_looking.Roles
) -> requests_looking.RolesView:
    """Counted by type and state, named by page."""
    found = [row for place in _places(at, asked.site, asked.server) for row in _roles(at, place, asked.type)]
    counts: dict[str, collections.Counter[str]] = {}
    for row in found:
        counts.setdefault(row.type, collections.Counter())[row.state] += 1
    page, following = _page(found, _role_key, asked.after, asked.limit)
    counted = {kind: dict(some) for kind, some in sorted(counts.items())}
    return requests_looking.RolesView(at.past.version, len(found), counted, tuple(page), following)


def _role_key(row: requests_looking.RoleRow) -> str:
    return f"{row.site}/{row.server}/{row.role}"


def _roles(at: desk.Desk, place: _Place, kind: str) -> Iterable[requests_looking.RoleRow]:
    troubles, rows = _troubles(place), []
    for node in topology.nodes(at.past.expanded, place.server):
        for one in node.roles:
            if kind in {"", one.type}:
                state, reason = _state(place, troubles.get(one.name))
                rows.append(
                    requests_looking.RoleRow(
                        one.name, one.type, node.name, place.server, place.site, state, reason
                    )
                )
    return sorted(rows, key=_role_key)


async def nodes(
    at: desk.Desk, _caller: desk.Caller, asked: requests_looking.Nodes
) -> requests_looking.NodesView:
    """Counted by state, named by page."""
    found = [
        row for place in _places(at, asked.site, asked.server) for row in _nodes(at.past.expanded, place)
    ]
    counts = collections.Counter(row.state for row in found)
    page, following = _page(found, _node_key, asked.after, asked.limit)
    return requests_looking.NodesView(at.past.version, len(found), dict(counts), tuple(page), following)


def _node_key(row: requests_looking.NodeRow) -> str:
    return f"{row.site}/{row.server}/{row.node}"


def _nodes(expanded: expansion.Expanded, place: _Place) -> Iterator[requests_looking.NodeRow]:
    troubles = _troubles(place)
    for node in topology.nodes(expanded, place.server):
        states = [_state(place, troubles.get(one.name))[0] for one in node.roles]
        worst = next((state for state in states if state != READY), READY)
        yield requests_looking.NodeRow(
            node.name, place.server, place.site, worst, tuple(one.name for one in node.roles)
        )


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
