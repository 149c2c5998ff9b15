"""The journal and the snapshots beside it, on a disk that forgets, refuses and rots."""

import pathlib
import random
from collections.abc import Iterator

import pytest

from coordinator import errors, names
from coordinator.store import commands, mvcc
from coordinator.store.backends.raft import files, journal, log, records, recovery, snapshot
from tests import storedisk

CLUSTER = names.ClusterId("c1")
IDENTITY = journal.Identity(CLUSTER, "m1", ("m1",))


def entry(index: int, data: bytes = b"", term: int = 1) -> log.Entry:
    return log.Entry(index, term, log.COMMAND, data or b"entry %d" % index)


def command(index: int) -> log.Entry:
    key = b"/k/%d" % index
    return entry(index, commands.encode(commands.Txn(success=(commands.put(key, b"v" * index * 40),))))


def begun(disk: storedisk.FakeFiles) -> tuple[journal.Journal, journal.Recovered]:
    recovery.begin(disk, IDENTITY, storedisk.SeededRandom(1))
    return journal.open_journal(disk, storedisk.SeededRandom(2))


def written(disk: storedisk.FakeFiles, batches: int, *, size: int = 1) -> journal.Journal:
    """A journal of batches, each synced, of `size` entries."""
    writer, _found = begun(disk)
    for batch in range(batches):
        writer.append(1, "m1", None, [entry(batch * size + at + 1) for at in range(size)])
        writer.sync()
    return writer


def flip(disk: storedisk.FakeFiles, name: str, at: int) -> None:
    def rot(data: bytearray) -> None:
        data[at] ^= 0x40

    disk.change(name, rot)


def found(disk: storedisk.FakeFiles) -> journal.Recovered:
    return journal.open_journal(disk, storedisk.SeededRandom(3))[1]


def journal_name(disk: storedisk.FakeFiles) -> str:
    return [name for name in disk.names() if name.startswith(journal.PREFIX)][-1]


def test_entries_term_and_vote_are_read_again() -> None:
    disk = storedisk.FakeFiles()
    written(disk, 3).append(2, "m1", None, [])
    recovered = found(disk)
    assert [e.index for e in recovered.held.entries] == [1, 2, 3]
    assert (recovered.term, recovered.vote, recovered.identity) == (2, "m1", IDENTITY)


def test_a_cut_removes_what_follows_and_later_entries_take_its_place() -> None:
    disk = storedisk.FakeFiles()
    writer = written(disk, 3)
    writer.append(2, None, log.Position(1, 1), [entry(2, b"other", 2)])
    writer.sync()
    assert [(e.index, e.data) for e in found(disk).held.entries] == [(1, b"entry 1"), (2, b"other")]


@pytest.mark.parametrize("seed", range(20))
def test_a_torn_batch_of_many_records_is_cut_and_never_taken_for_damage(seed: int) -> None:
    disk = storedisk.FakeFiles()
    writer = written(disk, 2, size=3)
    writer.append(1, "m1", None, [entry(7 + at, bytes([at]) * 700) for at in range(8)])
    disk.power_cut(random.Random(seed))
    recovered = found(disk)
    assert len(recovered.held.entries) >= 6
    assert [e.index for e in recovered.held.entries] == list(range(1, len(recovered.held.entries) + 1))


def test_every_flipped_byte_before_the_last_batch_is_refused() -> None:
    disk = storedisk.FakeFiles()
    writer = written(disk, 4)
    name = journal_name(disk)
    good = disk.read(name)
    writer.append(1, "m1", None, [entry(5)])
    writer.sync()
    end = len(good.rstrip(b"\0"))
    for at in range(end):
        flip(disk, name, at)
        with pytest.raises(errors.DamagedError):
            journal.check(disk)
        flip(disk, name, at)
    assert len(journal.check(disk).held.entries) == 5


def test_a_value_that_holds_a_copy_of_a_journal_is_no_reason_to_refuse_a_torn_tail() -> None:
    disk = storedisk.FakeFiles()
    writer = written(disk, 3)
    copy = disk.read(journal_name(disk)).rstrip(b"\0")
    writer.append(1, "m1", None, [entry(4, copy * 3)])
    name = journal_name(disk)
    disk.change(name, lambda data: data.__setitem__(len(copy) + 3, data[len(copy) + 3] ^ 1))
    assert len(found(disk).held.entries) == 3


def test_a_full_disk_refuses_before_anything_is_written_and_recovers() -> None:
    disk = storedisk.FakeFiles()
    writer = written(disk, 1)
    disk.full = True
    big = 4 * journal.RESERVE_BYTES
    assert not writer.room(big)
    with pytest.raises(errors.NoSpaceError):
        writer.reserve(big)
    writer.append(2, "m1", None, [])  # a vote still finds room
    writer.sync()
    disk.full = False
    writer.reserve(big)
    writer.append(2, "m1", None, [entry(2, b"x" * big, 2)])
    writer.sync()
    assert len(found(disk).held.entries) == 2


