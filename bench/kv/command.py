"""`tiercast bench kv`: the users' keys over HTTPS and over the etcd listener, beside etcd; and many local watchers."""

import asyncio
import contextlib
import pathlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence

import click
import msgspec

from bench import machine, measures
from bench.kv import load, local, systems
from bench.propagation import results
from coordinator import errors
from coordinator.cli import printing
from coordinator.host import loop

HEAD = ("SYSTEM AND CASE", "FIGURE", "VALUE", "A SECOND", "MACHINE")
SYSTEMS = ("https", "etcd-api", "etcd")


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 60),
    default=3.0,
    show_default=True,
    help="Of each measurement of puts.",
)
@click.option(
    "--events",
    type=click.IntRange(1, 100_000),
    default=2_000,
    show_default=True,
    help="Puts that watchers are told of.",
)
@click.option(
    "--watchers",
    type=click.IntRange(0, 2_000),
    default=1_000,
    show_default=True,
    help="Local ones; 0: leave them out.",
)
@click.option(
    "--changes",
    type=click.IntRange(1, 1_000),
    default=20,
    show_default=True,
    help="That local watchers are told of.",
)
@click.option(
    "--system", "wanted", type=click.Choice(SYSTEMS), multiple=True, default=SYSTEMS, show_default=True
)
@click.option("--none", "nobody", is_flag=True, help="Only the local watchers.")
@click.option(
    "-o", "--output", "form", type=click.Choice(("table", "json")), default="table", show_default=True
)
def kv(  # noqa: PLR0913 one for each option
    *, seconds: float, events: int, watchers: int, changes: int, wanted: Sequence[str], nobody: bool, form: str
) -> None:  # fmt: skip
    """Puts a second from one and from 64 clients, events to watchers, memory and CPU; a thousand local watchers."""
    loop.tune()
    with asyncio.Runner(loop_factory=loop.factory()) as runner:
        found = [] if nobody else runner.run(_systems(wanted, seconds, events))
        if watchers:
            found += runner.run(local.measure(watchers, changes))
    if form == "json":
        where = msgspec.json.encode(machine.described(None)).decode()
        click.echo("\n".join([where, *(measures.line(one) for one in found)]))
        return
    click.echo("\n".join(printing.table(HEAD, [_cells(one) for one in found])))


def _cells(one: measures.Measure) -> tuple[str, ...]:
    rate = f"{1000 / one.value:.0f}" if one.figure in {"per_put_ms", "per_event_ms"} and one.value else ""
    return (
        one.case,
        one.figure,
        f"{one.value:.4g}",
        rate,
        f"loaded {one.foreign:.0%}" if one.foreign > results.LOADED else "quiet",
    )


async def _systems(wanted: Sequence[str], seconds: float, events: int) -> list[measures.Measure]:
    found: list[measures.Measure] = []
    if {"https", "etcd-api"} & set(wanted):
        async with systems.ours() as running:
            for name, made in (("https", systems.Http.made), ("etcd-api", systems.Listener.made)):
                if name in wanted:
                    async with made(running) as system:
                        found += await _measured(system, seconds, events)
    if "etcd" in wanted and shutil.which("etcd"):
        async with _etcd() as system:
            found += await _measured(system, seconds, events)
    return found


@contextlib.asynccontextmanager
async def _etcd() -> AsyncIterator[systems.System]:
    with tempfile.TemporaryDirectory(prefix="tiercast-bench-") as base:
        async with systems.Etcd.made(pathlib.Path(base)) as system:
            yield system


async def _measured(system: systems.System, seconds: float, events: int) -> list[measures.Measure]:
    found: list[measures.Measure] = []
    try:
        for clients in load.CLIENTS:
            found += await load.puts(system, clients, seconds)
        found += await load.events(system, events)
    except* errors.TiercastError as several:
        raise several.exceptions[0] from None
    return found
