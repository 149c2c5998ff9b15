"""A file of results as it was saved, whichever bench made it: revisions, figures, who was missing, the machine.

Law: a file whose run did not come to its end says so wherever it is shown.
"""

import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from bench import machine, measures
from bench.propagation import results
from coordinator import errors


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of some files."""

    revisions: Sequence[results.Result] = ()
    missing: Sequence[results.Missing] = ()
    figures: Sequence[measures.Measure] = ()
    partial: Sequence[str] = ()
    """Of every run that did not come to its end: how far it came."""
    where: machine.Machine | None = None
    """The first machine that was named."""


def read(paths: Iterable[pathlib.Path]) -> Saved:
    """Of all files together. Raises `UsageError` with the file that is none of results."""
    parts = [_part(path) for path in paths]
    return Saved(
        revisions=[one for part in parts for one in part.revisions],
        missing=[one for part in parts for one in part.missing],
        figures=[one for part in parts for one in part.figures],
        partial=[one for part in parts for one in part.partial],
        where=next((part.where for part in parts if part.where is not None), None),
    )


def _part(path: pathlib.Path) -> Saved:
    try:
        return of(path.read_text().splitlines(), path.stem)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise errors.UsageError(
            f"not a file of results (got {path.name}: {wrong})", hint="make one with -o json"
        ) from wrong


def of(lines: Iterable[str], name: str) -> Saved:
    """Of one file. Raises `msgspec` errors."""
    revisions: list[results.Result] = []
    missing: list[results.Missing] = []
    figures: list[measures.Measure] = []
    partial: list[str] = []
    where = None
    for line in lines:
        given: dict[str, Any] = msgspec.json.decode(line)
        if "figure" in given:
            figures.append(msgspec.convert(given, measures.Measure))
        elif "convergence_ms" in given:
            revisions.append(msgspec.convert(given, results.Result))
        elif "missing" in given:
            missing.append(msgspec.convert(given, results.Missing))
        elif "partial" in given:
            partial.append(f"{name}: {msgspec.convert(given, results.Partial).words}")
        elif "machine" in given:
            where = msgspec.convert(given, machine.Machine)
    return Saved(revisions=revisions, missing=missing, figures=figures, partial=partial, where=where)
