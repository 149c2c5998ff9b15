"""The role `mic`: one of the MIC instances, over the store's member in its server's directory.

It stands by until the office is free, takes it, serves, and stands by again when its picture of the store has become
doubtful; each time it serves, it has read the store anew. With one member nobody else can open the store, and the office
is taken at the start. A MIC that stands by is healthy: it does all that it is there for (docs/decisions/0008).
"""

import functools

import anyio
import msgspec

from coordinator import errors, limits, role
from coordinator.config import kinds
from coordinator.hop import door, driver
from coordinator.host import catalogue, disk, logs, settings
from coordinator.propagation import joining
from coordinator.runtime import engine, etcd_api, home, keyholding, saving, store_socket, undoing
from coordinator.tiers import (
    desk,
    entering,
    mic,
    office,
    permissions,
    requests,
    rotating,
    seed,
    standby,
    standing,
    taking,
)
from coordinator.trust import authority

LOOK_S = 0.5  # how often a standby asks whether the office is free
_ELSEWHERE = (
    office.HeldError,
    office.DeposedError,
    errors.NoQuorumError,
    errors.UnknownOutcomeError,
    errors.NoSpaceError,
)
"""Passes by itself: asked again after a while."""

_LOG = logs.Log("mic")


class _Running(msgspec.Struct, frozen=True):
    """Everything that is there while it is active."""

    mic: mic.Mic
    driver: driver.Driver


