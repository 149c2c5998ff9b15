"""How a bench shows what it finds: JSON lines as they come, or tables at the end; progress beside the data.

Law: whatever ends a run, what was found until then is shown and marked as partial, and everything that was started is
gone before this returns.
"""

import asyncio
import contextlib
import pathlib
import sys
from collections.abc import AsyncGenerator, Callable, Iterable

import msgspec

from bench import machine, measures, report, saved, signals
from bench.propagation import programs, results

INTERRUPTED = 130
FAILED = 1

Item = results.Result | results.Missing | measures.Measure
Pages = tuple[pathlib.Path | None, pathlib.Path | None]


class Showing:
    """One run. `wanted` is how many lines of figures it will have, 0 where nobody knows."""

    def __init__(
        self,
        form: str,
        directory: pathlib.Path | None,
        *,
        wanted: int = 0,
        pages: Pages = (None, None),
        tables: Callable[[saved.Saved], None] = report.show,
    ) -> None:
        self.ended = False
        self._form, self._directory = form, directory
        self._wanted, self._pages, self._tables = wanted, pages, tables
        self._found: list[results.Result] = []
        self._missing: list[results.Missing] = []
        self._figures: list[measures.Measure] = []
        self._where: machine.Machine | None = None

    def begin(self) -> None:
        """The first line says where all others come from."""
        self._where = machine.described(self._directory)
        self._line(self._where)

    def take(self, one: Item) -> None:
        match one:
            case results.Result():
                self._found.append(one)
            case results.Missing():
                self._missing.append(one)
            case measures.Measure():
                self._figures.append(one)
        self._line(one)

    def _line(self, one: msgspec.Struct) -> None:
        if self._form == "json":
            sys.stdout.write(msgspec.json.encode(one).decode() + "\n")
            sys.stdout.flush()

    def end(self, why: str = "") -> None:
        """Tables and pages; `why` it did not come to its end, if it did not."""
        self.ended = True
        partial = results.Partial(
            partial=why, have=len(self._found) + len(self._figures), wanted=self._wanted
        )
        tell("")
        if why:
            self._line(partial)
            sys.stderr.write(f"{partial.words}; everything that was started is gone\n")
        whole = saved.Saved(
            revisions=self._found,
            missing=self._missing,
            figures=self._figures,
            partial=[partial.words] if why else [],
            where=self._where,
        )
        if not partial.have and why:
            return
        if self._form == "table":
            self._tables(whole)
        report.save(whole, self._pages)


def lines(directory: pathlib.Path | None, figures: Iterable[measures.Measure]) -> None:
    """All of a run that was shown as something else, as lines."""
    shown = Showing("json", directory)
    shown.begin()
    for one in figures:
        shown.take(one)


def run(shown: Showing, items: AsyncGenerator[Item, None]) -> int:
    """Exit status of a run whose figures come from an event loop."""
    try:
        return asyncio.run(_followed(shown, items))
    except KeyboardInterrupt:  # a second one, while the first was being obeyed: the programs end with us
        if not shown.ended:
            tell("interrupted again; what was found is not shown\n")
        return INTERRUPTED


async def _followed(shown: Showing, items: AsyncGenerator[Item, None]) -> int:
    task = asyncio.current_task()
    assert task is not None
    for number in signals.ending():
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        shown.begin()
        async with contextlib.aclosing(items):
            async for one in items:
                shown.take(one)
    except asyncio.CancelledError:
        shown.end("interrupted")
        return INTERRUPTED
    except programs.FailedError as problem:
        shown.end(f"failed: {problem.message}")
        tell(f"{problem.hint}\n" if problem.hint else "")
        return FAILED
    shown.end()
    return 0


def drain(shown: Showing, items: Iterable[Item]) -> int:
    """Exit status of a run whose figures come one after the other, without a loop of ours."""
    try:
        shown.begin()
        for one in items:
            shown.take(one)
    except KeyboardInterrupt:
        shown.end("interrupted")
        return INTERRUPTED
    shown.end()
    return 0


def progress(text: str) -> None:
    """Every step on a terminal, on one line; elsewhere only that a system is started."""
    if sys.stderr.isatty():
        tell(text)
    elif "starting" in text:
        tell(text + "\n")


def tell(text: str) -> None:
    """On one line that the next replaces, on a terminal."""
    sys.stderr.write(f"\r\033[K{text}" if sys.stderr.isatty() else text)
    sys.stderr.flush()
