"""The ledger's law on a disk that crashes, and what it does with damage."""

import hashlib
import random
from collections.abc import Sequence

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from coordinator import errors, limits, names
from coordinator.hop import ledger
from coordinator.propagation import bodies, objects
from coordinator.trust import signing

SIGNER = signing.Signer(names.ClusterId("c1"), b"\1" * 32)


class CrashError(Exception):
    """The power went."""


class CrashingDisk:
    """Counts its changes; at the chosen one the power goes, just before or just after it reached the platter."""

    def __init__(self, crash_at: int = -1, *, done: bool = False) -> None:
        self.files: dict[str, bytes] = {}
        self.changes = 0
        self.crash_at = crash_at
        self.done = done

    def _change(self, name: str, data: bytes | None) -> None:
        crash = self.changes == self.crash_at
        self.changes += 1
        if not crash or self.done:
            if data is None:
                self.files.pop(name, None)
            else:
                self.files[name] = data
        if crash:
            raise CrashError

    def read(self, name: str) -> bytes | None:
        return self.files.get(name)

    def write(self, name: str, data: bytes) -> None:
        self._change(name, data)

    def remove(self, name: str) -> None:
        self._change(name, None)

    def names(self, prefix: str = "") -> Sequence[str]:
        return sorted(name for name in self.files if name.startswith(prefix))


def body(number: int) -> tuple[names.Digest, bytes]:
    data = f"body {number}".encode() * 50
    return names.Digest(hashlib.sha256(data).hexdigest()), data


def target(revision: int) -> bytes:
    pointer = objects.Pointer(revision, body(revision)[0])
    content = objects.Target(1, revision, pointer, None, names.RolloutId("r"), 1)
    return SIGNER.sign("target", objects.encode(content))


def state(revision: int) -> dict[str, bytes]:
    return {"target": target(revision), "record": b"record %d" % revision}


def filed(disk: CrashingDisk) -> ledger.Ledger:
    """A ledger to which every body is a large one."""
    return ledger.Ledger(disk, small_bytes=0)


def store(book: ledger.Ledger, revision: int, *others: int) -> None:
    keep = [body(number)[0] for number in (revision, *others)]
    book.store(state(revision), body(revision), keep)


def test_an_empty_disk_is_an_empty_ledger() -> None:
    found = ledger.Ledger(CrashingDisk()).load()
    assert found == ledger.Contents({}, (), names.NO_VERSION, 0, ())


def test_what_was_stored_is_there_after_a_restart() -> None:
    disk = CrashingDisk()
    book = ledger.Ledger(disk)
    book.store({"trust": b"t", "admission/a": b"1"})
    store(book, 7)
    book.store({"admission/a": b"2"})
    again = ledger.Ledger(disk)
    assert again.load().objects == {"trust": b"t", "admission/a": b"2", **state(7)}
    assert again.load().accepted == names.Version(1, 7)
    assert again.body(body(7)[0]) == body(7)[1]
    assert again.body(body(8)[0]) is None


@given(st.integers(1, 7), st.integers(0, 30), st.booleans(), st.sampled_from([0, limits.INLINE_BYTES]))
def test_after_a_crash_anywhere_it_holds_the_last_or_the_one_being_stored(
    steps: int, crash_at: int, done: bool, small_bytes: int
) -> None:
    disk = CrashingDisk(crash_at, done=done)
    acknowledged, under_way = 0, 0
    try:
        book = ledger.Ledger(disk, small_bytes=small_bytes)
        for revision in range(1, steps + 1):
            under_way = revision
            store(book, revision)
            acknowledged = revision
            if revision % 3 == 0:  # now and then something else changes too, or alone
                book.store({**state(revision), "trust": b"t%d" % revision})
    except CrashError:
        pass
    disk.crash_at = -1
    again = ledger.Ledger(disk, small_bytes=small_bytes)
    found = again.load()
    revision = found.accepted.revision
    assert revision in {acknowledged, under_way}
    assert {key: raw for key, raw in found.objects.items() if key != "trust"} == (
        state(revision) if revision else {}
    )
    sure = (revision - 1) // 3 * 3
    trusts = {
        b"t%d" % number if number > 0 else None for number in (sure, revision if revision % 3 == 0 else sure)
    }
    assert found.objects.get("trust") in trusts
    assert found.damaged == ()
    if revision:
        assert again.body(body(revision)[0]) == body(revision)[1]
    store(again, under_way + 1, acknowledged)
    assert len(again.load().bodies) <= limits.BODIES_KEPT_BY_MIRROR + 1


