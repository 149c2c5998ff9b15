"""Hands a store over, and ends the process at one act of the disk after the other: what is left must be the old group or the new.

`python -m tests.storecrash BASE WHAT FIRST STEP` (WHAT: `members` or `join`): a line `points N` first, then one for each
violation, then `done COUNT`. Every act that changes the disk is counted: writes, syncs, renames, removals, new directories.
The process that ends does so as if it were killed, from whatever thread acts; what is left is looked at by another one.
"""

import os
import pathlib
import shutil
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import anyio

from coordinator import names
from coordinator.host import clock, disk, settings
from coordinator.propagation import objects
from coordinator.runtime import handover, home, initialise, mic_store, store_files
from coordinator.store import commands, membership
from coordinator.store.backends.raft import journal
from coordinator.tiers import keys, seed
from coordinator.trust import authority

ACTS = (
    "fsync", "fdatasync", "pwritev", "pwrite", "write", "rename", "replace", "unlink", "rmdir", "mkdir", "ftruncate",
    "posix_fallocate",
)  # fmt: skip
ADDRESSES = {names.ServerName(f"c{at}"): f"127.0.81.{at}" for at in (1, 2, 3)}
MARKS = 20
KILLED = 9


class Place:
    """Two servers, c1 with a store of one member, c2 enrolled; and the file that goes from one to the other."""

    def __init__(self, base: pathlib.Path) -> None:
        self.base = base
        self.file = base / "members.file"

    def ground(self, name: str) -> handover.Ground:
        return handover.Ground(settings.Layout(self.base / name), clock.SystemClock(), clock.SystemRandom())

    def make(self) -> None:
        first = initialise.First(
            name="c1",
            address=ADDRESSES[names.ServerName("c1")],
            site="s",
            master_domain="acme",
            fqdn="acme.example",
        )
        at = self.ground("c1")
        document = initialise.basic_document(first)
        made = initialise.initialise(at.layout, first, document, at.clock, at.random)
        held = authority.Authority.load(disk.DirectoryDisk(at.layout.root))
        anyio.run(self._plant, at, made, held)

    async def _plant(self, at: handover.Ground, made: initialise.Made, held: authority.Authority) -> None:
        here = home.at(at.layout, at.clock)
        data = here.root.read(seed.FILE)
        assert data is not None
        first = seed.decode(data)
        puts = [
            commands.put(keys.TRUST, first.trust),
            commands.put(keys.admission(made.server_id), first.admission),
        ]
        for number, name in enumerate(("c2", "c3"), 2):
            identity = authority.enrolled(held, names.ServerId(name), at.clock.wall())
            admission = objects.Admission(
                1, number, names.ServerId(name), identity.key_digest, objects.AdmissionState.PARKED,
                names.ServerName(name), names.SiteName(""), (),
            )  # fmt: skip
            raw = held.signer().sign(objects.Kind.ADMISSION, objects.encode(admission))
            puts.append(commands.put(keys.admission(names.ServerId(name)), raw))
            root = disk.DirectoryDisk(self.base / name)
            root.write(authority.TRUST_FILE, first.trust)
            root.write(authority.ADMISSION_FILE, raw)
            root.write(authority.JOINED_FILE, b"[]")
            identity.save(root)
        puts += [commands.put(b"/mark/%d" % number, b"%d" % number) for number in range(MARKS)]
        async with await mic_store.open_store(at.layout.store, here, at.clock, at.random) as store:
            await store.commit(commands.Txn(success=tuple(puts)))

    def members(self) -> None:
        list(handover.hand_over(self.ground("c1"), ADDRESSES, self.file))

    def join(self) -> None:
        list(handover.join(self.ground("c2"), handover.decode(self.file.read_bytes())))

    # --- looking ----------------------------------------------------------------------------------------------------

    def standing(self, name: str) -> str:
        """Of one server: `old`, `ended`, `between` or `new`; asserts that it is one of them."""
        layout = self.ground(name).layout
        following = mic_store.next_to(layout.store)
        whole = following.exists() and self._identity(following) is not None
        found = self._identity(layout.store) if layout.store.exists() else None
        if found is None:
            assert whole or name == "c2", "no group at all"
            return "between" if whole else "old"
        if len(found.members) == 3:
            return "new"
        with store_files.held(layout.store) as held:
            sealed = store_files.read(held, found.cluster).state.sealed
        assert sealed or not whole, "two groups: the old one has not ended"
        return "ended" if sealed else "old"

    def check_new(self, name: str) -> None:
        """Everything of the old group is in the new one, of whom the file speaks."""
        layout = self.ground(name).layout
        with store_files.held(layout.store) as held:
            found = journal.identity(held)
            assert found is not None
            image = store_files.read(held, found.cluster)
        assert found.members == handover.decode(self.file.read_bytes()).members, (
            "the file names another group"
        )
        seats = {(one.server, one.address) for one in membership.seats(found.members)}
        assert {address for _server, address in seats} == set(ADDRESSES.values())
        marks = {item.key: item.value for item in image.items if item.key.startswith(b"/mark/")}
        assert marks == {b"/mark/%d" % number: b"%d" % number for number in range(MARKS)}, "keys are gone"
        assert not image.state.sealed

    def _identity(self, directory: pathlib.Path) -> journal.Identity | None:
        with store_files.held(directory) as held:
            return journal.identity(held)


