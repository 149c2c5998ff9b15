"""The users' own keys: range, put, delete, transactions, watch and usage, below `/kv/` of MIC's store.

They are linearizable, kept by MIC alone and carried to no child. They have a quota, a rate for each token, and wait for
changes of the configuration. Law: whatever a request touches is checked before any of it is done.
"""

from collections.abc import Sequence
from typing import Final

import anyio

from coordinator import errors, limits
from coordinator.store import commands, port
from coordinator.tiers import desk, keys, kv_names, kv_space, office
from coordinator.tiers import requests_kv as asked_of

WAIT_S = 25.0  # below the 30 s after which an ask over a link is given up
EVENTS = 1000  # in one answer, as whole transactions


class Access:
    """One request's way to the keys: rate, rights and names."""

    def __init__(self, at: desk.Desk, caller: desk.Caller) -> None:
        """Raises `BusyError`, `NoCoordinatorError`, `NeedsRecoveryError`."""
        if not at.may_change().left_s:
            raise office.DeposedError("this MIC has lost its office", hint="ask again: another one answers")
        assert at.kv is not None, "there is one wherever there is an office"
        self.space = at.kv
        self.rights = kv_names.Rights(caller.person, at.master_domain)
        self.holder = caller.name
        self._token, self._clock = caller.person.token, at.clock
        if not at.kv.rates.admits(caller.person.token, at.clock.monotonic()):
            raise kv_space.BusyError(
                f"too many requests with this token (have {limits.KV_REQUESTS_PER_S:.0f} a second)",
                hint="put several operations into one transaction",
            )

    def charge(self, keys_read: int) -> None:
        """A read of many keys counts as several requests: it is the next ones that wait for it."""
        at = self._clock.monotonic()
        self.space.rates.charge(self._token, keys_read / limits.KV_KEYS_PER_REQUEST, at)

    def key(self, text: str, encoding: asked_of.Encoding, *, writes: bool) -> bytes:
        """Raises `UsageError`, `NotAllowedError`, `TooLargeError`."""
        return self._allowed(kv_names.full(kv_names.given(text, encoding)), writes=writes)

    def prefix(self, text: str, encoding: asked_of.Encoding, *, writes: bool) -> bytes:
        return self._allowed(kv_names.full_prefix(kv_names.given(text, encoding)), writes=writes)

    def _allowed(self, key: bytes, *, writes: bool) -> bytes:
        if writes:
            self.rights.may_write(key)
        else:
            self.rights.may_read(key)
        return key


# --- reading ----------------------------------------------------------------------------------------------------------


async def get(at: desk.Desk, caller: desk.Caller, asked: asked_of.Range) -> asked_of.Ranged:
    """One page. Raises `NotAllowedError`, `UsageError`, `ConflictError` (a revision that is forgotten), what a scan raises."""
    access = Access(at, caller)
    store = access.space.store
    exact = b"" if asked.prefix else access.key(asked.key, asked.encoding, writes=False)
    prefix = exact or access.prefix(asked.key, asked.encoding, writes=False)
    after = kv_names.full_prefix(kv_names.given(asked.after, asked.encoding)) if asked.after else b""
    limit = 1 if exact else min(max(asked.limit, 0) or limits.KV_PAGE_KEYS, limits.KV_PAGE_KEYS)
    page = await store.scan(prefix, limit=limit, revision=asked.revision, after=after)
    access.charge(len(page.items))
    items = [one for one in page.items if not exact or one.key == exact]
    fitting = _fitting(items, keys_only=asked.keys_only)
    more = (page.more and not exact) or fitting < len(items)
    return asked_of.Ranged(revision=page.revision, items=_items(items[:fitting], asked), more=more)


def _items(found: Sequence[port.KeyValue], asked: asked_of.Range) -> tuple[asked_of.Item, ...]:
    return tuple(kv_names.item(one, encoding=asked.encoding, keys_only=asked.keys_only) for one in found)


def _fitting(
    items: Sequence[port.KeyValue], *, keys_only: bool, room: int = limits.KV_PAGE_BYTES, least: int = 1
) -> int:
    """How many of the first fit into `room` bytes of an answer; `least` of them always do."""
    size = 0
    for count, one in enumerate(items):
        size += len(one.key) + (0 if keys_only else len(one.value))
        if count >= least and size > room:
            return count
    return len(items)


