"""The plan of a change against every live document: the active one and all that some server still holds.

What a server holds is taken from its last ack, as committed in `/seen`; one that was never heard of holds nothing.
"""

import datetime as dt
import functools

import anyio.to_thread

from coordinator import names
from coordinator.config import model, topology, transition
from coordinator.propagation import messages
from coordinator.store import membership
from coordinator.tiers import desk, sources

LARGE_BYTES = 64 * 1024  # a plan of 1,000 servers takes a good part of a second


def holders(at: desk.Desk) -> dict[int, frozenset[names.ServerName]]:
    """Which servers hold which revision of this generation; those that have released everything hold none."""
    found: dict[int, set[names.ServerName]] = {}
    picture = at.master.convergence
    for server, asked in picture.asked.items():
        ack = picture.facts[server].ack
        if ack is None or ack.version.generation != at.past.version.generation:
            continue
        if ack.level is not messages.Level.RELEASED:
            found.setdefault(_held(at, ack), set()).add(asked.name)
    return {revision: frozenset(servers) for revision, servers in found.items()}


def _held(at: desk.Desk, ack: messages.AckState) -> int:
    """A server that refused a revision runs what it had: at best the one before."""
    revision = ack.version.revision
    if ack.outcome is not messages.Outcome.REFUSED:
        return revision
    return max((older for older in at.past.records if older < revision), default=revision)


async def live(at: desk.Desk) -> tuple[transition.Live, ...]:
    """The active document first."""
    past, held = at.past, holders(at)
    active = past.version.revision
    found = [transition.Live(past.version, past.document, held.get(active, frozenset()))]
    for revision in sorted(held, reverse=True):
        record = past.records.get(revision)
        if record is None or record.digest == past.content.digest:
            continue
        document = await at.document(revision)
        if document is not None:
            version = names.Version(past.version.generation, revision)
            found.append(transition.Live(version, document, held[revision]))
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
    seats = [membership.seat(one.member) for one in (await at.store.status()).members]
    admissions = at.past.content.admissions
    found = set()
    for seat in seats:
        admitted = None if seat is None else admissions.get(seat.server)
        if seat is None:
            found.add(at.means.server)
        else:
            found.add(names.ServerName(seat.server) if admitted is None else admitted.content.name)
    return frozenset(found)


async def plan(at: desk.Desk, ready: sources.Prepared) -> transition.Plan:
    """Of making that document the active one, as the world is now."""
    make = functools.partial(
        transition.plan,
        await live(at),
        ready.document,
        at.catalogue,
        absent=absent(at, ready.document),
        members=await members(at),
        today=dt.datetime.fromtimestamp(at.clock.wall(), dt.UTC).date(),
    )
    if len(ready.body) < LARGE_BYTES:
        return make()
    return await anyio.to_thread.run_sync(make)
