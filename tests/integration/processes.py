"""Real processes for tests: a launcher, a clock, a place, conditions to wait on, and a check that nobody is left."""

import pathlib
import sys
from collections.abc import Callable

import anyio

from coordinator import effects
from nodeagent.supervision import leftovers, procfs

WAIT_S = 60.0


async def eventually(condition: Callable[[], object], what: str = "") -> None:
    """Return once it holds."""
    with anyio.move_on_after(WAIT_S):
        while not condition():
            await anyio.sleep(0.01)
        return
    raise AssertionError(f"not within {WAIT_S:g} s: {what or condition}")


def python(script: str, *words: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", script, *words)


def command(directory: pathlib.Path, *argv: str, **environment: str) -> effects.Command:
    return effects.Command(
        argv=argv,
        environment={"PATH": "/usr/bin:/bin", **environment},
        directory=str(directory),
        log_path=str(directory / "out.log"),
    )


def marked(directory: pathlib.Path) -> tuple[int, ...]:
    """Pids of all that bear the mark of this node's directory."""
    return tuple(process.pid for process in leftovers.find(directory))


def runs(pid: int) -> bool:
    found = procfs.stat(pid)
    return found is not None and found.running
