"""`tiercast bench api`: what people wait for: a large document, the status of many servers, events to many viewers."""

import asyncio
import contextlib
import functools
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp
import click
import msgspec

from bench import measures, showing
from bench.api import stand
from bench.propagation import load
from coordinator.cli import writing
from coordinator.tiers import requests, requests_looking

CFG = "/api/admin/v1/cfg"
YAML = {"Content-Type": "application/yaml"}
JSON = {"Content-Type": "application/json"}
VERSION = [sys.executable, "-c", "from coordinator.cli.main import main; main()", "version"]
WITHIN_S = 30.0  # of one event, on whatever machine
Verb = requests.Verb


class Row(msgspec.Struct, frozen=True):
    """One figure; times in milliseconds. `cpu_ms` is of this process, and on a busy machine the one to look at."""

    what: str
    median_ms: float
    worst_ms: float
    cpu_ms: float
    runs: int
    note: str = ""


@click.command()
@click.option(
    "--servers",
    type=click.IntRange(10, 10_000),
    default=10_000,
    show_default=True,
    help="Whose status is asked.",
)
@click.option("--sites", type=click.IntRange(1, 1_000), default=100, show_default=True)
@click.option(
    "--document",
    type=click.IntRange(10, 10_000),
    default=1_000,
    show_default=True,
    help="Servers of the document that is uploaded.",
)
@click.option(
    "--viewers", type=click.IntRange(1, 600), default=500, show_default=True, help="Of the stream of events."
)
@click.option(
    "--runs",
    type=click.IntRange(1, 1_000),
    default=20,
    show_default=True,
    help="Of each measurement; large documents a quarter of it.",
)
@click.option("-o", "--output", type=click.Choice(("table", "json")), default="table", show_default=True)
def api(servers: int, sites: int, document: int, viewers: int, runs: int, output: str) -> None:
    """Upload to plan, status of many servers, events to many viewers, start of a command."""
    watch = load.Watch()
    rows = [*asyncio.run(_served(servers, min(sites, servers), (document, viewers, runs))), _started(runs)]
    if output == "json":
        foreign = watch.beside_children()
        showing.lines(None, [one for row in rows for one in _measures(row, foreign)])
        return
    click.echo(f"{'what':<58} {'median ms':>10} {'worst ms':>10} {'cpu ms':>8} {'runs':>5}  note")
    for row in rows:
        click.echo(
            f"{row.what:<58} {row.median_ms:>10.1f} {row.worst_ms:>10.1f} {row.cpu_ms:>8.1f} {row.runs:>5}  {row.note}"
        )


def _measures(row: Row, foreign: float) -> list[measures.Measure]:
    figures = {"median_ms": row.median_ms, "worst_ms": row.worst_ms, "cpu_us": row.cpu_ms * 1000}
    return [
        measures.Measure(
            bench="api", case=row.what, figure=name, value=round(value, 3), foreign=round(foreign, 3)
        )
        for name, value in figures.items()
    ]


