"""`tiercast bench compare`: has anything become worse than a saved result, beyond a margin that is stated?"""

import math
import sys
from collections.abc import Sequence
from typing import IO

import click
import msgspec

from bench import measures, saved
from coordinator import errors
from coordinator.cli import printing

WORSE = 1
HEAD = ("case", "figure", "was", "is", "ratio", "verdict")


@click.command()
@click.argument("saved_file", metavar="SAVED", type=click.File("r"))
@click.argument("new", type=click.File("r"), default="-")
@click.option(
    "--margin", type=click.FloatRange(0.0, 10.0), default=0.3, show_default=True, help="That is no worse yet."
)
def compare(saved_file: IO[str], new: IO[str], margin: float) -> int:
    """Compare NEW (or stdin) with a SAVED result: exit status 1 where a figure is worse by more than the margin.

    Of figures that come from a machine under load only CPU and bytes are judged.
    """
    before, after = _read(saved_file, "the saved one"), _read(new, "the new one")
    for words in (*before.partial, *after.partial):
        sys.stderr.write(f"{words}; what it has is compared\n")
    if _place(before) != _place(after):
        sys.stderr.write(f"of different machines: {_place(before)}; {_place(after)}\n")
    was, now = _by_key(before), _by_key(after)
    shared = [key for key in was if key in now]
    if not shared:
        raise errors.UsageError(
            f"nothing in common (got {len(now)} figures, have {len(was)})",
            hint="run it with the same options as the saved one",
        )
    judged = [_judged(was[key], now[key], margin) for key in shared]
    print("\n".join(printing.table(HEAD, judged)))
    worse = sum(row[-1] == "worse" for row in judged)
    sys.stderr.write(f"{worse} of {len(judged)} figures worse by more than {margin:.0%}\n")
    return WORSE if worse else 0


def _read(given: IO[str], name: str) -> saved.Saved:
    """Raises `UsageError`."""
    try:
        return saved.of(given, name)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise errors.UsageError(
            f"not a file of results ({name}: {wrong})", hint="make one with -o json"
        ) from wrong


def _place(found: saved.Saved) -> str:
    where = found.where
    return "not said" if where is None else f"{where.machine}, {where.cores} cores, Python {where.python}"


def _by_key(found: saved.Saved) -> dict[tuple[str, str, str], measures.Measure]:
    return {one.key: one for one in measures.comparable(found.figures, found.revisions)}


def _judged(was: measures.Measure, now: measures.Measure, margin: float) -> Sequence[str]:
    from_nothing = math.inf if now.value else 1.0
    ratio = now.value / was.value if was.value else from_nothing
    if now.timed and (was.loaded or now.loaded):
        verdict = "loaded"
    elif ratio > 1 + margin:
        verdict = "worse"
    else:
        verdict = "better" if ratio < 1 / (1 + margin) else "same"
    return was.case, was.figure, f"{was.value:.4g}", f"{now.value:.4g}", f"{ratio:.2f}", verdict
