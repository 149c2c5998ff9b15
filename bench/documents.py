"""`tiercast bench documents`: what a document costs MIC before anything is sent: reading, judging, difference, plan."""

import datetime as dt
import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import click

from bench import measures, showing
from bench.propagation import load, stand, workload
from coordinator import errors
from coordinator.cli import printing
from coordinator.config import diff, expansion, model, transition, validation
from coordinator.config.reading import document as reading
from coordinator.host import catalogue

SITE_SERVERS = 100
TODAY = dt.date(2026, 1, 1)


@click.command()
@click.option("--servers", "sizes", default="1000,10000", show_default=True, help="Sizes, comma-separated.")
@click.option("--rounds", type=click.IntRange(1, 20), default=3, show_default=True, help="The median counts.")
@printing.output("table", "json")
def documents(form: str, sizes: str, rounds: int) -> int:
    """Read, judge, compare and plan documents of so many servers, five roles each, in this process."""
    return showing.drain(showing.Showing(form, None), _measured(_sizes(sizes), rounds))


def _measured(sizes: Sequence[int], rounds: int) -> Iterator[measures.Measure]:
    for size in sizes:
        before = workload.system(size, max(1, size // SITE_SERVERS))
        body = model.canonical(before)
        for name, act in _acts(before, body).items():
            showing.progress(f"{size} servers: {name}")
            watch = load.Watch()
            spans = [_timed(act) for _ in range(rounds)]
            foreign = round(watch.foreign(stand.Stand()), 3)
            found = {
                f"{name}_ms": statistics.median(took for took, _ in spans) * 1000,
                f"{name}_cpu_us": statistics.median(cpu for _, cpu in spans) * 1e6,
            }
            for figure, value in found.items():
                yield measures.Measure(
                    bench="documents",
                    case=f"{size} servers, {len(body)} bytes",
                    figure=figure,
                    value=round(value, 3),
                    foreign=foreign,
                )


def _sizes(text: str) -> list[int]:
    try:
        found = [int(word) for word in text.split(",")]
    except ValueError:
        raise errors.UsageError(f"not numbers of servers (got {text[:40]!r})") from None
    if not all(0 < size <= 10_000 for size in found):
        raise errors.UsageError(f"out of bounds (got {text[:40]}, have 1..10000)")
    return found


def _acts(before: model.Document, body: bytes) -> Mapping[str, Callable[[], Any]]:
    """What is measured, each by its name."""
    known, after = catalogue.load(), workload.touched(before)
    findings = [one for one in validation.validate(before, known) if one.severity == "error"]
    assert not findings, f"the workload is not valid: {findings[0].message}"
    live = (transition.Live(None, before),)
    source = (reading.Source("bench.json", body),)
    return {
        "read_json": lambda: reading.read(source),
        "decode": lambda: model.decode(body),
        "expand": lambda: expansion.expand(before),
        "validate": lambda: validation.validate(before, known),
        "difference": lambda: diff.difference(before, after, known),
        "plan": lambda: transition.plan(live, after, known, today=TODAY),
        "canonical": lambda: model.canonical(after),
    }


def _timed(act: Callable[[], Any]) -> tuple[float, float]:
    """Seconds, and of the processor; the second says as much on a busy machine."""
    gc.collect()
    began, used = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - began, time.process_time() - used