async def _served(servers: int, sites: int, sizes: tuple[int, int, int]) -> list[Row]:
    document, viewers, runs = sizes
    async with stand.standing_mic(stand.document(sites, servers)) as large:
        rows = [*await _status(large, servers, runs), await _events(large, viewers, runs)]
    async with stand.standing_mic(stand.document(min(sites, document), document)) as changed:
        return [*await _documents(changed, (document, min(sites, document)), max(1, runs // 4)), *rows]


async def _timed(what: str, runs: int, act: Callable[[], Awaitable[object]], note: str = "") -> Row:
    spans, spent = [], []
    for _ in range(runs):
        begun, cpu = time.perf_counter(), time.process_time()
        await act()
        spans.append((time.perf_counter() - begun) * 1000)
        spent.append((time.process_time() - cpu) * 1000)
    return Row(what, statistics.median(spans), max(spans), statistics.median(spent), runs, note)


# --- documents --------------------------------------------------------------------------------------------------------


async def _documents(held: stand.Stand, size: tuple[int, int], runs: int) -> list[Row]:
    servers, sites = size
    text = writing.yaml_text(stand.document(sites, servers, note="changed")).encode()
    note = f"{servers} servers, {len(text) / 1024:.0f} KiB of YAML, over HTTP"
    async with stand.serving(held) as client, client() as session:
        drafts: list[str] = []

        async def upload() -> None:
            drafts.append((await _post(session, "revisions", text, YAML))["draft"])

        async def plan() -> None:
            body = msgspec.json.encode({"source": {"draft": drafts[-1]}})
            await _post(session, "plan", body, JSON)

        async def all_of_it() -> None:
            await upload()
            await _post(session, "validate", text, YAML)
            await plan()

        return [
            await _timed("upload", runs, upload, note),
            await _timed("validate", runs, lambda: _post(session, "validate", text, YAML), note),
            await _timed("plan of the draft", runs, plan, note),
            await _timed("upload, validate and plan", runs, all_of_it, note),
        ]


async def _post(
    session: aiohttp.ClientSession, path: str, body: bytes, headers: dict[str, str]
) -> dict[str, str]:
    async with session.post(f"{CFG}/{path}", data=body, headers=headers) as response:
        assert response.status < 300, await response.text()
        found: dict[str, str] = await response.json()
        return found


# --- looking ----------------------------------------------------------------------------------------------------------


async def _status(held: stand.Stand, servers: int, runs: int) -> list[Row]:
    rolled, named = requests.Status(), requests.Status(not_converged=True)
    rows = []
    for word, linked in (("everybody away", False), ("everybody ready", True)):
        held.everybody(linked=linked)
        for what, asked in (("status", rolled), ("status, who is not there", named)):
            ask = functools.partial(held.ask, Verb.STATUS, asked)
            rows.append(await _timed(f"{what}: {servers} servers, {word}", runs, ask, "at MIC"))
    state = requests_looking.State()
    rows.append(
        await _timed(f"deviations: {servers} servers", runs, lambda: held.ask(Verb.STATE, state), "at MIC")
    )
    page = requests_looking.Roles(limit=500)
    rows.append(
        await _timed(
            f"roles, one page: {servers} servers", runs, lambda: held.ask(Verb.ROLES, page), "at MIC"
        )
    )
    async with stand.serving(held) as client, client() as session:
        rows.append(
            await _timed(f"status: {servers} servers", runs, lambda: _get(session, "status"), "over HTTP")
        )
    return rows


async def _get(session: aiohttp.ClientSession, path: str) -> bytes:
    async with session.get(f"{CFG}/{path}") as response:
        assert response.status == 200
        return await response.read()


async def _events(held: stand.Stand, viewers: int, runs: int) -> Row:
    """From a server's change until the last viewer has read of it."""
    async with (
        stand.serving(held) as client,
        client() as session,
        contextlib.AsyncExitStack() as open_streams,
    ):
        streams = [
            await open_streams.enter_async_context(session.get(f"{CFG}/events")) for _ in range(viewers)
        ]
        await asyncio.gather(*(_until(one, b"event: state") for one in streams))
        before = held.link.asked

        async def one_event() -> None:
            held.one_changes()
            await asyncio.gather(*(_until(one, b"event: rollout") for one in streams))

        await one_event()
        row = await _timed(f"an event to {viewers} viewers", runs, one_event)
        asks = (held.link.asked - before) / (runs + 1)
        return msgspec.structs.replace(
            row, note=f"over HTTP, {asks:.1f} asks at MIC for each; one look in 250 ms"
        )


async def _until(response: aiohttp.ClientResponse, line: bytes) -> None:
    async with asyncio.timeout(WITHIN_S):
        while (await response.content.readline()).rstrip() != line:
            pass


def _started(runs: int) -> Row:
    spans, before = [], _children_ms()
    for _ in range(runs):
        begun = time.perf_counter()
        subprocess.run(VERSION, check=True, capture_output=True)
        spans.append((time.perf_counter() - begun) * 1000)
    spent = (_children_ms() - before) / runs
    return Row("start of `tiercast version`", statistics.median(spans), max(spans), spent, runs)


def _children_ms() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) * 1000
