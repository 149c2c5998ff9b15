"""Apply and roll back: from a document to a new revision in ONE transaction, then to the tree.

The transaction carries record, body, target, admissions, text, rollout and audit, compared on the target it was planned
against and on the term. Law (I1, I4): a number is given once, and whoever is answered with one finds it in the history
for ever.
"""

import msgspec

from coordinator import errors, names
from coordinator.config import expansion, findings, model, rendering, topology, transition
from coordinator.propagation import convergence, mirror, objects
from coordinator.store import commands
from coordinator.tiers import (
    asking,
    desk,
    entries,
    history,
    keys,
    pieces,
    planning,
    repeating,
    requests,
    rolling,
    seats,
    sources,
)

ROLLOUT_BYTES = 3
NAMED = 5  # servers or rules in one sentence


class Wish(msgspec.Struct, frozen=True):
    """What somebody wants to become active, and on which condition."""

    prepared: sources.Prepared
    message: str
    if_revision: int
    if_generation: int
    if_digest: tuple[str, str]
    """Of the document and of the active one."""
    dry_run: bool
    request: str
    """Digest of all that was asked for, by which a repetition is told from another request."""


async def apply(at: desk.Desk, caller: desk.Caller, asked: requests.Apply) -> requests.Applied:
    """Make a document active. Raises `InvalidError`, `RefusedError`, `ConflictError` and what a commit raises."""
    request = repeating.digest(caller, asked)
    repeated = _repeated(at, caller, request)
    if repeated is not None:
        return repeated
    ready = await sources.prepared(at, asked.source)
    async with at.turn:
        return await _wish(at, caller, wish(ready, asked, request))


def wish(ready: sources.Prepared, asked: requests.Apply, request: str) -> Wish:
    """What such a request means."""
    digests = (asked.if_digest, asked.if_base_digest)
    return Wish(ready, asked.message, asked.if_revision, asked.if_generation, digests, asked.dry_run, request)


async def rollback(at: desk.Desk, caller: desk.Caller, asked: requests.Rollback) -> requests.Applied:
    """A new revision equal to an old one, through the same plan. Raises what `apply` raises."""
    request = repeating.digest(caller, asked)
    async with at.turn:
        repeated = _repeated(at, caller, request)
        if repeated is not None:
            return repeated
        to = asked.to or rolling.back(at)
        if not to:
            raise errors.NotFoundError("there is no revision before the active one")
        ready = await sources.of_revision(at, to)
        message = asked.message or f"rollback to revision {to}"
        return await _wish(
            at,
            caller,
            Wish(ready, message, asked.if_revision, asked.if_generation, ("", ""), asked.dry_run, request),
        )


async def plan(at: desk.Desk, caller: desk.Caller, asked: requests.Plan) -> requests.Planned:
    """What a change would do. Raises `InvalidError`."""
    ready = await sources.prepared(at, asked.source)
    made, base = await planning.plan(at, ready, caller.entry), at.past
    return requests.Planned(
        verdict=made.verdict,
        base=base.version,
        base_digest=base.content.digest,
        digest=ready.digest,
        text=rendering.render_plan(made, full=asked.full),
        plan=msgspec.Raw(msgspec.json.encode(made)),
        findings=ready.warnings,
    )


def _repeated(at: desk.Desk, caller: desk.Caller, request: str) -> requests.Applied | None:
    """The answer given before to the same request of the same person. Raises `ReusedKeyError` where it is another one."""
    repeating.preparation(at, caller, request)  # by its verb it can only be another one
    made = repeating.activation(at, caller, request)
    return None if made is None else requests.Applied(made.version, made.digest, made.id, unchanged=False)


async def _wish(at: desk.Desk, caller: desk.Caller, wish: Wish) -> requests.Applied:
    """`turn` must be held. The first look at repetitions may have been long ago: the first of two was planned meanwhile."""
    at.may_change()
    repeated = _repeated(at, caller, wish.request)
    if repeated is not None:
        return repeated
    past, ready = at.past, wish.prepared
    made = await permitted(at, caller, wish)
    text = rendering.render_plan(made)
    warnings = (*_told(ready.warnings), *_warned(made), *_missing(past, ready.document))
    if made.verdict == "unchanged":
        return requests.Applied(
            past.version, ready.digest, past.rollout, unchanged=True, plan_text=text, warnings=warnings
        )
    if wish.dry_run:
        return requests.Applied(past.version, ready.digest, "", False, text, warnings)
    change = await _change(at, caller, wish)
    await at.commit(change)
    at.owed = at.owed or not change.publish
    new = at.past
    return requests.Applied(new.version, ready.digest, new.rollout, False, text, warnings)


