"""The harness of `tiercast bench kv`: what it counts is what was done. Not how fast that is."""

import asyncio
import os
import time

import pytest

from bench import measures, saved
from bench.kv import load, local, systems

pytestmark = pytest.mark.integration


class Memory:
    """Keys in this process."""

    name = "memory"

    def __init__(self) -> None:
        self.puts = 0
        self.followed: list[systems.Told] = []

    def pids(self) -> list[int]:
        return [os.getpid()]

    async def put(self, key: str, value: bytes) -> None:
        assert key
        assert value == load.VALUE
        await asyncio.sleep(0)
        self.puts += 1
        for told in self.followed:
            told(1)

    async def follow(self, told: systems.Told) -> None:
        self.followed.append(told)
        told(0)
        await asyncio.Event().wait()


def figures(found: list[measures.Measure]) -> dict[str, float]:
    assert {one.bench for one in found} == {"kv"}
    assert list(saved.of([measures.line(one) for one in found], "kv").figures) == found
    return {one.figure: one.value for one in found}


def test_puts_are_counted_by_the_clock() -> None:
    system, began = Memory(), time.monotonic()
    told = figures(asyncio.run(load.puts(system, 4, 0.1)))
    span_ms = (time.monotonic() - began) * 1000
    assert 0 < told["per_put_ms"] * system.puts <= span_ms
    assert told["put_p50_ms"] <= told["put_p99_ms"]


def test_every_watcher_is_told_of_every_put() -> None:
    system = Memory()
    told = figures(asyncio.run(load.events(system, 50)))
    assert system.puts == 50
    assert len(system.followed) == load.WATCHERS
    assert told["per_event_ms"] > 0
    assert told["server_rss_bytes"] > 1e6


def test_local_watchers_are_all_told() -> None:
    told = figures(asyncio.run(local.measure(20, 2)))
    assert told["all_told_ms"] > 0
