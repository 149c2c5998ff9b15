"""The same plots as a PNG, for where a page cannot go; needs the extra `tiercast[bench]`."""

import importlib
import importlib.util
import pathlib
from collections.abc import Sequence
from typing import Any

from bench.propagation import curves, results
from coordinator import errors

OURS, THEIRS = "#0b6e4f", "#7d8ca3"


def check() -> None:
    """Raises `UsageError` where matplotlib is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        raise errors.UsageError("no PNG without matplotlib", hint="install tiercast[bench], or take --html")


def save(rows: Sequence[results.Row], path: pathlib.Path, partial: Sequence[str] = ()) -> None:
    """Convergence and CPU side by side, and below them how things grow. Raises `UsageError` without matplotlib."""
    check()
    importlib.import_module("matplotlib").use("Agg")
    drawing = importlib.import_module("matplotlib.pyplot")
    grown = curves.found(rows)
    single = curves.beside(grown, rows)
    heights = ([1 + 0.32 * len(single)] if single else []) + [4.0] * ((len(grown) + 1) // 2)
    figure = drawing.figure(figsize=(15, sum(heights) + 0.5), layout="constrained")
    if partial:
        figure.suptitle("\n".join(partial), color="tab:red")
    grid = figure.add_gridspec(len(heights), 2, height_ratios=heights)
    first = 1 if single else 0
    if single:
        left = figure.add_subplot(grid[0, 0])
        _latency(left, single)
        _cpu(figure.add_subplot(grid[0, 1], sharey=left), single)
    for number, one in enumerate(grown):
        _curve(figure.add_subplot(grid[first + number // 2, number % 2]), one)
    figure.savefig(path, dpi=110)
    drawing.close(figure)


def _labels(rows: Sequence[results.Row]) -> Sequence[str]:
    return [
        f"{row.name} {row.kind.change} {results.size(row.kind.document_bytes)}, {row.kind.agents}/{row.kind.sites}"
        + (" (full)" if row.kind.mode == "full" else "")
        + (" *" if row.loaded else "")
        for row in rows
    ]


def _latency(axes: Any, rows: Sequence[results.Row]) -> None:  # noqa: ANN401 matplotlib is not there when this is checked
    late = [row.worst_ms - row.convergence_ms for row in rows]
    colours = [OURS if row.kind.system == curves.OURS else THEIRS for row in rows]
    spans = [row.convergence_ms for row in rows]
    axes.barh(_labels(rows), spans, xerr=[[0.0] * len(rows), late], color=colours)
    axes.invert_yaxis()
    axes.set_xscale("log")
    marked = "; *: loaded, read the CPU" if any(row.loaded for row in rows) else ""
    axes.set_xlabel(f"converged, ms (median; whisker: the slowest{marked})")


def _cpu(axes: Any, rows: Sequence[results.Row]) -> None:  # noqa: ANN401 as above
    servers = [row.server_us_per_agent for row in rows]
    labels = _labels(rows)
    axes.barh(labels, servers, label="servers")
    axes.barh(labels, [row.agents_us_per_agent for row in rows], left=servers, label="clients")
    axes.tick_params(labelleft=False)
    axes.set_xlabel("CPU, us per agent and revision")
    axes.legend()


def _curve(axes: Any, curve: curves.Curve) -> None:  # noqa: ANN401 as above
    at = [curve.at(row) for row in curve.rows]
    for name, values in curve.series():
        axes.plot(at, values, marker="o", label=name)
    first = curve.rows[0].convergence_ms
    axes.plot(at, [first * one / at[0] for one in at], "--", color="lightgray", label="exactly with its axis")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(at, [curve.label(row) + ("*" if row.loaded else "") for row in curve.rows])
    axes.minorticks_off()
    axes.set_ylabel("ms")
    axes.set_title(curve.title, fontsize=9)
    axes.legend(fontsize=8)
