"""A group of our store's members, each a process of its own under production's mutual TLS, that may be killed and frozen."""

import asyncio
import itertools
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import msgspec

from bench.store import ours, service
from coordinator import errors, names
from coordinator.store import port
from coordinator.store.backends import raft
from coordinator.trust import authority

LOOK_S = 0.02
READY_S = 60.0  # a process starts in half a second; on a machine that is busy otherwise it takes its time


class Member:
    """One process, or none at the moment."""

    def __init__(self, base: pathlib.Path, name: str, argv: Sequence[str]) -> None:
        self.base, self.name = base, name
        self._argv = tuple(argv)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "asked of a member that runs"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def ended(self) -> int | None:
        """The exit status of one that ended by itself."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        with (self.base / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(self._argv, stdout=log, stderr=log)

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """At once, and wait for its end; nothing where none runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def said(self) -> str:
        """What it wrote, the end of it."""
        log = self.base / f"{self.name}.log"
        return log.read_text(errors="replace")[-2000:] if log.exists() else ""


class Group:
    """All members, made from nothing below `base`."""

    def __init__(
        self,
        base: pathlib.Path,
        count: int,
        *,
        hosts: Mapping[str, str] | None = None,
        inside: Mapping[str, Sequence[str]] | None = None,
        module: str = "bench.store.member",
    ) -> None:
        """`hosts`: the address of each, else loopback; `inside`: what each is started by, as `ip netns exec`."""
        self.base = base
        self.names = tuple(f"m{number}" for number in range(1, count + 1))
        self._hosts = dict.fromkeys(self.names, ours.HOST) | dict(hosts or {})
        given = inside or {}
        self.members = {
            name: Member(
                base, name, (*given.get(name, ()), sys.executable, "-m", module, str(base.absolute()), name)
            )
            for name in self.names
        }

    async def make(self) -> None:
        """Directories, certificates and the plan; runs nothing."""
        wall = ours.Clock().wall()
        issuer = authority.create_authority(ours.CLUSTER, wall)
        plan = ours.Plan(
            {name: (self._hosts[name], ours.free_port()) for name in self.names},
            {name: authority.enrolled(issuer, names.ServerId(name), wall) for name in self.names},
        )
        (self.base / "plan").write_bytes(msgspec.msgpack.encode(plan))
        for name in self.names:
            identity = raft.Identity(ours.CLUSTER, name, self.names)
            await raft.create_member(self.base / name, identity, ours.Random())

    async def start(self) -> None:
        """All of them, until one leads and all know it."""
        for member in self.members.values():
            member.start()
        await self.agreed(self.names)

    async def reach(self, name: str, limit_s: float = READY_S) -> service.Remote:
        """A link to it, once it listens. Raises `TimeoutError`, and `DamagedError` where it ends instead."""
        async with asyncio.timeout(limit_s):
            while True:
                try:
                    return await service.dial(self.base, name)
                except OSError:
                    ended = self.members[name].ended
                    if ended is not None:
                        said = self.members[name].said()
                        raise errors.DamagedError(f"{name} ended by itself with {ended}: {said}") from None
                    await asyncio.sleep(LOOK_S)

    async def look(self, name: str, limit_s: float = 1.0) -> tuple[port.StoreStatus, int] | None:
        """Its status, and its syncs; None where it does not say."""
        try:
            async with asyncio.timeout(limit_s):
                link = await service.dial(self.base, name)
                try:
                    return await link.look()
                finally:
                    await link.close()
        except (OSError, TimeoutError, errors.TiercastError):
            return None

    async def agreed(self, asked: Sequence[str]) -> str:
        """Who leads, once all of these say the same and have applied the same. Raises `TimeoutError`."""
        ends = time.monotonic() + READY_S
        for _ in itertools.count():
            told = [await self.look(name) for name in asked]
            views = {(one[0].leader, one[0].term, one[0].applied) for one in told if one is not None}
            if len(views) == 1 and None not in told:
                ((leader, _term, _applied),) = views
                if leader in asked:
                    assert leader is not None
                    return leader
            for name in asked:
                if self.members[name].ended is not None:
                    raise errors.DamagedError(f"{name} ended by itself: {self.members[name].said()}")
            if time.monotonic() > ends:
                raise TimeoutError(f"nobody leads: {told}")
            await asyncio.sleep(LOOK_S)
        raise AssertionError("never reached")

    async def present(self) -> None:
        """Return once every member answers and knows a leader. Raises `TimeoutError`."""
        async with asyncio.timeout(READY_S):
            for name in self.names:
                while (told := await self.look(name)) is None or told[0].leader is None:  # noqa: ASYNC110 an election tells nobody
                    await asyncio.sleep(LOOK_S)

    async def leader(self) -> str | None:
        """The one that says so of itself in the highest term, of those that answer."""
        told = [(name, await self.look(name)) for name, one in self.members.items() if one.running]
        leading = [(one[0].term, name) for name, one in told if one is not None and one[0].leader == name]
        return max(leading)[1] if leading else None

    def end(self) -> None:
        """Leave no process."""
        for member in self.members.values():
            member.signal(signal.SIGCONT)
            member.kill()
