"""etcd's `KV` service: Range, Put, DeleteRange, Txn of one level, Compact."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import grpc
from aetcd.rpc import kv_pb2, rpc_pb2

from coordinator import errors, limits
from coordinator.api.etcd import refusals, service, spans
from coordinator.domains import people
from coordinator.store import commands, port
from coordinator.tiers import keys, kv, kv_space

_RELATIONS: Final = {
    rpc_pb2.Compare.EQUAL: commands.Relation.EQUAL,
    rpc_pb2.Compare.GREATER: commands.Relation.GREATER,
    rpc_pb2.Compare.LESS: commands.Relation.LESS,
    rpc_pb2.Compare.NOT_EQUAL: commands.Relation.NOT_EQUAL,
}
_TARGETS: Final[dict[int, tuple[commands.Target, str]]] = {
    rpc_pb2.Compare.VERSION: (commands.Target.VERSION, "version"),
    rpc_pb2.Compare.CREATE: (commands.Target.CREATE, "create_revision"),
    rpc_pb2.Compare.MOD: (commands.Target.MOD, "mod_revision"),
    rpc_pb2.Compare.VALUE: (commands.Target.VALUE, "value"),
    rpc_pb2.Compare.LEASE: (commands.Target.LEASE, "lease"),
}
_SORTS: Final[dict[int, Callable[[port.KeyValue], Any]]] = {
    rpc_pb2.RangeRequest.KEY: lambda item: item.key,
    rpc_pb2.RangeRequest.VERSION: lambda item: item.version,
    rpc_pb2.RangeRequest.CREATE: lambda item: item.create_revision,
    rpc_pb2.RangeRequest.MOD: lambda item: item.mod_revision,
    rpc_pb2.RangeRequest.VALUE: lambda item: item.value,
}


def pair(item: port.KeyValue, *, keys_only: bool = False) -> Any:
    return kv_pb2.KeyValue(
        key=spans.shown(item.key),
        value=b"" if keys_only else item.value,
        create_revision=item.create_revision,
        mod_revision=item.mod_revision,
        version=item.version,
        lease=item.lease,
    )


# --- reading ----------------------------------------------------------------------------------------------------------


async def range_(asked: service.Asked) -> Any:
    """Raises `EtcdError`, and what `kv.Access` and a scan raise."""
    request, access = asked.request, kv.Access(asked.at, asked.caller)
    wanted = spans.span(request.key, request.range_end)
    access.rights.may_read(wanted.within)
    status = await asked.at.store.status()
    if request.revision > status.revision:
        raise refusals.refused(grpc.StatusCode.OUT_OF_RANGE, refusals.FUTURE)
    if not wanted.end and not request.revision:
        item = await access.space.store.get(wanted.start)
        found, revision = ([item] if item else []), 0
    else:
        page = await access.space.store.scan(wanted.within, revision=max(request.revision, 0))
        found, revision = wanted.of(page.items), page.revision
        access.charge(len(page.items))
    response = ranged(found, request)
    # As etcd does, the header tells the present revision even of a read of an older one.
    now = (await asked.at.store.status()).revision if request.revision else revision
    response.header.CopyFrom(await service.header(asked.at, rpc_pb2.ResponseHeader, now))
    return response


def ranged(items: Sequence[port.KeyValue], request: Any) -> Any:
    """Filtered, sorted and cut as the request says; `count` is of all before the cut, as etcd counts."""
    kept = [item for item in items if _revisions_fit(item, request)]
    if request.sort_order != rpc_pb2.RangeRequest.NONE or request.sort_target != rpc_pb2.RangeRequest.KEY:
        down = request.sort_order == rpc_pb2.RangeRequest.DESCEND
        kept.sort(key=_SORTS[request.sort_target], reverse=down)
    cut = kept[: request.limit] if request.limit > 0 else kept
    size = sum(len(item.key) + (0 if request.keys_only else len(item.value)) for item in cut)
    if not request.count_only and size > limits.KV_ETCD_ANSWER_BYTES:
        raise _too_large(size)
    pairs = [] if request.count_only else [pair(item, keys_only=request.keys_only) for item in cut]
    return rpc_pb2.RangeResponse(kvs=pairs, more=len(cut) < len(kept), count=len(items))


def _revisions_fit(item: port.KeyValue, request: Any) -> bool:
    return (
        (not request.min_mod_revision or item.mod_revision >= request.min_mod_revision)
        and (not request.max_mod_revision or item.mod_revision <= request.max_mod_revision)
        and (not request.min_create_revision or item.create_revision >= request.min_create_revision)
        and (not request.max_create_revision or item.create_revision <= request.max_create_revision)
    )


# --- writing ----------------------------------------------------------------------------------------------------------


async def put(asked: service.Asked) -> Any:
    result, responses = await _done(asked, (), (rpc_pb2.RequestOp(request_put=asked.request),), ())
    response = responses[0].response_put
    response.header.CopyFrom(await service.header(asked.at, rpc_pb2.ResponseHeader, result.revision))
    return response


async def delete_range(asked: service.Asked) -> Any:
    result, responses = await _done(asked, (), (rpc_pb2.RequestOp(request_delete_range=asked.request),), ())
    response = responses[0].response_delete_range
    response.header.CopyFrom(await service.header(asked.at, rpc_pb2.ResponseHeader, result.revision))
    return response


async def txn(asked: service.Asked) -> Any:
    request = asked.request
    result, responses = await _done(asked, request.compare, request.success, request.failure)
    return rpc_pb2.TxnResponse(
        header=await service.header(asked.at, rpc_pb2.ResponseHeader, result.revision),
        succeeded=result.succeeded,
        responses=responses,
    )


async def compact(asked: service.Asked) -> Any:
    """Of the whole store, the system's keys too: what older revisions were is forgotten, for administrators only.

    A token that was narrowed to a prefix does not reach that far.
    """
    kv.Access(asked.at, asked.caller).rights.may_write(keys.KV)
    if asked.caller.person.rank < people.Rank.ADMINISTRATOR or asked.caller.person.domain not in {
        asked.at.master_domain,
        "",
    }:
        raise errors.NotAllowedError("compaction is for administrators of the master domain")
    status = await asked.at.store.status()
    if asked.request.revision > status.revision:
        raise refusals.refused(grpc.StatusCode.OUT_OF_RANGE, refusals.FUTURE)
    await asked.at.store.compact(asked.request.revision)
    return rpc_pb2.CompactionResponse(header=await service.header(asked.at, rpc_pb2.ResponseHeader))


Reply = Callable[[Sequence[port.Response]], Any]
"""From the store's answers to one operation's own commands to etcd's answer."""