class Counting:
    """Acts of this process, the last of which it does not do."""

    def __init__(self, stop_at: int) -> None:
        self.count = 0
        self._stop_at = stop_at
        for name in ACTS:
            setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*words: Any, **options: Any) -> Any:
            self.count += 1
            if self.count == self._stop_at:
                os._exit(KILLED)
            return act(*words, **options)

        return counted


def apart(act: Callable[[], int]) -> int:
    """The act in a process of its own; its exit status, 1 where it raised."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        os._exit(act())
    except BaseException:  # noqa: BLE001 whatever it was, it is shown and counts as wrong
        traceback.print_exc()
        os._exit(1)


def _acted(place: Place, what: str, stop_at: int) -> int:
    counting = Counting(stop_at)
    getattr(place, what)()
    (place.base.parent / "points").write_text(str(counting.count))
    return 0


def _looked(place: Place, name: str) -> int:
    place.standing(name)
    return 0


def _again(place: Place, what: str, name: str) -> int:
    """Said again, it is done; what was carried before stays true."""
    before = handover.decode(place.file.read_bytes()).members if place.file.exists() else None
    getattr(place, what)()
    place.check_new(name)
    after = handover.decode(place.file.read_bytes()).members
    assert before in (None, after), "a file that may have been carried away names another group"
    return 0


def main(words: Sequence[str]) -> None:
    base, what, first, step = pathlib.Path(words[0]), words[1], int(words[2]), int(words[3])
    name = "c1" if what == "members" else "c2"
    made = Place(base / "made")
    assert apart(lambda: _none(made.make)) == 0
    if what == "join":
        assert apart(lambda: _none(made.members)) == 0

    def tried(stop_at: int) -> tuple[Place, int]:
        shutil.rmtree(base / "tried", ignore_errors=True)
        shutil.copytree(base / "made", base / "tried")
        place = Place(base / "tried")
        return place, apart(lambda: _acted(place, what, stop_at))

    assert tried(0)[1] == 0
    points = int((base / "points").read_text())
    print(f"points {points}")
    done = 0
    for stop_at in range(first, points + 1, step):
        place, status = tried(stop_at)
        steps = (lambda: _looked(place, name), lambda: _again(place, what, name))  # noqa: B023 run at once
        if status != KILLED or any(apart(one) for one in steps):
            print(f"violation at act {stop_at}: exit {status}")
        done += 1
    print(f"done {done}")


def _none(act: Callable[[], None]) -> int:
    act()
    return 0


if __name__ == "__main__":
    main(sys.argv[1:])
