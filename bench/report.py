"""`tiercast bench report`: saved results as a table, a page or a picture; and how they are shown at the end of a run."""

import pathlib
from collections.abc import Sequence

import click
import msgspec

from bench import machine, measures
from bench.peers import systems
from bench.propagation import ours, pages, plots, results
from coordinator import errors
from coordinator.cli import printing

LACKS = {one.name: one.lacks for one in (ours.Tiercast(), *systems.PEERS.values())}

FILE = click.Path(path_type=pathlib.Path, exists=True, dir_okay=False)
MADE = click.Path(path_type=pathlib.Path, dir_okay=False)


@click.command()
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.option("--html", "page", type=MADE, help="Write a page that needs nothing else.")
@click.option("--png", "picture", type=MADE, help="Write a picture (needs tiercast[bench]).")
def report(files: Sequence[pathlib.Path], page: pathlib.Path | None, picture: pathlib.Path | None) -> None:
    """Show saved results: the medians of all files together."""
    found: list[results.Result] = []
    missing: list[results.Missing] = []
    where = None
    try:
        for path in files:
            some, away = results.read(path)
            found += some
            missing += away
            where = where or measures.saved_on(path)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise errors.UsageError(f"not a file of results ({wrong})", hint="make one with -o json") from wrong
    if not found:
        raise errors.UsageError("no result of `bench propagation` in it")
    show(found, missing)
    save(results.rows(found), missing, where, (page, picture))


def show(found: Sequence[results.Result], missing: Sequence[results.Missing]) -> None:
    """Tables, one for each mode and size of the tree."""
    groups: dict[tuple[str, int, int], list[results.Row]] = {}
    for row in results.rows(found):
        groups.setdefault((row.kind.mode, row.kind.agents, row.kind.sites), []).append(row)
    for (mode, agents, sites), rows in groups.items():
        print(f"{agents} agents, {sites} sites, mode {mode}, medians")
        print("\n".join(printing.table(results.HEAD, [results.cells(row) for row in rows])))
    for line in dict.fromkeys(f"{one.system}: {one.missing}" for one in missing):
        print(line)
    for name in dict.fromkeys(one.system for one in found):
        if LACKS.get(name):
            print(f"{name}: {LACKS[name]}")
    if any(one.loaded for one in found):
        print(
            f"loaded: others used more than {results.LOADED:.0%} of the machine; read the CPU, not the clock"
        )


def save(
    rows: Sequence[results.Row],
    missing: Sequence[results.Missing],
    where: machine.Machine | None,
    wanted: tuple[pathlib.Path | None, pathlib.Path | None],
) -> None:
    """The page and the picture, where they are wanted. Raises `UsageError`."""
    page, picture = wanted
    if page is not None:
        page.write_text(pages.page(rows, missing, LACKS, where))
    if picture is not None:
        plots.save(rows, picture)