def large(number: int) -> bytes:
    """One after the other mostly the same, and none compresses."""
    return random.Random(1).randbytes(5000) + b"change %d" % number


def digest_of(data: bytes) -> names.Digest:
    return names.Digest(hashlib.sha256(data).hexdigest())


def store_change(book: ledger.Ledger, number: int, *, also: dict[str, bytes] | None = None) -> None:
    """The next large body, as it comes from a parent that knows the one before."""
    old, new = large(number - 1), large(number)
    pointer = objects.Pointer(number, digest_of(new))
    content = objects.Target(1, number, pointer, None, names.RolloutId("r"), 1)
    changed = {"target": SIGNER.sign("target", objects.encode(content)), "record": b"r%d" % number}
    frame, base = (bodies.encode(new, old), digest_of(old)) if number > 1 else (b"", "")
    book.store({**changed, **(also or {})}, (digest_of(new), new), (digest_of(new),), frame, base)


def test_a_small_change_of_a_large_body_writes_one_small_file() -> None:
    disk = CrashingDisk()
    book = ledger.Ledger(disk, small_bytes=2000)
    book.store({"trust": b"t"})
    store_change(book, 1)
    before = disk.changes
    store_change(book, 2)
    assert disk.changes == before + 1
    assert len(disk.files["newest"]) < 1000
    again = ledger.Ledger(disk, small_bytes=2000)
    assert again.body(digest_of(large(2))) == large(2)
    assert again.body(digest_of(large(1))) == large(1)


def test_a_long_chain_of_changes_rests_on_few_files_and_not_on_an_old_one() -> None:
    disk = CrashingDisk()
    book = ledger.Ledger(disk, small_bytes=2000)
    book.store({"trust": b"t"})
    for number in range(1, 30):
        store_change(book, number)
        again = ledger.Ledger(disk, small_bytes=2000)
        assert again.body(digest_of(large(number))) == large(number)
        assert len([name for name in disk.files if name.startswith("bodies/")]) <= 2
        assert len(again.load().bodies) <= 10


def test_a_delta_upon_a_damaged_body_is_lost_with_it_and_both_are_reported() -> None:
    disk = CrashingDisk()
    book = ledger.Ledger(disk, small_bytes=2000)
    book.store({"trust": b"t"})
    store_change(book, 1)
    store_change(book, 2)
    name = f"bodies/{digest_of(large(1))}.zst"
    disk.files[name] = disk.files[name][:-40] + bytes(40)
    again = ledger.Ledger(disk, small_bytes=2000)
    assert again.body(digest_of(large(2))) is None
    assert again.load().damaged == (name,)
    assert again.load().accepted == names.Version(1, 2)
    store_change(again, 3)  # the base is not whole, so this stands by itself
    assert again.body(digest_of(large(3))) == large(3)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=12), st.sampled_from([60, 2000, 6000]))
def test_a_body_that_comes_back_as_a_delta_upon_what_came_from_it_is_whole(
    numbers: list[int], small_bytes: int
) -> None:
    disk = CrashingDisk()
    book = ledger.Ledger(disk, small_bytes=small_bytes)
    book.store({"trust": b"t"})
    before = b""
    for revision, number in enumerate(numbers, start=1):
        new = large(number)
        pointer = objects.Pointer(revision, digest_of(new))
        content = objects.Target(1, revision, pointer, None, names.RolloutId("r"), 1)
        changed = {"target": SIGNER.sign("target", objects.encode(content)), "record": b"r"}
        came = (bodies.encode(new, before), digest_of(before)) if before and before != new else (b"", "")
        book.store(changed, (digest_of(new), new), (digest_of(new), digest_of(before)), *came)
        again = ledger.Ledger(disk, small_bytes=small_bytes)
        for there in {new, before} - {b""}:
            assert again.body(digest_of(there)) == there
        before = new


