"""Both sides of a hole as stores on a disk: how one is opened, written to by a process that is killed, and given away."""

import asyncio
import itertools
import pathlib
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
import pytest

from coordinator import errors
from coordinator.store import commands, port
from coordinator.store.backends import raft
from tests import stockgroup, stockstore, stockwriter, storegroup, storewriter


class Side(NamedTuple):
    """What a scenario needs of a store of one in a directory."""

    opening: Callable[[pathlib.Path], Awaitable[Any]]
    """Opens it, or makes it where there is nothing; a `port.Store`."""
    one_of_three: Callable[[pathlib.Path], Awaitable[None]]
    """Makes a member of three there, and leaves it."""
    as_member: Callable[[pathlib.Path], Awaitable[None]]
    """Starts the member of three that was made there, and stops it."""
    snapshot: Callable[[Any], Awaitable[None]]
    journal: str
    """The names of the journal's files, as a pattern."""
    grow: Callable[[pytest.MonkeyPatch], None]
    """From here on it is a later program, whose log may hold one kind of command more."""
    program: str
    """Writes until it is killed, and says what was acknowledged."""
    missing: Callable[[pathlib.Path, list[int]], Awaitable[list[int]]]
    """What a store that is opened anew lacks of that."""
    poison: Callable[[Any], Awaitable[None]]
    """Put into the log what no member can do."""
    put_and_fail: Callable[[Any, bytes], Awaitable[None]]
    """Put a key for a caller that raises when it is told the outcome."""
    patience_s: float
    """How long a put may take until it counts as never acknowledged."""

    async def acknowledges(self, store: port.Store, key: bytes, value: bytes = b"") -> bool:
        """Put it; whether that is acknowledged."""
        try:
            async with asyncio.timeout(self.patience_s):
                await put(store, key, value)
        except TimeoutError:
            return False
        return True


async def open_raft(directory: pathlib.Path) -> raft.RaftStore:
    return await storewriter.opened(directory, create=not directory.exists())


def three(directory: pathlib.Path) -> storegroup.Group:
    return storegroup.Group(directory.parent, (directory.name, "m2", "m3"))


async def raft_of_three(directory: pathlib.Path) -> None:
    await three(directory).make()


async def raft_member(directory: pathlib.Path) -> None:
    group = three(directory)
    await group.open(directory.name)
    await group.close()


async def stock_of_three(directory: pathlib.Path) -> None:
    nodes = [stockgroup.named(name) for name in (directory.name, "m2", "m3")]
    wire = stockgroup.Wire()
    settings = {**stockstore.LONE, **stockstore.kept(directory)}
    stockstore.Node(nodes[0], nodes[1:], settings, wire.end(nodes[0])).destroy()


async def raft_snapshot(store: raft.RaftStore) -> None:
    await store.take_snapshot()


async def stock_snapshot(store: stockstore.StockStore) -> None:
    dump = pathlib.Path(store.node.conf.fullDumpFile)
    store.node.forceLogCompaction()

    async def done() -> bool:
        return dump.exists()

    await storegroup.until(done)


async def raft_poison(store: raft.RaftStore) -> None:
    header = commands.encode(commands.SessionOpen())[: commands.HEADER_BYTES]
    proposal = await store._member.propose(header + b"\xc1 no command")
    await proposal.accepted


async def stock_poison(store: stockstore.StockStore) -> None:
    store.node.apply(b"", "one argument too many")


class Adopt(msgspec.Struct, frozen=True, array_like=True, tag=99):
    """A command of a later program."""


def grow_raft(monkeypatch: pytest.MonkeyPatch) -> None:
    later = msgspec.msgpack.Decoder(tuple[int, Adopt | commands.Command])
    monkeypatch.setattr(commands, "_DECODER", later)


def grow_stock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stockstore, "Node", stockstore.LaterNode)


class CallerError(Exception):
    """Of a caller that fails."""


def _fail(*_answer: object) -> None:
    raise CallerError


async def raft_put_and_fail(store: raft.RaftStore, key: bytes) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    proposal = await store._member.propose(commands.encode(commands.Txn(success=(commands.put(key, b""),))))
    proposal.result.add_done_callback(_fail)
    await proposal.result


async def stock_put_and_fail(store: stockstore.StockStore, key: bytes) -> None:
    store.node.apply(commands.encode(commands.Txn(success=(commands.put(key, b""),))), callback=_fail)

    async def failed() -> bool:
        return any(isinstance(error, CallerError) for error in store.failures)

    await storegroup.until(failed)


SIDES: Final[Mapping[str, Side]] = {
    "raft": Side(
        opening=open_raft,
        one_of_three=raft_of_three,
        as_member=raft_member,
        snapshot=raft_snapshot,
        journal="journal-*",
        grow=grow_raft,
        program="tests.storewriter",
        missing=storewriter.missing,
        poison=raft_poison,
        put_and_fail=raft_put_and_fail,
        patience_s=10.0,
    ),
    "pysyncobj": Side(
        opening=stockstore.open_store,
        one_of_three=stock_of_three,
        as_member=stock_of_three,  # it makes what is not there
        snapshot=stock_snapshot,
        journal="journal*",
        grow=grow_stock,
        program="tests.stockwriter",
        missing=stockwriter.missing,
        poison=stock_poison,
        put_and_fail=stock_put_and_fail,
        patience_s=0.5,
    ),
}


async def put(store: port.Store, key: bytes, value: bytes = b"") -> port.TxnResult:
    return await store.commit(commands.Txn(success=(commands.put(key, value),)))


async def refused(side: Side, directory: pathlib.Path) -> errors.TiercastError | None:
    """Why the store there is not opened; None if it is."""

    async def act() -> None:
        await (await side.opening(directory)).close()

    return await refusal(act())


async def refusal(act: Awaitable[None]) -> errors.TiercastError | None:
    """What it raises for what it found on the disk; None if it does not."""
    try:
        await act
    except (errors.DamagedError, errors.IdentityError, errors.NotFoundError) as error:
        return error
    return None


class Writer:
    """A process that writes until it is killed."""

    def __init__(self, side: Side, directory: pathlib.Path, start: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", side.program, str(directory), str(start)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def read(self, count: int) -> list[int]:
        """Acknowledged numbers, so many."""
        assert self._process.stdout is not None
        return [int(line) for line in itertools.islice(self._process.stdout, count)]

    def kill(self) -> list[int]:
        """End it at once; answers what it had acknowledged besides."""
        self._process.send_signal(signal.SIGKILL)
        assert self._process.stdout is not None
        rest = self._process.stdout.read().split("\n")
        self._process.wait()
        self._process.stdout.close()
        return [int(line) for line in rest[:-1]]
