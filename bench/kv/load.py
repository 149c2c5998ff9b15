"""Puts and watches against one system: what each costs by the clock and by the CPU of the system's own processes."""

import asyncio
import contextlib
import itertools
import os
import pathlib
import statistics
import time
from collections.abc import Iterator, Sequence

from bench import measures
from bench.kv import systems
from bench.propagation import load

VALUE = b"v" * 100
CLIENTS = (1, 64)
WATCHERS = 16  # half of what one WS lets wait at once
SEEN_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Used:
    """By some processes and by this one, and by all others beside them, from its making on."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._began, self._busy = time.monotonic(), load.busy_s()
        self._stood, self._own = cpu_s(pids), time.process_time()

    def cpu_s(self) -> float:
        return cpu_s(self._pids) - self._stood

    def foreign(self) -> float:
        """Share of all cores."""
        own = self.cpu_s() + time.process_time() - self._own
        span = (time.monotonic() - self._began) * (os.cpu_count() or 1)
        return round(max(0.0, load.busy_s() - self._busy - own) / span, 3)


def cpu_s(pids: Sequence[int]) -> float:
    """Of processes that may have ended meanwhile."""
    total = 0
    for words in _read(pids, "stat"):
        fields = words.rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def rss_bytes(pids: Sequence[int]) -> int:
    return sum(int(words.split()[1]) * _PAGE for words in _read(pids, "statm"))


def _read(pids: Sequence[int], name: str) -> Iterator[str]:
    for pid in pids:
        with contextlib.suppress(OSError):
            yield pathlib.Path(f"/proc/{pid}/{name}").read_text()


async def puts(system: systems.System, clients: int, seconds: float) -> list[measures.Measure]:
    """Each client puts one after the other, a key of its own each time."""
    number, took = itertools.count(), list[float]()
    used, end = Used(system.pids()), time.monotonic() + seconds

    async def client() -> None:
        while (began := time.monotonic()) < end:
            await system.put(f"p{next(number) % 10_000}", VALUE)
            took.append(time.monotonic() - began)

    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(clients):
            tasks.create_task(client())
    span = time.monotonic() - began
    took.sort()
    figures = {
        "per_put_ms": span * 1000 / len(took),
        "put_p50_ms": statistics.median(took) * 1000,
        "put_p99_ms": took[int(len(took) * 0.99)] * 1000,
        "server_cpu_us_per_put": used.cpu_s() * 1e6 / len(took),
    }
    return _measured(system, f"puts of {len(VALUE)} bytes, {clients} clients", figures, used)


async def events(system: systems.System, count: int) -> list[measures.Measure]:
    """`WATCHERS` follow a prefix; 64 clients put `count` keys; until everybody has been told everything."""
    seen, begun, done = [0] * WATCHERS, [asyncio.Event() for _ in range(WATCHERS)], asyncio.Event()

    def told(watcher: int, some: int) -> None:
        seen[watcher] += some
        begun[watcher].set()
        if min(seen) >= count:
            done.set()

    following = [
        asyncio.create_task(system.follow(lambda some, number=number: told(number, some)))  # type: ignore[misc]  # a default binds it
        for number in range(WATCHERS)
    ]
    try:
        async with asyncio.timeout(SEEN_S):
            for one in begun:
                await one.wait()
            used, began, number = Used(system.pids()), time.monotonic(), itertools.count()

            async def client() -> None:
                while (key := next(number)) < count:
                    await system.put(f"e{key}", VALUE)

            async with asyncio.TaskGroup() as tasks:
                for _ in range(CLIENTS[-1]):
                    tasks.create_task(client())
            await done.wait()
            span = time.monotonic() - began
    finally:
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
    figures = {
        "per_event_ms": span * 1000 / (count * WATCHERS),
        "server_cpu_us_per_event": used.cpu_s() * 1e6 / (count * WATCHERS),
        "server_rss_bytes": float(rss_bytes(system.pids())),
    }
    return _measured(system, f"{count} puts told to {WATCHERS} watchers", figures, used)


def _measured(
    system: systems.System, case: str, figures: dict[str, float], used: Used
) -> list[measures.Measure]:
    foreign = used.foreign()
    return [
        measures.Measure(
            bench="kv", case=f"{system.name}, {case}", figure=name, value=round(value, 4), foreign=foreign
        )
        for name, value in figures.items()
    ]
