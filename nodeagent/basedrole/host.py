"""BasedRole's host: performs what the machine of a node's roles decides, on real role instances in one event loop.

It knows no sockets: whoever connects it to ServerShell calls `take`, and is told by `on_ack`. All inputs go through
one inbox, so the machine is never entered twice.
"""

from collections import deque
from collections.abc import Callable, Iterable

import anyio
import anyio.abc
import msgspec

from coordinator import effects, names, role
from coordinator.host import logs
from nodeagent.basedrole import acks, events, lane, lifecycle

log = logs.Log("basedrole.host")
LOOK_EVERY_S = 1.0  # health that nobody announced is seen within this time
NO_VIEW = role.View(names.NO_VERSION, names.Digest(""), b"")


class Host:
    """The roles of one worker node."""

    def __init__(
        self,
        catalogue: role.Catalogue,
        contexts: Callable[[events.WantedRole, lane.Hooks], role.Context],
        on_ack: Callable[[acks.NodeAck], None],
        clock: effects.Clock,
        memory: effects.Disk | None = None,
    ) -> None:
        """`contexts` makes a role's context from its place and our hooks; `memory` (the node's directory) keeps last
        good parameters over a restart of the node.
        """
        self._catalogue = catalogue
        self._contexts = contexts
        self._on_ack = on_ack
        self._clock = clock
        self._memory = memory
        self._machine = lifecycle.Machine()
        self._view = NO_VIEW
        self._inbox: deque[events.Input] = deque()
        self._dirty: set[names.RoleName] = set()
        self._lanes: dict[names.RoleName, lane.Lane] = {}
        self._wake = anyio.Event()
        self._stopped = anyio.Event()

    def take(
        self,
        view: role.View,
        roles: Iterable[events.WantedRole],
        given_up: events.GivenUp | None = None,
    ) -> None:
        """The server has accepted this configuration; `roles` are all of this node in it. Returns at once."""
        self._view = view
        self._put(events.Configured(view, tuple(map(_plain, roles)), given_up))

    def retry(self) -> None:
        """Try again what was refused or failed."""
        self._put(events.Retry())

    async def stop(self) -> None:
        """Stop every role; returns when nothing of them runs. `run` ends then."""
        self._put(events.StopAll())
        await self._stopped.wait()

    async def run(self) -> None:
        """Until stopped or cancelled."""
        self._recall()
        try:
            async with anyio.create_task_group() as tasks:
                while not self._stopped.is_set():
                    self._drain(tasks)
                    await self._sleep()
                tasks.cancel_scope.cancel()
        finally:
            self._stopped.set()

    def _drain(self, tasks: anyio.abc.TaskGroup) -> None:
        self._wake = anyio.Event()
        while self._inbox or self._dirty:
            while self._dirty:
                self._lane(self._dirty.pop(), tasks).look()
            if self._inbox:
                self._take(self._inbox.popleft(), tasks)

    async def _sleep(self) -> None:
        deadline = self._machine.deadline
        until = LOOK_EVERY_S if deadline is None else min(LOOK_EVERY_S, deadline - self._clock.monotonic())
        if self._stopped.is_set():
            return
        with anyio.move_on_after(max(0.0, until)) as timer:
            await self._wake.wait()
        if timer.cancelled_caught:
            self._dirty.update(self._lanes)
            self._inbox.append(events.Tick())

    def _take(self, event: events.Input, tasks: anyio.abc.TaskGroup) -> None:
        for act in self._machine.handle(event, self._clock.monotonic()):
            match act:
                case events.Acked(ack=ack):
                    self._on_ack(ack)
                case events.AllStopped():
                    self._stopped.set()
                case _:
                    self._lane(act.name, tasks).put(act)

    def _lane(self, name: names.RoleName, tasks: anyio.abc.TaskGroup) -> lane.Lane:
        if name not in self._lanes:
            around = lane.Surroundings(
                catalogue=self._catalogue,
                contexts=self._contexts,
                view=lambda: self._view,
                memory=self._memory,
                tasks=tasks,
                answer=self._put,
                changed=self._changed,
            )
            self._lanes[name] = lane.Lane(name, around)
            tasks.start_soon(self._lanes[name].run)
        return self._lanes[name]

    def _put(self, event: events.Input) -> None:
        self._inbox.append(event)
        self._wake.set()

    def _changed(self, name: names.RoleName) -> None:
        self._dirty.add(name)
        self._wake.set()

    def _recall(self) -> None:
        if self._memory is None:
            return
        recalled = []
        for name in self._memory.names(f"{lane.REMEMBERED}/"):
            try:
                data = self._memory.read(name)
                recalled += [msgspec.json.decode(data, type=events.WantedRole)] if data else []
            except (OSError, msgspec.DecodeError):
                log.crashed("last good parameters not read", file=name)
        self._inbox.appendleft(events.Recalled(tuple(recalled)))


def _plain(wanted: events.WantedRole) -> events.WantedRole:
    """As it is read back from memory, so that equal parameters compare equal whatever made them."""
    return msgspec.json.decode(msgspec.json.encode(wanted), type=events.WantedRole)
