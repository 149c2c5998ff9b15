"""`tiercast bench report`: saved results as tables, a page or a picture; and how they are shown at the end of a run."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import click

from bench import markdown, measures, saved
from bench.peers import systems
from bench.propagation import curves, ours, pages, plots, results
from coordinator import errors
from coordinator.cli import printing

LACKS: Mapping[str, str] = {one.name: one.lacks for one in (ours.Tiercast(), *systems.PEERS.values())}

FILE = click.Path(path_type=pathlib.Path, exists=True, dir_okay=False)
MADE = click.Path(path_type=pathlib.Path, dir_okay=False)


@click.command()
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.option("--html", "page", type=MADE, help="Write a page that needs nothing else.")
@click.option("--png", "picture", type=MADE, help="Write a picture (needs tiercast[bench]).")
@click.option("--markdown", "text", type=MADE, help="Write the tables as Markdown.")
def report(
    files: Sequence[pathlib.Path],
    page: pathlib.Path | None,
    picture: pathlib.Path | None,
    text: pathlib.Path | None,
) -> None:
    """Show saved results of any bench: the medians of all files together."""
    check((page, picture))
    check((text, None))
    found = saved.read(files)
    if not found.revisions and not found.figures and not found.missing:
        raise errors.UsageError("no figures in it", hint="make a file of them with -o json")
    show(found)
    save(found, (page, picture))
    if text is not None:
        text.write_text(markdown.page(found, text.absolute().parent.name, LACKS))


def show(found: saved.Saved) -> None:
    """Tables: revisions by mode and size of the tree, how things grow, and the figures of every other bench."""
    rows = results.rows(found.revisions)
    parts = [*_revisions(rows), *grown(rows), *_figures(found.figures)]
    parts += dict.fromkeys(f"{one.system}: {one.missing}" for one in found.missing)
    parts += [f"{name}: {LACKS[name]}" for name in _present(rows) if LACKS.get(name)]
    print("\n".join([*parts, *_marks(found, rows)]))


def show_growth(found: saved.Saved) -> None:
    """How things grow, alone; what is too short to be a line, as rows."""
    rows = results.rows(found.revisions)
    print("\n".join([*(grown(rows) or _revisions(rows)), *_marks(found, rows)]))


def _revisions(rows: Sequence[results.Row]) -> Sequence[str]:
    groups: dict[tuple[str, int, int], list[results.Row]] = {}
    for row in rows:
        groups.setdefault((row.kind.mode, row.kind.agents, row.kind.sites), []).append(row)
    lines: list[str] = []
    lines_grown = curves.found(rows)
    for (mode, agents, sites), some in groups.items():
        if curves.hold(lines_grown, some):
            continue
        lines.append(f"{agents} agents, {sites} sites, mode {mode}, medians")
        lines += printing.table(results.HEAD, [results.cells(row) for row in some])
        lines.append("")
    return lines


def grown(rows: Sequence[results.Row]) -> Sequence[str]:
    """One table for each line along which something grows, and what it comes to in a sentence."""
    lines: list[str] = []
    for one in curves.found(rows):
        lines.append(one.title)
        lines += printing.table(one.head, [one.cells(row) for row in one.rows])
        lines += [one.sentence, ""]
    return lines


def _figures(figures: Sequence[measures.Measure]) -> Sequence[str]:
    groups: dict[str, list[measures.Measure]] = {}
    for one in measures.medians(figures):
        groups.setdefault(one.bench, []).append(one)
    lines: list[str] = []
    for bench, some in groups.items():
        lines.append(f"bench {bench}, medians")
        lines += printing.table(measures.HEAD, [one.cells for one in some])
        lines.append("")
    return lines


def _present(rows: Sequence[results.Row]) -> Sequence[str]:
    return list(dict.fromkeys(row.kind.system for row in rows))


def _marks(found: saved.Saved, rows: Sequence[results.Row]) -> Sequence[str]:
    """What is to be held against all of it."""
    loaded = any(row.loaded for row in rows) or any(one.loaded for one in found.figures)
    return [*found.partial, *([results.LOADED_WORDS] if loaded else [])]


def check(wanted: tuple[pathlib.Path | None, pathlib.Path | None]) -> None:
    """Whether they can be written, before a run is made for them. Raises `UsageError`."""
    if wanted[1] is not None:
        plots.check()
    for path in wanted:
        if path is not None and not os.access(path if path.exists() else path.parent, os.W_OK):
            raise errors.UsageError(
                f"{path} cannot be written", hint="name a file in a directory that is there"
            )


def save(found: saved.Saved, wanted: tuple[pathlib.Path | None, pathlib.Path | None]) -> None:
    """The page and the picture, where they are wanted. Raises `UsageError`."""
    page, picture = wanted
    rows = results.rows(found.revisions)
    if page is not None:
        told = pages.Told(
            rows=rows,
            missing=found.missing,
            figures=[(one.bench, *one.cells) for one in measures.medians(found.figures)],
            lacks=LACKS,
            partial=found.partial,
            where=found.where,
        )
        page.write_text(pages.page(told))
    if picture is not None:
        plots.save(rows, picture, found.partial)