def test_a_full_disk_does_not_stop_a_journal_from_growing_past_its_usual_size() -> None:
    disk = storedisk.FakeFiles()
    writer = written(disk, 1)
    disk.full = True
    writer.roll()
    writer.append(1, "m1", None, [entry(2)])
    writer.sync()
    assert len(found(disk).held.entries) == 2


def test_files_before_a_snapshot_go_and_what_is_left_is_read() -> None:
    disk = storedisk.FakeFiles()
    writer = written(disk, 3)
    writer.roll()
    writer.append(1, "m1", None, [entry(4)])
    writer.sync()
    writer.drop_before(2)
    assert len(found(disk).held.entries) == 4
    writer.drop_before(3)
    recovered = found(disk)
    assert recovered.held.prev == log.Position(3, 1)
    assert [e.index for e in recovered.held.entries] == [4]


def test_a_file_missing_between_two_is_refused() -> None:
    disk = storedisk.FakeFiles()
    writer = written(disk, 2)
    writer.roll()
    writer.append(1, "m1", None, [entry(3)])
    writer.sync()
    middle = journal_name(disk)
    writer.roll()
    disk.remove(middle)
    with pytest.raises(errors.DamagedError, match="missing"):
        journal.check(disk)


def test_a_journal_missing_beside_a_snapshot_is_refused_even_by_one_who_would_create() -> None:
    disk = storedisk.FakeFiles()
    snapshot.write(disk, *_snapshot(5))
    with pytest.raises(errors.DamagedError, match="missing beside a snapshot"):
        recovery.resume(disk, CLUSTER, storedisk.SeededRandom(1))
    with pytest.raises(errors.DamagedError, match="missing beside a snapshot"):
        recovery.begin(disk, IDENTITY, storedisk.SeededRandom(1))


def test_a_journal_that_ends_before_its_snapshot_is_refused() -> None:
    disk = storedisk.FakeFiles()
    written(disk, 3)
    snapshot.write(disk, *_snapshot(5))
    with pytest.raises(errors.DamagedError, match="do not meet"):
        recovery.resume(disk, CLUSTER, storedisk.SeededRandom(1))


def test_a_store_of_another_cluster_is_refused() -> None:
    disk = storedisk.FakeFiles()
    written(disk, 1)
    with pytest.raises(errors.IdentityError):
        recovery.resume(disk, names.ClusterId("c2"), storedisk.SeededRandom(1))


def test_an_empty_directory_is_no_member() -> None:
    with pytest.raises(errors.NotFoundError):
        recovery.resume(storedisk.FakeFiles(), CLUSTER, storedisk.SeededRandom(1))


def test_every_flipped_byte_of_a_snapshot_is_found() -> None:
    disk = storedisk.FakeFiles()
    header, pieces = _snapshot(3)
    snapshot.write(disk, header, pieces)
    name = snapshot.newest(disk)
    assert name is not None
    whole = disk.read(name)
    for at in range(len(whole)):
        rotten = whole[:at] + bytes([whole[at] ^ 8]) + whole[at + 1 :]
        with pytest.raises(errors.DamagedError):
            snapshot.decode(name, rotten)
    for size in range(len(whole)):
        with pytest.raises(errors.DamagedError):
            snapshot.decode(name, whole[:size])
    assert snapshot.decode(name, whole).header == header


def test_two_stores_cannot_hold_one_directory(tmp_path: pathlib.Path) -> None:
    first = files.DiskFiles(tmp_path)
    with pytest.raises(errors.InUseError):
        files.DiskFiles(tmp_path)
    first.close()
    files.DiskFiles(tmp_path).close()


def _snapshot(index: int) -> tuple[snapshot.Header, Iterator[bytes]]:
    state = mvcc.State()
    for at in range(1, index + 1):
        state, _result = mvcc.apply(state, commands.decode(command(at).data))
    header = snapshot.Header(snapshot.FORMAT, CLUSTER, log.Position(index, 1), ("m1",))
    return header, snapshot.encode(header, state)


class Life:
    """A store's life in small: every act of open, append, roll, compaction and snapshot, and what was promised."""

    def __init__(self, disk: storedisk.FakeFiles) -> None:
        self.disk = disk
        self.promised = 0

    def run(self) -> None:
        if not journal.exists(self.disk):
            recovery.begin(self.disk, IDENTITY, storedisk.SeededRandom(1))
        opened = recovery.resume(self.disk, CLUSTER, storedisk.SeededRandom(2))
        state, index = opened.state, opened.held.last.index
        for e in opened.held.between(opened.held.prev.index + 1, index):
            state, _result = mvcc.apply(state, commands.decode(e.data))
        writer = opened.writer
        for step in range(6):
            batch = [command(index + 1), command(index + 2)]
            writer.append(1, "m1", None, batch)
            writer.sync()
            index += 2
            self.promised = index
            for e in batch:
                state, _result = mvcc.apply(state, commands.decode(e.data))
            if step % 3 < 2:
                writer.roll()
            else:
                header = snapshot.Header(snapshot.FORMAT, CLUSTER, log.Position(index, 1), ("m1",))
                snapshot.write(self.disk, header, snapshot.encode(header, state))
                writer.roll()
                writer.drop_before(index)
                snapshot.drop_before(self.disk, index)