async def permitted(at: desk.Desk, caller: desk.Caller, wish: Wish) -> transition.Plan:
    """The plan, where its base is the one that was meant and no rule refuses it. Raises `ConflictError`, `RefusedError`."""
    check_base(at.past, wish)
    made = await planning.plan(at, wish.prepared, caller.entry)
    if made.verdict == "refused":
        raise _refused(made)
    return made


def check_base(past: history.Past, wish: Wish) -> None:
    """Raises `ConflictError` where the base is not the one that was meant."""
    base = past.version
    moved = wish.if_revision and wish.if_revision != base.revision
    if moved or (wish.if_generation and wish.if_generation != base.generation):
        wanted = f"revision {wish.if_revision}" + (
            f" of generation {wish.if_generation}" if wish.if_generation else ""
        )
        raise errors.ConflictError(
            f"the active revision is another one (got {wanted}, have {base})",
            hint="plan again and apply that",
        )
    for what, got, have in zip(
        ("document is not", "active document is not"),
        wish.if_digest,
        (wish.prepared.digest, past.content.digest),
        strict=True,
    ):
        if got and got != have:
            raise errors.ConflictError(
                f"the {what} the one that was planned (got {got[:12]}, have {have[:12]})",
                hint="plan again and apply that",
            )


def _refused(made: transition.Plan) -> errors.RefusedError:
    """Every rule that forbids it, by its id; the hint holds the steps by hand."""
    first = made.refusals[0]
    rules = ", ".join(dict.fromkeys(one.rule for one in made.refusals))
    told = "; ".join(one.message for one in made.refusals[:NAMED])
    more = f"; and {len(made.refusals) - NAMED} more" if len(made.refusals) > NAMED else ""
    return errors.RefusedError(f"refused by {rules}: {told}{more}", hint="; ".join(first.steps))


def _told(found: tuple[findings.Finding, ...]) -> tuple[str, ...]:
    return tuple(f"{one.rule}: {one.message}" for one in found if one.severity == "warning")


def _warned(made: transition.Plan) -> tuple[str, ...]:
    return tuple(f"{one.rule}: {one.message}" for one in made.warnings)


def _missing(past: history.Past, document: model.Document) -> tuple[str, ...]:
    """One line, however many they are."""
    known = asking.by_name(past.content)
    missing = sorted(server for server in topology.places(document) if server not in known)
    if not missing:
        return ()
    shown = ", ".join(missing[:NAMED])
    more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
    return (f"not enrolled yet: {shown}{more}; each is asked once it is",)


# --- the transaction ------------------------------------------------------------------------------------------------


async def _change(at: desk.Desk, caller: desk.Caller, wish: Wish) -> desk.Change:
    """Everything that becomes true together."""
    past, ready = at.past, wish.prepared
    expanded = expansion.expand(ready.document)
    content, rollout = _signed(at, caller, wish, expanded)
    assert content.record is not None
    revision = content.version.revision
    records = {**past.records, revision: content.record.content}
    overtaken = _overtaken(at, past)
    rollouts = {**past.rollouts, rollout.id: rollout, **{one.id: one for one in overtaken}}
    after = msgspec.structs.replace(
        past,
        content=content,
        body=ready.body,
        expanded=expanded,
        records=records,
        rollouts=rollouts,
        prepared=None,
    )
    forgotten, after = history.forget_unused(after, past.version.revision, revision)
    pruned, after = history.prune(after, frozenset(await planning.held(at)))
    operations: list[commands.Operation] = [
        *await body(at, ready),
        *_objects(past.content, content),
        *(commands.put(keys.rollout(one.id), entries.encode(one)) for one in (rollout, *overtaken)),
        *forgotten,
        *pruned,
    ]
    if ready.texts and _prepared(past, ready) is None:
        operations += pieces.split(keys.document(revision), msgspec.msgpack.encode(ready.texts))
    at.begun[rollout.id] = at.clock.monotonic()
    return desk.Change(
        tuple(operations),
        after,
        compare=(commands.compare_mod(keys.TARGET, past.target_mod),),
        caller=caller,
        detail=f"revision {revision}: {content.record.content.message}",
        publish=not _takes_away(expanded, caller),
    )


