"""How fast something must be, on a machine that tests share: seconds count while nobody waits for a processor or a disk.

Law: on a quiet machine a limit is exactly what it says. What the kernel tells as pressure (/proc/pressure: the time in
which at least one process could not go on for want of something) is taken off, whoever it was that waited.
"""

import contextlib
import os
import pathlib
import time
from collections.abc import Iterator

import msgspec

PRESSURE = pathlib.Path("/proc/pressure")
_KINDS = ("cpu", "io", "memory")


class Span(msgspec.Struct):
    """What passed, once it is over."""

    took_s: float = 0.0
    waited_s: float = 0.0
    """Of it, the time in which the machine was too busy."""


@contextlib.contextmanager
def within(limit_s: float) -> Iterator[Span]:
    """What happens inside takes no longer than that."""
    span = Span()
    begun, before = time.monotonic(), _pressed_s()
    yield span
    span.took_s = time.monotonic() - begun
    span.waited_s = min(span.took_s, _pressed_s() - before) if PRESSURE.exists() else _guessed_s(span.took_s)
    assert span.took_s - span.waited_s <= limit_s, f"{limit_s:g} s are allowed: {span}"


def _pressed_s() -> float:
    """Since the machine was started."""
    return sum(map(_some_s, _KINDS))


def _some_s(kind: str) -> float:
    try:
        told = (PRESSURE / kind).read_text(encoding="ascii")
    except OSError:
        return 0.0
    return int(told.split("total=")[1].split()[0]) / 1e6


def _guessed_s(took_s: float) -> float:
    """Where the kernel does not tell: all of it where more want to run than can."""
    return took_s if os.getloadavg()[0] > (os.cpu_count() or 1) else 0.0
