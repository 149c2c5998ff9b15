"""How much of the machine others use while something is measured."""

import os
import pathlib
import resource
import time

from bench.propagation import programs, stand

_TICKS = os.sysconf("SC_CLK_TCK")
_CORES = os.cpu_count() or 1


class Watch:
    """From its making on."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._busy = busy_s()
        self._own = time.process_time()
        self._children = _children_s()
        self._stood: dict[int, float] = {}

    def foreign(self, made: stand.Stand) -> float:
        """Share of all cores that neither this process nor the programs of `made` have used since."""
        elapsed = time.monotonic() - self._began
        own = (
            time.process_time()
            - self._own
            + sum(self._used(one.pid, one.weight().cpu_s) for one in _all(made))
        )
        return max(0.0, busy_s() - self._busy - own) / (elapsed * _CORES)

    def beside_children(self) -> float:
        """As `foreign`, of a bench whose programs are children that have begun and ended since."""
        elapsed = time.monotonic() - self._began
        own = time.process_time() - self._own + _children_s() - self._children
        return max(0.0, busy_s() - self._busy - own) / (elapsed * _CORES)

    def begin(self, made: stand.Stand) -> "Watch":
        """What its programs have used so far does not count."""
        self._stood = {one.pid: one.weight().cpu_s for one in _all(made)}
        return self

    def _used(self, pid: int, cpu_s: float) -> float:
        return cpu_s - self._stood.get(pid, 0.0)


def _all(made: stand.Stand) -> list[programs.Program]:
    return [one for some in made.programs.values() for one in some]


def _children_s() -> float:
    """CPU of all children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def busy_s() -> float:
    """CPU seconds of the whole machine that were not idle."""
    words = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()
    user, nice, system, _idle, _wait, irq, soft, *_ = (int(word) for word in words[1:])
    return (user + nice + system + irq + soft) / _TICKS
