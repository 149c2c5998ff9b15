"""One role of a node in life: performs the operations of its slot one after the other on a role instance.

Law: whatever a role does, raises or forgets stays here: every operation is bounded in time and ends in exactly one
answer, and nothing that the instance started in the background survives it.
"""

from collections import deque
from collections.abc import Awaitable, Callable

import anyio
import anyio.abc
import anyio.to_thread
import msgspec

from coordinator import effects, limits, names, role
from coordinator.host import logs
from nodeagent.basedrole import events

log = logs.Log("basedrole.lane")
START_TIMEOUT_S = limits.READY_TIMEOUT_S
CLEAN_UP_S = 1.0
REMEMBERED = "last-good"


class Hooks(msgspec.Struct, frozen=True):
    """The part of a role's context that the host of the node provides."""

    view: Callable[[], role.View]
    changed: Callable[[], None]
    background: Callable[[Callable[[], Awaitable[None]]], None]


class Surroundings(msgspec.Struct, frozen=True):
    """What all roles of a node share."""

    catalogue: role.Catalogue
    contexts: Callable[[events.WantedRole, Hooks], role.Context]
    view: Callable[[], role.View]
    memory: effects.Disk | None
    tasks: anyio.abc.TaskGroup
    answer: Callable[[events.RoleInput], None]
    changed: Callable[[names.RoleName], None]


class Life:
    """One instance of a role and what it runs in the background."""

    def __init__(self, instance: role.Role) -> None:
        self.instance = instance
        self.over = False
        self.scopes: set[anyio.CancelScope] = set()
        self.idle = anyio.Event()
        """Nothing of it runs in the background any more; set only once it is over."""


