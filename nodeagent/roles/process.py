"""The role `process`: keeps one program running with its files, and says truly whether it works.

Law: nothing is written or started before the checks have passed; what was started is ended with all its offspring,
when it is told to stop and when it ends by itself. A program that crash-loops is reported `failed` with the code
`crash_loop`; going back to the last good parameters is decided in one place for all roles, the node's machine (R4).
"""

import pathlib

import anyio

from coordinator import effects, limits, role
from nodeagent.roles import durations, process_params, program
from nodeagent.supervision import keeper, leftovers, machine, output

PROBE_FIRST_S = 0.05
PROBE_SLOWEST_S = 1.0
PROBE_READY_S = 2.0  # once it works it is looked at this often
PROBE_TIMEOUT_S = 5.0
ROTATE_EVERY_S = 10.0
TAIL_BYTES = 200


class ProcessRole:
    """One program of the document."""

    def __init__(self) -> None:
        self._program: program.Program | None = None
        self._keeper: keeper.Keeper | None = None
        self._report = role.Report(role.Health.STOPPED)
        self._probe: anyio.CancelScope | None = None
        self._looping = ""
        self._ended = ""

    async def start(self, params: process_params.ProcessParams, context: role.Context) -> None:
        """Raises RoleRefusedError: see `program.Program.check`, or `cannot_start`."""
        self._program = program.Program(params, context)
        leftovers.end(pathlib.Path(context.node_directory), context.role)
        self._program.check(port_is_ours=False)
        self._program.write_files()
        self._report = role.Report(role.Health.PROGRESSING, "starting")
        self._keeper = self._keep(params, context)
        context.background(self._keeper.run)
        context.background(self._rotate)
        self._keeper.want(machine.Wanted.RUNNING)
        if await self._keeper.until(machine.State.RUNNING, machine.State.BACKOFF) is machine.State.BACKOFF:
            raise role.RoleRefusedError("cannot_start", self._ended)

    async def apply(
        self, old: process_params.ProcessParams, new: process_params.ProcessParams
    ) -> role.Applied:
        """Files alone hot, by the reload signal; everything else by restart."""
        now, keeping = self._running()
        wanted = program.Program(new, now.context)
        try:
            wanted.check(port_is_ours=old.ready.tcp == new.ready.tcp)
        except role.RoleRefusedError as error:
            return role.Refused(error.code, error.detail)
        if not process_params.hot(old, new) or keeping.state is not machine.State.RUNNING:
            return role.RestartNeeded(", ".join(process_params.changed(old, new)))
        assert new.reload is not None
        self._program = wanted
        wanted.write_files()
        self._say(role.Report(role.Health.PROGRESSING, "reloading"))
        keeping.signal(process_params.signal_number(new.reload))
        self._begin_probing()
        return role.AppliedHot()

    async def configured(self, view: role.View) -> None:
        """A program watches `TIERCAST_SOCKET` itself, if it cares."""

    async def stop(self) -> None:
        """Ask, wait, kill; nothing of it is left then."""
        if self._keeper is None:
            return
        if self._probe is not None:
            self._probe.cancel()
        self._keeper.want(machine.Wanted.STOPPED)
        await self._keeper.until(machine.State.STOPPED)
        self._report = role.Report(role.Health.STOPPED)

    def report(self) -> role.Report:
        return self._report

    def _keep(self, params: process_params.ProcessParams, context: role.Context) -> keeper.Keeper:
        policy = machine.Policy(
            stop_signal=process_params.signal_number(params.stop.signal),
            stop_timeout_s=durations.seconds(params.stop.timeout),
        )
        return keeper.Keeper(
            context.launcher,
            context.clock,
            self._command,
            self._notice,
            policy=policy,
            sweep=self._sweep,
        )

    def _running(self) -> tuple[program.Program, keeper.Keeper]:
        assert self._program is not None
        assert self._keeper is not None
        return self._program, self._keeper

    def _command(self) -> effects.Command:
        now, _ = self._running()
        return now.command(now.params.command)

    def _sweep(self) -> None:
        now, _ = self._running()
        leftovers.end(pathlib.Path(now.context.node_directory), now.context.role)

    def _notice(self, notice: keeper.Notice) -> None:
        now, _ = self._running()
        match notice:
            case machine.ReportUp(process=process):
                leftovers.record(pathlib.Path(now.context.node_directory), now.context.role, process)
                self._begin_probing()
            case machine.ReportDown(wanted=wanted, detail=detail, retry_in_s=retry_in_s):
                if not wanted:
                    self._down(detail, retry_in_s or 0.0)
            case machine.CrashLooping(crashes=crashes, detail=detail):
                said = output.last_line(pathlib.Path(now.context.log_path), TAIL_BYTES)
                self._looping = f"ended {crashes} times within {limits.CRASH_WINDOW_S:g} s, last: {detail}"
                self._looping += f"; its log ends with: {said}" if said else ""
                self._say(role.Report(role.Health.FAILED, "crash_loop", self._looping))

    def _down(self, detail: str, retry_in_s: float) -> None:
        self._ended = detail
        if self._probe is not None:
            self._probe.cancel()
        if not self._looping:
            sentence = f"{detail}, started again in {retry_in_s:g} s"
            self._say(role.Report(role.Health.PROGRESSING, "restarting", sentence))

    def _say(self, report: role.Report) -> None:
        now, _ = self._running()
        if report != self._report:
            self._report = report
            now.context.changed()

    def _begin_probing(self) -> None:
        """From the beginning: what was found before the program was started or reloaded proves nothing."""
        now, _ = self._running()
        if self._probe is not None:
            self._probe.cancel()
        scope = self._probe = anyio.CancelScope()

        async def probe() -> None:
            with scope:
                await self._probe_for_ever(now)

        now.context.background(probe)

    async def _probe_for_ever(self, now: program.Program) -> None:
        ready = now.params.ready
        if ready.after is not None:
            await anyio.sleep(durations.seconds(ready.after))
            await self._works()
            return
        pause = PROBE_FIRST_S
        while True:
            problem = await self._look(now)
            if problem is None:
                await self._works()
            elif self._report.health in (role.Health.HEALTHY, role.Health.DEGRADED):
                self._say(role.Report(role.Health.DEGRADED, "probe_failed", problem))
            elif not self._looping:
                self._say(role.Report(role.Health.PROGRESSING, "not_ready", problem))
            pause = PROBE_READY_S if problem is None else min(pause * 2, PROBE_SLOWEST_S)
            await anyio.sleep(pause)

    async def _works(self) -> None:
        """A program that crash-looped counts as well again only when it has lasted as long as crashes count."""
        if self._looping:
            await anyio.sleep(limits.CRASH_WINDOW_S)
            self._looping = ""
        self._say(role.Report(role.Health.HEALTHY))

    async def _look(self, now: program.Program) -> str | None:
        """What is wrong, or None."""
        ready = now.params.ready
        try:
            with anyio.fail_after(PROBE_TIMEOUT_S):
                if ready.tcp is not None:
                    async with await anyio.connect_tcp(now.context.address, ready.tcp):
                        return None
                assert ready.exec is not None
                return await self._run(now, ready.exec)
        except TimeoutError:
            return f"no answer within {PROBE_TIMEOUT_S:g} s"
        except OSError as error:
            return f"{error}" if ready.tcp is None else f"no connection to {now.context.address}:{ready.tcp}"

    async def _run(self, now: program.Program, argv: tuple[str, ...]) -> str | None:
        launcher = now.context.launcher
        process = launcher.spawn(now.command(argv))
        try:
            ended = await launcher.wait(process)
        finally:
            launcher.kill(process, machine.SIGKILL, group=True)
            with anyio.CancelScope(shield=True):
                await launcher.wait(process)
        return None if ended.status == 0 else f"{argv[0]} {machine.describe(ended.status)}"

    async def _rotate(self) -> None:
        now, _ = self._running()
        path = pathlib.Path(now.context.log_path)
        while True:
            await anyio.sleep(ROTATE_EVERY_S)
            output.rotate(path, limits.LOG_ROTATE_BYTES)
