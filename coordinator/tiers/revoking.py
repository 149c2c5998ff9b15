"""Revocation: the identity of a server counts no more, anywhere, for ever. Its links drop wherever `trust` arrives.

What is issued is a newer `trust` that names the server as revoked, and its admission as `expelled`, in one transaction.
Law: a revocation is never taken back; `trust` grows by it and by nothing else.
"""

import msgspec

from coordinator import names
from coordinator.propagation import mirror, objects
from coordinator.store import commands
from coordinator.tiers import asking, desk, keys, seats
from coordinator.trust import signing


async def revoke(at: desk.Desk, caller: desk.Caller, server: names.ServerId, detail: str = "") -> None:
    """Commit and publish; a second time nothing. Raises what `Desk.commit` raises."""
    async with at.turn:
        at.may_change()
        if server not in at.past.content.trust.content.revoked:
            await at.commit(change(at, server, caller, detail or f"server {server} revoked"))


def change(
    at: desk.Desk, server: names.ServerId, caller: desk.Caller | None = None, detail: str = ""
) -> desk.Change:
    """The change that revokes `server`; `at.turn` must be held until it is committed."""
    content = at.past.content
    body = content.trust.content
    revoked = (*(one for one in body.revoked if one != server), server)
    signed: list[mirror.AnySigned] = [trust(at, msgspec.structs.replace(body, revoked=revoked))]
    held = content.admissions.get(server)
    if held is not None:
        out = objects.AdmissionState.EXPELLED
        gone = msgspec.structs.replace(held.content, state=out, site=names.SiteName(""), parents=())
        signed += seats.signed(at, asking.numbered(content, (gone,)))
    past = msgspec.structs.replace(at.past, content=content.take_all(tuple(signed)))
    return desk.Change(puts(signed), past, caller=caller, detail=detail, publish=True)


def trust(at: desk.Desk, body: signing.TrustBody) -> mirror.SignedTrust:
    """`body` under the next number of `trust`, signed."""
    last = at.past.content.trust.content.serial
    generation = max(last.generation, at.past.version.generation, 1)
    seq = last.seq + 1 if last.generation == generation else 1
    numbered = msgspec.structs.replace(body, generation=generation, seq=seq)
    return mirror.SignedTrust(at.sign(objects.Kind.TRUST, numbered), numbered)


def puts(signed: list[mirror.AnySigned]) -> tuple[commands.Operation, ...]:
    """Into the store, each under its key."""
    made: list[commands.Operation] = []
    for one in signed:
        match one:
            case mirror.SignedTrust():
                made.append(commands.put(keys.TRUST, one.raw))
            case mirror.SignedAdmission():
                made.append(commands.put(keys.admission(one.content.server_id), one.raw))
            case mirror.SignedTarget():
                made.append(commands.put(keys.TARGET, one.raw))
            case mirror.SignedRecord():
                made.append(commands.put(keys.record(one.content.revision), one.raw))
    return tuple(made)
