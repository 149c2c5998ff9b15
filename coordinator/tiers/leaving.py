"""Servers that go for ever: by their own word (`leave`), or by an administrator's (`expel`).

Either way the identity is revoked and its admission says `expelled`: every parent closes its link at once, its acks count
nowhere, its certificate opens nothing, and its name may be given to another machine. Law: a server is taken out by its own
key or by a person, and by nobody else; the last way to MIC, its own server, is not taken out.
"""

import msgspec

from coordinator import errors, names
from coordinator.config import topology
from coordinator.propagation import joining, objects
from coordinator.tiers import asking, desk, requests_joining, revoking
from coordinator.trust import joinlines

REASON_CHARACTERS = 200


async def expel(at: desk.Desk, caller: desk.Caller, asked: requests_joining.Expel) -> requests_joining.Seat:
    """By name or id; a second time nothing. Raises `NotFoundError`, `RefusedError` on MIC's own server."""
    async with at.turn:
        at.may_change()
        held = _named(at, asked.server)
        if held.state is not objects.AdmissionState.EXPELLED:
            _check_spared(at, held)
            reason = f": {asked.reason[:REASON_CHARACTERS]}" if asked.reason else ""
            detail = f"server {held.name} ({held.server_id}) expelled{reason}"
            await at.commit(revoking.change(at, held.server_id, caller, detail))
    return requests_joining.Seat(held.server_id, held.name, objects.AdmissionState.EXPELLED.value, held.site)


def _named(at: desk.Desk, wanted: str) -> objects.Admission:
    """By name a live one, by id any."""
    live = asking.by_name(at.past.content).get(names.ServerName(wanted))
    if live is not None:
        return live
    held = at.past.content.admissions.get(names.ServerId(wanted))
    if held is None:
        raise errors.NotFoundError(
            f"there is no server {wanted[:64]!r}", hint="`tiercast servers` names all, with their ids"
        )
    return held.content


def _check_spared(at: desk.Desk, held: objects.Admission) -> None:
    """Raises `RefusedError` where this would take out a server that MIC itself runs on."""
    seats = {one.server for one in topology.coordinator_parents(at.past.expanded)}
    if held.server_id == at.means.server_id or held.name in seats:
        raise errors.RefusedError(
            f"MIC runs on {held.name}",
            hint="move MIC to another server first (`tiercast store members`), apply, then take this one out",
        )


async def leave(at: desk.Desk, caller: desk.Caller, body: bytes) -> joining.Left:
    """By the server's own word; its link ends once it has been answered.

    Raises `UnauthenticatedError` where it is not its own word, `RefusedError` on MIC's own server.
    """
    asked = joining.leave(body)
    async with at.turn:
        held = at.past.content.admissions.get(asked.server_id)
        if held is not None:
            _check_spared(at, held.content)
        if held is None or not _own_word(at, asked, held.content):
            raise errors.UnauthenticatedError("this is not the word of that server")
        seat = held.content
        placed = topology.place(at.past.document, seat.name) is not None
        told = joining.Left(seat.name, placed, at.past.version)
        if seat.state is objects.AdmissionState.EXPELLED:
            return told
        at.may_change()
        if not asked.rehearse:
            named = desk.Caller(seat.name, caller.source, caller.verb, caller.request)
            detail = f"server {seat.name} ({seat.server_id}) leaves"
            change = revoking.change(at, seat.server_id, named, detail)
            await at.commit(msgspec.structs.replace(change, publish=False))
            at.owed = True
        return told


def _own_word(at: desk.Desk, asked: joining.Leave, seat: objects.Admission) -> bool:
    pinned = bool(seat.key_digest) and seat.names_key(joinlines.key_digest(asked.public))
    return pinned and joinlines.says_leave(asked.public, asked.signature, at.means.cluster, asked.server_id)
