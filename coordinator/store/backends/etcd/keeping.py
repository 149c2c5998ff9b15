"""The store as a whole: whose the prefix is, how a history begins there, what is swept away, and what can be told of it.

Laws: below a prefix there is one guard, and it names one system; a history that takes another's place does so by one put
of the guard, and what was there before stays as it was; nothing is swept that any key still refers to.
"""

import asyncio
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from coordinator import effects, errors, names
from coordinator.store import commands, mvcc, port, tree
from coordinator.store.backends.etcd import gateway, keys, large, members, messages, reading, transactions
from coordinator.store.backends.raft import log, snapshot

ROOT_BYTES: Final = 4
BATCH_BYTES: Final = (
    large.INLINE_BYTES // 2
)  # a history is copied in transactions that etcd takes as they are
BATCH_PUTS: Final = 100
LOOKS: Final = 100  # keys looked at in one request
LOCAL_S: Final = 1.0
_GUARD: Final = msgspec.json.Decoder(keys.Guard)
_HOLDERS: Final = msgspec.msgpack.Decoder(tuple[bytes, ...])


class Found(msgspec.Struct, frozen=True):
    """The guard as it stands."""

    guard: keys.Guard
    revision: int


class Opened(msgspec.Struct, frozen=True):
    """One history below a prefix, to work with."""

    ours: transactions.Ours
    root: keys.Root
    reader: reading.Reader

    @classmethod
    def of(cls, through: gateway.Gateway, prefix: str, found: Found) -> "Opened":
        ours = transactions.Ours(prefix, found.guard.root, found.revision)
        return cls(ours, ours.keys, reading.Reader(through, ours.keys))


class Whole(Protocol):
    """The part of a store that is needed here."""

    async def scan(self, prefix: bytes) -> port.Scan: ...

    async def commit(self, txn: commands.Txn) -> port.TxnResult: ...


# --- whose it is ----------------------------------------------------------------------------------------------------------


async def opened(
    through: gateway.Gateway,
    prefix: str,
    cluster: names.ClusterId,
    random: effects.Random,
    *,
    create: bool,
) -> Opened:
    """The history in force; with `create`, an empty one where nothing stands yet. Raises as `find`, `NotFoundError`."""
    found = await find(through, prefix, cluster)
    if found is None and create:
        found = await begin(through, prefix, keys.Guard(keys.FORMAT, cluster, random.token(ROOT_BYTES)))
    if found is None:
        raise errors.NotFoundError(
            f"there is no store below {prefix} in this etcd",
            hint="is the address right? `tiercast store status`",
        )
    return Opened.of(through, prefix, found)


