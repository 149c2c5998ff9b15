"""One further member of our store as a process of its own: `python -m bench.store.member BASE NAME`, until it is ended."""

import asyncio
import pathlib
import sys

from bench.store import ours


async def main(base: pathlib.Path, name: str) -> None:
    await ours.opened(base, name)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(pathlib.Path(sys.argv[1]), sys.argv[2]))
