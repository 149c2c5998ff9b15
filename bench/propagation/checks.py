"""What is looked at before anything is started: descriptors, memory, ports. A run that cannot end well does not begin."""

import pathlib
import resource

from coordinator import errors

SPARE_DESCRIPTORS = 256
AGENT_BYTES = 120 * 1024  # a connection with its machine, both ends
PROCESS_BYTES = 70 * 1024 * 1024
BODIES_HELD = 4  # the last two, one on its way, and the encoding of it
PORT_RANGE = pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range")
MEMORY = pathlib.Path("/proc/meminfo")


def check(*, agents: int, processes: int, document_bytes: int, programs: int) -> None:
    """Raises `UsageError` with what is missing and what to do."""
    _descriptors(agents // processes + SPARE_DESCRIPTORS)
    _ports(agents)
    _memory(agents * (AGENT_BYTES + BODIES_HELD * document_bytes) + programs * PROCESS_BYTES)


def _descriptors(needed: int) -> None:
    """Raise the soft limit as far as is needed; programs inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise errors.UsageError(
            f"too few descriptors (got {hard}, need {needed})",
            hint="raise `ulimit -Hn`, or take fewer --servers",
        )
    if soft != resource.RLIM_INFINITY and soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _ports(needed: int) -> None:
    first, last = (int(word) for word in PORT_RANGE.read_text().split())
    if last - first < needed:
        hint = "widen net.ipv4.ip_local_port_range, or take fewer --servers"
        raise errors.UsageError(
            f"too few ports for so many connections (got {last - first}, need {needed})", hint=hint
        )


def _memory(needed_bytes: int) -> None:
    lines = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines())
    free_bytes = int(lines["MemAvailable"].split()[0]) * 1024
    if free_bytes < needed_bytes:
        raise errors.UsageError(
            f"too little memory (got {free_bytes >> 20} MiB, need about {needed_bytes >> 20} MiB)",
            hint="take fewer --servers or a smaller --document-size",
        )
