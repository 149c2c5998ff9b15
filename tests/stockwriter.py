"""As `storewriter`, over stock pysyncobj: writes, prints each number once it was acknowledged, ends by being killed.

`python -m tests.stockwriter DIRECTORY START`. It compacts so often that nearly every kill falls into a dump.
"""

import asyncio  # noqa: TID251 the backends are asyncio's
import pathlib
import sys

from coordinator.store import commands
from tests import stockstore, storewriter

COMPACT_ENTRIES = 20


async def missing(directory: pathlib.Path, acknowledged: list[int]) -> list[int]:
    """Those of the acknowledged numbers that the store does not hold as they were written."""
    async with await stockstore.open_store(directory) as store:
        held = {item.key: item.value for item in (await store.scan(b"/n/")).items}
    return [at for at in acknowledged if held.get(storewriter.key(at)) != storewriter.value(at)]


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
    asyncio.run(main())
