"""The real launcher and what is built on it, with real processes."""

import functools
import os
import pathlib
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import msgspec
import pytest

from coordinator import effects
from coordinator.host import clock
from nodeagent.supervision import keeper, launcher, leftovers, machine, output, procfs
from tests.integration import processes

pytestmark = pytest.mark.integration

FAMILY = """
import os, subprocess, sys, time
subprocess.Popen(["sleep", "1000"])
subprocess.Popen(["sleep", "1000"], start_new_session=True)
print("up", flush=True)
time.sleep(1000)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True:
    time.sleep(1000)
"""
NODE = """
import sys, anyio, msgspec
from coordinator import effects
from nodeagent.supervision import launcher
async def main():
    bound = launcher.LinuxLauncher(bound=True)
    process = bound.spawn(msgspec.json.decode(sys.argv[1], type=effects.Command))
    print(process.pid, flush=True)
    await bound.wait(process)
anyio.run(main)
"""


def asynchronous(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        anyio.run(functools.partial(test, **fixtures))

    return run


def said(directory: pathlib.Path) -> str:
    path = directory / "out.log"
    return path.read_text(encoding="utf-8") if path.exists() else ""


@asynchronous
async def test_a_program_gets_exactly_its_environment_a_session_and_private_files(
    tmp_path: pathlib.Path,
) -> None:
    one = launcher.LinuxLauncher()
    script = "import os, sys; print(sorted(os.environ), os.getsid(0) == os.getpid(), os.getcwd(), sys.stdin.read()); open('made', 'w')"
    process = one.spawn(processes.command(tmp_path, *processes.python(script), MINE="1", LC_CTYPE="C"))
    assert await one.wait(process) == effects.Exit(process, 0)
    assert said(tmp_path).split() == f"['LC_CTYPE', 'MINE', 'PATH'] True {tmp_path}".split()
    for name in ("made", "out.log"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


@asynchronous
async def test_the_status_or_the_signal_of_the_end_is_told_to_everybody_who_waits(
    tmp_path: pathlib.Path,
) -> None:
    one = launcher.LinuxLauncher()
    process = one.spawn(processes.command(tmp_path, "sh", "-c", "exit 3"))
    ends = []

    async def wait() -> None:
        ends.append((await one.wait(process)).status)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        tasks.start_soon(wait)
    assert [*ends, (await one.wait(process)).status] == [3, 3, 3]
    killed = one.spawn(processes.command(tmp_path, "sleep", "1000"))
    one.kill(killed, signal.SIGKILL, group=False)
    assert (await one.wait(killed)).status == -signal.SIGKILL
    assert not one.alive(killed)


def test_what_cannot_be_started_raises_and_leaves_nothing(tmp_path: pathlib.Path) -> None:
    one = launcher.LinuxLauncher()
    with pytest.raises(FileNotFoundError):
        one.spawn(processes.command(tmp_path, "/no/such/command"))
    with pytest.raises(PermissionError):
        one.spawn(processes.command(tmp_path, str(tmp_path)))


@asynchronous
async def test_a_reused_pid_is_never_taken_for_the_process(tmp_path: pathlib.Path) -> None:
    one = launcher.LinuxLauncher()
    process = one.spawn(processes.command(tmp_path, "sleep", "1000"))
    earlier = msgspec.structs.replace(process, start_ticks=process.start_ticks - 1)
    before_the_boot = msgspec.structs.replace(process, boot_id="another")
    for other in (earlier, before_the_boot):
        one.kill(other, signal.SIGKILL, group=False)
        one.kill(other, signal.SIGKILL, group=True)
        assert not one.alive(other)
        assert (await one.wait(other)).status is None
    assert one.alive(process)
    one.kill(process, signal.SIGKILL, group=True)
    await one.wait(process)


@asynchronous
async def test_an_adopted_process_is_awaited_without_its_status(tmp_path: pathlib.Path) -> None:
    first, second = launcher.LinuxLauncher(), launcher.LinuxLauncher()
    process = first.spawn(processes.command(tmp_path, "sleep", "1000"))
    assert second.alive(process)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first.wait, process)
        second.kill(process, signal.SIGTERM, group=False)
        assert (await second.wait(process)).status is None


@asynchronous
async def test_a_group_is_everything_in_the_session(tmp_path: pathlib.Path) -> None:
    one = launcher.LinuxLauncher()
    process = one.spawn(processes.command(tmp_path, "sh", "-c", "sleep 1000 & sleep 1000 & echo up; wait"))
    await processes.eventually(lambda: "up" in said(tmp_path))
    await processes.eventually(lambda: len(launcher.session_of(process)) == 3)
    one.kill(process, signal.SIGKILL, group=False)
    await one.wait(process)
    assert len(launcher.session_of(process)) == 2
    one.kill(process, signal.SIGKILL, group=True)
    await processes.eventually(lambda: not launcher.session_of(process))


@asynchronous
async def test_the_offspring_of_a_killed_node_is_gone_or_found(tmp_path: pathlib.Path) -> None:
    """The program dies with its node by the kernel; what it had started is found by its mark."""
    mark = leftovers.mark(tmp_path, "web1")
    work = processes.command(tmp_path, *processes.python(FAMILY), **mark)
    node = subprocess.Popen(
        [sys.executable, "-c", NODE, msgspec.json.encode(work).decode()], stdout=subprocess.PIPE
    )
    assert node.stdout is not None
    with node.stdout:
        pid = int(node.stdout.readline())
    await processes.eventually(lambda: "up" in said(tmp_path))
    assert len(processes.marked(tmp_path)) == 3
    node.kill()
    node.wait()
    await processes.eventually(lambda: not processes.runs(pid), "the program has died with its node")
    assert len(leftovers.end(tmp_path)) == 2
    await processes.eventually(lambda: not processes.marked(tmp_path))


@asynchronous
async def test_a_killed_node_is_started_again_only_when_nothing_of_it_is_left(
    tmp_path: pathlib.Path,
) -> None:
    directory = tmp_path / "node"
    directory.mkdir()
    mark = leftovers.mark(directory, "web1")
    work = processes.command(directory, *processes.python(FAMILY), **mark)
    node = processes.command(tmp_path, sys.executable, "-c", NODE, msgspec.json.encode(work).decode())
    swept: list[int] = []
    notices: list[keeper.Notice] = []
    kept = keeper.Keeper(
        launcher.LinuxLauncher(),
        clock.SystemClock(),
        lambda: node,
        notices.append,
        sweep=lambda: swept.append(len(leftovers.end(directory))),
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kept.run)
        kept.want(machine.Wanted.RUNNING)
        await processes.eventually(lambda: len(processes.marked(directory)) == 3)
        before = set(processes.marked(directory))
        kept.signal(signal.SIGKILL)
        await kept.until(machine.State.BACKOFF)
        assert not processes.marked(directory)
        await processes.eventually(lambda: len(processes.marked(directory)) == 3)
        assert not before & set(processes.marked(directory))
        kept.want(machine.Wanted.STOPPED)
        await kept.until(machine.State.STOPPED)
        tasks.cancel_scope.cancel()
    assert len(swept) == 2
    assert not processes.marked(directory)


@asynchronous
async def test_leftovers_are_found_by_their_record_where_they_bear_no_mark(tmp_path: pathlib.Path) -> None:
    one = launcher.LinuxLauncher()
    process = one.spawn(processes.command(tmp_path, "sh", "-c", "sleep 1000 & wait"))
    other = one.spawn(processes.command(tmp_path, "sleep", "1000"))
    leftovers.record(tmp_path, "web1", process)
    leftovers.record(tmp_path, "web2", other)
    assert process in leftovers.end(tmp_path, "web1")
    await one.wait(process)
    assert one.alive(other)
    assert leftovers.end(tmp_path) == (other,)
    await one.wait(other)
    assert leftovers.recorded(tmp_path) == ()


@asynchronous
async def test_a_record_of_another_process_with_the_same_pid_ends_nobody(tmp_path: pathlib.Path) -> None:
    one = launcher.LinuxLauncher()
    process = one.spawn(processes.command(tmp_path, "sleep", "1000"))
    leftovers.record(tmp_path, "web1", msgspec.structs.replace(process, start_ticks=process.start_ticks - 1))
    (tmp_path / leftovers.RECORDS / "web2.json").write_text("torn", encoding="utf-8")
    assert leftovers.end(tmp_path) == ()
    assert one.alive(process)
    one.kill(process, signal.SIGKILL, group=True)
    await one.wait(process)


def test_a_log_is_cut_at_its_bound_and_the_program_writes_on(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "web1.log"
    with path.open("ab", buffering=0) as program:
        program.write(b"x" * 100)
        assert not output.rotate(path, 101)
        assert output.rotate(path, 100)
        program.write(b"on it goes\nfatal: no port\n")
    assert path.read_bytes() == b"on it goes\nfatal: no port\n"
    assert (tmp_path / "web1.log.1").read_bytes() == b"x" * 100
    assert output.last_line(path, 15) == "fatal: no port"
    assert output.last_line(tmp_path / "none", 15) == ""


class Kept:
    """A keeper with the notices it gave."""

    def __init__(self, work: effects.Command, policy: machine.Policy | None = None) -> None:
        self.notices: list[keeper.Notice] = []
        self.launcher = launcher.LinuxLauncher()
        self.keeper = keeper.Keeper(
            self.launcher, clock.SystemClock(), lambda: work, self.notices.append, policy=policy
        )

    def told(self, kind: type[keeper.Notice]) -> list[keeper.Notice]:
        return [notice for notice in self.notices if isinstance(notice, kind)]


@asynchronous
async def test_a_program_that_ignores_the_signal_is_killed_when_its_time_is_over(
    tmp_path: pathlib.Path,
) -> None:
    kept = Kept(processes.command(tmp_path, *processes.python(STUBBORN)), machine.Policy(stop_timeout_s=0.2))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kept.keeper.run)
        kept.keeper.want(machine.Wanted.RUNNING)
        await processes.eventually(lambda: "up" in said(tmp_path))
        kept.keeper.want(machine.Wanted.STOPPED)
        await kept.keeper.until(machine.State.STOPPED)
        tasks.cancel_scope.cancel()
    assert kept.notices[-1] == machine.ReportDown(wanted=True, detail="ended by signal 9")


@asynchronous
async def test_a_crash_loop_is_announced_and_a_stop_ends_it(tmp_path: pathlib.Path) -> None:
    kept = Kept(processes.command(tmp_path, "sh", "-c", "exit 7"), machine.Policy(backoff_min_s=0.01))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kept.keeper.run)
        kept.keeper.want(machine.Wanted.RUNNING)
        await processes.eventually(lambda: kept.told(machine.CrashLooping))
        kept.keeper.want(machine.Wanted.STOPPED)
        await kept.keeper.until(machine.State.STOPPED)
        tasks.cancel_scope.cancel()
    assert kept.told(machine.CrashLooping) == [machine.CrashLooping(3, "exited with status 7")]


