"""How late a loop is for what is due: the time that something small has to wait while everybody wants something.

Law: it wakes a hundred times a second and does nothing else; only who is asked to be watched pays for it.
"""

import asyncio
import pathlib
from collections.abc import Sequence

EVERY_S = 0.01
_STATUS = pathlib.Path("/proc/self/status")


class Lag:
    """From its making on, in a running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._late: list[float] = []
        self._next()

    def _next(self) -> None:
        self._due = self._loop.time() + EVERY_S
        self._loop.call_at(self._due, self._woken)

    def _woken(self) -> None:
        self._late += waits(self._loop.time() - self._due)
        self._next()

    def told(self) -> dict[str, float]:
        """So far; memory of this process beside it."""
        late = sorted([0.0, *self._late])
        return {
            "lag_p99_ms": late[len(late) * 99 // 100] * 1000,
            "lag_max_ms": late[-1] * 1000,
            "rss_bytes": _bytes("VmRSS"),
            "rss_peak_bytes": _bytes("VmHWM"),
        }


def waits(late_s: float) -> Sequence[float]:
    """Of everything that would have been due until now, had the loop been in time for the first: each waited less."""
    count = 1 + int(max(0.0, late_s) / EVERY_S)
    return [max(0.0, late_s - number * EVERY_S) for number in range(count)]


def _bytes(name: str) -> int:
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines[name].split()[0]) * 1024