class Lane:
    """The operations of one role, in order."""

    def __init__(self, name: names.RoleName, around: Surroundings) -> None:
        self.name = name
        self._around = around
        self._life: Life | None = None
        self._queue: deque[events.RoleOutput] = deque()
        self._wake = anyio.Event()
        self._told: role.Report | None = None

    def put(self, operation: events.RoleOutput) -> None:
        """Queue an operation; of several views in a row only the newest is told."""
        if self._queue and isinstance(operation, events.Tell) and isinstance(self._queue[-1], events.Tell):
            self._queue.pop()
        self._queue.append(operation)
        self._wake.set()

    def look(self) -> None:
        """Ask the role how it is, and pass it on if that has changed."""
        if self._life is None or self._life.over:
            return
        try:
            report = self._life.instance.report()
        except Exception as error:  # noqa: BLE001 a role may raise anything; its neighbours live on
            report = role.Report(role.Health.FAILED, "exception", _described(error))
        if report != self._told:
            self._told = report
            self._around.answer(events.Reported(self.name, report))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            while self._queue:
                await self._perform(self._queue.popleft())
            self._wake = anyio.Event()
            await self._wake.wait()

    async def _perform(self, operation: events.RoleOutput) -> None:
        match operation:
            case events.Start(wanted=wanted):
                self._answer(await self._bounded(self._start(wanted)))
            case events.Apply(old=old, new=new):
                self._answer(await self._bounded(self._apply(old, new)))
            case events.Stop():
                self._around.answer(await self._stop())
            case events.Tell(view=view):
                await self._tell(view)
            case events.Remember(good=good):
                await self._remember(good)

    def _answer(self, answer: events.RoleInput) -> None:
        self._around.answer(answer)
        if isinstance(answer, events.RoleStarted | events.RoleAppliedHot):
            self._told = None
            self.look()

    async def _bounded(self, operation: Awaitable[events.RoleInput]) -> events.RoleInput:
        try:
            with anyio.fail_after(START_TIMEOUT_S):
                return await operation
        except TimeoutError:
            return events.RoleFailed(self.name, "timed_out", f"took longer than {START_TIMEOUT_S:g} s")
        except role.RoleRefusedError as error:
            return events.RoleRefused(self.name, error.code, error.detail)
        except Exception as error:  # noqa: BLE001 a role may raise anything; its neighbours live on
            log.crashed("role raised", role=self.name)
            return events.RoleFailed(self.name, "exception", _described(error))

    async def _start(self, wanted: events.WantedRole) -> events.RoleInput:
        params = self._params(wanted)
        instance = self._around.catalogue[wanted.type].load()()
        life = Life(instance)
        hooks = Hooks(
            view=self._around.view,
            changed=lambda: self._around.changed(self.name),
            background=lambda function: self._background(life, function),
        )
        context = self._around.contexts(wanted, hooks)
        try:
            await instance.start(params, context)
        except BaseException:
            with anyio.move_on_after(CLEAN_UP_S, shield=True):
                await self._end(life)
            raise
        self._life = life
        return events.RoleStarted(self.name)

    async def _apply(self, old: events.WantedRole, new: events.WantedRole) -> events.RoleInput:
        if self._life is None:
            return events.RoleRestartNeeded(self.name)
        params = self._params(new)
        match await self._life.instance.apply(self._params(old), params):
            case role.AppliedHot():
                return events.RoleAppliedHot(self.name)
            case role.RestartNeeded():
                return events.RoleRestartNeeded(self.name)
            case role.Refused(code=code, detail=detail):
                return events.RoleRefused(self.name, code, detail)

    async def _stop(self) -> events.RoleInput:
        life, self._life, self._told = self._life, None, None
        if life is not None:
            with anyio.move_on_after(limits.NODE_STOP_TIMEOUT_S) as scope:
                await self._end(life)
            if scope.cancelled_caught:
                detail = f"took longer than {limits.NODE_STOP_TIMEOUT_S:g} s to stop"
                return events.RoleFailed(self.name, "stop_timeout", detail)
        return events.RoleStopped(self.name)

    async def _end(self, life: Life) -> None:
        life.over = True
        try:
            await life.instance.stop()
        except Exception:  # noqa: BLE001 a role may raise anything; its neighbours live on
            log.crashed("role raised while it stopped", role=self.name)
        finally:
            for scope in tuple(life.scopes):
                scope.cancel()
        if life.scopes:
            await life.idle.wait()

    async def _tell(self, view: role.View) -> None:
        if self._life is None:
            return
        try:
            with anyio.fail_after(START_TIMEOUT_S):
                await self._life.instance.configured(view)
        except Exception as error:  # noqa: BLE001 a role may raise anything; its neighbours live on
            log.crashed("role raised at a new configuration", role=self.name)
            self._around.answer(events.RoleFailed(self.name, "exception", _described(error)))

    async def _remember(self, good: events.WantedRole) -> None:
        memory = self._around.memory
        if memory is None:
            return
        name, data = f"{REMEMBERED}/{good.name}.json", msgspec.json.encode(good)
        try:
            await anyio.to_thread.run_sync(memory.write, name, data)
        except OSError:
            log.crashed("last good parameters not kept", role=self.name)

    def _background(self, life: Life, function: Callable[[], Awaitable[None]]) -> None:
        scope = anyio.CancelScope()
        life.scopes.add(scope)
        self._around.tasks.start_soon(self._guard, life, scope, function)

    async def _guard(
        self, life: Life, scope: anyio.CancelScope, function: Callable[[], Awaitable[None]]
    ) -> None:
        try:
            with scope:
                await function()
        except Exception as error:  # noqa: BLE001 a role may raise anything; its neighbours live on
            log.crashed("role raised in the background", role=self.name)
            if not life.over:
                self._around.answer(events.RoleFailed(self.name, "exception", _described(error)))
        finally:
            life.scopes.discard(scope)
            if life.over and not life.scopes:
                life.idle.set()

    def _params(self, wanted: events.WantedRole) -> role.Params:
        """Raises RoleRefusedError: no such type, or parameters that do not fit it."""
        known = self._around.catalogue.get(wanted.type)
        if known is None:
            raise role.RoleRefusedError(
                "unknown_type", f"nothing here provides the role type {wanted.type!r}"
            )
        try:
            return msgspec.convert(wanted.params, known.params)
        except msgspec.ValidationError as error:
            raise role.RoleRefusedError("params", str(error)) from error


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