@asynchronous
async def test_a_running_process_outlives_its_keeper_and_is_adopted_by_the_next(
    tmp_path: pathlib.Path,
) -> None:
    first, second = (Kept(processes.command(tmp_path, "sleep", "1000")) for _ in range(2))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first.keeper.run)
        first.keeper.want(machine.Wanted.RUNNING)
        await first.keeper.until(machine.State.RUNNING)
        tasks.cancel_scope.cancel()
    process = first.keeper.process
    assert process is not None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(second.keeper.run)
        second.keeper.adopt(process)
        await second.keeper.until(machine.State.RUNNING)
        assert second.keeper.process == process
        first.launcher.kill(process, signal.SIGKILL, group=False)
        await second.keeper.until(machine.State.BACKOFF)
        os.waitpid(process.pid, 0)  # it stays a zombie of this test until then
        await second.keeper.until(machine.State.RUNNING)
        assert second.keeper.process not in (None, process)
        second.keeper.want(machine.Wanted.STOPPED)
        await second.keeper.until(machine.State.STOPPED)
        tasks.cancel_scope.cancel()


def test_the_boot_is_named_and_a_process_that_is_not_there_is_none() -> None:
    assert len(procfs.boot_id()) == 36
    assert procfs.stat(2**22 + 1) is None
    assert procfs.environment(2**22 + 1) == ()
