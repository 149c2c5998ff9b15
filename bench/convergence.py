"""`tiercast bench convergence`: from `apply` to the last role, with real processes on every tier, undisturbed and disturbed.

The servers of the demo: two sites of three, over mutual TLS, each a ServerShell with its nodes. Every revision changes a
greeting on each of them. Disturbed: as it is applied, a ServerShell is killed, or a whole server loses its power, in
turn; it is started again at once. The figure is MIC's own, from the activation to the last ack.
"""

import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import click

from bench import measures, showing
from bench.demo import engine, footing, observe, place, show, steps, story, world
from bench.propagation import load, stand
from coordinator.cli import printing

BEFORE_S = 1.0  # in which others are looked at: later the tree's own work hides theirs
FIGURES = ("p50_ms", "p99_ms")
_GREETING = "greeting: "


class _Progress(show.Show):
    """The demo's own words, beside the data."""

    def say(self, line: str = "") -> None:
        sys.stderr.write(line + "\n")


@click.command()
@click.option("--revisions", type=click.IntRange(1, 200), default=20, show_default=True, help="Of each kind.")
@click.option("--faults/--no-faults", default=True, show_default=True)
@printing.output("table", "json")
def convergence(form: str, revisions: int, faults: bool) -> int:
    """Apply revisions to a real tree of six servers; p50 and p99 until everything runs them."""
    footing.check(engine.Kind.RAFT)
    shown = showing.Showing(form, None, wanted=len(FIGURES) * (1 + faults))
    return showing.drain(shown, _measured(revisions, faults=faults))


def _measured(revisions: int, *, faults: bool) -> Iterator[measures.Measure]:
    """Figures of every kind, once all of its revisions are through."""
    watch = load.Watch()
    time.sleep(BEFORE_S)
    foreign = round(watch.foreign(stand.Stand()), 3)
    with world.World() as at:
        told = story.Story(at, _Progress())
        for step in (steps.begin, steps.join, steps.example):
            step(told)
        for disturbed in (False, True) if faults else (False,):
            took = [_applied(told, number, disturbed=disturbed) for number in range(revisions)]
            yield from _figures(took, "disturbed" if disturbed else "undisturbed", foreign)


def _figures(took: Sequence[float], kind: str, foreign: float) -> list[measures.Measure]:
    case = f"{len(place.PLACES)} servers, {len(took)} revisions, {kind}"
    ranked = sorted(took)
    values = (statistics.median(took), ranked[min(len(ranked) - 1, len(ranked) * 99 // 100)])
    return [
        measures.Measure(bench="convergence", case=case, figure=name, value=round(value, 1), foreign=foreign)
        for name, value in zip(FIGURES, values, strict=True)
    ]


def _applied(told: story.Story, number: int, *, disturbed: bool) -> float:
    """Milliseconds of one revision. Raises `UnseenError`."""
    kind = "b" if disturbed else "a"
    path = told.world.root / f"round-{kind}{number}.yaml"
    path.write_text(
        _edited(place.document().read_text(encoding="utf-8"), f"{kind}{number}"), encoding="utf-8"
    )
    words = ("apply", str(path), "--yes", "--wait", "all", "--timeout", story.WAIT)
    begun = told.world.begin(*words)
    if disturbed:
        _disturb(told.world, number)
    story.converged(told.world.ended(begun, words, 0.0))
    return _converged_ms(told.run("status", "-o", "json").out)


def _edited(text: str, mark: str) -> str:
    """Every greeting is another one."""
    return text.replace(_GREETING, f"{_GREETING}{mark} ")


def _disturb(at: world.World, number: int) -> None:
    """Of any server but the first, whose store and API the figures come from."""
    others = [name for name in place.PLACES if name != place.FIRST.name]
    name = others[number % len(others)]
    if number % 2:
        at.cut_power([name])
    else:
        shell = at.shells.pop(name)
        shell.kill()
        shell.wait()
    at.start(name)


def _converged_ms(text: str) -> float:
    """Of the active rollout. Raises `UnseenError`."""
    told: dict[str, Any] = json.loads(text)
    after = told.get("rollout", {}).get("converged_after_ms")
    if after is None:
        raise observe.UnseenError(f"status does not say when it converged (got {text[:200]!r})")
    return float(after)
