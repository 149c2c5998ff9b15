"""Finding and ending everything that belongs to a directory, whoever started it.

A process belongs there if its environment, its command line or its working directory names the directory: children
inherit the one or the other, also those that outlive whoever started them.
"""

import contextlib
import os
import pathlib
import signal
import time

from bench.demo import observe
from nodeagent.supervision import procfs

GONE_S = 10.0
LOOK_S = 0.01


def belonging(directory: pathlib.Path) -> list[observe.Process]:
    """All that run and bear the directory; the caller itself does not count."""
    return [
        observe.Process(stat.pid, stat.start_ticks)
        for stat in procfs.processes()
        if stat.pid != os.getpid() and _bears(stat.pid, os.fsencode(directory))
    ]


def sweep(directory: pathlib.Path) -> int:
    """Kill all that belong to the directory until none is left; how many. Raises `UnseenError`."""
    until = time.monotonic() + GONE_S
    ended: set[observe.Process] = set()
    while left := {*belonging(directory), *filter(_runs, ended)}:
        if time.monotonic() > until:
            pids = " ".join(str(process.pid) for process in left)
            raise observe.UnseenError(f"processes of {directory} cannot be killed: {pids}")
        for process in left - ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        ended |= left
        time.sleep(LOOK_S)
    return len(ended)


def _runs(process: observe.Process) -> bool:
    """A dying process loses its traces first and its sockets later."""
    found = procfs.stat(process.pid)
    return found is not None and found.running and found.start_ticks == process.start_ticks


def _bears(pid: int, directory: bytes) -> bool:
    own = procfs.PROC / str(pid)
    try:
        words = [*procfs.environment(pid), *(own / "cmdline").read_bytes().split(b"\0")]
        words.append(os.fsencode((own / "cwd").readlink()))
    except OSError:
        return False  # it has just ended, or is somebody else's
    return any(directory + b"/" in word + b"/" for word in words)