class MicRole:
    """One instance."""

    def __init__(self) -> None:
        self._context: role.Context
        self._params: kinds.MicParams
        self._home: home.Home
        """As of the start: who this server is does not change."""
        self._authority: authority.Authority
        self._running: _Running | None = None
        self._store: engine.MicStore | None = None
        self._driver: driver.Driver | None = None
        self._etcd: etcd_api.Closing | None = None
        self._waits = role.Report(role.Health.PROGRESSING, "starting", "not in office yet")
        self._met = False
        """There was a quorum once."""
        self._standing = anyio.Lock()
        self._over = False

    # --- the host -------------------------------------------------------------------------------------------------

    async def start(self, params: kinds.MicParams, context: role.Context) -> None:
        """Open the store, take office or stand by. Raises `RoleRefusedError`."""
        self._context, self._params = context, params
        place = f"{context.address}:{params.port}"
        try:
            here = home.find(context)
            self._authority = authority.Authority.load(here.root)
            self._home = here
            layout = settings.Layout(context.server_directory)
            context.background(functools.partial(keyholding.follow, here, layout))
            with anyio.fail_after(limits.READY_TIMEOUT_S / 2):
                self._store = await engine.open_store(layout, here, context.clock, context.random)
            await self._stand()
        except errors.TiercastError as problem:
            raise home.refused(problem, place) from problem
        context.background(self._go_on)
        context.background(functools.partial(keyholding.pin, here, self._store))
        context.background(functools.partial(self._answer_here, self._store))
        root = settings.Layout(context.server_directory).root
        context.background(functools.partial(saving.keep_saving, self._store, root))

    async def apply(self, old: kinds.MicParams, new: kinds.MicParams) -> role.Applied:
        return role.AppliedHot() if old == new else role.RestartNeeded("the port is bound at the start")

    async def configured(self, view: role.View) -> None:
        """MIC knows the configuration before its server does."""

    async def stop(self) -> None:
        """Serve on until every linked server has accepted the newest, then leave the office to the next one."""
        self._over = True
        async with self._standing:  # whoever is just coming into office has come, and nobody does after that
            running, self._running = self._running, None
        if running is not None and running.mic.fallen is None and not running.driver.failed.done():
            await running.mic.drain()
            running.driver.act(home.farewell(running.mic.at.master.publisher, "MIC stops"))
        with anyio.CancelScope(shield=True):
            await self._silence("MIC stops")
            if running is not None and running.mic.at.office is not None:
                await _released(running.mic.at.office)
            if self._store is not None:
                await self._store.close()

    def report(self) -> role.Report:
        running = self._running
        if running is None:
            return self._waits
        if running.driver.failed.done():
            return role.Report(role.Health.FAILED, "exception", str(running.driver.failed.result()))
        if running.mic.recovery:
            return role.Report(role.Health.DEGRADED, "needs_recovery", running.mic.recovery)
        return role.Report(role.Health.HEALTHY)

    # --- standing by and serving ------------------------------------------------------------------------------------

    async def _stand(self) -> None:
        """Serve if the office is free; else let children know that it is elsewhere. Raises `TiercastError`."""
        assert self._store is not None
        try:
            why = await self._occupied(self._store)
            if why is None:
                await self._serve(self._store)
                return
        except _ELSEWHERE as problem:
            why = self._without(problem)
        if why != self._waits:
            self._waits = why
            _LOG.info("stands by", code=why.code, reason=why.detail)
            self._context.changed()
        if self._driver is None:
            made = driver.Driver(standby.Standby(), self._home.ground(self._context), _none)
            await self._listen(made, _elsewhere)
            made.start()

    async def _occupied(self, store: engine.MicStore) -> role.Report | None:
        """Why the office is not to be taken now. Raises `NoQuorumError`."""
        try:
            other = await office.holder(store, self._home.identity.server_id)
            identity = self._home.own.identity
            self._authority = await keyholding.newest(store, self._home.root, identity, self._authority)
        except engine.REFUSALS as problem:
            return role.Report(role.Health.DEGRADED, problem.code, problem.message)
        self._met = True
        if (await store.status()).sealed:
            detail = "the store was handed over; this member belongs to a group that has ended"
            return role.Report(role.Health.DEGRADED, "handed_over", detail)
        return (
            None
            if other is None
            else role.Report(role.Health.HEALTHY, "standby", f"server {other} is active")
        )

    def _without(self, problem: errors.TiercastError) -> role.Report:
        """The office could not be had; whether there is trouble depends on whether there ever was a quorum."""
        if isinstance(problem, office.HeldError):
            return role.Report(role.Health.HEALTHY, "standby", problem.message)
        health = role.Health.DEGRADED if self._met else role.Health.PROGRESSING
        return role.Report(health, problem.code, problem.message)

    async def _serve(self, store: engine.MicStore) -> None:
        """Take office. Raises `HeldError` and what `taking.open_mic` raises."""
        context = self._context
        here = msgspec.structs.replace(home.find(context), own=self._home.own)
        identity = here.own.identity
        self._authority = await keyholding.newest(store, here.root, identity, self._authority)
        means = desk.Means(
            identity.cluster,
            identity.server_id,
            context.server,
            self._authority,
            catalogue.load,
            context.clock,
            context.random,
        )
        served = await taking.open_mic(means, store, _memory(here, context))
        served.at.keep = functools.partial(authority.Authority.save, disk=here.root)
        await self._silence("this MIC comes into office")
        made = driver.Driver(served.machine, here.ground(context), served.perform)
        await self._listen(made, functools.partial(served.answered, joining.JOIN, permissions.DOOR))
        self._etcd = await etcd_api.listen(served, self._context, self._params)
        self._running = _Running(served, made)
        served.attach(made.act)
        made.start()

    async def _listen(self, made: driver.Driver, join: door.Ask) -> None:
        self._driver = made  # from here on `stop` closes it
        strangers = door.Door(self._shown, join, self._context.clock)
        await made.listen(self._context.address, self._params.port, strangers)

    def _shown(self) -> door.Shown:
        """To machines that have no identity yet."""
        content = self._home.content if self._running is None else self._running.mic.at.past.content
        return door.Shown(self._home.own.identity, content.trust.content.roots)

    async def _rotated(self, what: str) -> rotating.Progress:
        """Raises `NoCoordinatorError` where another MIC is active."""
        at = self._active()
        assert self._store is not None
        return await keyholding.rotated(at, what, self._store, self._home.own.identity)

    async def _reset(self, name: str, password: str) -> str:
        """Raises `NoCoordinatorError` where another MIC is active."""
        return (await entering.reset_administrator(self._active(), name, password)).detail

    async def _rollback(self, asked: requests.Rollback) -> undoing.Undone:
        """Raises `NoCoordinatorError` where another MIC is active."""
        return await undoing.rollback(self._active(), asked)

    async def _rollout(self, asked: requests.WaitRollout) -> requests.RolloutView:
        """Raises `NoCoordinatorError` where another MIC is active."""
        return await undoing.rollout(self._active(), asked)

    def _active(self) -> desk.Desk:
        if self._running is None:
            raise errors.NoCoordinatorError(f"this MIC is not the active one: {self._waits.detail}")
        return self._running.mic.at

    async def _silence(self, reason: str) -> None:
        etcd, self._etcd = self._etcd, None
        if etcd is not None:
            await etcd.close()
        if self._driver is not None:
            with anyio.CancelScope(shield=True):
                await self._driver.close(reason)
            self._driver = None

    async def _go_on(self) -> None:
        """Until cancelled. Raises where the driver failed: that is a bug or a disk."""
        while True:
            if self._running is None:
                await anyio.sleep(LOOK_S)
                async with self._standing:
                    if not self._over:
                        await self._stand()
                continue
            self._context.changed()
            running = self._running
            try:
                await _either(running)
            except errors.TiercastError as problem:
                _LOG.warning("out of office", code=problem.code, reason=problem.message)
                self._running = None
                self._waits = role.Report(role.Health.PROGRESSING, problem.code, problem.message)
                self._context.changed()
                await self._silence(problem.message)

    async def _answer_here(self, store: engine.MicStore) -> None:
        """Commands of this machine ask about the store; without that everything else goes on."""
        served = store_socket.Served(
            store.member, lambda: self.report().code or "active", store.status, store.snapshot, self._rotated,
            self._reset, self._rollback, self._rollout,
        )  # fmt: skip
        path = settings.Layout(self._context.server_directory).socket(store_socket.NAME)
        try:
            await store_socket.serve(path, served)
        except OSError as problem:
            _LOG.warning("no socket for store commands", reason=str(problem))


async def _either(running: _Running) -> None:
    """Serve until MIC must end, or its driver does. Raises why."""
    failed, over = running.driver.failed, anyio.Event()
    failed.add_done_callback(lambda _: over.set())

    async def failing() -> None:
        await over.wait()  # not for the future itself: cancelling whoever waits for it would cancel it
        raise failed.result()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(failing)
            tasks.start_soon(running.mic.run)
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None


async def _released(held: office.Office) -> None:
    """At most a second of an orderly end; a lease that is not given up ends by itself."""
    with anyio.move_on_after(1.0):
        try:
            await held.release()
        except errors.TiercastError as problem:
            _LOG.info("lease not given up", reason=problem.message)


async def _elsewhere(_carried: bytes) -> tuple[str, bytes]:
    """Of a MIC that stands by: it issues nothing."""
    return errors.NoCoordinatorError.code, b""


def _none(output: object) -> None:
    raise AssertionError(f"not an output of a standby: {output}")


def _memory(here: home.Home, context: role.Context) -> taking.Memory:
    """What is remembered outside the store. Raises `DamagedError`."""
    data = here.root.read(seed.FILE)
    mark = standing.HighWater(disk.DirectoryDisk(context.state_directory))
    first = None if data is None else seed.decode(data)
    accepted = None if here.content.target is None else here.content
    return taking.Memory(mark, first, accepted, here.body)
