"""What Linux tells of its processes under /proc: who one is, which belong together.

Reads only. A process that vanishes while it is looked at is simply not there.
"""

import functools
import pathlib
from collections.abc import Iterator

import msgspec

PROC = pathlib.Path("/proc")
ZOMBIE_STATES = frozenset("ZXx")


class Stat(msgspec.Struct, frozen=True):
    """The fields of /proc/<pid>/stat that matter here (proc_pid_stat(5): fields 1, 3, 4, 6 and 22)."""

    pid: int
    state: str
    parent: int
    session: int
    start_ticks: int

    @property
    def running(self) -> bool:
        """A zombie has ended: it only waits to be asked for its status."""
        return self.state not in ZOMBIE_STATES


@functools.cache
def boot_id() -> str:
    """Of this run of the kernel: start ticks count from it."""
    return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def stat(pid: int) -> Stat | None:
    """None if there is no such process."""
    try:
        text = (PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name may hold spaces and brackets; what follows its last bracket is plain.
    fields = text[text.rindex(b")") + 2 :].split()
    return Stat(pid, fields[0].decode(), int(fields[1]), int(fields[3]), int(fields[19]))


def environment(pid: int) -> tuple[bytes, ...]:
    """`NAME=value` as it was given at the start; empty where it is gone or not ours to read."""
    try:
        return tuple((PROC / str(pid) / "environ").read_bytes().split(b"\0"))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ()


def processes() -> Iterator[Stat]:
    """All that run now, zombies left out."""
    for entry in PROC.iterdir():
        found = stat(int(entry.name)) if entry.name.isdigit() else None
        if found is not None and found.running:
            yield found
