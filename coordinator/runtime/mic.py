"""The role `mic`: the active MIC in a node of its own, over the store in its server's directory.

One member: nobody else can open the directory, so taking office is all there is to becoming active. It ends, and the
host starts it anew from the store, whenever its picture of the store has become doubtful.
"""

import functools
import pathlib

import anyio
import msgspec

from coordinator import errors, limits, role
from coordinator.config import kinds
from coordinator.hop import driver
from coordinator.host import catalogue, disk, logs, settings
from coordinator.runtime import home, store_socket
from coordinator.store.backends.raft import store as raft
from coordinator.tiers import desk, mic, seed, standing, taking
from coordinator.trust import authority

_LOG = logs.Log("mic")


class _Running(msgspec.Struct, frozen=True):
    """Everything that is there once it has started."""

    store: raft.RaftStore
    mic: mic.Mic
    driver: driver.Driver


class MicRole:
    """One instance."""

    def __init__(self) -> None:
        self._running: _Running | None = None
        self._store: raft.RaftStore | None = None
        self._driver: driver.Driver | None = None

    async def start(self, params: kinds.MicParams, context: role.Context) -> None:
        """Open the store, take office, serve. Raises `RoleRefusedError`."""
        place = f"{context.address}:{params.port}"
        try:
            here = home.find(context)
            held = authority.Authority.load(here.root)
            means = desk.Means(
                here.identity.cluster,
                here.identity.server_id,
                context.server,
                held,
                catalogue.load,
                context.clock,
                context.random,
            )
            self._store = await _open_store(context, means)
            served = await taking.open_mic(means, self._store, _memory(here, context))
            self._driver = driver.Driver(served.machine, here.ground(context), served.perform)
            await self._driver.listen(context.address, params.port)
        except errors.TiercastError as problem:
            raise home.refused(problem, place) from problem
        self._running = _Running(self._store, served, self._driver)
        served.attach(self._driver.act)
        self._driver.start()
        context.background(served.run)
        context.background(self._watch)
        context.background(functools.partial(self._answer_here, context, self._store))

    async def _answer_here(self, context: role.Context, store: raft.RaftStore) -> None:
        """Commands of this machine ask about the store; without that everything else goes on."""
        served = store_socket.Served(
            store.member, lambda: self.report().code or "active", store.status, store.snapshot
        )
        path = settings.Layout(context.server_directory).socket(store_socket.NAME)
        try:
            await store_socket.serve(path, served)
        except OSError as problem:
            _LOG.warning("no socket for store commands", reason=str(problem))

    async def _watch(self) -> None:
        assert self._driver is not None
        raise await self._driver.failed

    async def apply(self, old: kinds.MicParams, new: kinds.MicParams) -> role.Applied:
        return role.AppliedHot() if old == new else role.RestartNeeded("the port is bound at the start")

    async def configured(self, view: role.View) -> None:
        """MIC knows the configuration before its server does."""

    async def stop(self) -> None:
        """Serve on until every linked server has accepted the newest, then end."""
        running, self._running = self._running, None
        if running is not None and running.mic.fallen is None and not running.driver.failed.done():
            await running.mic.drain()
            running.driver.act(home.farewell(running.mic.at.master.publisher, "MIC stops"))
        with anyio.CancelScope(shield=True):
            if self._driver is not None:
                await self._driver.close("MIC stops")
            if self._store is not None:
                await self._store.close()

    def report(self) -> role.Report:
        running = self._running
        if running is None:
            return role.Report(role.Health.PROGRESSING, "starting", "not in office yet")
        if running.mic.fallen is not None:
            return role.Report(role.Health.FAILED, running.mic.fallen.code, running.mic.fallen.message)
        if running.driver.failed.done():
            return role.Report(role.Health.FAILED, "exception", str(running.driver.failed.result()))
        if running.mic.recovery:
            return role.Report(role.Health.DEGRADED, "needs_recovery", running.mic.recovery)
        return role.Report(role.Health.HEALTHY)


async def _open_store(context: role.Context, means: desk.Means) -> raft.RaftStore:
    """Made where there is none: whether anything may be issued from an empty one is decided in `standing`."""
    directory = pathlib.Path(context.server_directory) / "store"
    with anyio.fail_after(limits.READY_TIMEOUT_S):
        return await raft.open_store(
            directory, cluster=means.cluster, clock=context.clock, random=context.random, create=True
        )


def _memory(here: home.Home, context: role.Context) -> taking.Memory:
    """What is remembered outside the store. Raises `DamagedError`."""
    data = here.root.read(seed.FILE)
    mark = standing.HighWater(disk.DirectoryDisk(context.state_directory))
    first = None if data is None else seed.decode(data)
    accepted = None if here.content.target is None else here.content
    return taking.Memory(mark, first, accepted, here.body)
