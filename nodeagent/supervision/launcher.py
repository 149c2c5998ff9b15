"""The real `effects.Launcher`: starts programs in sessions of their own, signals them, waits for their end.

Law: a process is named by pid, start ticks and boot id, and a signal goes through a descriptor of the process (pidfd)
after all three agree, so a reused pid is never hit. Waiting is by the same descriptor, without threads and without
SIGCHLD, and so works for adopted processes too; only children of ours are reaped, so other users of subprocesses in
the same interpreter keep theirs.

Who may outlive whom: worker nodes outlive a ServerShell (they are adopted again), so its launcher binds nothing. What
a node starts may not outlive the node: its launcher is `bound`, the kernel kills the child when its starter dies
(PR_SET_PDEATHSIG); deeper offspring is found and ended by `leftovers`.
"""

import contextlib
import ctypes
import os
import pathlib
import select
import signal as signals
import subprocess
from collections.abc import Callable, Iterable, Iterator

import anyio

from coordinator import effects, limits
from nodeagent.supervision import output, procfs

SWEEPS = 5  # rounds of killing a group that may fork meanwhile
REMEMBERED_EXITS = 256
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class LinuxLauncher:
    """Starts, signals and awaits processes of this machine."""

    def __init__(self, *, bound: bool = False) -> None:
        """`bound`: what is started dies with the thread that starts it; call `spawn` from the main thread."""
        self._bound = bound
        self._children: set[effects.ProcessId] = set()
        self._ended: dict[effects.ProcessId, int] = {}

    def spawn(self, command: effects.Command) -> effects.ProcessId:
        """Raises OSError (no such command, not executable, no such directory)."""
        output.rotate(pathlib.Path(command.log_path), limits.LOG_ROTATE_BYTES)
        with _opened(command.log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as log:
            child = subprocess.Popen(
                list(command.argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=command.directory,
                env=dict(command.environment),
                close_fds=True,
                umask=0o077,
                start_new_session=True,
                # The only way to set it before exec; the function touches nothing but two system calls.
                preexec_fn=_die_with(os.getpid()) if self._bound else None,  # noqa: PLW1509
            )
        found = procfs.stat(child.pid)
        assert found is not None, "a child that nobody has reaped is there"
        child.returncode = 0  # it is reaped below by its descriptor; this object was only for starting
        process = effects.ProcessId(child.pid, found.start_ticks, procfs.boot_id())
        self._children.add(process)
        return process

    def alive(self, process: effects.ProcessId) -> bool:
        """Whether this very process still runs."""
        found = _find(process)
        return found is not None and found.running

    def kill(self, process: effects.ProcessId, signal: int, *, group: bool) -> None:
        """Signal it, or everything in its session; nothing if it has gone."""
        if process.boot_id != procfs.boot_id():
            return
        if not group:
            _send(process, signal)
            return
        for _ in range(SWEEPS if signal == signals.SIGKILL else 1):
            members = session_of(process)
            for member in members:
                _send(member, signal)
            if not members:
                return

    async def wait(self, process: effects.ProcessId) -> effects.Exit:
        """Return once it has ended; its status is known only of our own children."""
        with _descriptor(process) as descriptor:
            if descriptor is not None and process not in self._ended:
                await anyio.wait_readable(descriptor)
                self._reap(process, descriptor)
        return effects.Exit(process, self._ended.get(process))

    def _reap(self, process: effects.ProcessId, descriptor: int) -> None:
        if process not in self._children:
            return
        result = os.waitid(os.P_PIDFD, descriptor, os.WEXITED)
        assert result is not None
        self._children.discard(process)
        exited = result.si_code == os.CLD_EXITED
        self._ended[process] = result.si_status if exited else -result.si_status
        while len(self._ended) > REMEMBERED_EXITS:
            del self._ended[next(iter(self._ended))]


def end_now(processes: Iterable[effects.ProcessId], within_s: float) -> None:
    """Kill them and see them gone, so that what they held (ports, files) is free. Blocks; a kill takes milliseconds,
    and a process that the kernel cannot end (waiting for a dead disk) is left after `within_s`.
    """
    with contextlib.ExitStack() as stack:
        dying = select.poll()
        waiting = 0
        for process in processes:
            descriptor = stack.enter_context(_descriptor(process))
            if descriptor is not None:
                with contextlib.suppress(ProcessLookupError):
                    signals.pidfd_send_signal(descriptor, signals.SIGKILL)
                dying.register(descriptor, select.POLLIN)
                waiting += 1
        while waiting and (gone := dying.poll(within_s * 1000)):
            for descriptor, _ in gone:
                dying.unregister(descriptor)
                waiting -= 1


def session_of(process: effects.ProcessId) -> tuple[effects.ProcessId, ...]:
    """What runs in the session that `process` leads or led.

    The kernel gives no pid to anybody while it still names a session. So if that pid is now somebody else's, the
    session is empty; and if it is nobody's, whoever is in the session belongs to it.
    """
    leader = procfs.stat(process.pid)
    if leader is not None and leader.start_ticks != process.start_ticks:
        return ()
    return tuple(
        effects.ProcessId(found.pid, found.start_ticks, process.boot_id)
        for found in procfs.processes()
        if found.session == process.pid and found.start_ticks >= process.start_ticks
    )


def _find(process: effects.ProcessId) -> procfs.Stat | None:
    found = procfs.stat(process.pid) if process.boot_id == procfs.boot_id() else None
    return found if found is not None and found.start_ticks == process.start_ticks else None


def _send(process: effects.ProcessId, signal: int) -> None:
    with _descriptor(process) as descriptor:
        if descriptor is not None:
            with contextlib.suppress(ProcessLookupError):
                signals.pidfd_send_signal(descriptor, signal)


@contextlib.contextmanager
def _descriptor(process: effects.ProcessId) -> Iterator[int | None]:
    """Of this very process, or None if it has gone: once open, the descriptor never means another one."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield descriptor if _find(process) is not None else None
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _opened(path: str, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _die_with(starter: int) -> Callable[[], None]:
    def bind() -> None:
        _LIBC.prctl(PR_SET_PDEATHSIG, int(signals.SIGKILL), 0, 0, 0)
        if os.getppid() != starter:  # it died between fork and here
            os._exit(1)

    return bind
