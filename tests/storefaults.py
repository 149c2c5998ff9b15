"""What goes wrong for a group of members that are processes, one thing after the other, and what it left.

A life: members start, clients write and read, faults come, all heals, and the history is judged. Law: a life ends with
every member up and agreeing, or fails; nothing that a fault did is left behind.
"""

import asyncio  # noqa: TID251 the bench's links are asyncio's
import collections
import itertools
import os
import pathlib
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import msgspec

from bench.store import group as groups
from coordinator import errors
from tests import loopdisk, storeclients, storenetwork
from tests import storehistory as history

CLIENTS = 8
PROGRESS_S = 60.0  # until something is acknowledged again once a fault is over; a machine may be busy


class Result(msgspec.Struct):
    """Of one life."""

    seed: int
    members: int
    seconds: float = 0.0
    faults: dict[str, int] = {}
    operations: int = 0
    """Checked: each has its place in one order."""
    acknowledged: int = 0
    """Writes."""
    doubts: int = 0
    resolved: int = 0
    elections: int = 0
    gap_s: float = 0.0
    """The longest time between two acknowledgements."""
    lost: int = 0
    """Acknowledged writes that are gone."""
    risen: int = 0
    """Writes that are there though it was said that nothing was done."""
    violations: list[str] = []

    @property
    def sound(self) -> bool:
        return not (self.lost or self.risen or self.violations)


class Nemesis:
    """Does one thing to the group at a time, and undoes it."""

    def __init__(self, group: groups.Group, ground: "Ground", source: random.Random) -> None:
        self._group = group
        self._network, self._disk = ground.network, ground.disk
        self._source = source
        self.done: collections.Counter[str] = collections.Counter()

    def kinds(self) -> tuple[str, ...]:
        left_out = (NETWORK if self._network is None else frozenset()) | (
            POWER if self._disk is None else frozenset()
        )
        return tuple(kind for kind in FAULTS if kind not in left_out)

    async def strike(self, kind: str) -> None:
        """The fault from its beginning to its end."""
        self.done[kind] += 1
        await (FAULTS | PLANTED)[kind](self)

    async def _wait(self, low_s: float, high_s: float) -> None:
        await asyncio.sleep(self._source.uniform(low_s, high_s))

    async def _leader_first(self, count: int) -> list[str]:
        """So many members, the leader among them where there is one."""
        leader = await self._group.leader()
        others = [name for name in self._group.names if name != leader]
        self._source.shuffle(others)
        return ([] if leader is None else [leader]) + others[: count - (leader is not None)]

    def _some(self) -> list[str]:
        return self._source.sample(self._group.names, self._source.randrange(1, len(self._group.names) + 1))

    async def kill_leader(self) -> None:
        await self._killed(await self._leader_first(1))

    async def kill_some(self) -> None:
        await self._killed(self._some())

    async def _killed(self, names: Sequence[str]) -> None:
        for name in names:
            self._group.members[name].kill()
        await self._wait(0, 1)
        for name in names:
            self._group.members[name].start()

    async def freeze_leader(self) -> None:
        await self._frozen(await self._leader_first(1))

    async def freeze_some(self) -> None:
        await self._frozen(self._some())

    async def _frozen(self, names: Sequence[str]) -> None:
        for name in names:
            self._group.members[name].signal(signal.SIGSTOP)
        await self._wait(0.3, 3)
        for name in names:
            self._group.members[name].signal(signal.SIGCONT)

    async def part_minority(self) -> None:
        """The leader is in it, mostly."""
        size = len(self._group.names) // 2
        some = (
            await self._leader_first(size)
            if self._source.random() < 0.7
            else self._source.sample(self._group.names, size)
        )
        await self._parted(lambda network: network.apart(some))

    async def part_all(self) -> None:
        pairs = [(a, b) for a in self._group.names for b in self._group.names if a != b]
        await self._parted(lambda network: network.cut(pairs))

    async def part_some_pairs(self) -> None:
        """Each way by itself, so that one may hear and not be heard."""
        pairs = [(a, b) for a in self._group.names for b in self._group.names if a != b]
        chosen = [pair for pair in pairs if self._source.random() < 0.4]
        await self._parted(lambda network: network.cut(chosen))

    async def _parted(self, act: Callable[[storenetwork.Network], object]) -> None:
        assert self._network is not None
        act(self._network)
        await self._wait(0.5, 4)
        self._network.heal()

    async def slow_disk(self) -> None:
        """Of one member, mostly the leader: 50 to 400 ms for what takes one otherwise."""
        names = await self._leader_first(1) if self._source.random() < 0.6 else self._some()[:1]
        slow_s = self._source.uniform(0.05, 0.4)
        await self._broken(names, "slow", slow_s)
        await self._wait(1, 3)
        await self._broken(names, "slow", 0.0)

    async def failing_disk(self) -> None:
        """EIO of a sync: the process must end by itself, and come back with what it had promised."""
        names = await self._leader_first(1) if self._source.random() < 0.5 else self._some()[:1]
        await self._broken(names, "fail", 1.0)
        for name in names:
            member = self._group.members[name]
            ends = time.monotonic() + PROGRESS_S
            while member.ended is None:
                if time.monotonic() > ends:
                    raise errors.TimedOutError(f"{name} goes on though its disk fails")
                await asyncio.sleep(0.02)
        await self._killed(names)

    async def read_carelessly(self) -> None:
        """Every member answers reads from what it has. No fault: a bug, by which the judges are judged."""
        await self._broken(self._group.names, "careless", 1.0)
        await self._wait(1.5, 2.5)

    async def jump_clocks(self) -> None:
        """The wall's any way, the monotonic one forwards, as after a machine was suspended."""
        for name in self._some():
            await self._broken([name], "wall", self._source.uniform(-1e9, 1e9))
            await self._broken([name], "monotonic", self._source.choice((0.0, 2.0, 3600.0)))

    async def cut_power(self) -> None:
        """Of the disk that all of them are on: what was not synced is gone."""
        assert self._disk is not None
        members = [self._group.members[name] for name in self._group.names]
        await asyncio.to_thread(loopdisk.stopped, [one.pid for one in members])
        await asyncio.to_thread(self._disk.cut)
        for member in members:
            member.kill()
        await asyncio.to_thread(self._disk.power_on)
        await self._killed(self._group.names)

    async def _broken(self, names: Sequence[str], what: str, value: float) -> None:
        for name in names:
            link = await self._group.reach(name)
            try:
                await link.break_(what, value)
            finally:
                await link.close()

    def heal(self) -> None:
        if self._network is not None:
            self._network.heal()
        for member in self._group.members.values():
            member.signal(signal.SIGCONT)
            if not member.running:
                member.start()