async def _done(
    asked: service.Asked, compare: Sequence[Any], success: Sequence[Any], failure: Sequence[Any]
) -> tuple[port.TxnResult, list[Any]]:
    """All rights and forms first, then the transaction."""
    access = kv.Access(asked.at, asked.caller)
    branches, replies = [], []
    for operations in (success, failure):
        pairs = [_operation(access, one) for one in operations]
        branches.append(tuple(command for some, _reply in pairs for command in some))
        replies.append(pairs)
    whole = kv_space.Branches(tuple(_compare(access, one) for one in compare), *branches)
    _no_key_twice(branches)
    kv.check(whole)
    await kv.bounded(access, whole)
    for operations in branches:
        await _fits(access, operations)
    result = await access.space.commit(whole)
    if result.repeated:
        raise errors.UnknownOutcomeError("it was done, and what it answered was lost")
    try:
        return result, _answers(result, replies[0 if result.succeeded else 1])
    except refusals.EtcdError as problem:  # its keys have grown since they were looked at
        raise errors.UnknownOutcomeError(f"it was done, and {problem.message}") from problem


async def _fits(access: kv.Access, operations: Sequence[commands.Operation]) -> None:
    """Raises `EtcdError` where what a branch reads is too large for one answer, while nothing is done yet."""
    size = 0
    for one in operations:
        if isinstance(one, commands.Range) and one.end:
            wanted = spans.Span(one.key, one.end)
            page = await access.space.store.scan(wanted.within)
            access.charge(len(page.items))
            size += sum(len(item.key) + len(item.value) for item in wanted.of(page.items))
    if size > limits.KV_ETCD_ANSWER_BYTES:
        raise _too_large(size)


