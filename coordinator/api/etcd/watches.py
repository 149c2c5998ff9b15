"""etcd's `Watch` service: many watches over one stream, each resumable from a revision.

Law: the events of a watch come in the order of their revisions and none twice; where they cannot be told one by one any
more, the watch is cancelled with the revision up to which they are forgotten.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import anyio
import anyio.abc
from aetcd.rpc import kv_pb2, rpc_pb2

from coordinator import errors, limits
from coordinator.api.etcd import kv as kv_service
from coordinator.api.etcd import refusals, service, spans
from coordinator.store import port
from coordinator.tiers import desk, kv

PROGRESS_ID = -1  # of an answer that is about the whole stream
PART_BYTES = 2 * 1024 * 1024  # a transaction more, at most 1.5 MiB, still fits into 4
WATCH_IDS = 2**31  # well below where a number of the wire ends


class _Watches:
    """All watches of one stream."""

    def __init__(
        self, at: desk.Desk, caller: desk.Caller, tasks: anyio.abc.TaskGroup, write: service.Write
    ) -> None:
        self._at = at
        self._access = kv.Access(at, caller)
        self._tasks = tasks
        self._open: dict[int, anyio.CancelScope] = {}
        self._next = 0
        self._write = write
        self._turn = anyio.Lock()

    async def take(self, asked: AsyncIterator[Any]) -> None:
        """Every request of the client, until it has said all."""
        async for request in asked:
            match request.WhichOneof("request_union"):
                case "create_request":
                    await self._create(request.create_request)
                case "cancel_request":
                    await self._cancel(request.cancel_request.watch_id)
                case "progress_request":
                    await self._say(watch_id=PROGRESS_ID)
                case _:
                    pass  # an empty request asks for nothing
        self._tasks.cancel_scope.cancel()

    async def _say(self, revision: int = 0, **fields: Any) -> None:
        header = await service.header(self._at, rpc_pb2.ResponseHeader, revision)
        async with (
            self._turn
        ):  # a client that reads slowly holds its own watches back, and the store coalesces
            await self._write(rpc_pb2.WatchResponse(header=header, **fields))

    async def _create(self, request: Any) -> None:
        number = request.watch_id or self._next
        self._next = min(max(self._next, number) + 1, WATCH_IDS - 1)
        try:
            if not 0 <= number < WATCH_IDS:
                raise errors.UsageError(f"a watch id is at most {WATCH_IDS - 1} (got {number})")
            if number in self._open:
                raise errors.UsageError(f"the watch id is taken (got {number})")
            if len(self._open) >= limits.KV_ETCD_WATCHES:
                raise errors.TooLargeError(
                    f"too many watches over one stream (have {limits.KV_ETCD_WATCHES})"
                )
            if request.prev_kv:
                raise refusals.unsupported("prev_kv of a watch")
            wanted = spans.span(request.key, request.range_end)
            self._access.rights.may_read(wanted.within)
        except errors.TiercastError as error:
            told = refusals.said(error)[1]
            await self._say(watch_id=number, created=True, canceled=True, cancel_reason=told)
            return
        start = request.start_revision or (await self._at.store.status()).revision + 1
        following = self._at.store.watch(wanted.within, start)
        await self._say(watch_id=number, created=True)
        scope = self._open[number] = anyio.CancelScope()
        self._tasks.start_soon(self._follow, number, wanted, (following, frozenset(request.filters)), scope)

    async def _follow(
        self,
        number: int,
        wanted: spans.Span,
        how: tuple[port.Watch, frozenset[int]],
        scope: anyio.CancelScope,
    ) -> None:
        following, left_out = how
        try:
            with scope:
                while await self._told(number, await following.next(), wanted, left_out):
                    pass
        except errors.TiercastError as error:
            await self._say(watch_id=number, canceled=True, cancel_reason=refusals.said(error)[1])
        finally:
            following.close()
            self._open.pop(number, None)

    async def _told(
        self, number: int, batch: port.Batch, wanted: spans.Span, left_out: frozenset[int]
    ) -> bool:
        """Whether the watch goes on."""
        if batch.reset is not None:
            await self._say(watch_id=number, canceled=True, compact_revision=batch.revision + 1)
            return False
        events = [one for one in batch.events if wanted.has(one.item.key) and _kind(one) not in left_out]
        for some in _parts(events):
            revision = batch.revision if some[-1] is events[-1] else some[-1].item.mod_revision
            await self._say(revision, watch_id=number, events=[_event(one) for one in some])
        return True

    async def _cancel(self, number: int) -> None:
        scope = self._open.pop(number, None)
        if scope is not None:
            scope.cancel()
            await self._say(watch_id=number, canceled=True)


async def watch(at: desk.Desk, caller: desk.Caller, asked: AsyncIterator[Any], write: service.Write) -> None:
    """The `Watch` stream, until the client has said all or has gone."""
    async with anyio.create_task_group() as tasks:
        await _Watches(at, caller, tasks, write).take(asked)


def _parts(events: Sequence[port.Event]) -> Iterator[Sequence[port.Event]]:
    """Whole transactions, each part small enough for one answer: many clients take no more than 4 MiB."""
    begin = size = 0
    for count, one in enumerate(events):
        fresh = count > begin and one.item.mod_revision != events[count - 1].item.mod_revision
        if fresh and size + len(one.item.key) + len(one.item.value) > PART_BYTES:
            yield events[begin:count]
            begin, size = count, 0
        size += len(one.item.key) + len(one.item.value)
    if begin < len(events):
        yield events[begin:]


def _kind(event: port.Event) -> int:
    """As the filters of a watch name it."""
    return int(rpc_pb2.WatchCreateRequest.NODELETE if event.deleted else rpc_pb2.WatchCreateRequest.NOPUT)


def _event(event: port.Event) -> Any:
    kind = kv_pb2.Event.DELETE if event.deleted else kv_pb2.Event.PUT
    return kv_pb2.Event(type=kind, kv=kv_service.pair(event.item))
