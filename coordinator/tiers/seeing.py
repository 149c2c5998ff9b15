"""What MIC commits of what it sees: per site the last word of every server, and how the rollout stands.

At most one commit a second for all sites together, and one more when a rollout ends: MIC's writes grow with neither
servers nor acks. It is the past for whoever takes office next; a live link is never read from it.
"""

import msgspec

from coordinator import limits, names
from coordinator.propagation import convergence, messages
from coordinator.store import commands
from coordinator.tiers import desk, entries, keys, rolling

DETAIL_CHARACTERS = 40
_FRAME_BYTES = 64  # of msgpack around all rows of a site
_KEY_BYTES = 5  # of msgpack around the id of a server
_ROW_BYTES_MOST = 1536  # of a server: no string in it has more than 64 characters, of at most four bytes each


def remembered(at: desk.Desk) -> dict[names.ServerId, convergence.Seen]:
    """Everything committed, of all sites: the later word of a server that moved."""
    found: dict[names.ServerId, convergence.Seen] = {}
    for site in at.past.seen.values():
        for server, seen in site.servers.items():
            if server not in found or _age(found[server]) < _age(seen):
                found[server] = seen
    return found


def _age(seen: convergence.Seen) -> tuple[names.Epoch, float, names.Version]:
    return names.Epoch(0, 0) if seen.ack is None else seen.ack.epoch, seen.last, seen.oldest


def picture(at: desk.Desk) -> dict[str, entries.SiteSeen]:
    """What is to be remembered now, by key of the site; `last` of a server without a link stays what it was."""
    wall = at.clock.wall()
    before: dict[names.ServerId, convergence.Seen] | None = None
    sites: dict[str, dict[names.ServerId, convergence.Seen]] = {}
    admissions = at.past.content.admissions
    for server, facts in at.master.convergence.facts.items():
        admission = admissions.get(server)
        if admission is None:
            continue
        ack, last = _kept(facts.ack), wall
        if not facts.links:
            before = remembered(at) if before is None else before
            known = before.get(server)
            last = known.last if known is not None and known.ack == ack else wall
        seen = at.master.convergence.remember(server, ack, last)
        if ack is None and seen == convergence.Seen(None, last):
            continue
        sites.setdefault(admission.content.site or keys.NOWHERE, {})[server] = seen
    return {site: _fitting(rows) for site, rows in sites.items()}


def _fitting(rows: dict[names.ServerId, convergence.Seen]) -> entries.SiteSeen:
    """As many rows of a site as one value of the store holds; the others are a number."""
    if len(rows) * _ROW_BYTES_MOST <= limits.STORE_VALUE_BYTES:
        return entries.SiteSeen(rows)
    room, kept = limits.STORE_VALUE_BYTES - _FRAME_BYTES, dict[names.ServerId, convergence.Seen]()
    for server, seen in rows.items():
        size = len(server.encode()) + _KEY_BYTES + len(msgspec.msgpack.encode(seen))
        if size <= room:
            kept[server] = seen
            room -= size
    return entries.SiteSeen(kept, len(rows) - len(kept))


def _kept(ack: messages.AckState | None) -> messages.AckState | None:
    if ack is None or not (
        ack.roles or len(ack.code) > DETAIL_CHARACTERS or len(ack.detail) > DETAIL_CHARACTERS
    ):
        return ack
    code, detail = ack.code[:DETAIL_CHARACTERS], ack.detail[:DETAIL_CHARACTERS]
    return msgspec.structs.replace(ack, roles=(), code=code, detail=detail)


def _says_the_same(seen: entries.SiteSeen, before: entries.SiteSeen | None) -> bool:
    """In all but the times: those alone are not worth a commit."""
    if before is None or seen.servers.keys() != before.servers.keys():
        return False
    held = before.servers
    return all(
        one == msgspec.structs.replace(held[server], last=one.last) for server, one in seen.servers.items()
    )


class Watcher:
    """Decides what is worth a commit."""

    def __init__(self, at: desk.Desk) -> None:
        self._at = at
        self._index = -1
        self._links: frozenset[names.ServerId] = frozenset()

    @property
    def has_news(self) -> bool:
        """Whether anything has moved since the last commit."""
        return self._at.master.convergence.index != self._index and not self._at.recovery

    async def commit(self) -> bool:
        """Commit what has changed, if anything; whether there was something. Raises what a commit raises."""
        if not self.has_news:
            return False
        at = self._at
        index = at.master.convergence.index
        async with at.turn:
            links = frozenset(s for s, facts in at.master.convergence.facts.items() if facts.links)
            change = self._change(links ^ self._links)
            if change is not None:
                await at.commit(change)
        self._index, self._links = index, links
        return change is not None

    def _change(self, moved: frozenset[names.ServerId]) -> desk.Change | None:
        """`moved` names those who came or went."""
        at = self._at
        seen = picture(at)
        changed = {
            site: one
            for site, one in seen.items()
            if not _says_the_same(one, at.past.seen.get(site)) or not moved.isdisjoint(one.servers)
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
