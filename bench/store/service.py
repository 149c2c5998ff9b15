"""How programs speak to a member that is a process of its own: a Unix socket beside its directory, msgpack frames.

For measurements and tests; MIC has its member in its own process. Law: every request is answered once, or its link ends.
"""

import asyncio
import pathlib
import struct
from collections.abc import Callable

import msgspec

from coordinator import errors
from coordinator.store import commands, port
from coordinator.store.backends import raft

_HEAD = struct.Struct("<I")


class Commit(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Do it; under its own request id, if it has one."""

    number: int
    txn: commands.Txn


class Get(msgspec.Struct, frozen=True, array_like=True, tag=2):
    number: int
    key: bytes


class Scan(msgspec.Struct, frozen=True, array_like=True, tag=3):
    number: int
    prefix: bytes


class Open(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """A session for request ids."""

    number: int


class Look(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Status, and what the disk was asked for."""

    number: int


class Break(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Have something of this process go wrong; only a test's member knows what."""

    number: int
    what: str
    value: float


Request = Commit | Get | Scan | Open | Look | Break


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """Of any request; `code` of `coordinator.errors` where it failed."""

    number: int
    code: str = ""
    detail: str = ""
    succeeded: bool = False
    revision: int = 0
    repeated: bool = False
    items: tuple[port.KeyValue, ...] = ()
    session: int = 0
    status: port.StoreStatus | None = None
    syncs: int = 0


_ENCODER = msgspec.msgpack.Encoder()
_REQUEST: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_REPLY = msgspec.msgpack.Decoder(Reply)


def path(base: pathlib.Path, name: str) -> pathlib.Path:
    """Of a member's socket."""
    return base / f"{name}.socket"


class Service:
    """Answers for one store."""

    def __init__(
        self,
        store: raft.RaftStore,
        syncs: Callable[[], int],
        broken: Callable[[str, float], None] | None = None,
    ) -> None:
        self._store = store
        self._syncs = syncs
        self._break = broken
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, at: pathlib.Path) -> None:
        """Until cancelled."""
        await asyncio.to_thread(at.unlink, missing_ok=True)
        server = await asyncio.start_unix_server(self._attend, at)
        async with server:
            await server.serve_forever()

    async def _attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = _REQUEST.decode(await _read(reader))
                task = asyncio.get_running_loop().create_task(self._answer(request, writer))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        try:
            reply = await self._done(request)
        except errors.TiercastError as problem:
            reply = Reply(request.number, problem.code, problem.message)
        _write(writer, reply)

    async def _done(self, request: Request) -> Reply:
        number = request.number
        match request:
            case Commit(_, txn):
                done = await self._store.commit(txn)
                items = tuple(i for r in done.responses if isinstance(r, port.Ranged) for i in r.items)
                return Reply(
                    number,
                    succeeded=done.succeeded,
                    revision=done.revision,
                    repeated=done.repeated,
                    items=items,
                )
            case Get(_, key):
                item = await self._store.get(key)
                return Reply(number, items=() if item is None else (item,))
            case Scan(_, prefix):
                found = await self._store.scan(prefix)
                return Reply(number, items=found.items, revision=found.revision)
            case Open():
                return Reply(number, session=await self._store.open_session())
            case Look():
                return Reply(number, status=await self._store.status(), syncs=self._syncs())
            case Break(_, what, value):
                if self._break is None:
                    raise errors.NotAllowedError("nothing goes wrong here on request")
                self._break(what, value)
                return Reply(number)


class Remote:
    """One link to a member's process. A `ConnectionError` leaves open whether what was asked was done."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._numbers = 0
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._reading = asyncio.get_running_loop().create_task(self._read(reader))

    @property
    def closed(self) -> bool:
        return self._reading.done()

    async def commit(self, txn: commands.Txn) -> Reply:
        """Raises `TiercastError`, `ConnectionError`."""
        return await self._asked(Commit(self._next(), txn))

    async def get(self, key: bytes) -> port.KeyValue | None:
        items = (await self._asked(Get(self._next(), key))).items
        return items[0] if items else None

    async def scan(self, prefix: bytes) -> tuple[port.KeyValue, ...]:
        return (await self._asked(Scan(self._next(), prefix))).items

    async def open_session(self) -> int:
        return (await self._asked(Open(self._next()))).session

    async def look(self) -> tuple[port.StoreStatus, int]:
        """Status, and how often its journal was synced."""
        reply = await self._asked(Look(self._next()))
        assert reply.status is not None
        return reply.status, reply.syncs

    async def break_(self, what: str, value: float) -> None:
        await self._asked(Break(self._next(), what, value))

    async def close(self) -> None:
        self._writer.transport.abort()
        await asyncio.gather(self._reading, return_exceptions=True)

    def _next(self) -> int:
        self._numbers += 1
        return self._numbers

    async def _asked(self, request: Request) -> Reply:
        if self.closed:
            raise ConnectionResetError("the link has ended")
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[request.number] = answer
        try:
            _write(self._writer, request)
            reply = await answer
        finally:
            self._waiting.pop(request.number, None)
        if reply.code:
            raise KINDS.get(reply.code, errors.TiercastError)(reply.detail)
        return reply

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                reply = _REPLY.decode(await _read(reader))
                answer = self._waiting.get(reply.number)
                if answer is not None and not answer.done():
                    answer.set_result(reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writer.close()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(ConnectionResetError("the member's process is gone"))


KINDS = {kind.code: kind for kind in errors.TiercastError.__subclasses__()}
"""Errors by the code that stands in an answer."""


async def dial(base: pathlib.Path, name: str) -> Remote:
    """Raises `OSError` where nobody listens."""
    return Remote(*await asyncio.open_unix_connection(path(base, name)))


def _write(writer: asyncio.StreamWriter, value: Request | Reply) -> None:
    data = _ENCODER.encode(value)
    writer.writelines((_HEAD.pack(len(data)), data))


async def _read(reader: asyncio.StreamReader) -> bytes:
    (size,) = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    return await reader.readexactly(size)
