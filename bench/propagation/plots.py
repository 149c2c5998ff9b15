"""The same plots as a PNG, for where a page cannot go; needs the extra `tiercast[bench]`."""

import importlib
import importlib.util
import pathlib
from collections.abc import Sequence
from typing import Any

from bench.propagation import results
from coordinator import errors


def check() -> None:
    """Raises `UsageError` where matplotlib is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        raise errors.UsageError("no PNG without matplotlib", hint="install tiercast[bench], or take --html")


def save(rows: Sequence[results.Row], path: pathlib.Path) -> None:
    """Convergence and CPU side by side. Raises `UsageError` where matplotlib is missing."""
    check()
    importlib.import_module("matplotlib").use("Agg")
    drawing = importlib.import_module("matplotlib.pyplot")
    labels = [f"{row.name} {row.kind.change} {results.size(row.kind.document_bytes)}" for row in rows]
    figure, (left, right) = drawing.subplots(1, 2, figsize=(14, 1 + 0.32 * len(rows)), sharey=True)
    _latency(left, rows, labels)
    _cpu(right, rows, labels)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    drawing.close(figure)


def _latency(axes: Any, rows: Sequence[results.Row], labels: Sequence[str]) -> None:  # noqa: ANN401 matplotlib is not there when this is checked
    late = [row.worst_ms - row.convergence_ms for row in rows]
    axes.barh(labels, [row.convergence_ms for row in rows], xerr=[[0.0] * len(rows), late])
    axes.invert_yaxis()
    axes.set_xlabel("converged, ms (median; whisker: the slowest)")


def _cpu(axes: Any, rows: Sequence[results.Row], labels: Sequence[str]) -> None:  # noqa: ANN401 as above
    servers = [row.server_us_per_agent for row in rows]
    axes.barh(labels, servers, label="servers")
    axes.barh(labels, [row.agents_us_per_agent for row in rows], left=servers, label="clients")
    axes.set_xlabel("CPU, us per agent and revision")
    axes.legend()
