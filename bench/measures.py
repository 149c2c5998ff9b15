"""One format for the figures of every bench: one JSON object a line, each to be read alone. What can be compared, is here.

Law: two figures are compared only if bench, case and name agree: a mode, a transport or a size is part of the case.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from bench.propagation import results
from coordinator.cli import printing

LOADED = results.LOADED
_WHOLE = 1000.0
HEAD = ("case", "figure", "value", "machine")


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure; of each, less is better."""

    bench: str
    case: str
    """Everything that was asked for, in words."""
    figure: str
    """What was measured, with its unit last."""
    value: float
    foreign: float = 0.0
    """Share of all cores that others used meanwhile."""

    @property
    def loaded(self) -> bool:
        return self.foreign > LOADED

    @property
    def timed(self) -> bool:
        """Whether it says little on a machine that others use: CPU and bytes say what they say."""
        return self.figure.endswith("_ms") or self.figure.endswith("_s")

    @property
    def words(self) -> str:
        """The value as people read it; its unit stands in the name."""
        if "bytes" in self.figure:
            return printing.size(round(self.value))
        return f"{self.value:,.0f}" if self.value >= _WHOLE else f"{self.value:.4g}"

    @property
    def cells(self) -> Sequence[str]:
        """One line of a table below `HEAD`."""
        return self.case, self.figure, self.words, "loaded" if self.loaded else "quiet"

    @property
    def key(self) -> tuple[str, str, str]:
        return self.bench, self.case, self.figure


def line(one: Measure) -> str:
    """As it is saved."""
    return msgspec.json.encode(one).decode()


def comparable(figures: Iterable[Measure], revisions: Iterable[results.Result]) -> Sequence[Measure]:
    """The median of each figure, in the order of their first appearance, those of revisions behind the others."""
    return [*medians(figures), *_of_rows(results.rows(revisions))]


def medians(figures: Iterable[Measure]) -> Sequence[Measure]:
    """One of each key."""
    found: dict[tuple[str, str, str], list[Measure]] = {}
    for one in figures:
        found.setdefault(one.key, []).append(one)
    return [_median(some) for some in found.values()]


def _median(some: Sequence[Measure]) -> Measure:
    value = statistics.median(one.value for one in some)
    return msgspec.structs.replace(some[0], value=value, foreign=max(one.foreign for one in some))


def _of_rows(rows: Iterable[results.Row]) -> list[Measure]:
    found = []
    for row in rows:
        figures: Mapping[str, float | None] = {
            "convergence_ms": row.convergence_ms,
            "server_us_per_agent": row.server_us_per_agent,
            "client_us_per_agent": row.agents_us_per_agent,
            "bytes_per_agent": row.bytes_per_agent,
        }
        found += [
            Measure(bench="propagation", case=row.case, figure=name, value=value, foreign=row.foreign)
            for name, value in figures.items()
            if value is not None
        ]
    return found
