"""Results: one JSON object per revision and one per system that could not take part, and a table of medians of them.

Law: a result carries everything that is needed to read it alone: sizes, mode, transport, loop and the load of others.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from bench.propagation import stand

LOADED = 0.1
"""Share of the machine that others used meanwhile, from which on a figure is marked."""


LOADED_WORDS = f"loaded: others used more than {LOADED:.0%} of the machine; read the CPU, not the clock"


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
    commits: int | None = None
    """Of MIC's store for this revision, ours only."""
    after_cpu_s: float | None = None
    """Of MIC from the last ack until it had remembered how the revision ended, ours only."""


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """A system that did not take part."""

    system: str
    missing: str


class Partial(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of a run that did not come to its end: what stands before it is right, and not everything."""

    partial: str
    """Why."""
    have: int
    wanted: int
    """0: not known."""

    @property
    def words(self) -> str:
        if not self.have:
            return f"{self.partial} before the first figure"
        of = f" of {self.wanted}" if self.wanted else ""
        return f"partial: {self.partial} after {self.have}{of} figures"


class Kind(msgspec.Struct, frozen=True):
    """What revisions have in common that may stand in one row: modes, transports and sizes are never mixed."""

    mode: str
    sites: int
    agents: int
    document_bytes: int
    change: str
    system: str
    transport: str

    @property
    def words(self) -> str:
        """In a sentence part."""
        shown = f"{self.system}, {self.change} change of {size(self.document_bytes)}"
        return f"{shown}, {self.agents} agents, {self.sites} sites, {self.mode}, {self.transport}"


class Row(msgspec.Struct, frozen=True):
    """Medians of one kind."""

    kind: Kind
    publish_ms: float
    payload_ms: float
    convergence_ms: float
    worst_ms: float
    server_us_per_agent: float
    agents_us_per_agent: float
    bytes_per_agent: float | None
    mic_us: float | None
    """CPU of MIC for one revision, ours only."""
    foreign: float
    commits: float | None = None
    """Of MIC's store, ours only."""
    mic_after_us: float | None = None
    """CPU of MIC after the last ack, until it has remembered it; ours only."""
    hops: Mapping[str, stand.Flow] = {}
    """Medians."""

    @property
    def case(self) -> str:
        return self.kind.words

    @property
    def loaded(self) -> bool:
        return self.foreign > LOADED

    @property
    def name(self) -> str:
        """Of the system, as it is shown."""
        return f"{self.kind.system} (mutual TLS)" if self.kind.transport == "tls" else self.kind.system


def rows(results: Iterable[Result]) -> Sequence[Row]:
    """In the order in which systems and changes first appear."""
    groups: dict[Kind, list[Result]] = {}
    for one in results:
        kind = Kind(
            one.mode, one.sites, one.agents, one.document_bytes, one.change, one.system, one.transport
        )
        groups.setdefault(kind, []).append(one)
    return [_row(kind, some) for kind, some in groups.items()]


def _row(kind: Kind, some: Sequence[Result]) -> Row:
    moved = [
        one.hops[hop].bytes_down / one.agents for one in some for hop in one.hops if hop.endswith("-agent")
    ]
    agents = [sum(p.cpu_s for p in one.processes if p.role == stand.AGENTS) / one.agents for one in some]
    mic = [p.cpu_s for one in some for p in one.processes if p.name == "mic"]
    return Row(
        kind,
        statistics.median(one.publish_ms for one in some),
        statistics.median(one.payload_ms for one in some),
        statistics.median(one.convergence_ms for one in some),
        max(one.convergence_ms for one in some),
        statistics.median(one.server_cpu_s / one.agents for one in some) * 1e6,
        statistics.median(agents) * 1e6,
        statistics.median(moved) if moved else None,
        statistics.median(mic) * 1e6 if mic else None,
        max(one.foreign for one in some),
        _median_of([one.commits for one in some]),
        _median_of([one.after_cpu_s and one.after_cpu_s * 1e6 for one in some]),
        {hop: _flow([one.hops[hop] for one in some]) for hop in some[0].hops},
    )


def _median_of(some: Sequence[float | None]) -> float | None:
    known = [one for one in some if one is not None]
    return statistics.median(known) if known else None


def _flow(some: Sequence[stand.Flow]) -> stand.Flow:
    columns = zip(*(msgspec.structs.astuple(one) for one in some), strict=True)
    return stand.Flow(*(int(statistics.median(column)) for column in columns))


HEAD = (
    "system", "change", "document", "publish ms", "payload ms", "converged ms", "worst ms", "server us/agent",
    "client us/agent", "MIC ms", "B/agent", "machine",
)  # fmt: skip


def cells(row: Row) -> Sequence[str]:
    """One line of the table."""
    return (
        row.name, row.kind.change, size(row.kind.document_bytes), f"{row.publish_ms:.1f}", f"{row.payload_ms:.1f}",
        f"{row.convergence_ms:.1f}", f"{row.worst_ms:.1f}", f"{row.server_us_per_agent:.0f}",
        f"{row.agents_us_per_agent:.0f}", "" if row.mic_us is None else f"{row.mic_us / 1000:.1f}",
        "" if row.bytes_per_agent is None else f"{row.bytes_per_agent:.0f}",
        "loaded" if row.loaded else "quiet",
    )  # fmt: skip


def size(size_bytes: int) -> str:
    for unit, bytes_ in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes >= bytes_:
            return f"{size_bytes / bytes_:g} {unit}"
    return f"{size_bytes} B"


def line(one: Result | Missing) -> str:
    """As it is saved."""
    return msgspec.json.encode(one).decode()
