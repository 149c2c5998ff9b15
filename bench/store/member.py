"""One member of our store as a process of its own: `python -m bench.store.member BASE NAME`, until it is ended."""

import asyncio
import pathlib
import sys
from collections.abc import Callable, Sequence

from bench.store import counting, ours, service
from coordinator.host import loop


async def main(base: pathlib.Path, name: str, broken: Callable[[str, float], None] | None = None) -> None:
    store = await ours.opened(base, name)
    await service.Service(store, counting.syncs, broken).serve(service.path(base, name))


def run(words: Sequence[str], broken: Callable[[str, float], None] | None = None) -> None:
    """On the loop that the product runs on."""
    loop.tune()
    with asyncio.Runner(loop_factory=loop.factory()) as runner:
        runner.run(main(pathlib.Path(words[0]), words[1], broken))


if __name__ == "__main__":
    counting.begin()
    run(sys.argv[1:])