FAULTS: dict[str, Callable[[Nemesis], Awaitable[None]]] = {
    "kill leader": Nemesis.kill_leader,
    "kill some": Nemesis.kill_some,
    "freeze leader": Nemesis.freeze_leader,
    "freeze some": Nemesis.freeze_some,
    "part minority": Nemesis.part_minority,
    "part all": Nemesis.part_all,
    "part some pairs": Nemesis.part_some_pairs,
    "slow disk": Nemesis.slow_disk,
    "failing disk": Nemesis.failing_disk,
    "clocks jump": Nemesis.jump_clocks,
    "power cut": Nemesis.cut_power,
}
PLANTED: dict[str, Callable[[Nemesis], Awaitable[None]]] = {"read carelessly": Nemesis.read_carelessly}
NETWORK = frozenset({"part minority", "part all", "part some pairs"})
POWER = frozenset({"power cut"})
DISK_MIB = 256


class Ground(NamedTuple):
    """What a life stands on."""

    base: pathlib.Path
    network: storenetwork.Network | None
    disk: loopdisk.LoopDisk | None


class Life(msgspec.Struct, frozen=True):
    """How one is to be."""

    seed: int
    members: int
    seconds: float
    """Of faults; start and end come on top."""
    network: bool = False
    """Namespaces, hence partitions; needs root."""
    power: bool = False
    """An ext4 of its own whose power can be cut; needs root."""
    faults: tuple[str, ...] = ()
    """These, in this order, and no others; none: any, at random, until the time is over."""
    pause_s: float = 0.0
    """Between two operations of a client."""


