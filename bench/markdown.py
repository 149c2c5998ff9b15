"""Saved results as one page of Markdown, to stand beside the files that it is made of.

Law: nothing in it is typed: every figure and every comparison comes from the files.
"""

from collections.abc import Iterable, Mapping, Sequence

from bench import machine, measures, saved
from bench.propagation import curves, results, roster

FLOOR = "tree-c"
HEAD = (
    "system", "converged ms", "slowest ms", "of the C tree", "server us/agent", "client us/agent", "B/agent", "machine",
)  # fmt: skip


def page(found: saved.Saved, name: str, lacks: Mapping[str, str]) -> str:
    """The whole of it; `lacks` says of each system what it does not do."""
    rows = results.rows(found.revisions)
    grown = curves.found(rows)
    parts = [f"# {name}", *_head(found), *_groups(rows, grown)]
    for one in grown:
        parts += [
            f"## {one.title[0].upper()}{one.title[1:]}",
            _table(one.head, map(one.cells, one.rows)),
            one.sentence + ".",
        ]
    benches = dict.fromkeys(one.bench for one in found.figures)
    for bench in benches:
        some = measures.medians(one for one in found.figures if one.bench == bench)
        parts += [f"## bench {bench}", _table(measures.HEAD, (one.cells for one in some))]
    parts.append(_notes(rows, found, lacks))
    return "\n\n".join(parts) + "\n"


def _head(found: saved.Saved) -> Sequence[str]:
    said = [
        "Made by `bench report --markdown` of the files beside it; [how to read it](../../../docs/bench.md)."
    ]
    if found.where is not None:
        said += [machine.words(found.where) + ".", "; ".join(found.where.versions.values()) + "."]
    return [*said, *(f"**{words}**" for words in found.partial)]


def _groups(rows: Sequence[results.Row], grown: Sequence[curves.Curve]) -> Iterable[str]:
    """One table for everything that carried the same documents to the same agents."""
    groups: dict[tuple[str, int, int, int, str], list[results.Row]] = {}
    for row in rows:
        kind = row.kind
        key = kind.mode, kind.agents, kind.sites, kind.document_bytes, kind.change
        groups.setdefault(key, []).append(row)
    for (mode, agents, sites, size_bytes, change), some in sorted(groups.items(), key=_place):
        if curves.hold(grown, some):
            continue
        size = results.size(size_bytes)
        yield f"## {size}, {change} change, to {agents:,} agents below {sites} sites, mode {mode}"
        floor = next((row for row in some if row.kind.system == FLOOR), None)
        yield _table(HEAD, (_cells(row, floor) for row in some))


def _place(group: tuple[tuple[str, int, int, int, str], object]) -> tuple[object, ...]:
    """What peers do too comes first."""
    mode, *rest = group[0]
    return mode != roster.PROPAGATION, *rest


def _cells(row: results.Row, floor: results.Row | None) -> Sequence[str]:
    times = "" if floor is None else f"{row.convergence_ms / floor.convergence_ms:.1f}"
    moved = "" if row.bytes_per_agent is None else f"{row.bytes_per_agent:,.0f}"
    return (
        row.name, f"{row.convergence_ms:,.1f}", f"{row.worst_ms:,.1f}", times, f"{row.server_us_per_agent:.0f}",
        f"{row.agents_us_per_agent:.0f}", moved, "loaded" if row.loaded else "quiet",
    )  # fmt: skip


def _notes(rows: Sequence[results.Row], found: saved.Saved, lacks: Mapping[str, str]) -> str:
    names = dict.fromkeys(row.kind.system for row in rows)
    said = [f"- {name}: {lacks[name]}" for name in names if lacks.get(name)]
    said += dict.fromkeys(f"- {one.system}: {one.missing}" for one in found.missing)
    return "\n".join(["## What each does not do", "", *said, f"- {results.LOADED_WORDS}"])


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    cells = list(head)
    lines = [cells, ["---"] * len(cells), *(list(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
