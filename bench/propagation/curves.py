"""How things grow: our own results along servers, sites and the document's size, where at least three points are there.

Law: only one thing grows along a line, all else of its points is the same; a ratio is of its first and last point.
"""

import enum
from collections.abc import Iterable, Sequence

import msgspec

from bench.propagation import results, stand

POINTS_MIN = 3
OURS = "tiercast"
MIC_HOP, LAST_HOP = "mic-ic", "ic-agent"


class Axis(enum.StrEnum):
    """What grows."""

    SERVERS = "servers"
    SITES = "sites"
    DOCUMENT = "document"


class Curve(msgspec.Struct, frozen=True):
    """Points in the order of what grows."""

    axis: Axis
    rows: tuple[results.Row, ...]

    def at(self, row: results.Row) -> int:
        """Where a point stands on its axis."""
        return _at(self.axis, row.kind)

    def label(self, row: results.Row) -> str:
        return results.size(self.at(row)) if self.axis is Axis.DOCUMENT else f"{self.at(row):,}"

    @property
    def title(self) -> str:
        kind = self.rows[0].kind
        fixed = {
            Axis.SERVERS: f"{kind.agents:,} servers",
            Axis.SITES: f"{kind.sites} sites",
            Axis.DOCUMENT: results.size(kind.document_bytes),
        }
        said = ", ".join(words for axis, words in fixed.items() if axis is not self.axis)
        return f"growth with {self.axis}: {said}, {kind.change} change, mode {kind.mode}, {kind.transport}"

    @property
    def head(self) -> Sequence[str]:
        return (
            str(self.axis), "converged ms", "worst ms", "MIC ms", "commits", "server us/agent", "client us/agent",
            "B/site", "msgs/site", "B/agent", "msgs/agent", "machine",
        )  # fmt: skip

    def cells(self, row: results.Row) -> Sequence[str]:
        """One line of the table; bytes and messages are down + up."""
        return (
            self.label(row), f"{row.convergence_ms:.1f}", f"{row.worst_ms:.1f}", _words(_mic_ms(row), 1),
            _words(row.commits, 0), f"{row.server_us_per_agent:.0f}", f"{row.agents_us_per_agent:.0f}",
            *_flow(row, MIC_HOP, row.kind.sites), *_flow(row, LAST_HOP, row.kind.agents),
            "loaded" if row.loaded else "quiet",
        )  # fmt: skip

    @property
    def sentence(self) -> str:
        """From the first point to the last: how many times as much of everything."""
        first, last = self.rows[0], self.rows[-1]
        grown = {
            "converged": (first.convergence_ms, last.convergence_ms),
            "MIC's CPU": (_mic_ms(first), _mic_ms(last)),
            "commits": (first.commits, last.commits),
            "CPU of all servers": (_servers_ms(first), _servers_ms(last)),
            "bytes to a site": (_down(first, MIC_HOP), _down(last, MIC_HOP)),
            "bytes to an agent": (_down(first, LAST_HOP), _down(last, LAST_HOP)),
        }
        said = [f"{name} x{b / a:.2g}" for name, (a, b) in grown.items() if a and b is not None]
        loaded = " (loaded)" if first.loaded or last.loaded else ""
        times = self.at(last) / self.at(first)
        return f"{self.axis} x{times:,.4g}: {', '.join(said)}{loaded}"

    def series(self) -> Sequence[tuple[str, Sequence[float | None]]]:
        """Milliseconds of one revision at every point, by name."""
        return (
            ("converged", [row.convergence_ms for row in self.rows]),
            ("CPU of all servers", [_servers_ms(row) for row in self.rows]),
            ("CPU of MIC", [_mic_ms(row) for row in self.rows]),
        )


def found(rows: Iterable[results.Row]) -> Sequence[Curve]:
    """All lines of what is there, those along servers first."""
    own = [row for row in rows if row.kind.system == OURS]
    curves = []
    for axis in Axis:
        groups: dict[results.Kind, list[results.Row]] = {}
        for row in own:
            groups.setdefault(_without(axis, row.kind), []).append(row)
        curves += [_curve(axis, some) for some in groups.values() if len(some) >= POINTS_MIN]
    return curves


def hold(grown: Sequence[Curve], rows: Iterable[results.Row]) -> bool:
    """Whether all of these are points of lines, and stand there."""
    return all(any(row in one.rows for one in grown) for row in rows)


def beside(grown: Sequence[Curve], rows: Sequence[results.Row]) -> Sequence[results.Row]:
    """Those for the bars: all of the same work together, unless all of it stands in the lines."""
    work: dict[tuple[str, int, int, int], list[results.Row]] = {}
    for row in rows:
        kind = row.kind
        work.setdefault((kind.mode, kind.document_bytes, kind.agents, kind.sites), []).append(row)
    return [row for some in work.values() if not hold(grown, some) for row in some]


def _curve(axis: Axis, rows: Iterable[results.Row]) -> Curve:
    return Curve(axis, tuple(sorted(rows, key=lambda row: _at(axis, row.kind))))


def _at(axis: Axis, kind: results.Kind) -> int:
    match axis:
        case Axis.SERVERS:
            return kind.agents
        case Axis.SITES:
            return kind.sites
        case Axis.DOCUMENT:
            return kind.document_bytes


def _without(axis: Axis, kind: results.Kind) -> results.Kind:
    """The same for all points of a line."""
    match axis:
        case Axis.SERVERS:
            return msgspec.structs.replace(kind, agents=0)
        case Axis.SITES:
            return msgspec.structs.replace(kind, sites=0)
        case Axis.DOCUMENT:
            return msgspec.structs.replace(kind, document_bytes=0)


def _mic_ms(row: results.Row) -> float | None:
    """Until it has remembered the revision, where that was measured."""
    return None if row.mic_us is None else (row.mic_us + (row.mic_after_us or 0.0)) / 1000


def _servers_ms(row: results.Row) -> float:
    return row.server_us_per_agent * row.kind.agents / 1000


def _down(row: results.Row, hop: str) -> float | None:
    flow, children = row.hops.get(hop), row.kind.sites if hop == MIC_HOP else row.kind.agents
    return None if flow is None else flow.bytes_down / children


def _flow(row: results.Row, hop: str, children: int) -> tuple[str, str]:
    flow: stand.Flow | None = row.hops.get(hop)
    if flow is None:
        return "", ""
    moved = f"{flow.bytes_down / children:.0f}+{flow.bytes_up / children:.0f}"
    return moved, f"{flow.messages_down / children:.3g}+{flow.messages_up / children:.3g}"


def _words(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
