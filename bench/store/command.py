"""`tiercast bench store`: puts a second and their latency, durably, beside etcd on the same disk."""

import asyncio
import pathlib
import shutil
import statistics
import tempfile

import click
import msgspec

from bench.store import etcd, load, ours


@click.command()
@click.option(
    "--directory",
    type=click.Path(path_type=pathlib.Path, file_okay=False),
    help="On the disk to measure; not on tmpfs.",
)
@click.option(
    "--seconds", type=click.FloatRange(0.1, 60), default=2.0, show_default=True, help="Of each measurement."
)
@click.option("--rounds", type=click.IntRange(1, 20), default=5, show_default=True, help="The median counts.")
@click.option("--members", type=click.Choice(("1", "3", "both")), default="both", show_default=True)
@click.option("-o", "--output", type=click.Choice(("table", "json")), default="table", show_default=True)
def store(directory: pathlib.Path | None, seconds: float, rounds: int, members: str, output: str) -> None:
    """Puts a second and their latency, beside etcd."""
    sizes = (1, 3) if members == "both" else (int(members),)
    rows = asyncio.run(_compare(directory, seconds, rounds, sizes))
    if output == "json":
        click.echo(msgspec.json.encode(rows).decode())
        return
    click.echo(
        f"{'system':<9} {'members':>7} {'clients':>7} {'bytes':>7} {'puts/s':>9} {'p50 ms':>9} {'p99 ms':>9}"
    )
    for row in rows:
        click.echo(
            f"{row.system:<9} {row.members:>7} {row.clients:>7} {row.size_bytes:>7} {row.puts_per_s:>9} "
            f"{row.p50_ms:>9} {row.p99_ms:>9}"
        )


async def _compare(
    directory: pathlib.Path | None, seconds: float, rounds: int, members: tuple[int, ...]
) -> list[load.Row]:
    """Interleaved: every round measures every system once, each on an empty store of its own."""
    found: dict[tuple[str, int, int, int], list[load.Row]] = {}
    systems = (ours.Ours, etcd.Etcd) if shutil.which("etcd") else (ours.Ours,)
    for _ in range(rounds):
        for count in members:
            for system in systems:
                with tempfile.TemporaryDirectory(dir=directory) as base:
                    for row in await _measured(system(pathlib.Path(base), count), count, seconds):
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
    )