async def find(through: gateway.Gateway, prefix: str, cluster: names.ClusterId) -> Found | None:
    """Raises `IdentityError` where it is another system's, `InUseError` where foreign keys stand there."""
    guard = keys.guard(prefix)
    start, end = keys.everything(prefix)
    all_of_it = {"request_range": {"key": start, "range_end": end, "limit": 1, "keys_only": True}}
    asked = {"success": [transactions.ranged(guard), all_of_it]}
    answer = await through.call(messages.TXN, asked, messages.Txn)
    held, others = (one.response_range or messages.Range() for one in answer.responses)
    if not held.kvs:
        if others.kvs:
            name = others.kvs[0].key.decode(errors="replace")
            raise errors.InUseError(
                f"other keys stand below {prefix} in this etcd (got {name!r})",
                hint="choose a prefix of its own",
            )
        return None
    try:
        found = _GUARD.decode(held.kvs[0].value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise errors.InUseError(
            f"the key {prefix}/guard is not of this program", hint="choose another prefix"
        ) from None
    if found.cluster != cluster:
        raise errors.IdentityError(
            f"the keys below {prefix} belong to another cluster (got {found.cluster}, have {cluster})",
            hint="choose a prefix of its own",
        )
    if found.format != keys.FORMAT:
        raise errors.RefusedError(
            f"the keys are of another format (got {found.format}, have {keys.FORMAT})",
            hint="install the version that wrote them",
        )
    return Found(found, held.kvs[0].mod_revision)


async def begin(through: gateway.Gateway, prefix: str, guard: keys.Guard) -> Found | None:
    """Take an empty prefix; whoever was faster is found."""
    start, end = keys.everything(prefix)
    empty = transactions.compared(start, commands.Target.CREATE, commands.Relation.EQUAL, 0)
    asked = {
        "compare": [{**empty, "range_end": end}],
        "success": [transactions.put(keys.guard(prefix), msgspec.json.encode(guard))],
    }
    await through.call(messages.TXN, asked, messages.Txn, gateway.Sending.REPEATABLE)
    return await find(through, prefix, guard.cluster)


async def put_in_force(through: gateway.Gateway, ours: transactions.Ours, cluster: names.ClusterId) -> None:
    """Let another root take the place of the one that the guard names. Raises `ConflictError`, `UnknownOutcomeError`."""
    guard = keys.guard(ours.prefix)
    made = msgspec.json.encode(keys.Guard(keys.FORMAT, cluster, ours.root))
    same = transactions.compared(guard, commands.Target.MOD, commands.Relation.EQUAL, ours.guard_revision)
    asked = {"compare": [same], "success": [transactions.put(guard, made)]}
    answer = await through.call(messages.TXN, asked, messages.Txn, gateway.Sending.ONCE)
    if not answer.succeeded:
        raise errors.ConflictError("somebody else has begun a store below this prefix meanwhile")


async def copied(store: Whole, items: Iterable[port.KeyValue]) -> None:
    """Put all of them, in several transactions; what stands under a lease ends with the store it was made in."""
    for batch in _batches(items):
        await store.commit(commands.Txn(success=batch))


def _batches(items: Iterable[port.KeyValue]) -> Iterator[tuple[commands.Put, ...]]:
    batch: list[commands.Put] = []
    size = 0
    for item in items:
        if item.lease:
            continue
        if batch and (size + len(item.value) > BATCH_BYTES or len(batch) == BATCH_PUTS):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(commands.put(item.key, item.value))
        size += len(item.key) + len(item.value)
    if batch:
        yield tuple(batch)


# --- sessions -------------------------------------------------------------------------------------------------------------


def session_made(ours: transactions.Ours, session: int) -> messages.Message:
    """The request that makes one."""
    guard, name = keys.guard(ours.prefix), ours.keys.session(session)
    same = transactions.compared(guard, commands.Target.MOD, commands.Relation.EQUAL, ours.guard_revision)
    asked = [transactions.ranged(guard), transactions.ranged(name), transactions.ranged(name)]
    return {"compare": [same], "success": [transactions.put(name, transactions.settled(0))], "failure": asked}


async def trim_sessions(through: gateway.Gateway, ours: transactions.Ours, most: int) -> None:
    """Forget those used longest ago."""
    start, root = ours.keys.sessions, ours.keys
    asked = {
        "key": start, "range_end": commands.prefix_end(start), "keys_only": True,
        "sort_order": "ASCEND", "sort_target": "MOD",
    }  # fmt: skip
    found = await through.call(messages.RANGE, asked, messages.Range)
    for old in found.kvs[: max(0, len(found.kvs) - most)]:
        requests = root.requests(int(old.key.removeprefix(start), 16))
        unused = transactions.compared(
            old.key, commands.Target.MOD, commands.Relation.EQUAL, old.mod_revision
        )
        gone = [
            transactions.deleted(old.key),
            transactions.deleted(requests, commands.prefix_end(requests)),
        ]
        await through.call(
            messages.TXN, {"compare": [unused], "success": gone}, messages.Txn, gateway.Sending.REPEATABLE
        )


# --- large values that nobody names any more ------------------------------------------------------------------------------


async def tidy(through: gateway.Gateway, ours: transactions.Ours) -> None:
    """Sweep pieces whose keys were deleted or put anew. Never raises: what is left now is swept another time."""
    start = ours.keys.holding
    asked = {"key": start, "range_end": commands.prefix_end(start)}
    try:
        found = await through.call(messages.RANGE, asked, messages.Range)
        for one in found.kvs:
            group = bytes.fromhex(one.key.removeprefix(start).decode())
            if not await _named(through, ours.keys, group, _HOLDERS.decode(one.value)):
                await _sweep(through, ours.keys, group, one)
    except (errors.TiercastError, msgspec.MsgspecError, ValueError):
        return


async def _named(through: gateway.Gateway, root: keys.Root, group: bytes, holders: Sequence[bytes]) -> bool:
    for at in range(0, len(holders), LOOKS):
        asked = {"success": [transactions.ranged(root.data(key)) for key in holders[at : at + LOOKS]]}
        answer = await through.call(messages.TXN, asked, messages.Txn)
        items = [one for done in answer.responses if done.response_range for one in done.response_range.kvs]
        stored = [large.opened(item.value) for item in items]
        if any(isinstance(one, large.Reference) and one.group == group for one in stored):
            return True
    return False


async def _sweep(through: gateway.Gateway, root: keys.Root, group: bytes, holders: messages.Item) -> None:
    prefix = root.large(group)
    same = transactions.compared(
        holders.key, commands.Target.MOD, commands.Relation.EQUAL, holders.mod_revision
    )
    gone = [
        transactions.deleted(prefix, commands.prefix_end(prefix)),
        transactions.deleted(holders.key),
    ]
    asked = {"compare": [same], "success": gone}
    await through.call(messages.TXN, asked, messages.Txn, gateway.Sending.REPEATABLE)


# --- what can be told -----------------------------------------------------------------------------------------------------


async def status(through: gateway.Gateway, ours: transactions.Ours, compacted: int) -> port.StoreStatus:
    """Of the first member that answers, with or without a majority. Raises `NoQuorumError` where none does."""
    member, found = await _anybody(through)
    root = ours.keys
    start = root.data(b"")
    data = {"key": start, "range_end": root.end(b""), "count_only": True, "serializable": True}
    guard = {"key": keys.guard(ours.prefix), "serializable": True}
    try:
        group = await through.local(member, messages.MEMBERS, {}, messages.Members)
        counted = await through.local(member, messages.RANGE, data, messages.Range)
        held = await through.local(member, messages.RANGE, guard, messages.Range)
    except (members.NotSentError, members.UnansweredError, members.RefusedError) as wrong:
        raise wrong.error from None
    return port.StoreStatus(
        backend="etcd",
        members=tuple(
            port.MemberStatus(f"{one.ID:x}", " ".join((one.name, *one.clientURLs))) for one in group.members
        ),
        leader=f"{found.leader:x}" if found.leader else None,
        revision=counted.header.revision,
        compacted=compacted,
        size_bytes=found.db_size_in_use,
        keys=counted.count,
        term=found.raft_term,
        committed=found.raft_index,
        applied=found.raft_applied_index,
        sealed=not held.kvs or held.kvs[0].mod_revision != ours.guard_revision,
        shared=True,
        alarms=found.errors,
    )


async def _anybody(through: gateway.Gateway) -> tuple[members.Member, messages.Status]:
    last: errors.TiercastError = errors.NoQuorumError("etcd was not asked")
    for _ in range(len(through.members)):
        member = through.members.now
        try:
            return member, await through.members.look(member, LOCAL_S, old_s=0)
        except (members.NotSentError, members.UnansweredError, members.RefusedError) as wrong:
            last = wrong.error
            through.members.failed(member)
    raise last


async def export(store: Whole, cluster: names.ClusterId, target: Path) -> int:
    """Write everything, with digests, to a new file; what stands under a lease is left out, for leases end with their store."""
    found = await store.scan(b"")
    header = snapshot.Header(snapshot.FORMAT, cluster, log.NOTHING, ())
    await asyncio.to_thread(_written, target, header, state(found))
    return found.revision


def state(found: port.Scan) -> mvcc.State:
    """As our own state machine has it."""
    items = [item for item in found.items if not item.lease]
    return mvcc.State(
        revision=found.revision,
        size_bytes=sum(len(item.key) + len(item.value) for item in items),
        keys=tree.build((item.key, item) for item in items),
    )


def _written(target: Path, header: snapshot.Header, found: mvcc.State) -> None:
    with target.open("xb") as file:
        file.writelines(snapshot.encode(header, found))
        file.flush()
        os.fsync(file.fileno())


async def check(store: Whole) -> port.CheckReport:
    """Read every key and every large value."""
    try:
        found = await store.scan(b"")
    except errors.DamagedError as wrong:
        return port.CheckReport(0, 0, (wrong.message,))
    return port.CheckReport(len(found.items), sum(len(item.key) + len(item.value) for item in found.items))
