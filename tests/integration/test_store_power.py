"""The store on a real ext4: power cuts, kills, a full disk, and the pause of a snapshot. Never on tmpfs."""

import asyncio
import contextlib
import fcntl
import itertools
import os
import pathlib
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from coordinator import errors
from coordinator.store import commands
from tests import storewriter

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

GOING_DOWN = 0x8004587D  # FS_IOC_SHUTDOWN
NO_LOG_FLUSH = 2
ROUNDS = 10
ACKNOWLEDGED_PER_ROUND = 400


class LoopDisk:
    """An ext4 of its own whose power can be cut: what was not synced is gone, as after a real one."""

    def __init__(self, base: pathlib.Path, size_mib: int) -> None:
        self.image, self.path = base / "disk.img", base / "disk"
        with self.image.open("wb") as image:
            image.truncate(size_mib << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self.image)], check=True)
        self.path.mkdir()
        self.power_on()

    def power_on(self) -> None:
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.path)], check=True)

    def cut(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, GOING_DOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def power_off(self) -> None:
        deadline = time.monotonic() + 10
        while subprocess.run(["umount", str(self.path)], stderr=subprocess.DEVNULL, check=False).returncode:
            assert time.monotonic() < deadline, "the mount is still busy"
            time.sleep(0.02)


@pytest.fixture
def disk(tmp_path: pathlib.Path) -> Iterator[LoopDisk]:
    made = LoopDisk(tmp_path, 128)
    yield made
    subprocess.run(["umount", "-l", str(made.path)], stderr=subprocess.DEVNULL, check=False)


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
async def test_power_cuts_lose_nothing_that_was_acknowledged(disk: LoopDisk) -> None:
    acknowledged: list[int] = []
    for round_ in range(ROUNDS):
        writer = Writer(disk.path / "store", round_ * 1_000_000)
        acknowledged += writer.read(ACKNOWLEDGED_PER_ROUND + 83 * round_)
        disk.cut()
        acknowledged += writer.kill()
        disk.power_off()
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
async def test_a_full_disk_refuses_and_the_store_recovers_by_itself(disk: LoopDisk) -> None:
    store = await storewriter.opened(disk.path / "store", create=True)
    ballast = disk.path / "ballast"
    fill(ballast)
    big = commands.Txn(success=tuple(commands.put(b"/%d" % at, bytes(1 << 20)) for at in range(4)))
    with pytest.raises(errors.NoSpaceError):
        await store.commit(big)
    assert await store.get(b"/0") is None
    ballast.unlink()
    deadline = time.monotonic() + 10
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
        worst = 0.0
        snapshot = asyncio.ensure_future(store.take_snapshot())
        while not snapshot.done():
            before = time.monotonic()
            await store.commit(commands.Txn(success=(commands.put(b"/x", b""),)))
            worst = max(worst, time.monotonic() - before)
        await snapshot
        assert worst < 0.25
