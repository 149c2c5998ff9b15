"""Clients of a real etcd whose members are killed and frozen at random, and what their answers must look like together."""

import asyncio  # noqa: TID251 the backend is asyncio's
import pathlib
import random

from bench.store import service
from coordinator.store import commands, port
from coordinator.store.backends.etcd import store as etcd
from tests import etcdcluster, storeclients
from tests import storehistory as history

CLIENTS = 5
PREFIX = "/nemesis"


class _Link:
    """The part of a link that a client uses, over a store of its own."""

    closed = False

    def __init__(self, store: etcd.EtcdStore) -> None:
        self._store = store

    async def get(self, key: bytes) -> port.KeyValue | None:
        return await self._store.get(key)

    async def open_session(self) -> int:
        return await self._store.open_session()

    async def commit(self, txn: commands.Txn) -> service.Reply:
        done = await self._store.commit(txn)
        items = [item for one in done.responses if isinstance(one, port.Ranged) for item in one.items]
        return service.Reply(0, succeeded=done.succeeded, revision=done.revision, items=tuple(items))

    async def close(self) -> None:
        """The store stays: it goes to another member by itself."""


class _Client(storeclients.Client):
    def __init__(self, link: _Link, number: int, seed: int) -> None:
        super().__init__(pathlib.Path(), number, ("etcd",), seed)
        self._own = link

    async def _linked(self) -> _Link:  # type: ignore[override]
        return self._own


async def disturb(cluster: etcdcluster.Cluster, source: random.Random, rounds: int) -> None:
    """One fault after the other, two members at a time among them; all heals."""
    for _ in range(rounds):
        names = source.sample(cluster.names, source.choice((1, 1, 2)))
        if source.random() < 0.5:
            cluster.freeze(*names)
            await asyncio.sleep(source.uniform(0.3, 1.5))
            cluster.thaw(*names)
        else:
            cluster.kill(*names)
            await asyncio.sleep(source.uniform(0.0, 0.5))
            for name in names:
                cluster.start(name)
        await asyncio.sleep(source.uniform(0.3, 1.0))
    await asyncio.to_thread(cluster.ready)


async def life(cluster: etcdcluster.Cluster, seed: int, rounds: int) -> tuple[storeclients.Counts, list[str]]:
    """What was done, and what was wrong with it."""
    counts = storeclients.Counts(set(), set())
    stores = [await cluster.store(PREFIX) for _ in range(CLIENTS)]
    clients = [_Client(_Link(store), number, seed) for number, store in enumerate(stores)]
    running = [asyncio.ensure_future(client.run(counts, 0.005)) for client in clients]
    await disturb(cluster, random.Random(seed), rounds)
    for client in clients:
        client.stopping = True
    await asyncio.wait_for(asyncio.gather(*running), 60)
    last = await _Client(_Link(stores[0]), CLIENTS, seed).read_all()
    marks = {
        item.key.removeprefix(storeclients.MARKS) for item in (await stores[0].scan(storeclients.MARKS)).items
    }
    for store in stores:
        await store.close()
    operations = [*(one for client in clients for one in client.operations), *last]
    wrong = [*history.unexplained(operations), *history.contradictions(operations)]
    wrong += [f"acknowledged, and lost: {mark!r}" for mark in counts.acknowledged - marks]
    wrong += [f"said not to be done, and done: {mark!r}" for mark in counts.refused & marks]
    return counts, wrong
