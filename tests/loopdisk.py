"""An ext4 of its own in a file, whose power can be cut. Needs root.

A machine without power runs nothing; here the programs go on, and ext4 tells some of those whose sync was overtaken by the
shutdown that it succeeded (80 of 361 such syncs were lost in 337 cuts; of those that returned before a cut, none). So
whoever counts what was promised stops the programs first: `stopped`.
"""

import contextlib
import fcntl
import itertools
import os
import pathlib
import signal
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator

STOP_S = 10.0
LOOK_S = 0.001
GOING_DOWN = 0x8004587D  # FS_IOC_SHUTDOWN
NO_LOG_FLUSH = 2


def stopped(pids: Iterable[int]) -> None:
    """Stop these programs; returns once none of their threads can say anything more, whatever it waits for."""
    wanted = tuple(pids)
    for pid in wanted:
        os.kill(pid, signal.SIGSTOP)
    ends = time.monotonic() + STOP_S
    while any(state not in "TDZX" for pid in wanted for state in _states(pid)):
        assert time.monotonic() < ends, "a program does not stop"
        time.sleep(LOOK_S)


def _states(pid: int) -> Iterator[str]:
    """Of every thread: one that sleeps where it cannot be disturbed is stopped before it says anything."""
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            yield (task / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]


class LoopDisk:
    """What was not synced when its power was cut is gone, as after a real one."""

    def __init__(self, base: pathlib.Path, size_mib: int) -> None:
        self._images = (base / f"disk-{number}.img" for number in itertools.count())
        self._image = next(self._images)
        self.path = base / "disk"
        with self._image.open("wb") as image:
            image.truncate(size_mib << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self._image)], check=True)
        self.path.mkdir()
        self._mount()

    def sync(self) -> None:
        """Return once everything written so far is on the disk."""
        subprocess.run(["sync", "-f", str(self.path)], check=True)

    def cut(self) -> None:
        """From here on the file system takes nothing; what is in memory only never gets to the disk."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, GOING_DOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def power_on(self) -> None:
        """Mount what is on the disk, which replays the file system's journal.

        From a copy: a mount namespace of somebody else may still hold the one that was cut, and mounting the same
        device again would bring that one back.
        """
        self.throw_away()
        before, self._image = self._image, next(self._images)
        subprocess.run(["cp", "--sparse=always", str(before), str(self._image)], check=True)
        before.unlink()
        self._mount()

    def throw_away(self) -> None:
        subprocess.run(["umount", "-l", str(self.path)], stderr=subprocess.DEVNULL, check=False)

    def _mount(self) -> None:
        subprocess.run(["mount", "-o", "loop", str(self._image), str(self.path)], check=True)
