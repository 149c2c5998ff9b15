"""The near end of links under test: it remembers what happens to them, and ends what a test left."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import ClassVar

from coordinator.hop import link
from coordinator.propagation import messages

WAIT_S = 60.0


class Recorder:
    """Remembers what happens to links; `until` waits for it."""

    made: ClassVar[list["Recorder"]] = []

    def __init__(self) -> None:
        self.made.append(self)
        self.links: list[link.Link] = []
        self.frames: list[messages.AnyFrame] = []
        self.reasons: list[str] = []
        self.echo = False
        self._changed = asyncio.Event()

    def opened(self, one: link.Link) -> None:
        self.links.append(one)
        self._changed.set()

    def received(self, one: link.Link, frame: messages.AnyFrame) -> None:
        self.frames.append(frame)
        if self.echo:
            one.send(frame)
        self._changed.set()

    def closed(self, one: link.Link, reason: str) -> None:
        self.reasons.append(reason)
        self._changed.set()

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not holds():
                self._changed.clear()
                await self._changed.wait()


async def eventually(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not holds():
            await asyncio.sleep(0.005)


async def tidied(main: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run `main`, then end every link it left: a peer that has stopped reading does not see the other end go."""
    try:
        await main()
    finally:
        for recorder in Recorder.made:
            for one in recorder.links:
                one.drop("test ends")
                await one.lost()
        Recorder.made.clear()
        for _turn in range(3):  # uvloop frees a closed handle a turn later
            await asyncio.sleep(0)
