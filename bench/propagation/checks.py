"""What is looked at before anything is started: descriptors, memory, ports. A run that cannot end well does not begin."""

import math
import pathlib
import resource

import msgspec

from coordinator import errors

SPARE_DESCRIPTORS = 256
AGENT_BYTES = 120 * 1024  # a connection with its machine, both ends
PROCESS_BYTES = 70 * 1024 * 1024
BODIES_HELD = 4  # the last two, one on its way, and the encoding of it
PORT_RANGE = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range")
SOCKETS = (pathlib.Path("/proc/net/tcp"), pathlib.Path("/proc/net/tcp6"))
_TIME_WAIT = "06"
CGROUP = pathlib.Path("/sys/fs/cgroup")
MEMORY = pathlib.Path("/proc/meminfo")


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """Of one run at its widest."""

    agents: int
    links_of_one: int
    """That a single process has to hold."""
    document_bytes: int
    programs: int


def check(need: Need) -> None:
    """Raises `UsageError` with what is missing and what to do."""
    _descriptors(need.links_of_one + SPARE_DESCRIPTORS)
    _ports(need.agents)
    _memory(need.agents * (AGENT_BYTES + BODIES_HELD * need.document_bytes) + need.programs * PROCESS_BYTES)


def _descriptors(needed: int) -> None:
    """Raise the soft limit as far as is needed; programs inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise errors.UsageError(
            f"too few descriptors (got {hard}, need {needed} in one process)",
            hint=f"`ulimit -n {needed}` as root, or take fewer --servers",
        )
    if soft != resource.RLIM_INFINITY and soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _ports(needed: int) -> None:
    first, last = (int(word) for word in PORT_RANGE.read_text().split())
    free = last - first + 1 - len(_held(first, last))
    if free < needed:
        raise errors.UsageError(
            f"too few free ports for so many connections (got {free} of {first}..{last}, need {needed})",
            hint="widen net.ipv4.ip_local_port_range, end what holds them, or take fewer --servers",
        )


def _held(first: int, last: int) -> set[int]:
    """Ports of this range that somebody has; those that only wait to be forgotten can be had."""
    found: set[int] = set()
    for table in SOCKETS:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:  # no IPv6 here
            continue
        for line in lines:
            _, local, _, state, *_ = line.split()
            port = int(local.rpartition(":")[2], 16)
            if state != _TIME_WAIT and first <= port <= last:
                found.add(port)
    return found


def _left_bytes(group: pathlib.Path) -> float:
    """Of the memory that this container may have, where there is a bound."""
    try:
        most, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return math.inf
    return math.inf if most == "max" else int(most) - int(used)


def _memory(needed_bytes: int) -> None:
    lines = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines())
    free_bytes = min(int(lines["MemAvailable"].split()[0]) * 1024, _left_bytes(CGROUP))
    if free_bytes < needed_bytes:
        raise errors.UsageError(
            f"too little memory (got {int(free_bytes) >> 20} MiB, need about {needed_bytes >> 20} MiB)",
            hint="take fewer --servers or a smaller --document-size",
        )