async def watch(at: desk.Desk, caller: desk.Caller, asked: asked_of.Watch) -> asked_of.Watched:
    """As soon as something has changed, or empty after `wait_s`. Raises `NotAllowedError`, what a watch raises."""
    access = Access(at, caller)
    exact = b"" if asked.prefix else access.key(asked.key, asked.encoding, writes=False)
    prefix = exact or access.prefix(asked.key, asked.encoding, writes=False)
    store = access.space.store
    after = asked.revision or (await store.status()).revision + 1
    following = store.watch(prefix, after)
    try:
        with anyio.move_on_after(min(max(asked.wait_s, 0.0), WAIT_S)):
            while True:
                batch = await following.next()
                if batch.reset is not None:
                    return asked_of.Watched(revision=batch.revision, reset=True)
                events = [one for one in batch.events if not exact or one.item.key == exact]
                if events:
                    return _told(events, batch.revision, asked.encoding)
        return asked_of.Watched(revision=max(following.revision, after - 1))
    finally:
        following.close()


def _told(events: Sequence[port.Event], revision: int, encoding: asked_of.Encoding) -> asked_of.Watched:
    """Whole transactions only: what did not fit is asked for next."""
    size = 0
    for count, one in enumerate(events):
        size += len(one.item.key) + len(one.item.value)
        fresh = count and one.item.mod_revision != events[count - 1].item.mod_revision
        if fresh and (count >= EVENTS or size > limits.KV_PAGE_BYTES):
            events, revision = events[:count], events[count - 1].item.mod_revision
            break
    told = tuple(
        asked_of.Event(
            type="delete" if one.deleted else "put", item=kv_names.item(one.item, encoding=encoding)
        )
        for one in events
    )
    return asked_of.Watched(revision=revision, events=told)


async def usage(at: desk.Desk, caller: desk.Caller, _asked: asked_of.Nothing) -> asked_of.Usage:
    counted = Access(at, caller).space.usage
    await counted.counted()
    return asked_of.Usage(
        revision=counted.revision,
        keys=counted.keys,
        size_bytes=counted.size_bytes,
        quota_keys=limits.KV_KEYS,
        quota_bytes=limits.KV_QUOTA_BYTES,
    )


# --- writing ----------------------------------------------------------------------------------------------------------


async def put(at: desk.Desk, caller: desk.Caller, asked: asked_of.Put) -> asked_of.Done:
    one = asked_of.Operation(op="put", key=asked.key, value=asked.value, lease=asked.lease)
    return await txn(at, caller, asked_of.Txn(success=(one,), encoding=asked.encoding, request=asked.request))


async def delete(at: desk.Desk, caller: desk.Caller, asked: asked_of.Delete) -> asked_of.Done:
    one = asked_of.Operation(op="delete", key=asked.key, prefix=asked.prefix)
    return await txn(at, caller, asked_of.Txn(success=(one,), encoding=asked.encoding, request=asked.request))


async def txn(at: desk.Desk, caller: desk.Caller, asked: asked_of.Txn) -> asked_of.Done:
    """Raises what `Keyspace.commit` raises, and `UsageError`, `TooLargeError`, `NotAllowedError`; nothing is half-done."""
    access = Access(at, caller)
    branches = kv_space.Branches(
        tuple(_compare(access, one, asked.encoding) for one in asked.compare),
        tuple(_operation(access, one, asked.encoding) for one in asked.success),
        tuple(_operation(access, one, asked.encoding) for one in asked.failure),
    )
    check(branches)
    await bounded(access, branches)
    request = f"{access.holder}\0{asked.request}" if asked.request else ""
    result = await access.space.commit(branches, request)
    operations = asked.success if result.succeeded else asked.failure
    room = limits.KV_PAGE_BYTES
    told = []
    for one, response in zip(operations, result.responses, strict=False):
        told.append(_response(one, response, asked.encoding, room))
        room -= sum(len(item.key) + len(item.value) for item in told[-1].items)
    return asked_of.Done(
        revision=result.revision,
        succeeded=result.succeeded,
        responses=tuple(told),
        repeated=result.repeated,
    )


