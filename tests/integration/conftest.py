"""Real processes and sockets. Law: nothing that a test started outlives the tests of its file.

A process is recognised by a word in its environment, which children inherit, or by the run's temporary directory in
its environment, command line or working directory, for those that were started with an environment of their own.
"""

import contextlib
import os
import pathlib
import signal
import time
import uuid
from collections.abc import Iterator

import pytest

MARK = "TIERCAST_TEST_RUN"
STOPS_WITHIN_S = 20.0


def traces(process: pathlib.Path) -> bytes:
    """What shows where a process came from; nothing of one that is gone or waits to be reaped."""
    try:
        texts = [(process / name).read_bytes() for name in ("environ", "cmdline")]
        return b"\0".join([*texts, os.fsencode((process / "cwd").readlink())])
    except OSError:
        return b""


def running(*words: bytes) -> dict[int, str]:
    """Command lines by pid of the processes, other than this one, that bear one of the words."""
    found = {}
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        seen = traces(process)
        if int(process.name) != os.getpid() and any(word in seen for word in words):
            found[int(process.name)] = command_line(process)
    return found


def command_line(process: pathlib.Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return "(gone)"


def left_after(seconds: float, *words: bytes) -> dict[int, str]:
    until = time.monotonic() + seconds
    while (left := running(*words)) and time.monotonic() < until:
        time.sleep(0.05)
    return left


@pytest.fixture(scope="module", autouse=True)
def nothing_left_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fails the last test of a file that leaves a process, and ends that process by its pid."""
    word = uuid.uuid4().hex
    os.environ[MARK] = word
    yield
    del os.environ[MARK]
    left = left_after(STOPS_WITHIN_S, word.encode(), os.fsencode(f"{tmp_path_factory.getbasetemp()}/"))
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not left
