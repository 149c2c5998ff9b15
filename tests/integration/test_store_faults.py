"""Disks that fail, fill up and rot under a member of the store: a defined error each time, and nothing acknowledged is lost.

The device mapper is not everywhere; a file system that is shut down under a process answers its syncs with the kernel's own EIO.
"""

import asyncio
import pathlib
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from coordinator import errors
from coordinator.host import disk as disks
from coordinator.runtime import store_files
from coordinator.store import commands
from coordinator.store.backends.raft import member
from coordinator.tiers import standing, taking
from tests import loopdisk, micworld, storewriter

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

DAMAGES = 24  # of each file
LAST = 60


@pytest.fixture
def disk(tmp_path: pathlib.Path) -> Iterator[loopdisk.LoopDisk]:
    made = loopdisk.LoopDisk(tmp_path, 32)
    yield made
    made.throw_away()


@pytest.mark.root
async def test_a_disk_that_answers_eio_ends_the_process_and_everything_acknowledged_is_there_again(
    disk: loopdisk.LoopDisk,
) -> None:
    argv = [sys.executable, "-m", "tests.storewriter", str(disk.path / "store"), "0"]
    writer = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(200)]
    loopdisk.stopped([writer.pid])
    disk.cut()
    writer.send_signal(signal.SIGCONT)
    _out, talk = writer.communicate(timeout=90)
    assert writer.returncode == 70
    assert "the store has failed and stops this process" in talk
    assert "Input/output error" in talk
    disk.power_on()
    assert await storewriter.missing(disk.path / "store", acknowledged) == []


@pytest.mark.root
async def test_a_mic_whose_disk_is_full_says_so_and_takes_office_once_there_is_room(
    disk: loopdisk.LoopDisk,
) -> None:
    world = micworld.World()
    root = disks.DirectoryDisk(disk.path / "state")
    ballast = disk.path / "ballast"
    fill(ballast)
    memory = taking.Memory(standing.HighWater(root), world.seed, None)
    with pytest.raises(errors.NoSpaceError, match="does not take office") as refused:
        await taking.open_mic(world.means, world.store, memory)
    assert "make room" in refused.value.hint
    assert root.read(standing.NAME) is None
    ballast.unlink()
    memory = taking.Memory(standing.HighWater(root), world.seed, None)
    opened = await taking.open_mic(world.means, world.store, memory)
    assert opened.at.office is not None
    assert root.read(standing.NAME) is not None


def fill(ballast: pathlib.Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Of a member with a snapshot and two files of journal behind it."""
    made = tmp_path_factory.mktemp("damaged") / "store"

    async def fill_it() -> None:
        async with await storewriter.opened(made, create=True) as store:
            for number in range(LAST):
                txn = commands.Txn(
                    success=(commands.put(storewriter.key(number), storewriter.value(number)),)
                )
                await store.commit(txn)
                if number == LAST // 2:
                    await store.take_snapshot()
            store._member.opened.writer.roll()
            await store.commit(commands.Txn(success=(commands.put(b"/last", b""),)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(member, "KEEP_ENTRIES", 10)
        asyncio.run(fill_it())
    names = [path.name for path in made.iterdir()]
    assert sum(name.startswith("journal-") for name in names) == 2
    assert sum(name.startswith("snapshot-") for name in names) == 1
    return made


def files_of(made: pathlib.Path) -> list[str]:
    return sorted(path.name for path in made.iterdir() if path.name != "lock")


@pytest.mark.parametrize("torn", [False, True], ids=["a bit flipped", "torn off"])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_damage_to_any_file_of_a_member_is_refused_or_touches_nothing(
    directory: pathlib.Path, tmp_path: pathlib.Path, which: int, torn: bool, seed: int
) -> None:
    source = random.Random(seed)
    name = files_of(directory)[which]
    whole = (directory / name).read_bytes()
    used = len(whole.rstrip(b"\0"))
    whole_image, _none = looked(directory)
    refused = 0
    for number in range(DAMAGES):
        damaged = tmp_path / f"{number}"
        shutil.copytree(directory, damaged)
        at = source.randrange(used)
        data = bytearray(whole[:at] if torn else whole)
        if not torn:
            data[at] ^= 1 << source.randrange(8)
        (damaged / name).write_bytes(data)
        image, problem = looked(damaged)
        if problem is not None:
            refused += 1
            assert any(word in problem.message for word in ("journal-", "snapshot-", "do not meet"))
            assert problem.hint
        else:
            # Only the last entry stood behind the last sync: a program that was killed there may not have promised it.
            assert image in (whole_image, whole_image - {b"/last"}), f"byte {at} of {name}"
            assert name == files_of(directory)[1], (
                "only the newest file of the journal has an end that may be torn"
            )
        shutil.rmtree(damaged)
    assert refused or name == files_of(directory)[1]


def looked(directory: pathlib.Path) -> tuple[set[bytes], errors.DamagedError | None]:
    """Its keys, or why it is refused."""
    try:
        with store_files.held(directory) as held:
            return {item.key for item in store_files.read(held, storewriter.CLUSTER).items}, None
    except errors.DamagedError as problem:
        return set(), problem
