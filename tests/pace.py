"""How fast something must be, on a machine that tests share: seconds count while nobody waits for a processor or a disk.

Law: on a quiet machine a limit is exactly what it says. Only where it was passed, what the kernel tells as pressure
(/proc/pressure: the time in which at least one process could not go on for want of something) is taken off.
"""

import asyncio  # noqa: TID251 who waits is asyncio's
import contextlib
import os
import pathlib
import time
from collections.abc import AsyncIterator, Iterator

import msgspec

HANGS_S = 60.0
PRESSURE = pathlib.Path("/proc/pressure")
_KINDS = ("cpu", "io", "memory")
_TOLD_AGAIN_S = 2.1  # the kernel counts anew every two seconds


class Span(msgspec.Struct):
    """What passed, once it is over."""

    took_s: float = 0.0
    waited_s: float = 0.0
    """Of it, the time in which the machine was too busy; only looked at where it took too long."""


class Pressure:
    """Of the machine, from now on."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._before = _pressed_s()

    def waited_s(self) -> float:
        """Takes two seconds: for whoever is too late anyway."""
        passed_s = time.monotonic() - self._begun
        if not PRESSURE.exists():  # all of it where more want to run than can
            return passed_s if os.getloadavg()[0] > (os.cpu_count() or 1) else 0.0
        time.sleep(_TOLD_AGAIN_S)
        return min(passed_s, _pressed_s() - self._before)


@contextlib.contextmanager
def within(limit_s: float) -> Iterator[Span]:
    """What happens inside takes no longer than that, however it ends."""
    span, pressure, begun = Span(), Pressure(), time.monotonic()
    try:
        yield span
    finally:
        span.took_s = time.monotonic() - begun
        if span.took_s > limit_s:
            span.waited_s = pressure.waited_s()
        assert span.took_s - span.waited_s <= limit_s, f"{limit_s:g} s are allowed: {span}"


@contextlib.asynccontextmanager
async def waiting(limit_s: float) -> AsyncIterator[None]:
    """As `within`, for who would otherwise wait for ever. Raises `TimeoutError` where it hangs."""
    async with asyncio.timeout(limit_s + HANGS_S):
        with within(limit_s):
            yield


def _pressed_s() -> float:
    """Since the machine was started."""
    return sum(map(_some_s, _KINDS))


def _some_s(kind: str) -> float:
    try:
        told = (PRESSURE / kind).read_text(encoding="ascii")
    except OSError:
        return 0.0
    return int(told.split("total=")[1].split()[0]) / 1e6
