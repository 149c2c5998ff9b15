"""What a node started and did not live to end: recorded while it runs, found and ended by whoever comes next.

Two traces, because each has a gap: the record (pid, start ticks, boot id in a file below the node's directory) leads
to the whole session of a program, also of one that overwrites its environment; the mark in the environment leads to
everything that inherited it, also to a program that left its session (a daemon). A node's own process bears the mark
of its directory too, without a role's: one that nobody recorded in time is found by it.

ServerShell calls `end(directory)` when a node has died and before it starts one; a node calls it before it starts
its programs. Nothing but processes that bear a trace of this very directory is touched.
"""

import contextlib
import os
import pathlib

import msgspec

from coordinator import effects
from nodeagent.supervision import launcher, procfs

MARK = "TIERCAST_NODE_DIRECTORY"
ROLE_MARK = "TIERCAST_ROLE"
_OF_ROLE = f"{ROLE_MARK}=".encode()
RECORDS = "processes"
GONE_WITHIN_S = 0.5  # per round; the caller waits that long at worst


def mark(directory: pathlib.Path, role: str = "") -> dict[str, str]:
    """To be put into the environment of everything that a role of the node starts, and, with no role, of the node."""
    place = {MARK: str(directory.resolve())}
    return {**place, ROLE_MARK: role} if role else place


def record(directory: pathlib.Path, role: str, process: effects.ProcessId) -> None:
    """Replace the record of a role's program."""
    path = _record_path(directory, role)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(process))
    fresh.replace(path)


def recorded(directory: pathlib.Path, role: str | None = None) -> tuple[effects.ProcessId, ...]:
    """Of one role, or of all; a record that cannot be read is none."""
    found = []
    for path in sorted((directory / RECORDS).glob("*.json")):
        if role is None or path == _record_path(directory, role):
            with contextlib.suppress(OSError, msgspec.DecodeError):
                found.append(msgspec.json.decode(path.read_bytes(), type=effects.ProcessId))
    return tuple(found)


def find(directory: pathlib.Path, role: str | None = None) -> tuple[effects.ProcessId, ...]:
    """Everything that still runs of the node of this directory (or of one role in it).

    What bears no role's mark comes first: the node starts the others, and must not start more of them while they end.
    """
    found: set[effects.ProcessId] = set()
    starters: set[effects.ProcessId] = set()
    for process in recorded(directory, role):
        if process.boot_id == procfs.boot_id():
            found.update(launcher.session_of(process))
    marks = {f"{MARK}={directory.resolve()}".encode()}
    if role is not None:
        marks.add(f"{ROLE_MARK}={role}".encode())
    for stat in procfs.processes():
        given = procfs.environment(stat.pid)
        if stat.pid != os.getpid() and marks.issubset(given):
            process = effects.ProcessId(stat.pid, stat.start_ticks, procfs.boot_id())
            of_role = any(word.startswith(_OF_ROLE) for word in given)
            (found if of_role else starters).add(process)
    rest = sorted(found - starters, key=lambda process: process.pid)
    return (*sorted(starters, key=lambda process: process.pid), *rest)


def end(directory: pathlib.Path, role: str | None = None) -> tuple[effects.ProcessId, ...]:
    """Kill it all, at once and for good; returns what was found. Nothing of it runs afterwards."""
    ended: dict[effects.ProcessId, None] = {}
    for _ in range(launcher.SWEEPS):
        present = find(directory, role)
        if not present:
            break
        launcher.end_now(present, GONE_WITHIN_S)
        ended.update(dict.fromkeys(present))
    for path in (directory / RECORDS).glob("*.json"):
        if role is None or path == _record_path(directory, role):
            path.unlink(missing_ok=True)
    return tuple(ended)


def _record_path(directory: pathlib.Path, role: str) -> pathlib.Path:
    return directory / RECORDS / f"{role}.json"
