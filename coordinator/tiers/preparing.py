"""Prepared revisions: shipped to every tier beside the active one, checked where they will run, activated by one small object.

A document is judged and planned as for an apply, gets its number, and is named by the target as `prepared`; nothing runs.
What each server found is asked of it, never remembered. Laws: the number given here is the one it is activated under, or
is never used again; whoever is not asked or does not answer is named, never counted as holding it.
"""

import msgspec

from coordinator import errors, names
from coordinator.config import rendering
from coordinator.propagation import mirror, objects
from coordinator.store import commands
from coordinator.tiers import (
    applying,
    desk,
    history,
    keys,
    pieces,
    preparedness,
    repeating,
    requests,
    requests_preparing,
    sources,
)


async def prepare(at: desk.Desk, caller: desk.Caller, asked: requests.Apply) -> requests_preparing.Prepared:
    """Ship a document without running it. Raises what `applying.apply` raises."""
    request = repeating.digest(caller, asked)
    repeated = _repeated(at, caller, request)
    if repeated is not None:
        return repeated
    ready = await sources.prepared(at, asked.source)
    wish = applying.wish(ready, asked, request)
    async with at.turn:
        at.may_change()
        repeated = _repeated(at, caller, request)  # the first of two was judged meanwhile
        if repeated is not None:
            return repeated
        past = at.past
        applying.check_base(past, wish)
        if past.prepared is not None and past.prepared.record.digest == ready.digest:
            return _told(at, past.prepared.record, "", unchanged=True)
        made = await applying.permitted(at, caller, wish)
        text = rendering.render_plan(made)
        if made.verdict == "unchanged":
            return _told(at, past.records[past.version.revision], text, unchanged=True)
        if wish.dry_run:
            return requests_preparing.Prepared(past.version, ready.digest, past.version, False, text)
        await at.commit(await _change(at, caller, wish))
        assert at.past.prepared is not None
        return _told(at, at.past.prepared.record, text, unchanged=False)


def _repeated(at: desk.Desk, caller: desk.Caller, request: str) -> requests_preparing.Prepared | None:
    """The answer given before to the same request of the same person. Raises `ReusedKeyError` where it is another one."""
    repeating.activation(at, caller, request)  # by its verb it can only be another one
    made = repeating.preparation(at, caller, request)
    if made is None:
        return None
    return requests_preparing.Prepared(made.version, made.digest, made.base, unchanged=False)


async def withdraw(
    at: desk.Desk, caller: desk.Caller, asked: requests_preparing.Withdraw
) -> requests_preparing.Withdrawn:
    """Nothing is prepared any more; its number is never used.

    Raises `NotFoundError`, `ConflictError`, `ReusedKeyError`, and what a commit raises.
    """
    request = repeating.digest(caller, asked)
    async with at.turn:
        held = at.may_change()
        repeating.activation(at, caller, request)
        repeated = repeating.preparation(at, caller, request)
        if repeated is not None:
            return requests_preparing.Withdrawn(repeated.version.revision)
        past = at.past
        if past.prepared is None or past.content.target is None:
            raise errors.NotFoundError("no revision is prepared")
        if asked.revision not in {0, past.prepared.record.revision}:
            raise errors.ConflictError(
                f"another revision is prepared now (got {asked.revision}, have {past.prepared.record.revision})",
                hint="tiercast history",
            )
        version, digest = _version(past.prepared.record), past.prepared.record.digest
        target = past.content.target.content
        moved = msgspec.structs.replace(target, seq=target.seq + 1, prepared=None, term=held.term)
        content = past.content.take(mirror.SignedTarget(at.sign(objects.Kind.TARGET, moved), moved))
        assert content.target is not None
        noted, past = repeating.remembered(past, caller, request, version, digest)
        await at.commit(
            desk.Change(
                (*noted, commands.put(keys.TARGET, content.target.raw)),
                msgspec.structs.replace(past, content=content, prepared=None),
                compare=(commands.compare_mod(keys.TARGET, past.target_mod),),
                caller=caller,
                detail=f"revision {version.revision} withdrawn",
                publish=True,
            )
        )
        return requests_preparing.Withdrawn(version.revision)


async def look(
    at: desk.Desk, _caller: desk.Caller, _asked: requests_preparing.Look
) -> requests_preparing.PreparedView:
    """How far it has come at every server, and what cannot work there. Raises `NotFoundError`."""
    prepared = at.past.prepared
    if prepared is None:
        raise errors.NotFoundError("no revision is prepared", hint="tiercast apply --prepare FILES")
    await preparedness.ask(at, prepared)
    if at.past.prepared is not prepared:
        raise errors.NotFoundError(
            f"revision {prepared.record.revision} is not prepared any more", hint="tiercast history"
        )
    return preparedness.view(at, prepared)


# --- the transaction --------------------------------------------------------------------------------------------------


async def _change(at: desk.Desk, caller: desk.Caller, wish: applying.Wish) -> desk.Change:
    past, ready, target = at.past, wish.prepared, at.past.content.target
    assert target is not None
    record = applying.record(at, caller, wish)
    noted, past = repeating.remembered(past, caller, wish.request, _version(record), record.digest)
    signed = mirror.SignedRecord(at.sign(objects.Kind.RECORD, record), record)
    pointer = objects.Pointer(record.revision, ready.digest, len(ready.body))
    term = at.may_change().term
    moved = msgspec.structs.replace(target.content, seq=target.content.seq + 1, prepared=pointer, term=term)
    content = past.content.take(mirror.SignedTarget(at.sign(objects.Kind.TARGET, moved), moved))
    assert content.target is not None
    after = msgspec.structs.replace(
        past,
        content=content,
        prepared=history.Prepared(record, ready.body),
        records={**past.records, record.revision: record},
    )
    forgotten, after = history.forget_unused(after, past.version.revision, record.revision)
    operations: list[commands.Operation] = [
        *noted,
        *forgotten,
        *await applying.body(at, ready),
        commands.put(keys.record(record.revision), signed.raw),
        commands.put(keys.TARGET, content.target.raw),
    ]
    if ready.texts:
        operations += pieces.split(keys.document(record.revision), msgspec.msgpack.encode(ready.texts))
    return desk.Change(
        tuple(operations),
        after,
        compare=(commands.compare_mod(keys.TARGET, past.target_mod),),
        caller=caller,
        detail=f"revision {record.revision} prepared: {wish.message}",
        publish=True,
    )


def _told(
    at: desk.Desk, record: objects.Record, text: str, *, unchanged: bool
) -> requests_preparing.Prepared:
    return requests_preparing.Prepared(_version(record), record.digest, at.past.version, unchanged, text)


def _version(record: objects.Record) -> names.Version:
    return names.Version(record.generation, record.revision)
