"""Taking office: what MIC does between finding a store and serving from it, or why it only serves read-only."""

import contextlib
import errno

import anyio.to_thread
import msgspec

from coordinator import errors
from coordinator.config import expansion, model
from coordinator.host import logs
from coordinator.propagation import mirror
from coordinator.store import commands, port
from coordinator.tiers import desk, entries, guessing, history, keys, mic, office, pieces, seed, standing

_LOG = logs.Log("mic")


class Memory(msgspec.Struct, frozen=True):
    """What is remembered outside the store."""

    mark: standing.HighWater
    seed: seed.Seed | None
    ledger: mirror.Content | None
    """What the own server has accepted."""
    ledger_body: bytes | None = None


async def open_mic(means: desk.Means, store: port.Store, memory: Memory) -> mic.Mic:
    """Take office over the store, or find that it needs recovery.

    Raises `HeldError` where another MIC is active, `NoSpaceError`, what the store raises, `DamagedError`, `SignatureError`, `DeposedError`.
    """
    past = await history.load(store, means.cluster)
    first = None if memory.seed is None else seed.content(memory.seed, means.cluster)
    verdict = standing.judge(None if past is None else past.content, memory.mark, memory.ledger, first)
    if isinstance(verdict, standing.Recover):
        return _recovering(means, store, memory, past, verdict.reason)
    held = await office.Office.take(store, office.Means(means.server_id, means.clock, means.random))
    if isinstance(verdict, standing.TakeSeed):
        assert memory.seed is not None
        assert first is not None
        await _plant(held, memory.seed, first, means.clock.wall())
        _LOG.info("seed taken", version=str(first.version))
    past = await history.load(
        store, means.cluster
    )  # again: whoever held office before may have written until now
    assert past is not None
    await _remember(memory.mark, past.content, held)
    at = desk.Desk(means, store, held, past, "")
    at.mark = memory.mark
    _check_key(at)
    await guessing.recall(at)
    _LOG.info("in office", term=held.term, version=str(past.version))
    return mic.Mic(at)


async def _remember(mark: standing.HighWater, content: mirror.Content, held: office.Office) -> None:
    """Raise the mark, or give the office up again. Raises `NoSpaceError`, and `OSError` of a disk that fails otherwise."""
    try:
        await anyio.to_thread.run_sync(mark.raise_to, standing.mark_of(content))
    except OSError as problem:
        with contextlib.suppress(errors.TiercastError):  # the lease ends by itself
            await held.release()
        if problem.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise errors.NoSpaceError(
            "the disk is full, so what MIC has issued cannot be remembered, and it does not take office",
            hint="make room; MIC tries again by itself",
        ) from problem


def _check_key(at: desk.Desk) -> None:
    """Raises `IdentityError` where children would not believe us."""
    body = at.past.content.trust.content
    if at.signer.key_id not in {key.id for key in body.keys}.difference(body.retired):
        raise errors.IdentityError(
            "the signing key here is not one that the cluster trusts",
            hint="it was rotated: put the newest identity/authority/ of another member here",
        )


def _recovering(
    means: desk.Means, store: port.Store, memory: Memory, past: history.Past | None, reason: str
) -> mic.Mic:
    """Serve the newest there is, read-only; the store is not touched."""
    _LOG.error("needs recovery", reason=reason)
    known = memory.ledger
    if known is not None and (past is None or known.numbers.target > past.content.numbers.target):
        past = history.unloaded(known, memory.ledger_body)
    if past is None and memory.seed is not None:
        content = seed.content(memory.seed, means.cluster)
        past = history.unloaded(mirror.Content(content.trust), None)
    if past is None:
        raise errors.NeedsRecoveryError(reason, hint="see `tiercast store recover`")
    at = desk.Desk(means, store, None, past, reason)
    at.fallback = None if memory.seed is None else memory.seed.token
    at.mark = memory.mark
    return mic.Mic(at)


async def _plant(held: office.Office, first: seed.Seed, content: mirror.Content, wall: float) -> None:
    """The beginning of the history, in one transaction, where there is none.

    Its rollout starts now: between `init` and the first office nobody was asked anything.
    """
    assert content.target is not None
    assert content.record is not None
    document = model.decode(first.body)
    expanded = expansion.expand(document)
    target, record = content.target.content, content.record.content
    rollout = entries.Rollout(
        target.rollout,
        content.version,
        content.digest,
        wall,
        roles=sum(one.running for one in expanded.roles.values()),
        sites=len(document.sites),
        asked=len(content.admissions),
        author=record.author,
    )
    puts = [
        commands.put(keys.TARGET, first.target),
        commands.put(keys.TRUST, first.trust),
        commands.put(keys.record(record.revision), first.record),
        commands.put(first.token.key, entries.encode(first.token)),
        commands.put(keys.rollout(rollout.id), entries.encode(rollout)),
        *pieces.split(keys.body(content.digest), first.body),
    ]
    puts += [commands.put(keys.admission(server), one.raw) for server, one in content.admissions.items()]
    await held.commit(puts, (commands.absent(keys.TARGET),))
