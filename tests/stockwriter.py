"""As `storewriter`, over stock pysyncobj: writes, prints each number once it was acknowledged, ends by being killed.

`python -m tests.stockwriter DIRECTORY START`. It compacts so often that nearly every kill falls into a dump.
`python -m tests.stockwriter DIRECTORY held` prints the numbers that are there as they were written.
"""

import asyncio  # noqa: TID251 the backends are asyncio's
import pathlib
import subprocess
import sys

from coordinator.store import commands
from tests import stockstore, storewriter

COMPACT_ENTRIES = 20


HELD, SHUT = "held", 3
HANGS_S = 60.0


async def missing(directory: pathlib.Path, acknowledged: list[int]) -> list[int]:
    """Those of the acknowledged numbers that the store does not hold as they were written; all where it does not open.

    Looked at by a process of its own: over what a power cut left, the library may go round and round for ever.
    """
    argv = [sys.executable, "-m", "tests.stockwriter", str(directory), HELD]
    try:
        looked = await asyncio.to_thread(
            subprocess.run, argv, stdout=subprocess.PIPE, timeout=HANGS_S, check=False
        )
    except subprocess.TimeoutExpired:
        return acknowledged
    assert looked.returncode in {0, SHUT}
    found = set(map(int, looked.stdout.split()))
    return [at for at in acknowledged if at not in found]


async def held(directory: pathlib.Path) -> int:
    """The exit status."""
    try:
        store = await stockstore.open_store(directory)
    except AssertionError:
        return SHUT
    async with store:
        for item in (await store.scan(b"/n/")).items:
            number = int(item.key.rpartition(b"/")[2])
            if (item.key, item.value) == (storewriter.key(number), storewriter.value(number)):
                sys.stdout.write(f"{number}\n")
    return 0


async def write(store: stockstore.StockStore, first: int) -> None:
    number = first
    while True:
        put = commands.put(storewriter.key(number), storewriter.value(number))
        await store.commit(commands.Txn(success=(put,)))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
        number += storewriter.TASKS


async def main() -> None:
    directory, start = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    store = await stockstore.open_store(directory, useFork=True, logCompactionMinEntries=COMPACT_ENTRIES)
    await asyncio.gather(*(write(store, start + at) for at in range(storewriter.TASKS)))


if __name__ == "__main__":
    sys.exit(asyncio.run(held(pathlib.Path(sys.argv[1])) if sys.argv[2] == HELD else main()))
