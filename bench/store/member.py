"""One member of our store as a process of its own: `python -m bench.store.member BASE NAME`, until it is ended."""

import asyncio
import pathlib
import sys
from collections.abc import Callable

from bench.store import counting, ours, service


async def main(base: pathlib.Path, name: str, broken: Callable[[str, float], None] | None = None) -> None:
    store = await ours.opened(base, name)
    await service.Service(store, counting.syncs, broken).serve(service.path(base, name))


if __name__ == "__main__":
    counting.begin()
    asyncio.run(main(pathlib.Path(sys.argv[1]), sys.argv[2]))