def _answers(
    result: port.TxnResult, replies: Sequence[tuple[tuple[commands.Operation, ...], Reply]]
) -> list[Any]:
    """Raises `EtcdError` where they are too large together."""
    answers, place = [], 0
    for some, reply in replies:
        answers.append(reply(result.responses[place : place + len(some)]))
        place += len(some)
    size = sum(answer.ByteSize() for answer in answers)
    if size > limits.KV_ETCD_ANSWER_BYTES:
        raise _too_large(size)
    return answers


def _too_large(size: int) -> refusals.EtcdError:
    return refusals.refused(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        f"tiercast: the answer is too large (got {size} bytes, have {limits.KV_ETCD_ANSWER_BYTES}); set a limit",
    )


def _no_key_twice(branches: Sequence[Sequence[commands.Operation]]) -> None:
    for operations in branches:
        puts = [one.key for one in operations if isinstance(one, commands.Put)]
        if len(puts) != len(set(puts)):
            raise refusals.refused(grpc.StatusCode.INVALID_ARGUMENT, refusals.DUPLICATE)


def _compare(access: kv.Access, one: Any) -> commands.Compare:
    if one.range_end:
        raise refusals.unsupported("a compare of a range")
    wanted = spans.span(one.key, b"")
    access.rights.may_read(wanted.start)
    target, field = _TARGETS[one.target]
    return commands.Compare(wanted.start, target, _RELATIONS[one.result], getattr(one, field))


def _operation(access: kv.Access, one: Any) -> tuple[tuple[commands.Operation, ...], Reply]:
    match one.WhichOneof("request"):
        case "request_put":
            return _put(access, one.request_put)
        case "request_delete_range":
            return _delete(access, one.request_delete_range)
        case "request_range":
            return _range(access, one.request_range)
        case other:
            raise refusals.unsupported(f"{other or 'an empty operation'} inside a transaction")


def _put(access: kv.Access, request: Any) -> tuple[tuple[commands.Operation, ...], Reply]:
    if request.ignore_value or request.ignore_lease:
        raise refusals.unsupported("ignore_value or ignore_lease")
    wanted = spans.span(request.key, b"")
    access.rights.may_write(wanted.start)
    command = commands.put(wanted.start, request.value, lease=request.lease)
    if not request.prev_kv:
        return (command,), lambda _: rpc_pb2.ResponseOp(response_put=rpc_pb2.PutResponse())

    def reply(answers: Sequence[port.Response]) -> Any:
        before = _items(answers[0])
        told = rpc_pb2.PutResponse(prev_kv=pair(before[0])) if before else rpc_pb2.PutResponse()
        return rpc_pb2.ResponseOp(response_put=told)

    return (commands.read(wanted.start), command), reply


def _delete(access: kv.Access, request: Any) -> tuple[tuple[commands.Operation, ...], Reply]:
    wanted = spans.span(request.key, request.range_end)
    access.rights.may_write(wanted.within)
    if spans.empty(wanted):
        return (), lambda _: rpc_pb2.ResponseOp(response_delete_range=rpc_pb2.DeleteRangeResponse())
    command = commands.Delete(wanted.start, wanted.end)
    reads = (commands.Range(wanted.start, wanted.end),) if request.prev_kv else ()

    def reply(answers: Sequence[port.Response]) -> Any:
        gone = answers[-1]
        assert isinstance(gone, port.Deleted)
        before = [pair(item) for item in _items(answers[0])] if reads else []
        told = rpc_pb2.DeleteRangeResponse(deleted=gone.count, prev_kvs=before)
        return rpc_pb2.ResponseOp(response_delete_range=told)

    return (*reads, command), reply


def _range(access: kv.Access, request: Any) -> tuple[tuple[commands.Operation, ...], Reply]:
    if request.revision:
        raise refusals.unsupported("a read of an older revision inside a transaction")
    wanted = spans.span(request.key, request.range_end)
    access.rights.may_read(wanted.within)
    if spans.empty(wanted):
        return (), lambda _: rpc_pb2.ResponseOp(response_range=rpc_pb2.RangeResponse())
    command = commands.Range(wanted.start, wanted.end)

    def reply(answers: Sequence[port.Response]) -> Any:
        return rpc_pb2.ResponseOp(response_range=ranged(_items(answers[0]), request))

    return (command,), reply


def _items(response: port.Response) -> tuple[port.KeyValue, ...]:
    assert isinstance(response, port.Ranged)
    return response.items
