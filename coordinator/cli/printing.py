"""Answers as text: tables, JSON, YAML, names. JSON is the API's own, indented; it is a contract.

Columns are aligned with blanks alone, so that a table can be cut by any tool.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

import click
import msgspec

from coordinator import names
from coordinator.cli import session
from coordinator.host import durations

GAP = "  "
DIGEST_CHARACTERS = 12


def output(*forms: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option `-o`; the first form is the default."""
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(forms),
        default=forms[0],
        show_default=True,
        help="How to print.",
    )


def structured(form: str, body: bytes) -> str | None:
    """JSON or YAML of an answer; None where another form is asked for."""
    if form == "json":
        return msgspec.json.format(body, indent=2).decode()
    if form == "yaml":
        import yaml  # noqa: PLC0415 30 ms that no other form needs

        text: str = yaml.safe_dump(msgspec.json.decode(body), sort_keys=False, allow_unicode=True)
        return text
    return None


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligned lines, the head first; cells are cleaned of control characters and line breaks."""
    cells = [list(head), *([session.clean(cell).replace("\n", " ") or "-" for cell in row] for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(head))]
    return [
        GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    ]


def painted(shown: session.Session, lines: Sequence[str], column: int) -> list[str]:
    """A table's lines with the words of one column coloured, alignment kept."""
    head = lines[0]
    starts = [0] + [
        index for index in range(2, len(head)) if head[index] != " " and head[index - 2 : index] == GAP
    ]
    start = starts[column]
    end = starts[column + 1] if column + 1 < len(starts) else None
    painted_lines = [head]
    for line in lines[1:]:
        word = line[start:end].rstrip()
        painted_lines.append(line[:start] + shown.coloured(word) + line[start + len(word) :])
    return painted_lines


def version(value: names.Version) -> str:
    return str(value)


def short(digest: str) -> str:
    return digest[:DIGEST_CHARACTERS]


def count(number: int, thing: str) -> str:
    """`1 site`, `2 sites`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def since(span_s: float | None) -> str:
    """Of something that lasts."""
    return "" if span_s is None else f"since {durations.written(span_s)}"


def moment(wall_s: float) -> str:
    """UTC, to the second; a clock that lies wildly shows as a number."""
    try:
        return dt.datetime.fromtimestamp(wall_s, dt.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return str(wall_s)


def size(size_bytes: int) -> str:
    if size_bytes < 1024:
        return f"{size_bytes} B"
    kib = size_bytes / 1024
    return f"{kib:.1f} KiB" if kib < 1024 else f"{kib / 1024:.1f} MiB"
