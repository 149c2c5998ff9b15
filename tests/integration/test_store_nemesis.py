"""Three members as processes that are killed, frozen and lose their power, while clients write and read through all."""

import asyncio
import itertools
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence

import msgspec
import pytest

from tests import loopdisk, storegroup, storenode

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

ROUNDS = 8


class Operation(msgspec.Struct, frozen=True):
    """One that was answered; `revision` is where it stands in the one order there must be."""

    start: float
    end: float
    revision: int
    identity: str
    writes: bool


class History(msgspec.Struct):
    """What all clients saw."""

    sent: dict[str, float] = {}
    done: list[Operation] = []

    def take(self, lines: Iterable[str]) -> None:
        for line in lines:
            match line.split():
                case ["i", identity, start]:
                    self.sent[identity] = float(start)
                case ["w", identity, end, revision]:
                    start_s = self.sent[identity]
                    self.done.append(Operation(start_s, float(end), int(revision), identity, writes=True))
                case ["r", start, end, revision, identity]:
                    self.done.append(
                        Operation(float(start), float(end), int(revision), identity, writes=False)
                    )
                case words:
                    raise AssertionError(words)

    def check(self) -> None:
        """Every answer fits one order of all operations that agrees with real time."""
        values: dict[int, str] = {}
        for operation in self.done:
            assert values.setdefault(operation.revision, operation.identity) == operation.identity
            assert self.sent[operation.identity] <= operation.end, "read before it was written"
        writes = [operation.revision for operation in self.done if operation.writes]
        assert len(writes) == len(set(writes)), "two writes at one revision"
        starts = sorted(self.done, key=lambda operation: operation.start)
        ends = sorted(self.done, key=lambda operation: operation.end)
        confirmed, at = 0, 0
        for operation in starts:
            while at < len(ends) and ends[at].end < operation.start:
                confirmed = max(confirmed, ends[at].revision)
                at += 1
            least = confirmed + 1 if operation.writes else confirmed
            assert operation.revision >= least, f"{operation} after {confirmed} had been confirmed"

    def acknowledged(self) -> set[bytes]:
        return {operation.identity.encode() for operation in self.done if operation.writes}


class Node:
    """A member's process; its lines are kept in a file, so that it never waits for whoever reads them."""

    numbers = itertools.count(1)

    def __init__(self, base: pathlib.Path, name: str, output: pathlib.Path) -> None:
        self.base, self.name, self.output = base, name, output
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.storenode", str(self.base), self.name, str(next(self.numbers))],
                stdout=output,
                stderr=subprocess.DEVNULL,
            )

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def lines(self) -> list[str]:
        """Whole lines only: a killed process may leave a part of one."""
        return [part for part in self.output.read_text().splitlines(keepends=True) if part.endswith("\n")]


async def prepared(base: pathlib.Path, outputs: pathlib.Path) -> list[Node]:
    group = storegroup.Group(base)
    await group.make()
    storenode.prepare(base, group)
    return [Node(base, name, outputs / f"{name}.out") for name in group.members]


async def progress(nodes: Sequence[Node], more: int) -> None:
    """Wait for so many further answers."""
    before = sum(len(node.lines()) for node in nodes)

    async def enough() -> bool:
        return sum(len(node.lines()) for node in nodes) >= before + more

    await storegroup.until(enough, 30)


async def survivors(base: pathlib.Path, nodes: Sequence[Node]) -> set[bytes]:
    """What a group that is started anew holds."""
    stores = await asyncio.gather(*(storenode.opened(base, node.name) for node in nodes))
    deadline = time.monotonic() + 20
    while (await stores[0].status()).leader is None:
        assert time.monotonic() < deadline, "nobody leads"
        await asyncio.sleep(0.05)
    scan = await stores[0].scan(b"/n/")
    for store in stores:
        assert (await store.check()).findings == ()
        await store.close()
    return {item.key.removeprefix(b"/n/") for item in scan.items}


def history_of(nodes: Sequence[Node]) -> History:
    history = History({}, [])
    for node in nodes:
        history.take(node.lines())
    return history


async def test_kills_and_freezes_leave_one_order_of_everything_and_lose_nothing(
    tmp_path: pathlib.Path, seed: int
) -> None:
    source = random.Random(seed)
    nodes = await prepared(tmp_path, tmp_path)
    for node in nodes:
        node.start()
    try:
        await progress(nodes, 500)
        for _ in range(ROUNDS):
            victims = source.sample(nodes, source.choice((1, 1, 2, 3)))
            if source.random() < 0.6:
                for node in victims:
                    node.kill()
                await asyncio.sleep(source.uniform(0, 1))
                for node in victims:
                    node.start()
            else:
                for node in victims:
                    node.signal(signal.SIGSTOP)
                await asyncio.sleep(source.uniform(0.2, 2))
                for node in victims:
                    node.signal(signal.SIGCONT)
            await progress(nodes, 150)
    finally:
        for node in nodes:
            node.kill()
    history = history_of(nodes)
    history.check()
    assert len(history.done) > 500
    assert history.acknowledged() <= await survivors(tmp_path, nodes)


@pytest.mark.root
async def test_power_that_goes_for_all_members_at_once_loses_nothing(tmp_path: pathlib.Path) -> None:
    disk = loopdisk.LoopDisk(tmp_path, 64)
    base = disk.path / "group"
    base.mkdir()
    nodes = await prepared(base, tmp_path)
    os.sync()  # what the test itself wrote there must last too
    try:
        for round_ in range(2):
            for node in nodes:
                node.start()
            await progress(nodes, 300 + 111 * round_)
            disk.cut()
            for node in nodes:
                node.kill()
            disk.power_on()
        history = history_of(nodes)
        history.check()
        assert history.acknowledged() <= await survivors(base, nodes)
        assert len(history.acknowledged()) > 200
    finally:
        for node in nodes:
            node.kill()
        disk.throw_away()