@given(st.integers(1, 9), st.integers(0, 40), st.booleans(), st.integers(2, 5))
def test_after_a_crash_anywhere_a_body_that_came_as_a_delta_is_whole(
    steps: int, crash_at: int, done: bool, others: int
) -> None:
    disk = CrashingDisk(crash_at, done=done)
    acknowledged, under_way = 0, 0
    try:
        book = ledger.Ledger(disk, small_bytes=2000)
        for number in range(1, steps + 1):
            under_way = number
            store_change(book, number, also={"trust": b"t"} if number % others == 0 else None)
            acknowledged = number
    except CrashError:
        pass
    disk.crash_at = -1
    again = ledger.Ledger(disk, small_bytes=2000)
    number = again.load().accepted.revision
    assert number in {acknowledged, under_way}
    assert again.load().damaged == ()
    if number:
        assert again.body(digest_of(large(number))) == large(number)
    store_change(again, under_way + 1)
    assert again.body(digest_of(large(under_way + 1))) == large(under_way + 1)


@given(st.lists(st.integers(0, 20), max_size=12), st.integers(0, 40), st.booleans())
def test_no_boot_number_is_used_twice(raises: list[int], crash_at: int, done: bool) -> None:
    disk = CrashingDisk(crash_at, done=done)
    used: list[int] = []
    for least in [*raises, 0]:
        try:
            book = ledger.Ledger(disk)
            used.append(book.next_boot())
            assert book.raise_boot(least) >= least
        except CrashError:
            continue
    assert used == sorted(set(used))


def test_the_boot_counter_survives_a_damaged_head_and_a_parent_raises_a_lost_one() -> None:
    disk = CrashingDisk()
    book = ledger.Ledger(disk)
    assert [book.next_boot(), book.next_boot(), book.raise_boot(9), book.raise_boot(3)] == [1, 2, 9, 9]
    store(book, 1)
    disk.files["head"] = b"rubbish"
    assert ledger.Ledger(disk).next_boot() == 10
    disk.files["boot"] = b""
    lost = ledger.Ledger(disk)
    assert lost.next_boot() == 1
    assert lost.raise_boot(11) == 11
    assert ledger.Ledger(disk).next_boot() == 12


@given(st.data())
def test_any_damage_to_the_head_is_found_and_set_aside(data: st.DataObject) -> None:
    disk = CrashingDisk()
    store(filed(disk), 1)
    head = bytearray(disk.files["head"])
    head[data.draw(st.integers(0, len(head) - 1))] ^= data.draw(st.integers(1, 255))
    disk.files["head"] = bytes(head)
    book = ledger.Ledger(disk)
    found = book.load()
    assert (found.objects, found.accepted, found.damaged) == ({}, names.NO_VERSION, ("head",))
    assert found.bodies == (body(1)[0],)  # still good as the base of a delta
    assert disk.files["head.damaged"] == bytes(head)
    store(book, 2)
    assert ledger.Ledger(disk).load().objects == state(2)


@pytest.mark.parametrize("damage", ["cut", "flipped", "swapped"])
def test_a_damaged_body_is_set_aside_and_missing(damage: str) -> None:
    disk = CrashingDisk()
    book = filed(disk)
    store(book, 1)
    store(book, 2, 1)
    name = f"bodies/{body(1)[0]}.zst"
    good = disk.files[name]
    disk.files[name] = {
        "cut": good[:-5],
        "flipped": good[:10] + bytes([good[10] ^ 1]) + good[11:],
        "swapped": disk.files[f"bodies/{body(2)[0]}.zst"],
    }[damage]
    assert book.body(body(1)[0]) is None
    assert book.load().bodies == (body(2)[0],)
    assert book.load().damaged == (name,)
    assert f"{name}.damaged" in disk.files
    book.store({}, body(1))
    assert ledger.Ledger(disk).body(body(1)[0]) == body(1)[1]


