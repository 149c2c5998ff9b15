"""Drives one supervision machine with a real launcher and clock: used by ServerShell for nodes and by `process` roles.

It decides nothing: inputs go into the machine one at a time, outputs are performed in order.
"""

from collections import deque
from collections.abc import Callable

import anyio
import anyio.abc

from coordinator import effects
from nodeagent.supervision import machine

Notice = machine.ReportUp | machine.ReportDown | machine.CrashLooping


def _nothing() -> None:
    """No leftovers to look for."""


class Keeper:
    """Keeps one process as wanted while `run` runs; `want` and `adopt` may be called before it."""

    def __init__(
        self,
        launcher: effects.Launcher,
        clock: effects.Clock,
        command: Callable[[], effects.Command],
        on_notice: Callable[[Notice], None],
        *,
        policy: machine.Policy | None = None,
        sweep: Callable[[], None] = _nothing,
    ) -> None:
        """`command` is asked anew at every start; `sweep` is called after every end, before anything else is done."""
        self._launcher = launcher
        self._clock = clock
        self._command = command
        self._on_notice = on_notice
        self._sweep = sweep
        self._machine = machine.Machine(policy or machine.Policy())
        self._inbox: deque[machine.Input] = deque()
        self._wake: anyio.Event | None = None
        self._moved: anyio.Event | None = None

    @property
    def state(self) -> machine.State:
        """What is observed."""
        return self._machine.state

    @property
    def process(self) -> effects.ProcessId | None:
        """The one that runs now."""
        return self._machine.process

    def want(self, wanted: machine.Wanted) -> None:
        """Decide; returns at once."""
        self._put(machine.Want(wanted))

    def adopt(self, process: effects.ProcessId) -> None:
        """Take over a process of an earlier life."""
        self._put(machine.Adopted(process))

    def signal(self, signal: int) -> None:
        """To the process itself, if it runs."""
        if self._machine.process is not None:
            self._launcher.kill(self._machine.process, signal, group=False)

    async def until(self, *states: machine.State) -> machine.State:
        """Return when all that was asked so far has been seen and one of these states is reached."""
        while self._inbox or self._machine.state not in states:
            if self._moved is None:
                self._moved = anyio.Event()
            await self._moved.wait()
        return self._machine.state

    async def run(self) -> None:
        """Until cancelled; the process is left as it is then."""
        async with anyio.create_task_group() as tasks:
            while True:
                self._wake = anyio.Event()
                while self._inbox:
                    self._take(self._inbox[0], tasks)
                    self._inbox.popleft()
                self._tell_moved()
                await self._sleep(self._wake)
                self._take(machine.Tick(), tasks)

    async def _sleep(self, wake: anyio.Event) -> None:
        deadline = self._machine.deadline
        limit = None if deadline is None else max(0.0, deadline - self._clock.monotonic())
        with anyio.move_on_after(limit):
            await wake.wait()

    def _take(self, event: machine.Input, tasks: anyio.abc.TaskGroup) -> None:
        if isinstance(event, machine.Adopted):
            tasks.start_soon(self._watch, event.process)
        for act in self._machine.handle(event, self._clock.monotonic()):
            self._perform(act, tasks)

    def _perform(self, act: machine.Output, tasks: anyio.abc.TaskGroup) -> None:
        match act:
            case machine.Spawn():
                self._spawn(tasks)
            case machine.Signal(process=process, signal=signal, group=group):
                self._launcher.kill(process, signal, group=group)
            case machine.ReportUp() | machine.ReportDown() | machine.CrashLooping():
                self._on_notice(act)

    def _spawn(self, tasks: anyio.abc.TaskGroup) -> None:
        try:
            process = self._launcher.spawn(self._command())
        except OSError as error:
            self._put(machine.SpawnFailed(f"cannot be started: {error.strerror or error}"))
        else:
            tasks.start_soon(self._watch, process)
            self._put(machine.Started(process))

    async def _watch(self, process: effects.ProcessId) -> None:
        ended = await self._launcher.wait(process)
        self._sweep()
        self._put(machine.Exited(ended))

    def _put(self, event: machine.Input) -> None:
        self._inbox.append(event)
        if self._wake is not None:
            self._wake.set()

    def _tell_moved(self) -> None:
        if self._moved is not None:
            self._moved.set()
            self._moved = None