def _acts_of_a_life() -> int:
    disk = storedisk.FakeFiles()
    Life(disk).run()
    return disk.acts


@pytest.mark.parametrize("seed", range(6))
def test_a_power_cut_at_any_act_loses_nothing_that_was_promised(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        journal, "RESERVE_BYTES", 4096
    )  # the made-up disk copies a file whenever it is synced
    monkeypatch.setattr(journal, "MARGIN_BYTES", 1024)
    points = _acts_of_a_life()
    assert points > 60
    for point in range(1, points + 1):
        disk = storedisk.FakeFiles()
        life = Life(disk)
        disk.stop_at = point
        with pytest.raises(storedisk.PowerCutError):
            life.run()
        disk.power_cut(random.Random(seed * 1000 + point))
        _check_life(disk, life.promised)


def _check_life(disk: storedisk.FakeFiles, promised: int) -> None:
    if not journal.exists(disk):
        assert promised == 0
        Life(disk).run()
        return
    opened = recovery.resume(disk, CLUSTER, storedisk.SeededRandom(4))
    last = opened.held.last.index
    assert last >= promised
    state = opened.state
    for e in opened.held.between(opened.held.prev.index + 1, last):
        state, _result = mvcc.apply(state, commands.decode(e.data))
    assert state.revision == last
    opened.writer.close()
    Life(disk).run()


def test_a_record_is_found_by_its_own_salt_only() -> None:
    record = records.Record(records.ENTRY, 4, 2, b"payload")
    data = records.encode(record, 7, 0)
    got = records.read(data, 0, 7)
    assert got is not None
    assert got.record == record
    assert records.read(data, 0, 8) is None


@pytest.mark.parametrize("seed", range(10))
def test_what_a_killed_process_left_unsynced_is_durable_once_it_was_read_again(seed: int) -> None:
    disk = storedisk.FakeFiles()
    writer = written(disk, 2)
    writer.append(1, "m1", None, [entry(3, b"x" * 2000)])
    assert len(found(disk).held.entries) == 3
    disk.power_cut(random.Random(seed))
    assert len(found(disk).held.entries) == 3


def test_a_snapshot_that_kept_a_tail_is_read_right_after_the_file_with_that_tail_went() -> None:
    disk = storedisk.FakeFiles()
    writer = written(disk, 39)
    writer.roll()
    writer.replace(log.Position(33, 1), log.Position(39, 1))
    writer.append(1, "m1", None, [entry(40), entry(41)])
    writer.sync()
    assert [e.index for e in found(disk).held.entries] == list(range(34, 42))
    writer.drop_before(40)
    recovered = found(disk)
    assert (recovered.held.prev, recovered.held.last) == (log.Position(39, 1), log.Position(41, 1))


def test_a_cut_is_read_right_after_every_file_that_held_what_it_cut_has_gone() -> None:
    disk = storedisk.FakeFiles()
    writer = written(disk, 9)
    writer.roll()
    writer.append(1, "m1", None, [entry(10)])
    writer.sync()
    writer.roll()
    writer.append(2, "m1", log.Position(6, 1), [entry(index, term=2) for index in range(7, 15)])
    writer.sync()
    writer.drop_before(9)
    assert len(disk.names()) == 2, "the file that begins behind entry 9 is the first now"
    recovered = found(disk)
    assert (recovered.held.prev, recovered.held.last) == (log.Position(6, 1), log.Position(14, 2))


def test_a_cut_into_a_snapshot_is_damage() -> None:
    disk = storedisk.FakeFiles()
    writer = written(disk, 9)
    writer.replace(log.Position(7, 1), log.Position(9, 1))
    writer.append(2, "m1", log.Position(6, 1), [entry(7, term=2)])
    writer.sync()
    with pytest.raises(errors.DamagedError, match="out of place"):
        found(disk)


def test_a_snapshot_that_left_no_tail_begins_the_log_anew() -> None:
    disk = storedisk.FakeFiles()
    writer = written(disk, 5)
    writer.replace(log.Position(9, 1), log.Position(9, 1))
    writer.append(1, "m1", None, [entry(10)])
    writer.sync()
    recovered = found(disk)
    assert (recovered.held.prev, recovered.held.last) == (log.Position(9, 1), log.Position(10, 1))
