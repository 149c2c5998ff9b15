"""How long writers wait when the leader is killed: from the kill to the next write that is begun after it and acknowledged.

Three members are processes of their own, ours and etcd's alike. Four writers put 100 bytes each, one after the other, and go
to another member when one does not answer within a second; the first of them that has a write acknowledged counts, for
that is when the group works again. A killed member comes back before the next kill.
"""

import asyncio
import contextlib
import itertools
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from bench.peers import crowd
from bench.store import etcd, group, ours, service
from coordinator import errors
from coordinator.store import commands

WRITERS = 4
MEMBERS = 3
ATTEMPT_S = 1.0
STEADY_ACKS = 20  # between two kills, of each writer
LIMIT_S = 60.0


class Row(msgspec.Struct, frozen=True):
    """All recoveries of one system."""

    system: str
    kills: int
    p50_s: float
    p99_s: float
    worst_s: float
    lost: int
    """Acknowledged writes that were gone at the end."""


class System(Protocol):
    """A group that can lose its leader."""

    name: str

    async def start(self) -> None: ...

    async def put(self, writer: int, member: int, key: bytes) -> None:
        """Raises whatever it likes where that member cannot."""
        ...

    async def kill_leader(self) -> float:
        """The moment of the kill."""
        ...

    async def mend(self) -> None:
        """Return once every member is there again."""
        ...

    async def missing(self, keys: Sequence[bytes]) -> int:
        """How many of these are gone."""
        ...

    def close(self) -> None: ...


class Ours:
    """Members as processes with a socket beside them."""

    name = "tiercast"

    def __init__(self, base: pathlib.Path) -> None:
        self._group = group.Group(base, MEMBERS)
        self._links: dict[tuple[int, int], service.Remote] = {}

    async def start(self) -> None:
        await self._group.make()
        await self._group.start()

    async def put(self, writer: int, member: int, key: bytes) -> None:
        link = self._links.get((writer, member))
        if link is None or link.closed:
            link = self._links[writer, member] = await service.dial(
                self._group.base, self._group.names[member]
            )
        await link.commit(commands.Txn(success=(commands.put(key, bytes(100)),)))

    async def kill_leader(self) -> float:
        while (leader := await self._group.leader()) is None:  # noqa: ASYNC110 an election tells nobody
            await asyncio.sleep(0.05)
        at = time.monotonic()
        self._group.members[leader].kill()
        return at

    async def mend(self) -> None:
        for member in self._group.members.values():
            if not member.running:
                member.start()
        await self._group.present()

    async def missing(self, keys: Sequence[bytes]) -> int:
        link = await self._group.reach(self._group.names[0])
        held = {item.key for item in await link.scan(b"/f/")}
        await link.close()
        for one in self._links.values():
            await one.close()
        return sum(key not in held for key in keys)

    def close(self) -> None:
        self._group.end()


class Etcd:
    """Debian's, with its defaults."""

    name = "etcd"

    def __init__(self, base: pathlib.Path) -> None:
        self._base = base
        ports = [(ours.free_port(), ours.free_port()) for _ in range(MEMBERS)]
        self._clients = [client for client, _peer in ports]
        self._argv = etcd.arguments(base, {f"e{at}": pair for at, pair in enumerate(ports)})
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._links: dict[tuple[int, int], etcd.Client] = {}

    async def start(self) -> None:
        await self.mend()

    async def put(self, writer: int, member: int, key: bytes) -> None:
        link = self._links.get((writer, member))
        if link is None:
            link = self._links[writer, member] = await crowd.reached(etcd.Client, self._clients[member])
        try:
            async with asyncio.timeout(ATTEMPT_S):
                await link.put(key, bytes(100))
        except BaseException:
            self._links.pop((writer, member), None)
            raise

    async def kill_leader(self) -> float:
        while (leader := await asyncio.to_thread(self._leader)) is None:  # noqa: ASYNC110 as above
            await asyncio.sleep(0.05)
        at = time.monotonic()
        process = self._processes.pop(leader)
        process.send_signal(signal.SIGKILL)
        process.wait()
        return at

    async def mend(self) -> None:
        for at, argv in enumerate(self._argv):
            if at not in self._processes:
                self._processes[at] = subprocess.Popen(argv, stderr=subprocess.DEVNULL)  # noqa: ASYNC220 a millisecond
        for at in range(MEMBERS):
            await _until(lambda at=at: etcd.metric(self._clients[at], "etcd_server_has_leader") == 1)  # type: ignore[misc]

    async def missing(self, keys: Sequence[bytes]) -> int:
        link = await crowd.reached(etcd.Client, self._clients[0])
        gone = 0
        for key in keys:
            gone += not await link.has(key)
        return gone

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()

    def _leader(self) -> int | None:
        for at in self._processes:
            if etcd.metric(self._clients[at], "etcd_server_is_leader") == 1:
                return at
        return None


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110 another process tells nobody
            await asyncio.sleep(0.05)


class _Writers:
    """Put all the time, and remember when each acknowledged write was begun and ended."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._numbers = itertools.count(1)
        self.acks: list[tuple[float, float]] = []
        self.acknowledged: list[bytes] = []

    async def write(self, first: int) -> None:
        member = first % MEMBERS
        while True:
            key = b"/f/%d" % next(self._numbers)
            begun = time.monotonic()
            try:
                async with asyncio.timeout(ATTEMPT_S):
                    await self._system.put(first, member, key)
            except (OSError, TimeoutError, errors.TiercastError, etcd.RefusedError):
                member = (member + 1) % MEMBERS
                await asyncio.sleep(0.005)
                continue
            self.acks.append((begun, time.monotonic()))
            self.acknowledged.append(key)

    async def more(self, count: int) -> None:
        wanted = len(self.acks) + count
        async with asyncio.timeout(LIMIT_S):
            while len(self.acks) < wanted:  # noqa: ASYNC110 they have better to do than to tell
                await asyncio.sleep(0.005)

    async def recovered(self, killed: float) -> float:
        """Seconds from then to the first acknowledgement of a write begun after it."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                after = [end for begun, end in self.acks if begun >= killed]
                if after:
                    return min(after) - killed
                await asyncio.sleep(0.005)


async def measure(system: System, kills: int) -> Row:
    """Kill so many leaders, one after the other."""
    await system.start()
    writers = _Writers(system)
    tasks = [asyncio.ensure_future(writers.write(number)) for number in range(WRITERS)]
    took = []
    try:
        for _ in range(kills):
            writers.acks.clear()
            await writers.more(STEADY_ACKS * WRITERS)
            took.append(await writers.recovered(await system.kill_leader()))
            await system.mend()
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
    lost = await system.missing(writers.acknowledged)
    took.sort()
    return Row(
        system.name,
        kills,
        round(took[len(took) // 2], 3),
        round(took[min(len(took) - 1, len(took) * 99 // 100)], 3),
        round(took[-1], 3),
        lost,
    )