async def lived(base: pathlib.Path, life: Life) -> Result:
    """One life, judged."""
    result = Result(life.seed, life.members, faults={}, violations=[])
    begun = time.monotonic()
    with ExitStack() as stack:
        ground = _ground(stack, base, life)
        group = _group(stack, ground, life)
        await group.make()
        os.sync()  # what was made before the first power cut must last too
        await group.start()
        clients = [
            storeclients.Client(ground.base, number, group.names, life.seed)
            for number in range(1, CLIENTS + 1)
        ]
        counts = storeclients.Counts(set(), set(), acks=[])
        nemesis = Nemesis(group, ground, random.Random(life.seed))
        await _suffered(life, nemesis, clients, counts)
        result.faults = dict(nemesis.done)
        await group.agreed(group.names)
        last = storeclients.Client(ground.base, 0, group.names, life.seed)
        operations = [one for client in clients for one in client.operations]
        operations += await last.read_all()
        marks = await _marks(group)
        told = await group.look(group.names[0])
        result.elections = 0 if told is None else told[0].term
    _judge(result, operations, counts, marks)
    result.seconds = round(time.monotonic() - begun, 1)
    return result


def _ground(stack: ExitStack, base: pathlib.Path, life: Life) -> Ground:
    names = [f"m{number}" for number in range(1, life.members + 1)]
    network = stack.enter_context(storenetwork.Network(names)) if life.network else None
    if not life.power:
        return Ground(base, network, None)
    disk = loopdisk.LoopDisk(base, DISK_MIB)
    stack.callback(disk.throw_away)
    (disk.path / "group").mkdir()
    return Ground(disk.path / "group", network, disk)


def _group(stack: ExitStack, ground: Ground, life: Life) -> groups.Group:
    network = ground.network
    group = groups.Group(
        ground.base,
        life.members,
        hosts=None if network is None else network.hosts,
        inside=None if network is None else network.inside(),
        module="tests.storemember",
    )
    stack.callback(group.end)
    return group


async def _suffered(
    life: Life, nemesis: Nemesis, clients: Sequence[storeclients.Client], counts: storeclients.Counts
) -> None:
    running = [asyncio.ensure_future(client.run(counts, life.pause_s)) for client in clients]
    source = random.Random(life.seed + 1)
    ends = time.monotonic() + life.seconds
    wanted = list(life.faults)
    try:
        await _progress(running, counts, 20)
        while wanted or (not life.faults and time.monotonic() < ends):
            await nemesis.strike(wanted.pop(0) if wanted else source.choice(nemesis.kinds()))
            await _progress(running, counts, 20)
        nemesis.heal()
        for client in clients:
            client.stopping = True
        async with asyncio.timeout(PROGRESS_S):
            await asyncio.gather(*running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _progress(
    running: Sequence["asyncio.Future[None]"], counts: storeclients.Counts, more: int
) -> None:
    """Wait for so many further acknowledgements."""
    wanted, ends = len(counts.acks) + more, time.monotonic() + PROGRESS_S
    while len(counts.acks) < wanted:
        for task in running:
            if task.done():
                task.result()
        if time.monotonic() > ends:
            raise errors.TimedOutError("nothing is acknowledged though the fault is over")
        await asyncio.sleep(0.02)


async def _marks(group: groups.Group) -> set[bytes]:
    """Of every write that the group holds now, asked of each member."""
    found = []
    for name in group.names:
        link = await group.reach(name)
        found.append(
            {item.key.removeprefix(storeclients.MARKS) for item in await link.scan(storeclients.MARKS)}
        )
        await link.close()
    assert all(one == found[0] for one in found), "members hold different keys"
    return found[0]


def _judge(
    result: Result,
    operations: list[history.Operation],
    counts: storeclients.Counts,
    marks: set[bytes],
) -> None:
    result.operations = len(operations)
    result.acknowledged = len(counts.acknowledged)
    result.doubts, result.resolved = counts.doubts, counts.resolved
    result.lost = len(counts.acknowledged - marks)
    result.risen = len(counts.refused & marks)
    ends = sorted(end for _start, end in counts.acks)
    result.gap_s = round(max((b - a for a, b in itertools.pairwise(ends)), default=0.0), 2)
    result.violations = [*history.unexplained(operations), *history.contradictions(operations)][:20]