def check(branches: kv_space.Branches) -> None:
    """Raises `TooLargeError`, `UsageError`."""
    operations = (*branches.success, *branches.failure)
    count = len(operations) + len(branches.compare)
    if count > limits.KV_TXN_OPERATIONS:
        raise errors.TooLargeError(
            f"too many operations in one transaction (got {count}, have {limits.KV_TXN_OPERATIONS})"
        )
    if not operations:
        raise errors.UsageError(
            "a transaction needs something to do", hint="an operation in success or failure"
        )
    size = sum(len(one.key) for one in (*branches.compare, *operations))
    size += sum(len(one.value) for one in operations if isinstance(one, commands.Put))
    if size > limits.KV_TXN_BYTES:
        raise errors.TooLargeError(
            f"a transaction is too large (got {size} bytes, have {limits.KV_TXN_BYTES})"
        )
    commands.check(commands.Txn(branches.compare, branches.success, branches.failure))


async def bounded(access: Access, branches: kv_space.Branches) -> None:
    """Leases are the users' own, and no delete is so large that the store would stand still for it."""
    for one in (*branches.success, *branches.failure):
        match one:
            case commands.Put(lease=lease) if (
                lease and await access.space.store.get(keys.kv_lease(lease)) is None
            ):
                raise errors.NotFoundError(
                    f"there is no such lease (got {lease})", hint="tiercast kv lease list"
                )
            case commands.Delete(key, end) if end:
                page = await access.space.store.scan(key, limit=limits.KV_DELETE_KEYS)
                if page.more:
                    raise errors.TooLargeError(
                        f"too many keys to delete at once (have {limits.KV_DELETE_KEYS})",
                        hint="name longer prefixes",
                    )
            case _:
                pass


_TARGETS: Final = {
    "version": commands.Target.VERSION,
    "create": commands.Target.CREATE,
    "mod": commands.Target.MOD,
    "lease": commands.Target.LEASE,
    "value": commands.Target.VALUE,
}
_RELATIONS: Final = {
    "=": commands.Relation.EQUAL,
    "!=": commands.Relation.NOT_EQUAL,
    "<": commands.Relation.LESS,
    ">": commands.Relation.GREATER,
}


def _compare(access: Access, one: asked_of.Compare, encoding: asked_of.Encoding) -> commands.Compare:
    key = access.key(one.key, encoding, writes=False)
    operand = kv_names.given(one.value, encoding) if one.target == "value" else one.number
    return commands.Compare(key, _TARGETS[one.target], _RELATIONS[one.relation], operand)


def _operation(access: Access, one: asked_of.Operation, encoding: asked_of.Encoding) -> commands.Operation:
    writes = one.op != "get"
    if one.prefix and one.op != "put":
        prefix = access.prefix(one.key, encoding, writes=writes)
        limit = min(max(one.limit, 0) or limits.KV_PAGE_KEYS, limits.KV_PAGE_KEYS)
        return commands.delete_prefix(prefix) if writes else commands.read_prefix(prefix, limit=limit)
    key = access.key(one.key, encoding, writes=writes)
    match one.op:
        case "put":
            return commands.put(key, kv_names.given(one.value, encoding), lease=one.lease)
        case "delete":
            return commands.delete(key)
        case "get":
            return commands.read(key)


def _response(
    one: asked_of.Operation, response: port.Response, encoding: asked_of.Encoding, room: int
) -> asked_of.Response:
    """Within `room` bytes: all operations of a transaction share one answer, and what is left out is `more`."""
    match response:
        case port.PutDone():
            return asked_of.Response(op=one.op)
        case port.Deleted(count):
            return asked_of.Response(op=one.op, deleted=count)
        case port.Ranged(items, more):
            fitting = _fitting(items, keys_only=False, room=room, least=0)
            found = tuple(kv_names.item(item, encoding=encoding) for item in items[:fitting])
            return asked_of.Response(op=one.op, items=found, more=more or fitting < len(items))
