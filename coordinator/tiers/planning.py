"""The plan of a change against every live document: the active one and all that some server may have.

A server may have taken any revision since the last one it is known to have accepted, also while it has no link to us: its
IC, or another server, may have brought it. One that was never heard of may have any since the one that placed it; one that
refused has what it had before. Law: what is left out of a plan is nowhere, or looks the same to every rule of change.
"""

import datetime as dt
import functools

import anyio.to_thread
import msgspec

from coordinator import names
from coordinator.config import model, outline, pair, topology, transition
from coordinator.propagation import convergence, messages
from coordinator.store import membership
from coordinator.tiers import asking, census, desk, keys, sources

LARGE_BYTES = 64 * 1024  # a plan of 1,000 servers takes a good part of a second


def ranges(at: desk.Desk) -> dict[int, frozenset[names.ServerName]]:
    """Which servers have one revision from this number on, up to the active one; the number may not be kept any more."""
    found: dict[int, set[names.ServerName]] = {}
    picture = at.master.convergence
    for server, asked in picture.asked.items():
        if asking.enrolled(server):
            oldest = _oldest(at, picture.facts[server], leaving=asked.leaving)
            if oldest is not None:
                found.setdefault(oldest, set()).add(asked.name)
    return {oldest: frozenset(servers) for oldest, servers in found.items()}


def _oldest(at: desk.Desk, facts: convergence.Facts, *, leaving: bool) -> int | None:
    """The oldest revision that a server may have now; 0 where it may be any, None where it has released everything."""
    ack, oldest = facts.ack, facts.oldest
    if oldest == names.NO_VERSION and ack is not None:
        if ack.level is messages.Level.RELEASED and leaving:
            return None
        if ack.outcome is not messages.Outcome.REFUSED:
            oldest = ack.version
    return oldest.revision if oldest.generation == at.past.version.generation else 0


async def held(at: desk.Desk) -> dict[int, frozenset[names.ServerName]]:
    """Revisions that servers may have, and who: of those of one outline the oldest within each server's range."""
    found: dict[int, frozenset[names.ServerName]] = {}
    active, kept = at.past.version.revision, sorted(at.past.records)
    for oldest, servers in ranges(at).items():
        outlines: set[names.Digest] = set()
        for revision in [n for n in kept if min(oldest, active) <= n <= active]:
            seen = await _outline(at, revision)
            if seen is not None and seen not in outlines:
                outlines.add(seen)
                found[revision] = found.get(revision, frozenset()) | servers
    return found


async def _outline(at: desk.Desk, revision: int) -> names.Digest | None:
    """Of a revision; None where its document is not kept."""
    digest = at.past.records[revision].digest
    if digest not in at.outlines:
        document = await at.document(revision)
        if document is None:
            return None
        at.outlines[digest] = await anyio.to_thread.run_sync(outline.outline, document)
    return at.outlines[digest]


async def live(at: desk.Desk, target: model.Document) -> tuple[transition.Live, ...]:
    """The active document first; of those of one outline one, for all who have one of them."""
    past = at.past
    active = await _outline(at, past.version.revision)
    assert active is not None
    revisions, servers = {active: past.version.revision}, {active: frozenset[names.ServerName]()}
    holders = await held(at)
    for revision in sorted(holders, reverse=True):
        seen = await _outline(at, revision)
        if seen is not None:
            revisions.setdefault(seen, revision)
            servers[seen] = servers.get(seen, frozenset()) | holders[revision]
    kept = await census.kept(at, past.document.domains.keys() - target.domains.keys())
    found = []
    for seen, revision in revisions.items():
        document = past.document if seen == active else await at.document(revision)
        assert document is not None
        version = names.Version(past.version.generation, revision)
        one = transition.Live(version, document, servers[seen])
        if (
            seen == active
        ):  # entities live where roles are now, and an older document has lost its domains already
            one = msgspec.structs.replace(one, attached=kept.attached, inhabited=kept.inhabited)
        found.append(one)
    return tuple(found)


def absent(at: desk.Desk, target: model.Document) -> frozenset[names.ServerName]:
    """Servers of the active document or the next one that have no link now."""
    linked = {server for server, facts in at.master.convergence.facts.items() if facts.links}
    there = {
        one.content.name for one in at.past.content.admissions.values() if one.content.server_id in linked
    }
    return frozenset({*topology.places(target), *topology.places(at.past.document)} - there)


async def members(at: desk.Desk) -> frozenset[names.ServerName]:
    """Servers that keep the store's members (D1); one that is not known is told by its id, which no document names."""
    status = await at.store.status()
    admissions = at.past.content.admissions
    if status.shared:
        return await _placed(at)
    seats = [membership.seat(one.member) for one in status.members]
    found = set()
    for seat in seats:
        admitted = None if seat is None else admissions.get(seat.server)
        if seat is None:
            found.add(at.means.server)
        else:
            found.add(names.ServerName(seat.server) if admitted is None else admitted.content.name)
    return frozenset(found)


async def _placed(at: desk.Desk) -> frozenset[names.ServerName]:
    """Servers to which the way to an engine elsewhere was given; this one alone, where that was never done."""
    admissions = at.past.content.admissions
    found = {
        names.ServerId(item.key.removeprefix(keys.MEMBERS).decode())
        for item in (await at.store.scan(keys.MEMBERS)).items
    }
    known = {server: one.content.name for server, one in admissions.items()}
    return frozenset({known.get(server, names.ServerName(server)) for server in found} or {at.means.server})


async def plan(at: desk.Desk, ready: sources.Prepared, entry: pair.Entry | None = None) -> transition.Plan:
    """Of making that document the active one, as the world is now, for whoever has come in that way."""
    away = absent(at, ready.document)
    make = functools.partial(
        transition.plan,
        await live(at, ready.document),
        ready.document,
        at.catalogue,
        absent=away,
        unenrolled=away.difference(asking.by_name(at.past.content)),
        members=await members(at),
        today=dt.datetime.fromtimestamp(at.clock.wall(), dt.UTC).date(),
        entry=entry or pair.Entry(),
    )
    if len(ready.body) < LARGE_BYTES:
        return make()
    return await anyio.to_thread.run_sync(make)
