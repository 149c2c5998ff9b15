"""Protocols of everything that touches the world; the core gets them injected and knows no other way out.

Real ones live in `coordinator.host` and `nodeagent.supervision.launcher`, fakes in `tests`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec


class Clock(Protocol):
    """Two clocks: intervals are measured with `monotonic`, `wall` is shown to people and orders nothing."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...

    def wall(self) -> float:
        """Seconds since 1970, UTC; may lie."""
        ...


class Random(Protocol):
    """Jitter and ids."""

    def uniform(self, low: float, high: float) -> float: ...

    def token(self, size_bytes: int) -> str:
        """A random id of `size_bytes` bytes in lower-case hexadecimal."""
        ...


class Disk(Protocol):
    """Whole small files below one directory, each replaced at once and durable when the call returns.

    Names are relative POSIX paths. Raises `OSError` as the system does; a failing fsync is never retried.
    """

    def read(self, name: str) -> bytes | None:
        """The file's bytes, or None if there is none."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Replace: temporary file, fsync, rename, fsync of the directory."""
        ...

    def remove(self, name: str) -> None:
        """Durable; no error if there is none."""
        ...

    def names(self, prefix: str = "") -> Sequence[str]:
        """Sorted names of the files below `prefix`."""
        ...


class Command(msgspec.Struct, frozen=True):
    """One program to start: nothing is inherited but what stands here."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str
    log_path: str
    """stdout and stderr are appended here; never a pipe of ours."""


class ProcessId(msgspec.Struct, frozen=True):
    """Names one process for ever: a pid alone is reused."""

    pid: int
    start_ticks: int
    boot_id: str


class Exit(msgspec.Struct, frozen=True):
    """How a process ended; `status` is None where it was adopted and its status is not ours to read."""

    process: ProcessId
    status: int | None


class Launcher(Protocol):
    """Starts programs in a session of their own, signals them, and tells when they end."""

    def spawn(self, command: Command) -> ProcessId:
        """Raises OSError (no such command, not executable, no such directory)."""
        ...

    def alive(self, process: ProcessId) -> bool:
        """Whether this very process still runs (pid, start time and boot id agree)."""
        ...

    def kill(self, process: ProcessId, signal: int, *, group: bool) -> None:
        """Signal it, or its whole process group; nothing if it has gone."""
        ...

    async def wait(self, process: ProcessId) -> Exit:
        """Return once it has ended; works for adopted processes too."""
        ...