def _takes_away(expanded: expansion.Expanded, caller: desk.Caller) -> bool:
    """The ws that carried the request would be gone before it could carry the answer: it is published after that."""
    through = caller.entry.through
    placed = None if through is None else expanded.roles.get(through.role)
    return through is not None and (placed is None or not placed.running or placed.server != through.server)


def _signed(
    at: desk.Desk, caller: desk.Caller, wish: Wish, expanded: expansion.Expanded
) -> tuple[mirror.Content, entries.Rollout]:
    """Record, target and admissions of the next revision, and its rollout."""
    past, ready = at.past, wish.prepared
    target, wall, held = past.content.target, at.clock.wall(), at.may_change()
    assert target is not None
    made = record(at, caller, wish)
    version = names.Version(past.version.generation, made.revision)
    rollout_id = names.RolloutId(f"r{version.revision}-{at.means.random.token(ROLLOUT_BYTES)}")
    pointer = objects.Pointer(version.revision, ready.digest)
    moved = objects.Target(version.generation, target.content.seq + 1, pointer, None, rollout_id, held.term)
    content = past.content.take_all(
        (
            mirror.SignedRecord(at.sign(objects.Kind.RECORD, made), made),
            mirror.SignedTarget(at.sign(objects.Kind.TARGET, moved), moved),
            *seats.signed(at, asking.seated(past.content, expanded)),
        )
    )
    rollout = entries.Rollout(
        rollout_id,
        version,
        ready.digest,
        wall,
        roles=sum(one.running for one in expanded.roles.values()),
        sites=len(ready.document.sites),
        asked=len(asking.asked(content, expanded)),
        author=caller.name,
        request=caller.request,
        request_digest=wish.request,
    )
    return content, rollout


def _prepared(past: history.Past, ready: sources.Prepared) -> objects.Record | None:
    """The record of what is prepared, where this is it: it keeps the number that it has."""
    held = past.prepared
    return held.record if held is not None and held.record.digest == ready.digest else None


def record(at: desk.Desk, caller: desk.Caller, wish: Wish) -> objects.Record:
    """Of what this makes. What was prepared keeps its number, and its message where no other is given; whoever makes it
    active, and when, stands in it like in any.
    """
    past, ready = at.past, wish.prepared
    held = _prepared(past, ready)
    return objects.Record(
        past.version.generation,
        max(past.records) + 1 if held is None else held.revision,
        past.content.digest,
        ready.digest,
        len(ready.body),
        caller.name,
        wish.message or ("" if held is None else held.message),
        at.clock.wall(),
    )


def _objects(before: mirror.Content, after: mirror.Content) -> tuple[commands.Put, ...]:
    """Puts of all that differs."""
    assert after.target is not None
    assert after.record is not None
    moved = tuple(one for key, one in after.admissions.items() if before.admissions.get(key) != one)
    return (
        commands.put(keys.record(after.version.revision), after.record.raw),
        commands.put(keys.TARGET, after.target.raw),
        *seats.puts(moved),
    )


async def body(at: desk.Desk, ready: sources.Prepared) -> tuple[commands.Put, ...]:
    """Pieces of the body, unless they are there: another compressor might cut them otherwise."""
    prefix = keys.body(ready.digest)
    there = await at.store.scan(prefix, limit=1)
    return () if there.items else pieces.split(prefix, ready.body)


def _overtaken(at: desk.Desk, past: history.Past) -> tuple[entries.Rollout, ...]:
    """The rollout that the new one ends, if it has not ended well before."""
    before = past.rollouts.get(past.rollout)
    if before is None or before.state == convergence.RolloutState.CONVERGED:
        return ()
    now = rolling.now(at, before)
    if now.state != convergence.RolloutState.CONVERGED:
        now = msgspec.structs.replace(
            now, state=convergence.RolloutState.SUPERSEDED, overtaken=str(now.state)
        )
    return (now,)
