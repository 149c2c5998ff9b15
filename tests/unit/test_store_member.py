"""What a running member does when its disk fails, fills up or is held by another."""

import asyncio  # noqa: TID251 the backends are asyncio's
import pathlib

import pytest

from coordinator import errors, names
from coordinator.store import commands, mvcc
from coordinator.store.backends import raft
from coordinator.store.backends.raft import journal, member, recovery, snapshot
from tests import storedisk, storewriter

pytestmark = pytest.mark.anyio
CLUSTER = names.ClusterId("c1")


def put(number: int) -> bytes:
    return commands.encode(commands.Txn(success=(commands.put(b"/k", b"%d" % number),)))


class Running:
    """A member of one on a fake disk, and what made it stop."""

    def __init__(self, disk: storedisk.FakeFiles) -> None:
        if not journal.exists(disk):
            recovery.begin(disk, journal.Identity(CLUSTER, "m", ("m",)), storedisk.SeededRandom(1))
        opened = recovery.resume(disk, CLUSTER, storedisk.SeededRandom(2))
        self.stops: list[BaseException] = []
        self.member = member.Member(
            opened, storewriter.RealClock(), storedisk.SeededRandom(3), self.stops.append
        )

    async def commit(self, number: int) -> mvcc.Result:
        proposal = await self.member.propose(put(number))
        await proposal.accepted
        return await proposal.result


async def test_a_failing_sync_stops_the_member_and_the_outcome_is_unknown() -> None:
    disk = storedisk.FakeFiles()
    running = Running(disk)
    assert isinstance(await running.commit(1), mvcc.Applied)
    disk.failing_sync = True
    with pytest.raises(errors.UnknownOutcomeError):
        await running.commit(2)
    assert [type(stop) for stop in running.stops] == [OSError]
    disk.failing_sync = False
    with pytest.raises(errors.DamagedError):
        await running.commit(3)
    with pytest.raises(errors.DamagedError):
        await running.member.barrier()
    await running.member.close()


async def test_a_full_disk_refuses_while_it_is_full_and_nothing_of_it_is_done() -> None:
    disk = storedisk.FakeFiles()
    running = Running(disk)
    await running.commit(1)
    disk.full = True
    refused = 0
    for number in range(2, 6):
        try:
            proposal = await running.member.propose(put(number) + bytes(1024 * 1024))
            await proposal.accepted
        except errors.NoSpaceError:
            refused += 1
    assert refused >= 2
    assert running.stops == []
    disk.full = False
    assert isinstance(await running.commit(9), mvcc.Applied)
    await running.member.close()


async def test_a_snapshot_that_a_full_disk_refused_leaves_its_room_to_the_journal() -> None:
    disk = storedisk.FakeFiles()
    running = Running(disk)
    await running.commit(1)
    disk.full_after = 2
    with pytest.raises(OSError, match="full"):
        await running.member.snapshot_now()
    assert not [name for name in disk.names() if name.endswith(snapshot.UNFINISHED)]
    assert isinstance(await running.commit(2), mvcc.Applied)
    disk.full_after, disk.full = None, False
    await running.member.snapshot_now()
    assert running.stops == []
    await running.member.close()


async def test_a_file_that_a_full_disk_refused_lets_the_journal_grow_further() -> None:
    disk = storedisk.FakeFiles()
    running = Running(disk)
    await running.commit(1)
    disk.full = True
    running.member.opened.writer.roll()
    assert isinstance(await running.commit(2), mvcc.Applied)
    assert running.stops == []
    await running.member.close()
    disk.full = False
    last = recovery.resume(disk, CLUSTER, storedisk.SeededRandom(4)).held.entries[-1]
    assert last.data == put(2)


async def test_many_writers_share_one_sync() -> None:
    disk = storedisk.FakeFiles()
    running = Running(disk)
    await running.commit(0)
    before = disk.acts
    await asyncio.gather(*(running.commit(number) for number in range(100)))
    assert disk.acts - before < 20
    await running.member.close()


async def test_a_command_above_the_own_level_stops_the_member() -> None:
    running = Running(storedisk.FakeFiles())
    data = bytearray(put(1))
    data[1] = commands.LEVEL + 1
    proposal = await running.member.propose(bytes(data))
    with pytest.raises(errors.UnknownOutcomeError):
        await proposal.result
    assert [type(stop) for stop in running.stops] == [commands.AboveLevelError]
    await running.member.close()


async def open_store(directory: pathlib.Path, *, create: bool = False, cluster: str = "c1") -> raft.RaftStore:
    return await raft.open_store(
        directory,
        cluster=names.ClusterId(cluster),
        clock=storewriter.RealClock(),
        random=storedisk.SeededRandom(5),
        create=create,
    )


async def test_a_store_is_opened_by_one_process_of_its_cluster_and_made_only_on_request(
    tmp_path: pathlib.Path,
) -> None:
    with pytest.raises(errors.NotFoundError):
        await open_store(tmp_path / "s")
    store = await open_store(tmp_path / "s", create=True)
    assert store.empty
    with pytest.raises(errors.InUseError):
        await open_store(tmp_path / "s")
    await store.commit(commands.Txn(success=(commands.put(b"/k", b""),)))
    await store.close()
    await store.close()
    with pytest.raises(errors.IdentityError):
        await open_store(tmp_path / "s", cluster="c2")
    async with await open_store(tmp_path / "s", create=True) as again:
        assert not again.empty


async def test_a_snapshot_carries_everything_and_an_export_opens_nowhere_by_accident(
    tmp_path: pathlib.Path,
) -> None:
    async with await open_store(tmp_path / "s", create=True) as store:
        for number in range(30):
            await store.commit(commands.Txn(success=(commands.put(b"/k/%d" % number, b"v"),)))
        await store.take_snapshot()
        await store.commit(commands.Txn(success=(commands.put(b"/after", b"v"),)))
        assert await store.snapshot(tmp_path / "export") == 31
        with pytest.raises(FileExistsError):
            await store.snapshot(tmp_path / "export")
    async with await open_store(tmp_path / "s") as store:
        scan = await store.scan(b"/")
        assert (len(scan.items), scan.revision) == (31, 31)
        assert (await store.check()).findings == ()


async def test_a_sealed_store_refuses_everything_but_reading(tmp_path: pathlib.Path) -> None:
    async with await open_store(tmp_path / "s", create=True) as store:
        await store.commit(commands.Txn(success=(commands.put(b"/k", b""),)))
        assert await store.seal(("a", "b", "c")) == 1
        with pytest.raises(errors.RefusedError):
            await store.commit(commands.Txn(success=(commands.put(b"/k", b""),)))
        assert await store.get(b"/k") is not None
        assert (await store.status()).sealed


async def test_snapshots_one_right_after_the_other_do_not_take_each_others_files(
    tmp_path: pathlib.Path,
) -> None:
    async with await open_store(tmp_path / "s", create=True) as store:
        await store.commit(commands.Txn(success=(commands.put(b"/k", bytes(100_000)),)))

        async def write() -> None:
            for number in range(20):
                await store.commit(commands.Txn(success=(commands.put(b"/n/%d" % number, b"v"),)))

        await asyncio.gather(write(), *(store.take_snapshot() for _ in range(20)))
        assert (await store.check()).findings == ()
    async with await open_store(tmp_path / "s") as store:
        assert len((await store.scan(b"/n/")).items) == 20
