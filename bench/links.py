"""`tiercast bench idle` and `tiercast bench herd`: what a link costs that carries no revision, and a site's whole return.

Both stand up the tree of `bench propagation` (its programs, its transports) and publish nothing.
"""

import asyncio
import contextlib
import os
import pathlib
import tempfile
import time
from collections.abc import AsyncIterator, Sequence

import click

from bench import measures
from bench.propagation import checks, load, ours, programs, roster, stand
from coordinator import limits
from coordinator.cli import printing

HOUR_S = 3600.0
LOOK_S = 0.02
BACK_S = 60.0
HEAD = ("case", "figure", "value", "machine")

_SERVERS = click.option(
    "--servers", type=click.IntRange(1, limits.SERVERS), default=1000, show_default=True, help="Agents."
)
_TLS = click.option("--tls/--plain", default=True, show_default=True, help="Hops over mutual TLS, or bare.")
_DIR = click.option(
    "--dir", "directory", type=click.Path(path_type=pathlib.Path, exists=True, file_okay=False),
    help="Where stores and ledgers stand meanwhile (default: the temporary directory).",
)  # fmt: skip


@click.command()
@click.option("--sites", type=click.IntRange(1, 100), default=10, show_default=True, help="ICs.")
@_SERVERS
@click.option("--seconds", type=click.FloatRange(2.0, 600.0), default=20.0, show_default=True)
@_TLS
@_DIR
@printing.output("table", "json")
def idle(
    form: str, sites: int, servers: int, seconds: float, tls: bool, directory: pathlib.Path | None
) -> None:
    """Bytes and CPU of a link that stands and carries nothing, per child and hour."""
    _show(asyncio.run(_idle(sites, servers, seconds, tls=tls, directory=directory)), form)


@click.command()
@_SERVERS
@click.option("--rounds", type=click.IntRange(1, 20), default=3, show_default=True)
@_TLS
@_DIR
@printing.output("table", "json")
def herd(form: str, servers: int, rounds: int, tls: bool, directory: pathlib.Path | None) -> None:
    """End a site's only IC and start it again: until all its servers are back, and what that costs it."""
    _show(asyncio.run(_herd(servers, rounds, tls=tls, directory=directory)), form)


def _show(found: Sequence[measures.Measure], form: str) -> None:
    if form == "json":
        click.echo("\n".join(measures.line(one) for one in found))
        return
    rows = [(one.case, one.figure, f"{one.value:.4g}", "loaded" if one.loaded else "quiet") for one in found]
    click.echo("\n".join(printing.table(HEAD, rows)))


@contextlib.asynccontextmanager
async def _standing(
    sites: int, servers: int, *, tls: bool, directory: pathlib.Path | None
) -> AsyncIterator[tuple[ours.Tiercast, stand.Order, stand.Stand]]:
    """The tree, everyone linked; gone at the end."""
    processes = os.cpu_count() or 1
    checks.check(agents=servers, processes=processes, document_bytes=4096, programs=sites + processes + 1)
    made, tree = stand.Stand(), ours.Tiercast()
    with tempfile.TemporaryDirectory(prefix="tiercast-bench-", dir=directory) as path:
        order = stand.Order(sites, servers, tls, roster.PROPAGATION, processes, pathlib.Path(path))
        try:
            await tree.start(order, made)
            await made.settle()
            yield tree, order, made
        finally:
            await asyncio.shield(made.end())


async def _idle(
    sites: int, servers: int, seconds: float, *, tls: bool, directory: pathlib.Path | None
) -> list[measures.Measure]:
    async with _standing(sites, servers, tls=tls, directory=directory) as (_, _order, made):
        watch = load.Watch().begin(made)
        used, flows = await made.watched(seconds)
        foreign = round(watch.foreign(made), 3)
    case = f"{servers} agents, {sites} sites, {'tls' if tls else 'plain'}"
    hours = servers * seconds / HOUR_S
    flow = flows["ic-agent"]
    figures = {
        "bytes_down_per_child_and_hour": flow.bytes_down / hours,
        "bytes_up_per_child_and_hour": flow.bytes_up / hours,
        "ic_cpu_ms_per_child_and_hour": _cpu(used, ours.IC) * 1000 / hours,
        "agent_cpu_ms_per_child_and_hour": _cpu(used, stand.AGENTS) * 1000 / hours,
        "mic_cpu_ms_per_child_and_hour": _cpu(used, stand.PUBLISHER) * 1000 / hours,
        "ic_rss_bytes": float(max(one.rss_bytes for one in used if one.role == ours.IC)),
    }
    return [
        measures.Measure(bench="idle", case=case, figure=name, value=round(value, 3), foreign=foreign)
        for name, value in figures.items()
    ]


def _cpu(used: Sequence[stand.Process], role: str) -> float:
    return sum(one.cpu_s for one in used if one.role == role)


async def _herd(
    servers: int, rounds: int, *, tls: bool, directory: pathlib.Path | None
) -> list[measures.Measure]:
    found = []
    async with _standing(1, servers, tls=tls, directory=directory) as (tree, order, made):
        for _ in range(rounds):
            watch = load.Watch().begin(made)
            took, cpu_s = await _returned(tree, order, made)
            foreign = round(watch.foreign(made), 3)
            case = f"{servers} agents of one site, {'tls' if tls else 'plain'}"
            for figure, value in (
                ("all_back_ms", took * 1000),
                ("ic_cpu_us_per_agent", cpu_s * 1e6 / servers),
            ):
                found.append(
                    measures.Measure(
                        bench="herd", case=case, figure=figure, value=round(value, 3), foreign=foreign
                    )
                )
    return found


async def _returned(tree: ours.Tiercast, order: stand.Order, made: stand.Stand) -> tuple[float, float]:
    """Seconds from the new IC's first moment until everybody is linked, and its CPU by then. Raises `FailedError`."""
    await made.programs[ours.IC][0].end()
    began = time.monotonic()
    started = await tree.again(0, order, made)
    while await made.linked() < order.agents:
        if time.monotonic() - began > BACK_S:
            raise programs.FailedError(
                f"not everybody came back within {BACK_S:.0f} s (got {await made.linked()}, have {order.agents})"
            )
        await asyncio.sleep(LOOK_S)
    return time.monotonic() - began, started.weight().cpu_s
