"""Results as one page that needs nothing else: tables and plots, drawn as SVG by hand.

Law: nothing of a result is shown without what it was made of: mode, sizes, transport, machine, and whether others used it.
"""

import html
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from bench import machine
from bench.propagation import curves, results, slopes

LABEL_PX, PLOT_PX, VALUE_PX, LINE_PX, BAR_PX = 190, 430, 150, 24, 14
WIDTH_PX = LABEL_PX + PLOT_PX + VALUE_PX
FIGURES_HEAD = ("bench", "case", "figure", "value", "machine")
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --paper: #fdfdfb; --faint: #8a94a3; --ours: #0b6e4f; --theirs: #7d8ca3;
  --client: #c9d3de; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --paper: #14181d; --ours: #3fbf8f; --theirs: #8896aa;
  --client: #3c4654; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 76rem;
  margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; } .faint { color: var(--faint); } figure { margin: 1rem 0; overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { padding: .2rem .4rem; text-align: right; border-bottom: 1px solid color-mix(in srgb, var(--faint) 30%, transparent); }
th:first-child, td:first-child, td:nth-child(2), th:nth-child(2) { text-align: left; }
svg text { fill: var(--ink); font-size: 12px; } svg .faint { fill: var(--faint); }
svg .ours { fill: var(--ours); } svg .theirs { fill: var(--theirs); } svg .client { fill: var(--client); }
svg line { stroke: var(--ink); stroke-width: 1; } svg .grid { stroke: var(--faint); stroke-opacity: .3; }
svg .linear { stroke: var(--faint); stroke-dasharray: 4 4; } svg polyline { stroke-width: 2; }
svg polyline.ours { fill: none; stroke: var(--ours); } svg polyline.theirs { fill: none; stroke: var(--theirs); }
svg polyline.faint { fill: none; stroke: var(--faint); stroke-dasharray: 1 3; stroke-linecap: round; }
.wide { overflow-x: auto; } .partial { color: #b3261e; font-weight: 600; } td, th { white-space: nowrap; }
"""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown."""

    rows: Sequence[results.Row]
    missing: Sequence[results.Missing] = ()
    figures: Sequence[Sequence[str]] = ()
    """Of the other benches: bench, case, figure, value, machine."""
    lacks: Mapping[str, str] = {}
    """What each system does not do."""
    partial: Sequence[str] = ()
    where: machine.Machine | None = None


def page(told: Told) -> str:
    """The whole page."""
    parts = [_head(told.where), *(f"<p class='partial'>{_safe(words)}</p>" for words in told.partial)]
    groups: dict[tuple[str, int, int, int], list[results.Row]] = {}
    grown = curves.found(told.rows)
    for row in told.rows:
        kind = row.kind
        groups.setdefault((kind.mode, kind.document_bytes, kind.agents, kind.sites), []).append(row)
    for (mode, size_bytes, agents, sites), some in groups.items():
        if curves.hold(grown, some):
            continue
        title = f"{results.size(size_bytes)} to {agents} agents below {sites} sites, mode {mode}"
        parts += [
            f"<h2>{_safe(title)}</h2>",
            _latency(some),
            _cpu(some),
            _table(results.HEAD, map(results.cells, some)),
        ]
    if grown:
        parts.append(
            "<h2>How it grows</h2><p class='faint'>Both axes logarithmic; dashed: exactly with its axis.</p>"
        )
    for one in grown:
        parts += [
            slopes.drawn(one),
            f"<p>{_safe(one.sentence)}</p>",
            _table(one.head, map(one.cells, one.rows)),
        ]
    if told.figures:
        parts += ["<h2>Everything else</h2>", _table(FIGURES_HEAD, told.figures)]
    parts.append(_notes(told))
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Tiercast: measured</title>\n'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _head(where: machine.Machine | None) -> str:
    title = "<h1>From one revision to everybody's ack</h1>"
    if where is None:
        return f"{title}\n<p class='faint'>The file does not say which machine this was.</p>"
    told = machine.words(where)
    beside = "; ".join(where.versions.values())
    return f"{title}\n<p>{_safe(told)}<br><span class='faint'>{_safe(beside)}</span></p>"


def _latency(rows: Sequence[results.Row]) -> str:
    """Bars of the medians, a whisker to the slowest revision."""
    most = max(row.worst_ms for row in rows)
    lines = []
    for row in rows:
        bar = _bar(LABEL_PX, row.convergence_ms / most, "ours" if _is_ours(row) else "theirs")
        end = LABEL_PX + PLOT_PX * row.worst_ms / most
        start = LABEL_PX + PLOT_PX * row.convergence_ms / most
        whisker = f'<line x1="{start:.1f}" x2="{end:.1f}" y1="{BAR_PX / 2}" y2="{BAR_PX / 2}"/>'
        shown = f"{row.convergence_ms:.1f} ms" + (" (loaded)" if row.loaded else "")
        lines.append(_line(row, bar + whisker, shown))
    return _figure("Converged: median, and the slowest revision", lines)


def _cpu(rows: Sequence[results.Row]) -> str:
    """Servers and clients end to end."""
    most = max(row.server_us_per_agent + row.agents_us_per_agent for row in rows)
    lines = []
    for row in rows:
        servers = row.server_us_per_agent / most
        bars = _bar(LABEL_PX, servers, "ours" if _is_ours(row) else "theirs")
        bars += _bar(LABEL_PX + PLOT_PX * servers, row.agents_us_per_agent / most, "client")
        lines.append(_line(row, bars, f"{row.server_us_per_agent:.0f} + {row.agents_us_per_agent:.0f} us"))
    return _figure("CPU per agent and revision: servers, and (pale) the clients", lines)


def _is_ours(row: results.Row) -> bool:
    return row.kind.system == "tiercast"


def _bar(x: float, share: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="0" width="{PLOT_PX * share:.1f}" height="{BAR_PX}"/>'


def _line(row: results.Row, drawn: str, shown: str) -> str:
    label = f'<text x="{LABEL_PX - 8}" y="{BAR_PX - 3}" text-anchor="end">{_safe(row.name)} {row.kind.change}</text>'
    value = f'<text class="faint" x="{LABEL_PX + PLOT_PX + 8}" y="{BAR_PX - 3}">{_safe(shown)}</text>'
    return label + drawn + value


def _figure(title: str, lines: Sequence[str]) -> str:
    height = LINE_PX * len(lines) + LINE_PX
    drawn = "\n".join(
        f'<g transform="translate(0 {LINE_PX * (number + 1)})">{line}</g>'
        for number, line in enumerate(lines)
    )
    size = f'width="{WIDTH_PX}" height="{height}" viewBox="0 0 {WIDTH_PX} {height}"'
    heading = f'<text x="{LABEL_PX}" y="{BAR_PX - 2}" font-weight="600">{_safe(title)}</text>'
    return f'<figure><svg {size} role="img" aria-label="{_safe(title)}">{heading}\n{drawn}</svg></figure>'


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    first = "".join(f"<th>{_safe(cell)}</th>" for cell in head)
    body = "\n".join("<tr>" + "".join(f"<td>{_safe(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='wide'><table><thead><tr>{first}</tr></thead>\n<tbody>{body}</tbody></table></div>"


def _notes(told: Told) -> str:
    present = dict.fromkeys(row.kind.system for row in told.rows)
    said = [
        f"<li><b>{_safe(name)}</b>: {_safe(told.lacks[name])}</li>"
        for name in present
        if told.lacks.get(name)
    ]
    away = dict.fromkeys(f"<li><b>{_safe(one.system)}</b>: {_safe(one.missing)}</li>" for one in told.missing)
    return (
        f"<h2>What each does not do</h2>\n<ul>{''.join([*said, *away])}</ul>\n"
        f"<p class='faint'>{_safe(results.LOADED_WORDS)}</p>"
    )


def _safe(text: str) -> str:
    return html.escape(text)
