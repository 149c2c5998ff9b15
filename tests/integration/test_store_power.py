"""The store on a real ext4: power cuts, kills, a full disk, and the pause of a snapshot. Never on tmpfs."""

import asyncio
import contextlib
import itertools
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from coordinator import errors
from coordinator.store import commands
from coordinator.store.backends import raft
from tests import loopdisk, storewriter

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

ROUNDS = 10
ACKNOWLEDGED_PER_ROUND = 400
PAUSE_S = 0.25
TRIES = 12


@pytest.fixture
def disk(tmp_path: pathlib.Path) -> Iterator[loopdisk.LoopDisk]:
    made = loopdisk.LoopDisk(tmp_path, 64)
    yield made
    made.throw_away()


class Writer:
    """A process that writes until it is ended."""

    def __init__(self, directory: pathlib.Path, start: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.storewriter", str(directory), str(start)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def read(self, count: int) -> list[int]:
        """Acknowledged numbers, at least so many."""
        assert self.process.stdout is not None
        return [int(line) for line in itertools.islice(self.process.stdout, count)]

    def kill(self) -> list[int]:
        """End it at once; answers what it had acknowledged besides."""
        self.process.send_signal(signal.SIGKILL)
        assert self.process.stdout is not None
        rest = self.process.stdout.read().split("\n")
        self.process.wait()
        self.process.stdout.close()
        return [int(line) for line in rest[:-1]]


@pytest.mark.root
async def test_power_cuts_lose_nothing_that_was_acknowledged(disk: loopdisk.LoopDisk) -> None:
    acknowledged: list[int] = []
    for round_ in range(ROUNDS):
        writer = Writer(disk.path / "store", round_ * 1_000_000)
        acknowledged += writer.read(ACKNOWLEDGED_PER_ROUND + 83 * round_)
        loopdisk.stopped([writer.process.pid])
        disk.cut()
        acknowledged += writer.kill()
        disk.power_on()
        assert await storewriter.missing(disk.path / "store", acknowledged) == []
    assert len(acknowledged) >= ROUNDS * ACKNOWLEDGED_PER_ROUND


async def test_kills_lose_nothing_that_was_acknowledged(tmp_path: pathlib.Path) -> None:
    acknowledged: list[int] = []
    for round_ in range(5):
        writer = Writer(tmp_path / "store", round_ * 1_000_000)
        acknowledged += writer.read(ACKNOWLEDGED_PER_ROUND + 57 * round_)
        acknowledged += writer.kill()
        assert await storewriter.missing(tmp_path / "store", acknowledged) == []


def fill(ballast: pathlib.Path) -> None:
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 20))


@pytest.mark.root
async def test_a_full_disk_refuses_and_the_store_recovers_by_itself(disk: loopdisk.LoopDisk) -> None:
    store = await storewriter.opened(disk.path / "store", create=True)
    ballast = disk.path / "ballast"
    fill(ballast)
    big = commands.Txn(success=tuple(commands.put(b"/%d" % at, bytes(1 << 20)) for at in range(4)))
    with pytest.raises(errors.NoSpaceError):
        await store.commit(big)
    assert await store.get(b"/0") is None
    ballast.unlink()
    deadline = time.monotonic() + 60
    while True:
        try:
            assert (await store.commit(big)).succeeded
            break
        except errors.NoSpaceError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
    await store.close()
    async with await storewriter.opened(disk.path / "store", create=False) as again:
        assert (await again.status()).revision == 1


async def test_a_snapshot_of_50_mb_does_not_hold_up_the_loop(tmp_path: pathlib.Path) -> None:
    async with await storewriter.opened(tmp_path / "store", create=True) as store:
        for at in range(50):
            puts = tuple(commands.put(b"/%d/%d" % (at, k), bytes(1024)) for k in range(1024))
            await store.commit(commands.Txn(success=puts))
        pauses = [await pause_of_a_snapshot(store)]
        while min(pauses) >= PAUSE_S and len(pauses) < TRIES:  # the machine has pauses of its own
            pauses.append(await pause_of_a_snapshot(store))
        assert min(pauses) < PAUSE_S, pauses


async def pause_of_a_snapshot(store: raft.RaftStore) -> float:
    """The longest that a commit took while a snapshot was under way."""
    worst = 0.0
    snapshot = asyncio.ensure_future(store.take_snapshot())
    while not snapshot.done():
        before = time.monotonic()
        await store.commit(commands.Txn(success=(commands.put(b"/x", b""),)))
        worst = max(worst, time.monotonic() - before)
    await snapshot
    return worst
