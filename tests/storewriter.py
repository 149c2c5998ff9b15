"""Writes to a store and prints each number once it was acknowledged; ends by being killed.

`python -m tests.storewriter DIRECTORY`. Many tasks write at once, and snapshots come often, so that whoever ends it
hits every phase of append, sync, roll, snapshot and compaction.
"""

import asyncio  # noqa: TID251 the backends are asyncio's
import pathlib
import random
import sys
import time

from coordinator import names
from coordinator.store import commands
from coordinator.store.backends import raft
from coordinator.store.backends.raft import member
from tests import storedisk

CLUSTER = names.ClusterId("c1")
TASKS = 8


class RealClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return 0.0


async def opened(directory: pathlib.Path, *, create: bool) -> raft.RaftStore:
    return await raft.open_store(
        directory,
        cluster=CLUSTER,
        clock=RealClock(),
        random=storedisk.SeededRandom(time.monotonic_ns()),
        create=create,
    )


def key(number: int) -> bytes:
    return b"/n/%08d" % number


def value(number: int) -> bytes:
    return random.Random(number).randbytes(number * 37 % 3000)


async def missing(directory: pathlib.Path, acknowledged: list[int]) -> list[int]:
    """Those of the acknowledged numbers that the store does not hold as they were written."""
    async with await opened(directory, create=True) as store:
        held = {item.key: item.value for item in (await store.scan(b"/n/")).items}
        report = await store.check()
        assert report.findings == ()
    return [number for number in acknowledged if held.get(key(number)) != value(number)]


async def _write(store: raft.RaftStore, first: int) -> None:
    number = first
    while True:
        await store.commit(commands.Txn(success=(commands.put(key(number), value(number)),)))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        number += TASKS


async def main() -> None:
    member.SNAPSHOT_ENTRIES = 150  # so that a second of writing sees several
    member.KEEP_ENTRIES = 10
    store = await opened(pathlib.Path(sys.argv[1]), create=True)
    start = int(sys.argv[2])
    await asyncio.gather(*(_write(store, start + at) for at in range(TASKS)))


if __name__ == "__main__":
    asyncio.run(main())
