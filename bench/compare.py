"""`tiercast bench compare`: has anything become worse than a saved result, beyond a margin that is stated?"""

import sys
from collections.abc import Sequence
from typing import IO

import click
import msgspec

from bench import measures
from coordinator import errors
from coordinator.cli import printing

WORSE = 1
HEAD = ("case", "figure", "was", "is", "ratio", "verdict")


@click.command()
@click.argument("saved", type=click.File("r"))
@click.argument("new", type=click.File("r"), default="-")
@click.option(
    "--margin", type=click.FloatRange(0.0, 10.0), default=0.3, show_default=True, help="That is no worse yet."
)
def compare(saved: IO[str], new: IO[str], margin: float) -> int:
    """Compare NEW (or stdin) with a SAVED result: exit status 1 where a figure is worse by more than the margin.

    Of figures that come from a machine under load only CPU and bytes are judged.
    """
    try:
        was, now = ({one.key: one for one in measures.read(given)} for given in (saved, new))
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise errors.UsageError(f"not a file of results ({wrong})", hint="make one with -o json") from wrong
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


def _judged(was: measures.Measure, now: measures.Measure, margin: float) -> Sequence[str]:
    ratio = now.value / was.value if was.value else 1.0
    if now.timed and (was.loaded or now.loaded):
        verdict = "loaded"
    elif ratio > 1 + margin:
        verdict = "worse"
    else:
        verdict = "better" if ratio < 1 / (1 + margin) else "same"
    return was.case, was.figure, f"{was.value:.4g}", f"{now.value:.4g}", f"{ratio:.2f}", verdict
