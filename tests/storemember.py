"""A member's process that a test can make suffer: `python -m tests.storemember BASE NAME`.

Snapshots come often in it, so that whatever happens falls into them too. On request its disk is slow, its disk fails as a
broken one does, or its clock jumps.
"""

import errno
import sys
import time

from bench.store import counting, member, ours
from coordinator.store.backends.raft import calls, files
from coordinator.store.backends.raft import member as raft_member


class Fate:
    """Of this process."""

    slow_s = 0.0
    failing = False
    wall_s = 0.0
    monotonic_s = 0.0


class Suffering(counting.Counted):
    """The system's file, on a disk with a fate."""

    def sync(self) -> None:
        if Fate.slow_s:
            time.sleep(Fate.slow_s)
        if Fate.failing:
            raise OSError(errno.EIO, "the device is gone")
        super().sync()


class Jumping(ours.Clock):
    """The system's clocks, off by what they have jumped."""

    def monotonic(self) -> float:
        return super().monotonic() + Fate.monotonic_s

    def wall(self) -> float:
        return super().wall() + Fate.wall_s


def suffer(what: str, value: float) -> None:
    match what:
        case "slow":
            Fate.slow_s = value
        case "fail":
            Fate.failing = bool(value)
        case "wall":
            Fate.wall_s += value
        case "monotonic":
            Fate.monotonic_s += value
        case "careless":
            calls.GroupCalls.barrier = _nothing  # type: ignore[method-assign, assignment]
        case _:
            raise AssertionError(what)


async def _nothing(_self: calls.GroupCalls) -> None:
    """No barrier at all."""


if __name__ == "__main__":
    files.DiskAppender = Suffering  # type: ignore[misc]
    ours.Clock = Jumping  # type: ignore[misc]
    raft_member.SNAPSHOT_ENTRIES, raft_member.KEEP_ENTRIES = 400, 20
    member.run(sys.argv[1:], suffer)