@pytest.mark.parametrize("small_bytes", [0, limits.INLINE_BYTES])
def test_the_last_bodies_stay_and_one_in_use_however_old(small_bytes: int) -> None:
    disk = CrashingDisk()
    book = ledger.Ledger(disk, small_bytes=small_bytes)
    for revision in range(1, 10):
        store(book, revision, 2)
    stays = [body(number)[0] for number in (2, 6, 7, 8, 9)]
    assert list(book.load().bodies) == stays
    store(book, 10)
    assert list(ledger.Ledger(disk).load().bodies) == [body(number)[0] for number in (7, 8, 9, 10)]
    assert len(disk.names("bodies/")) == (0 if small_bytes else limits.BODIES_KEPT_BY_MIRROR)
    assert [ledger.Ledger(disk).body(body(n)[0]) for n in (7, 10)] == [body(7)[1], body(10)[1]]


def test_a_small_revision_costs_one_write() -> None:
    disk = CrashingDisk()
    book = ledger.Ledger(disk)
    book.store({"trust": b"t", **{f"admission/{number}": b"a" * 300 for number in range(1000)}})
    for revision in range(1, 10):
        before = disk.changes
        store(book, revision)
        assert disk.changes == before + 1
    assert len(disk.files["newest"]) < 1000


@given(st.data())
def test_without_the_newest_no_older_target_takes_its_place(data: st.DataObject) -> None:
    disk = CrashingDisk()
    book = ledger.Ledger(disk)
    book.store({"trust": b"t", **state(1)}, body(1))
    store(book, 2)
    newest = bytearray(disk.files["newest"])
    newest[data.draw(st.integers(0, len(newest) - 1))] ^= data.draw(st.integers(1, 255))
    disk.files["newest"] = bytes(newest)
    again = ledger.Ledger(disk)
    assert (again.load().objects, again.load().accepted) == ({"trust": b"t"}, names.Version(1, 1))
    assert again.load().damaged == ("newest",)
    store(again, 3)
    assert ledger.Ledger(disk).load().objects == {"trust": b"t", **state(3)}


def test_what_was_accepted_never_falls() -> None:
    book = ledger.Ledger(CrashingDisk())
    store(book, 5)
    store(book, 5)
    with pytest.raises(AssertionError, match="would fall"):
        store(book, 4)
    assert book.load().accepted == names.Version(1, 5)


def test_a_head_of_another_version_is_not_forgotten() -> None:
    disk = CrashingDisk()
    disk.files["head"] = ledger._sealed(b"\x93\x01\x02\x03")
    with pytest.raises(errors.DamagedError, match="another version"):
        ledger.Ledger(disk)
    assert "head" in disk.files


def test_a_body_that_came_as_one_frame_is_kept_as_it_came() -> None:
    body = b"a document " * 1000
    frame, digest = zstd.compress(body, level=1), names.Digest(hashlib.sha256(body).hexdigest())
    there = CrashingDisk()
    ledger.Ledger(there, small_bytes=0).store({}, (digest, body), (digest,), frame)
    assert there.files[f"bodies/{digest}.zst"] == frame
    assert ledger.Ledger(there).body(digest) == body


def test_a_disk_that_is_full_in_between_gets_its_space_back_and_nothing_has_changed() -> None:
    class Full(CrashingDisk):
        full = False

        def write(self, name: str, data: bytes) -> None:
            if self.full and not name.startswith(ledger.BODIES):
                raise OSError("no space left")
            super().write(name, data)

    disk = Full()
    book = filed(disk)
    store(book, 1)
    before = dict(disk.files)
    disk.full = True
    with pytest.raises(OSError, match="no space left"):
        book.store({}, body(2), [body(1)[0], body(2)[0]])
    assert disk.files == before
    disk.full = False
    store(book, 2, 1)
    assert book.load().bodies == (body(1)[0], body(2)[0])
