"""`tiercast bench store`: how fast the store keeps what it is given, and comes back, beside etcd on the same disk."""

import asyncio
import contextlib
import pathlib
import shutil
import statistics
import tempfile
from collections.abc import Coroutine, Iterator, Sequence
from typing import TypeVar

import click
import msgspec

from bench import showing
from bench.propagation import load as others
from bench.store import counting, etcd, failover, figures, load, ours, weight
from coordinator.host import loop

T = TypeVar("T")

QUESTIONS = ("puts", "failover", "pause", "memory")


@click.command()
@click.option(
    "--directory",
    type=click.Path(path_type=pathlib.Path, file_okay=False),
    help="On the disk to measure; not on tmpfs.",
)
@click.option(
    "--question",
    "questions",
    type=click.Choice((*QUESTIONS, "all")),
    multiple=True,
    default=("puts",),
    show_default=True,
    help="puts a second; recovery from killed leaders; pause by a snapshot of 50 MB; memory with 50 MB.",
)
@click.option(
    "--seconds", type=click.FloatRange(0.1, 60), default=2.0, show_default=True, help="Of each measurement."
)
@click.option("--rounds", type=click.IntRange(1, 20), default=5, show_default=True, help="The median counts.")
@click.option("--members", type=click.Choice(("1", "3", "both")), default="both", show_default=True)
@click.option("--kills", type=click.IntRange(1, 1000), default=50, show_default=True, help="Of leaders.")
@click.option("-o", "--output", type=click.Choice(("table", "json")), default="table", show_default=True)
def store(  # noqa: PLR0913 one for each option
    *,
    directory: pathlib.Path | None,
    questions: Sequence[str],
    seconds: float,
    rounds: int,
    members: str,
    kills: int,
    output: str,
) -> None:
    """Puts a second, recovery from a killed leader, pause and memory, beside etcd."""
    sizes = (1, 3) if members == "both" else (int(members),)
    counting.begin()
    for question in QUESTIONS:
        if question not in questions and "all" not in questions:
            continue
        watch = others.Watch()
        match question:
            case "puts":
                rows: Sequence[msgspec.Struct] = _run(_compare(directory, seconds, rounds, sizes))
            case "failover":
                rows = [_run(_failovers(directory, name, kills)) for name in _systems()]
            case "pause":
                rows = [_run(_pause(directory))]
            case _:
                rows = _run(_weights(directory, sizes))
        foreign = round(watch.beside_children(), 3)
        if output == "json":
            showing.lines(directory, [one for row in rows for one in figures.of(row, foreign)])
        else:
            _show(rows)


def _run(question: Coroutine[object, object, T]) -> T:
    """On the loop that the product runs on."""
    loop.tune()
    with asyncio.Runner(loop_factory=loop.factory()) as runner:
        return runner.run(question)


def _show(rows: Sequence[msgspec.Struct]) -> None:
    lines: list[list[str]] = [list(rows[0].__struct_fields__)]
    lines += [[_cell(value) for value in msgspec.structs.astuple(row)] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def _cell(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _systems() -> tuple[str, ...]:
    return ("tiercast", "etcd") if shutil.which("etcd") else ("tiercast",)


@contextlib.contextmanager
def _place(directory: pathlib.Path | None) -> Iterator[pathlib.Path]:
    with tempfile.TemporaryDirectory(dir=directory) as base:
        yield pathlib.Path(base)


async def _compare(
    directory: pathlib.Path | None, seconds: float, rounds: int, members: tuple[int, ...]
) -> list[load.Row]:
    """Interleaved: every round measures every system once, each on an empty store of its own."""
    found: dict[tuple[str, int, int, int], list[load.Row]] = {}
    systems: dict[str, type[ours.Ours | etcd.Etcd]] = {"tiercast": ours.Ours, "etcd": etcd.Etcd}
    for _ in range(rounds):
        for count in members:
            for name in _systems():
                with _place(directory) as base:
                    for row in await _measured(systems[name](base, count), count, seconds):
                        found.setdefault((row.system, row.members, row.clients, row.size_bytes), []).append(
                            row
                        )
    return [_median(rows) for _key, rows in sorted(found.items(), key=lambda item: (item[0][1:], item[0][0]))]


async def _measured(system: ours.Ours | etcd.Etcd, members: int, seconds: float) -> list[load.Row]:
    await system.start()
    try:
        return [
            await load.measure(system, (system.name, members), clients, size, seconds)
            for size in load.SIZES
            for clients in (1, 64)
        ]
    finally:
        await system.close()


def _median(rows: list[load.Row]) -> load.Row:
    return msgspec.structs.replace(
        rows[0],
        puts=sum(row.puts for row in rows),
        puts_per_s=round(statistics.median(row.puts_per_s for row in rows), 1),
        p50_ms=round(statistics.median(row.p50_ms for row in rows), 3),
        p99_ms=round(statistics.median(row.p99_ms for row in rows), 3),
        syncs_per_put=round(statistics.median(row.syncs_per_put for row in rows), 3),
        cpu_ms_per_put=round(statistics.median(row.cpu_ms_per_put for row in rows), 3),
    )


async def _failovers(directory: pathlib.Path | None, name: str, kills: int) -> failover.Row:
    with _place(directory) as base:
        system: failover.System = failover.Ours(base) if name == "tiercast" else failover.Etcd(base)
        try:
            return await failover.measure(system, kills)
        finally:
            system.close()


async def _pause(directory: pathlib.Path | None) -> weight.Pause:
    with _place(directory) as base:
        return await weight.pause(base)


async def _weights(directory: pathlib.Path | None, members: tuple[int, ...]) -> list[weight.Memory]:
    rows = []
    for count in members:
        for name in _systems():
            with _place(directory) as base:
                weigh = weight.ours_weighs if name == "tiercast" else weight.etcd_weighs
                rows.append(await weigh(base, count))
    return rows
