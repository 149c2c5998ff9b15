"""Our store: embedded in this process, as MIC has it; further members are processes of their own, over mutual TLS."""

import asyncio
import pathlib
import random
import sys
import time

import msgspec

from bench import ports
from bench.store import counting
from coordinator import names
from coordinator.store import commands
from coordinator.store.backends import raft
from coordinator.trust import authority, tls

CLUSTER = names.ClusterId("bench")
HOST = "127.0.0.1"


class Clock:
    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()


class Random:
    def __init__(self) -> None:
        self._source = random.SystemRandom()

    def uniform(self, low: float, high: float) -> float:
        return self._source.uniform(low, high)

    def token(self, size_bytes: int) -> str:
        return self._source.randbytes(size_bytes).hex()


class Plan(msgspec.Struct, frozen=True):
    """What every member's process is told."""

    addresses: dict[str, tuple[str, int]]
    identities: dict[str, authority.Identity]


class Ours:
    """One or three members; puts go in at the member of this process, wherever the leader is."""

    name = "tiercast"

    def __init__(self, base: pathlib.Path, members: int) -> None:
        self._base = base
        self._members = members
        self._processes: list[asyncio.subprocess.Process] = []
        self._store: raft.RaftStore

    async def start(self) -> None:
        if self._members == 1:
            self._store = await alone(self._base / "store")
            return
        members = tuple(f"m{number}" for number in range(1, self._members + 1))
        issuer = authority.create_authority(CLUSTER, Clock().wall())
        plan = Plan(
            {name: (HOST, free_port()) for name in members},
            {name: authority.enrolled(issuer, names.ServerId(name), Clock().wall()) for name in members},
        )
        (self._base / "plan").write_bytes(msgspec.msgpack.encode(plan))
        for name in members:
            await raft.create_member(self._base / name, raft.Identity(CLUSTER, name, members), Random())
        for name in members[1:]:
            argv = (sys.executable, "-m", "bench.store.member", str(self._base), name)
            self._processes.append(await asyncio.create_subprocess_exec(*argv))
        self._store = await opened(self._base, members[0])
        async with asyncio.timeout(20):
            while (await self._store.status()).leader is None:  # noqa: ASYNC110 an election tells nobody
                await asyncio.sleep(0.05)

    async def put(self, key: bytes, value: bytes) -> None:
        await self._store.commit(commands.Txn(success=(commands.put(key, value),)))

    async def syncs(self) -> float:
        """Of the journal of the member in this process."""
        return counting.syncs()

    @property
    def pids(self) -> list[int]:
        """Of the members beside the one in this process."""
        return [process.pid for process in self._processes]

    async def close(self) -> None:
        await self._store.close()
        for process in self._processes:
            assert process.returncode is None, "a member ended by itself; nothing measured with it counts"
            process.kill()
            await process.wait()


async def alone(directory: pathlib.Path) -> raft.RaftStore:
    """A store of one member."""
    return await raft.open_store(directory, cluster=CLUSTER, clock=Clock(), random=Random(), create=True)


async def opened(base: pathlib.Path, name: str) -> raft.RaftStore:
    """This member, from the plan that lies in `base`."""
    plan = msgspec.msgpack.decode((base / "plan").read_bytes(), type=Plan)
    identity = plan.identities[name]

    def identify(certificate: bytes) -> str:
        return tls.identified(certificate, CLUSTER, 0.0).server_id

    server, client = tls.server_context(identity), tls.client_context(identity)
    group = raft.Group(plan.addresses, lambda: server, lambda: client, identify)
    return await raft.open_store(
        base / name, cluster=CLUSTER, clock=Clock(), random=Random(), create=False, group=group
    )


def free_port() -> int:
    return ports.free(HOST)
