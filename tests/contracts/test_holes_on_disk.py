"""What a kill, a power cut or a damaged byte may do to what was promised: nothing, or the store does not open."""

import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from coordinator import errors
from coordinator.store.backends.raft import log
from tests import loopdisk
from tests.contracts import groups, holes, machines, stores

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),  # the library's own
]

ACKNOWLEDGED = 400
KILLS = 4


@pytest.fixture
def disk(tmp_path: pathlib.Path) -> Iterator[loopdisk.LoopDisk]:
    made = loopdisk.LoopDisk(tmp_path, 64)
    yield made
    made.throw_away()


@pytest.mark.root
async def test_a_power_cut_loses_nothing_that_was_acknowledged(side: str, disk: loopdisk.LoopDisk) -> None:
    writer = stores.Writer(stores.SIDES[side], disk.path / "store", 0)
    acknowledged = writer.read(ACKNOWLEDGED)
    disk.cut()
    acknowledged += writer.kill()
    assert len(acknowledged) >= ACKNOWLEDGED
    disk.power_on()
    with holes.decisive():
        assert await stores.SIDES[side].missing(disk.path / "store", acknowledged) == []


async def test_kills_while_snapshots_are_taken_lose_nothing_that_was_acknowledged(
    side: str, tmp_path: pathlib.Path
) -> None:
    acknowledged: list[int] = []
    for kill in range(KILLS):
        writer = stores.Writer(stores.SIDES[side], tmp_path / "store", kill * 1_000_000)
        acknowledged += writer.read(ACKNOWLEDGED + 57 * kill)
        acknowledged += writer.kill()
        assert len(acknowledged) >= ACKNOWLEDGED
        with holes.decisive():
            assert await stores.SIDES[side].missing(tmp_path / "store", acknowledged) == []


@pytest.mark.root
def test_a_vote_outlives_a_power_cut(side: str, disk: loopdisk.LoopDisk) -> None:
    member = machines.Maker(side, disk.path / "member")
    member().follow("m2", 1, log.NOTHING, (1,), 0)
    member.close()
    disk.sync()
    assert vote_elsewhere(side, member.directory) == "yes"
    disk.cut()
    disk.power_on()
    try:
        again = member()
        with holes.decisive():
            assert not again.gives_vote("m3", 5, log.Position(1, 1))
    finally:
        member.close()


def vote_elsewhere(side: str, directory: pathlib.Path) -> str:
    """Ask a process of its own for a vote for m2 in term 5."""
    asked = [sys.executable, "-m", machines.__name__, side, str(directory), "m2", "5"]
    return subprocess.run(asked, stdout=subprocess.PIPE, check=True, text=True).stdout


def contents(directory: pathlib.Path) -> dict[pathlib.Path, bytes]:
    return {path: path.read_bytes() for path in sorted(directory.iterdir())}


def spoil(before: dict[pathlib.Path, bytes], after: dict[pathlib.Path, bytes]) -> None:
    """Change every byte, as it stands now, that was changed in between."""
    for path, written in after.items():
        old = before.get(path, b"").ljust(len(written), b"\0")
        changed = [at for at, (one, other) in enumerate(zip(old, written, strict=False)) if one != other]
        with path.open("r+b") as file:
            for at in changed:
                file.seek(at)
                file.write(bytes((written[at] ^ 0xFF,)))


def test_a_vote_whose_record_is_damaged_is_never_given_again(member: machines.Maker) -> None:
    voter = member()
    before = contents(member.directory)
    assert voter.gives_vote("m2", 5, log.NOTHING)
    after = contents(member.directory)
    voter.follow("m2", 5, log.NOTHING, (5,), 0)
    member.close()
    spoil(before, after)
    try:
        again = member()
    except errors.DamagedError:
        return
    with holes.decisive():
        assert not again.gives_vote("m3", 5, log.Position(9, 5))


async def test_a_flipped_byte_is_never_read_as_what_was_put(side: str, tmp_path: pathlib.Path) -> None:
    opening, value = stores.SIDES[side].opening, b"precious-and-found-again-by-its-bytes"
    async with await opening(tmp_path / "store") as store:
        await stores.put(store, b"/k", value)
        await stores.put(store, b"/later")
    flipped = value.replace(b"p", b"q")
    for path in (tmp_path / "store").iterdir():
        path.write_bytes(path.read_bytes().replace(value, flipped))
    if await stores.refused(stores.SIDES[side], tmp_path / "store") is not None:
        return
    async with await opening(tmp_path / "store") as store:
        item = await store.get(b"/k")
        with holes.decisive():
            assert item is not None
            assert item.value == value


async def test_a_snapshot_without_its_journal_is_no_store(side: str, tmp_path: pathlib.Path) -> None:
    one = stores.SIDES[side]
    async with await one.opening(tmp_path / "store") as store:
        for number in range(5):
            await stores.put(store, b"/%d" % number)
        await one.snapshot(store)
        await stores.put(store, b"/behind")
    for path in (tmp_path / "store").glob(one.journal):
        path.unlink()
    with holes.decisive():
        assert isinstance(await stores.refused(one, tmp_path / "store"), errors.DamagedError)


async def test_a_store_with_other_members_is_not_opened(side: str, tmp_path: pathlib.Path) -> None:
    one = stores.SIDES[side]
    await one.one_of_three(tmp_path / "m1")
    with holes.decisive():
        assert isinstance(await stores.refused(one, tmp_path / "m1"), errors.IdentityError)


async def test_an_empty_disk_is_no_member(side: str, tmp_path: pathlib.Path) -> None:
    one = stores.SIDES[side]
    await one.one_of_three(tmp_path / "m1")
    assert await stores.refusal(one.as_member(tmp_path / "m1")) is None
    for path in (tmp_path / "m1").iterdir():
        path.unlink()
    with holes.decisive():
        assert isinstance(await stores.refusal(one.as_member(tmp_path / "m1")), errors.NotFoundError)


async def test_a_later_program_reads_the_log_of_an_earlier_one(
    side: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = stores.SIDES[side]
    async with await one.opening(tmp_path / "store") as store:
        await stores.put(store, b"/k", b"kept")
    one.grow(monkeypatch)
    async with await one.opening(tmp_path / "store") as store:
        with holes.decisive():
            assert await groups.read(store, b"/k") == b"kept"
