"""What a store of 50 MB weighs: memory of each member's process, and how long a snapshot of it holds up the loop."""

import asyncio
import pathlib
import time

import msgspec

from bench.store import etcd, group, ours
from coordinator.store import commands

KEYS = 51_200
VALUE_BYTES = 1024
AT_ONCE = 256  # puts of one transaction
SNAPSHOTS = 5
TICK_S = 0.001


class Memory(msgspec.Struct, frozen=True):
    """Of every member, MiB; the medians of those that follow are the middle ones."""

    system: str
    members: int
    empty_mib: tuple[int, ...]
    full_mib: tuple[int, ...]


class Pause(msgspec.Struct, frozen=True):
    """The longest that the loop stood still, in each of several snapshots, and without one for as long."""

    size_mib: int
    took_s: tuple[float, ...]
    stalls_ms: tuple[float, ...]
    quiet_ms: float


def resident_mib(pid: int) -> int:
    """Of a process."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith("VmRSS:"))
    return int(line.split()[1]) >> 10


async def ours_weighs(base: pathlib.Path, members: int) -> Memory:
    made = group.Group(base, members)
    try:
        await made.make()
        await made.start()
        pids = [one.pid for one in made.members.values()]
        empty = tuple(map(resident_mib, pids))
        link = await made.reach(made.names[0])
        for puts in _filling():
            await link.commit(commands.Txn(success=puts))
        await link.close()
        await made.agreed(made.names)
        return Memory("tiercast", members, empty, tuple(map(resident_mib, pids)))
    finally:
        made.end()


async def etcd_weighs(base: pathlib.Path, members: int) -> Memory:
    made = etcd.Etcd(base, members)
    await made.start()
    try:
        empty = tuple(map(resident_mib, made.pids))
        for puts in _filling():
            await asyncio.gather(*(made.put(one.key, one.value) for one in puts))
        return Memory("etcd", members, empty, tuple(map(resident_mib, made.pids)))
    finally:
        await made.close()


async def pause(base: pathlib.Path) -> Pause:
    """Of a store in this process, as MIC has it."""
    store = await ours.alone(base / "store")
    async with store:
        for puts in _filling():
            await store.commit(commands.Txn(success=puts))
        size = (await store.status()).size_bytes
        took, stalls = [], []
        for _ in range(SNAPSHOTS):
            begun = time.monotonic()
            stalls.append(await _stall(asyncio.ensure_future(store.take_snapshot())))
            took.append(round(time.monotonic() - begun, 2))
        quiet = await _stall(asyncio.ensure_future(asyncio.sleep(max(took))))
    return Pause(size >> 20, tuple(took), tuple(stalls), quiet)


async def _stall(during: "asyncio.Future[None]") -> float:
    """Milliseconds that a task which wants the loop every one of them had to wait at most."""
    worst = 0.0
    while not during.done():
        before = time.monotonic()
        await asyncio.sleep(TICK_S)
        worst = max(worst, time.monotonic() - before - TICK_S)
    await during
    return round(worst * 1000, 1)


def _filling() -> list[tuple[commands.Put, ...]]:
    """Transactions that make a store of 50 MB."""
    value = bytes(VALUE_BYTES)
    return [
        tuple(commands.put(b"/weight/%08d" % number, value) for number in range(at, at + AT_ONCE))
        for at in range(0, KEYS, AT_ONCE)
    ]
