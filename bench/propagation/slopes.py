"""Lines along which something grows, drawn as SVG by hand; both axes are logarithmic, so a straight line is a power.

Law: the dashed line is what grew exactly with its axis would be; whoever is flatter grows less.
"""

import html
import math
from collections.abc import Iterator, Sequence

from bench.propagation import curves

WIDTH_PX, HEIGHT_PX = 750, 280
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 70, 190, 26, 34
KINDS = ("ours", "theirs", "faint")
"""Of the series, in their order."""


class _Scale:
    """Where values stand."""

    def __init__(self, xs: Sequence[float], ys: Sequence[float]) -> None:
        self.x_least, self.x_most = math.log10(min(xs)), math.log10(max(xs))
        self.y_least, self.y_most = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)) + 1e-9)

    def x(self, value: float) -> float:
        share = (math.log10(value) - self.x_least) / max(self.x_most - self.x_least, 1e-9)
        return LEFT_PX + share * (WIDTH_PX - LEFT_PX - RIGHT_PX)

    def y(self, value: float) -> float:
        share = (math.log10(value) - self.y_least) / max(self.y_most - self.y_least, 1)
        return HEIGHT_PX - BOTTOM_PX - share * (HEIGHT_PX - TOP_PX - BOTTOM_PX)

    def decades(self) -> Iterator[float]:
        for power in range(self.y_least, self.y_most + 1):
            yield 10.0**power


def drawn(curve: curves.Curve) -> str:
    """One figure."""
    xs = [float(curve.at(row)) for row in curve.rows]
    series = [(name, _known(xs, values)) for name, values in curve.series()]
    series = [(name, points) for name, points in series if points]
    scale = _Scale(xs, [y for _, points in series for _, y in points])
    parts = [_frame(curve, scale), _linear(series[0][1], scale)]
    parts += [_series(name, points, scale, KINDS[n]) for n, (name, points) in enumerate(series)]
    title = html.escape(curve.title)
    size = f'width="{WIDTH_PX}" height="{HEIGHT_PX}" viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}"'
    heading = f'<text x="{LEFT_PX}" y="14" font-weight="600">{title}</text>'
    return (
        f'<figure><svg {size} role="img" aria-label="{title}">{heading}\n'
        + "\n".join(parts)
        + "</svg></figure>"
    )


def _known(xs: Sequence[float], ys: Sequence[float | None]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in zip(xs, ys, strict=True) if y]


def _frame(curve: curves.Curve, scale: _Scale) -> str:
    """Values of both axes."""
    base, right = HEIGHT_PX - BOTTOM_PX, WIDTH_PX - RIGHT_PX
    lines = [f'<line class="grid" x1="{LEFT_PX}" x2="{right}" y1="{base}" y2="{base}"/>']
    for value in scale.decades():
        y = scale.y(value)
        lines.append(f'<line class="grid" x1="{LEFT_PX}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(
            f'<text class="faint" x="{LEFT_PX - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g} ms</text>'
        )
    for row in curve.rows:
        x, mark = scale.x(curve.at(row)), "*" if row.loaded else ""
        words = html.escape(curve.label(row) + mark)
        lines.append(f'<text class="faint" x="{x:.1f}" y="{base + 18}" text-anchor="middle">{words}</text>')
    if any(row.loaded for row in curve.rows):
        lines.append(f'<text class="faint" x="{right + 40}" y="{base + 18}">* loaded</text>')
    return "\n".join(lines)


def _linear(points: Sequence[tuple[float, float]], scale: _Scale) -> str:
    """Through the first point, until it leaves the picture."""
    (x, y), most = points[0], 10.0**scale.y_most
    end = min(10.0**scale.x_most, x * most / y)
    return (
        f'<line class="linear" x1="{scale.x(x):.1f}" y1="{scale.y(y):.1f}" '
        f'x2="{scale.x(end):.1f}" y2="{scale.y(y * end / x):.1f}"/>'
    )


def _series(name: str, points: Sequence[tuple[float, float]], scale: _Scale, kind: str) -> str:
    at = [(scale.x(x), scale.y(y)) for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    dots = "".join(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in at)
    label = f'<text x="{at[-1][0] + 10:.1f}" y="{at[-1][1] + 4:.1f}">{html.escape(name)}</text>'
    return f'<polyline class="{kind}" points="{path}"/>{dots}{label}'
