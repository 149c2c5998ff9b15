"""Who answers the contract of the store: a table of backends, each an async context manager around a fresh, empty one.

A new backend is one row here. Law: nothing is left out in silence. What a backend cannot promise stands in its row, by
the name of the test and with the reason, and that test is an expected failure that must fail.
"""

import contextlib
import pathlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import pytest

from coordinator import names
from coordinator.store import port
from coordinator.store.backends import memory, raft
from tests import etcdcluster, stockstore, storedisk, storegroup

Opening = Callable[[pathlib.Path], contextlib.AbstractAsyncContextManager[port.Store]]
"""Opens a store in a directory of its own that does not exist yet."""


class Backend(NamedTuple):
    """One row: how to open it, what its tests need, and what it cannot promise (test name -> reason)."""

    opening: Opening
    marks: tuple[pytest.MarkDecorator, ...] = ()
    lacks: Mapping[str, str] = MappingProxyType({})

    def param(self, name: str) -> Any:
        """For `pytest.fixture(params=...)`."""
        return pytest.param(self, id=name, marks=self.marks)


class RealClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return 0.0


@contextlib.asynccontextmanager
async def memory_store(_directory: pathlib.Path) -> AsyncIterator[port.Store]:
    async with memory.MemoryStore(RealClock()) as opened:
        yield opened


@contextlib.asynccontextmanager
async def raft_store(directory: pathlib.Path) -> AsyncIterator[port.Store]:
    async with await raft.open_store(
        directory,
        cluster=names.ClusterId("c1"),
        clock=RealClock(),
        random=storedisk.SeededRandom(1),
        create=True,
    ) as opened:
        yield opened


@contextlib.asynccontextmanager
async def raft_follower(directory: pathlib.Path) -> AsyncIterator[port.Store]:
    """One of three members, and not the one that leads."""
    group = storegroup.Group(directory)
    await group.make()
    try:
        await group.open()
        leader = await group.leader()
        await group.risen()
        yield group.stores[next(name for name in group.members if name != leader)]
    finally:
        await group.close()


@contextlib.asynccontextmanager
async def stock_store(directory: pathlib.Path) -> AsyncIterator[port.Store]:
    async with await stockstore.open_store(directory) as opened:
        yield opened


def etcd_store(members: int) -> Opening:
    """Below a prefix of its own in a cluster that all of these tests share."""

    @contextlib.asynccontextmanager
    async def opening(_directory: pathlib.Path) -> AsyncIterator[port.Store]:
        cluster = etcdcluster.shared(members)
        async with await cluster.store(f"/t-{etcdcluster.RANDOM.token(4)}") as opened:
            yield opened

    return opening


BACKENDS: Final[Mapping[str, Backend]] = {
    "memory": Backend(memory_store),
    "raft": Backend(raft_store),
    "raft of three": Backend(raft_follower),
    # Alone and undisturbed it lacks nothing; when it does not keep what it promised is in `holes`.
    "pysyncobj": Backend(stock_store),
    "etcd": Backend(etcd_store(1), (pytest.mark.etcd,)),
    "etcd of three": Backend(etcd_store(3), (pytest.mark.etcd,)),
}
