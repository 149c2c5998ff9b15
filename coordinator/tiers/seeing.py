"""What MIC commits of what it sees: per site the last word of every server, and how the rollout stands.

At most one commit a second for all sites together, and one more when a rollout ends: MIC's writes grow with neither
servers nor acks. It is the past for whoever takes office next; a live link is never read from it.
"""

from collections.abc import Mapping

import msgspec

from coordinator import limits, names
from coordinator.propagation import convergence, messages
from coordinator.store import commands
from coordinator.tiers import desk, entries, keys, rolling

DETAIL_CHARACTERS = 40
_ROW_BYTES = 200
SERVERS_PER_SITE = limits.STORE_VALUE_BYTES // _ROW_BYTES


def remembered(at: desk.Desk) -> dict[names.ServerId, convergence.Seen]:
    """Everything committed, of all sites: the later word of a server that moved."""
    found: dict[names.ServerId, convergence.Seen] = {}
    for site in at.past.seen.values():
        for server, seen in site.servers.items():
            if server not in found or _epoch(found[server]) < _epoch(seen):
                found[server] = seen
    return found


def _epoch(seen: convergence.Seen) -> names.Epoch:
    return names.Epoch(0, 0) if seen.ack is None else seen.ack.epoch


def picture(at: desk.Desk) -> dict[str, entries.SiteSeen]:
    """What is to be remembered now, by key of the site; `last` of a server without a link stays what it was."""
    wall, before = at.clock.wall(), remembered(at)
    sites: dict[str, dict[names.ServerId, convergence.Seen]] = {}
    admissions = at.past.content.admissions
    for server, facts in at.master.convergence.facts.items():
        if server not in admissions:
            continue
        known, ack = before.get(server), _kept(facts.ack)
        fresh = known is None or known.ack != ack or bool(facts.links)
        last = wall if fresh or known is None else known.last
        seen = at.master.convergence.remember(server, ack, last)
        if seen == convergence.Seen(None, last):
            continue
        site = admissions[server].content.site or keys.NOWHERE
        held = sites.setdefault(site, {})
        if len(held) < SERVERS_PER_SITE:
            held[server] = seen
    return {site: entries.SiteSeen(servers) for site, servers in sites.items()}


def _kept(ack: messages.AckState | None) -> messages.AckState | None:
    return (
        None if ack is None else msgspec.structs.replace(ack, roles=(), detail=ack.detail[:DETAIL_CHARACTERS])
    )


def _told(seen: entries.SiteSeen | None) -> Mapping[names.ServerId, convergence.Seen]:
    """All but the times: those alone are not worth a commit."""
    servers = {} if seen is None else seen.servers
    return {server: msgspec.structs.replace(one, last=0.0) for server, one in servers.items()}


class Watcher:
    """Decides what is worth a commit."""

    def __init__(self, at: desk.Desk) -> None:
        self._at = at
        self._index = -1
        self._links: frozenset[names.ServerId] = frozenset()

    async def commit(self) -> bool:
        """Commit what has changed, if anything; whether there was something. Raises what a commit raises."""
        at = self._at
        index = at.master.convergence.index
        if index == self._index or at.recovery:
            return False
        async with at.turn:
            change = self._change()
            if change is not None:
                await at.commit(change)
        self._index = index
        return change is not None

    def _change(self) -> desk.Change | None:
        at = self._at
        links = frozenset(s for s, facts in at.master.convergence.facts.items() if facts.links)
        moved, self._links = links ^ self._links, links
        seen = picture(at)
        changed = {
            site: one
            for site, one in seen.items()
            if _told(one) != _told(at.past.seen.get(site)) or not moved.isdisjoint(one.servers)
        }
        operations: list[commands.Operation] = [
            commands.put(keys.seen(site), entries.encode(one)) for site, one in changed.items()
        ]
        past = msgspec.structs.replace(at.past, seen={**at.past.seen, **changed})
        rollout = past.rollouts.get(past.rollout)
        current = None if rollout is None else rolling.now(at, rollout)
        if current is not None and rollout is not None and _differs(rollout, current):
            operations.append(commands.put(keys.rollout(current.id), entries.encode(current)))
            past = msgspec.structs.replace(past, rollouts={**past.rollouts, current.id: current})
        return desk.Change(tuple(operations), past) if operations else None


def _differs(held: entries.Rollout, current: entries.Rollout) -> bool:
    """A rollout is written when its state changes, not with every server."""
    return (held.state, held.converged_ms) != (current.state, current.converged_ms)
