"""`tiercast bench idle` and `tiercast bench herd`: what a link costs that carries no revision, and a site's whole return.

Both stand up the tree of `bench propagation` (its programs, its transports) and publish nothing.
"""

import asyncio
import contextlib
import os
import pathlib
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any

import click
import msgspec

from bench import measures, showing
from bench.propagation import checks, load, ours, program, programs, roster, stand
from coordinator import errors, limits
from coordinator.cli import printing

HOUR_S = 3600.0
LOOK_S = 0.02
BACK_S = 60.0

_SERVERS = click.option(
    "--servers", type=click.IntRange(1, limits.SERVERS), default=1000, show_default=True, help="Agents."
)
_TLS = click.option("--tls/--plain", default=True, show_default=True, help="Hops over mutual TLS, or bare.")
_DIR = click.option(
    "--dir", "directory", type=click.Path(path_type=pathlib.Path, exists=True, file_okay=False),
    help="Where stores and ledgers stand meanwhile (default: the temporary directory).",
)  # fmt: skip
BOTH = "both"


class Tree(msgspec.Struct, frozen=True, kw_only=True):
    """What is stood up."""

    sites: int
    servers: int
    tls: bool
    directory: pathlib.Path | None
    loop: str = ""

    @property
    def words(self) -> str:
        return "tls" if self.tls else "plain"

    def check(self) -> None:
        """Raises `UsageError`."""
        if self.servers < self.sites:
            raise errors.UsageError(
                f"a site without a server is no site (got {self.servers} servers, {self.sites} sites)",
                hint="take fewer sites, or more servers",
            )
        processes = os.cpu_count() or 1
        checks.check(
            checks.Need(
                agents=self.servers,
                links_of_one=-(-self.servers // min(self.sites, processes)),
                document_bytes=4096,
                programs=self.sites + processes + 1,
            )
        )


@click.command()
@click.option("--sites", type=click.IntRange(1, 100), default=10, show_default=True, help="ICs.")
@_SERVERS
@click.option("--seconds", type=click.FloatRange(2.0, 600.0), default=20.0, show_default=True)
@_TLS
@_DIR
@printing.output("table", "json")
def idle(
    form: str, sites: int, servers: int, seconds: float, tls: bool, directory: pathlib.Path | None
) -> int:
    """Bytes and CPU of a link that stands and carries nothing, per child and hour."""
    tree = Tree(sites=sites, servers=servers, tls=tls, directory=directory)
    tree.check()
    return showing.run(showing.Showing(form, directory), _idle(tree, seconds))


@click.command()
@_SERVERS
@click.option("--rounds", type=click.IntRange(1, 20), default=3, show_default=True)
@_TLS
@click.option(
    "--loop", "wanted", type=click.Choice((*program.LOOPS, BOTH)), default=program.best_loop(), show_default=True,
    help="Of every process; asyncio: as without tiercast[speed].",
)  # fmt: skip
@_DIR
@printing.output("table", "json")
def herd(form: str, servers: int, rounds: int, tls: bool, wanted: str, directory: pathlib.Path | None) -> int:
    """End a site's only IC and start it again: until all its servers are back, and what that costs it."""
    loops = program.LOOPS if wanted == BOTH else (wanted,)
    trees = [Tree(sites=1, servers=servers, tls=tls, directory=directory, loop=one) for one in loops]
    trees[0].check()
    program.check_loops(loops)
    shown = showing.Showing(form, directory, wanted=len(trees) * rounds * len(FIGURES))
    return showing.run(shown, _herds(trees, rounds))


@contextlib.asynccontextmanager
async def _standing(tree: Tree) -> AsyncIterator[tuple[ours.Tiercast, stand.Order, stand.Stand]]:
    """The tree, everyone linked; gone at the end."""
    made, system = stand.Stand(), ours.Tiercast()
    showing.progress(f"starting {tree.servers} agents of {tree.sites} sites")
    with tempfile.TemporaryDirectory(prefix="tiercast-bench-", dir=tree.directory) as path:
        order = stand.Order(
            tree.sites, tree.servers, tree.tls, roster.PROPAGATION, os.cpu_count() or 1, pathlib.Path(path), tree.loop
        )  # fmt: skip
        try:
            await system.start(order, made)
            await made.settle()
            yield system, order, made
        finally:
            await asyncio.shield(made.end())


async def _idle(tree: Tree, seconds: float) -> AsyncGenerator[measures.Measure, None]:
    async with _standing(tree) as (_, _order, made):
        showing.progress(f"watching for {seconds:.0f} s")
        watch = load.Watch().begin(made)
        used, flows = await made.watched(seconds)
        foreign = round(watch.foreign(made), 3)
    case = f"{tree.servers} agents, {tree.sites} sites, {tree.words}"
    for name, value in _idle_figures(used, flows["ic-agent"], tree.servers * seconds / HOUR_S).items():
        yield measures.Measure(bench="idle", case=case, figure=name, value=round(value, 3), foreign=foreign)


def _idle_figures(used: Sequence[stand.Process], flow: stand.Flow, hours: float) -> Mapping[str, float]:
    """`hours` of all children together."""
    return {
        "bytes_down_per_child_and_hour": flow.bytes_down / hours,
        "bytes_up_per_child_and_hour": flow.bytes_up / hours,
        "messages_per_child_and_hour": (flow.messages_down + flow.messages_up) / hours,
        "ic_cpu_ms_per_child_and_hour": _cpu(used, ours.IC) * 1000 / hours,
        "agent_cpu_ms_per_child_and_hour": _cpu(used, stand.AGENTS) * 1000 / hours,
        "mic_cpu_ms_per_child_and_hour": _cpu(used, stand.PUBLISHER) * 1000 / hours,
        "ic_rss_bytes": float(max(one.rss_bytes for one in used if one.role == ours.IC)),
    }


def _cpu(used: Sequence[stand.Process], role: str) -> float:
    return sum(one.cpu_s for one in used if one.role == role)


# --- the herd -------------------------------------------------------------------------------------------------------


class Return(msgspec.Struct, frozen=True):
    """What was seen while a site came back to its new IC."""

    began: float
    """Monotonic second at which its process was started."""
    listening: float
    rss_alone: int
    ups: Sequence[float]
    """When each server was linked again."""
    cpu_s: float
    told: Mapping[str, Any]
    """By the IC itself: how late its loop was, and its memory."""

    def after(self, share: float) -> float:
        """Milliseconds from its listening until this share of all were back."""
        ranked = sorted(self.ups)
        return (ranked[min(len(ranked) - 1, int(len(ranked) * share))] - self.listening) * 1000


FIGURES = (
    "all_back_ms", "until_listening_ms", "back_p50_ms", "back_p99_ms", "per_link_ms", "ic_cpu_us_per_agent",
    "ic_lag_p99_ms", "ic_lag_max_ms", "ic_rss_peak_bytes", "ic_rss_bytes_per_link",
)  # fmt: skip


def _figures(seen: Return) -> Mapping[str, float]:
    servers, last = len(seen.ups), seen.after(1.0)
    return dict(
        zip(
            FIGURES,
            (
                last + (seen.listening - seen.began) * 1000,
                (seen.listening - seen.began) * 1000,
                seen.after(0.5),
                seen.after(0.99),
                last / servers,
                seen.cpu_s * 1e6 / servers,
                seen.told["lag_p99_ms"],
                seen.told["lag_max_ms"],
                seen.told["rss_peak_bytes"],
                max(0, seen.told["rss_bytes"] - seen.rss_alone) / servers,
            ),
            strict=True,
        )
    )


async def _herds(trees: Sequence[Tree], rounds: int) -> AsyncGenerator[measures.Measure, None]:
    for tree in trees:
        case = f"{tree.servers} agents of one site, {tree.words}, {tree.loop}"
        async with _standing(tree) as (system, order, made):
            for number in range(rounds):
                showing.progress(f"{tree.loop}: return {number + 1} of {rounds}")
                watch = load.Watch().begin(made)
                seen = await _returned(system, order, made)
                foreign = round(watch.foreign(made), 3)
                for name, value in _figures(seen).items():
                    yield measures.Measure(
                        bench="herd", case=case, figure=name, value=round(value, 3), foreign=foreign
                    )


async def _returned(tree: ours.Tiercast, order: stand.Order, made: stand.Stand) -> Return:
    """From the new IC's first moment until everybody is linked. Raises `FailedError`."""
    await made.programs[ours.IC][0].end()
    while await made.linked():  # noqa: ASYNC110 it is asked of other processes
        await asyncio.sleep(LOOK_S)
    await made.returned()  # those of before
    began = time.monotonic()
    started = await tree.again(0, order, made)
    listening, alone = time.monotonic(), started.weight().rss_bytes
    while await made.linked() < order.agents:
        if time.monotonic() - began > BACK_S:
            raise programs.FailedError(
                f"not everybody came back within {BACK_S:.0f} s (got {await made.linked()}, have {order.agents})"
            )
        await asyncio.sleep(LOOK_S)
    ups = await made.returned()
    if len(ups) < order.agents:
        raise programs.FailedError(f"returns were lost (got {len(ups)}, have {order.agents})")
    return Return(began, listening, alone, ups, started.weight().cpu_s, await started.ask({"lag": True}))
