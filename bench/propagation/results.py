"""Results: one JSON object per revision and one per system that could not take part, and a table of medians of them.

Law: a result carries everything that is needed to read it alone: sizes, mode, transport, loop and the load of others.
"""

import pathlib
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from bench.propagation import stand

LOADED = 0.1
"""Share of the machine that others used meanwhile, from which on a figure is marked."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of one system."""

    system: str
    mode: str
    change: str
    revision: int
    round: int
    sites: int
    agents: int
    acks: int
    document_bytes: int
    transport: str
    loop: str
    publish_ms: float
    payload_ms: float
    convergence_ms: float
    server_cpu_s: float
    """Of all processes that are neither agents nor, at flat peers, the publisher's client."""
    processes: tuple[stand.Process, ...]
    hops: Mapping[str, stand.Flow]
    foreign: float
    """Share of all cores that processes outside the run used while this system stood."""
    loaded: bool


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """A system that did not take part."""

    system: str
    missing: str


class Row(msgspec.Struct, frozen=True):
    """Medians of one system and change."""

    system: str
    change: str
    document_bytes: int
    publish_ms: float
    payload_ms: float
    convergence_ms: float
    worst_ms: float
    server_us_per_agent: float
    agents_us_per_agent: float
    bytes_per_agent: float | None
    loaded: bool


def rows(results: Iterable[Result]) -> Sequence[Row]:
    """In the order in which systems and changes first appear."""
    groups: dict[tuple[str, int, str], list[Result]] = {}
    for one in results:
        groups.setdefault((one.change, one.document_bytes, one.system), []).append(one)
    return [_row(some) for some in groups.values()]


def _row(some: Sequence[Result]) -> Row:
    first = some[0]
    moved = [
        one.hops[hop].bytes_down / one.agents for one in some for hop in one.hops if hop.endswith("-agent")
    ]
    agents = [sum(p.cpu_s for p in one.processes if p.role == stand.AGENTS) / one.agents for one in some]
    return Row(
        first.system,
        first.change,
        first.document_bytes,
        statistics.median(one.publish_ms for one in some),
        statistics.median(one.payload_ms for one in some),
        statistics.median(one.convergence_ms for one in some),
        max(one.convergence_ms for one in some),
        statistics.median(one.server_cpu_s / one.agents for one in some) * 1e6,
        statistics.median(agents) * 1e6,
        statistics.median(moved) if moved else None,
        any(one.loaded for one in some),
    )


HEAD = (
    "system", "change", "document", "publish ms", "payload ms", "converged ms", "worst ms", "server us/agent",
    "client us/agent", "B/agent", "",
)  # fmt: skip


def cells(row: Row) -> Sequence[str]:
    """One line of the table."""
    return (
        row.system, row.change, size(row.document_bytes), f"{row.publish_ms:.1f}", f"{row.payload_ms:.1f}",
        f"{row.convergence_ms:.1f}", f"{row.worst_ms:.1f}", f"{row.server_us_per_agent:.0f}",
        f"{row.agents_us_per_agent:.0f}", "" if row.bytes_per_agent is None else f"{row.bytes_per_agent:.0f}",
        "loaded" if row.loaded else "",
    )  # fmt: skip


def size(size_bytes: int) -> str:
    for unit, bytes_ in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes >= bytes_:
            return f"{size_bytes / bytes_:g} {unit}"
    return f"{size_bytes} B"


def line(one: Result | Missing) -> str:
    """As it is saved."""
    return msgspec.json.encode(one).decode()


def read(path: pathlib.Path) -> tuple[Sequence[Result], Sequence[Missing]]:
    """A saved file."""
    found: list[Result] = []
    missing: list[Missing] = []
    for text in path.read_text().splitlines():
        given: dict[str, Any] = msgspec.json.decode(text)
        if "missing" in given:
            missing.append(msgspec.convert(given, Missing))
        else:
            found.append(msgspec.convert(given, Result))
    return found, missing
