"""Questions that a tier asks MIC by itself, over the link of its own machine: a number each, and who waits for its answer.

Law: every question ends, for the machine ends every ask (`propagation.asks`); an answer nobody waits for is dropped.
"""

import asyncio
from collections.abc import Callable

Send = Callable[[int, str, bytes], None]
"""Have the machine ask: number, verb, data. Its `Answered` of that number goes to `answered`."""


class Upward:
    """Of one tier. To be used inside one running event loop."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._numbers = 0
        self._waiting: dict[int, asyncio.Future[tuple[str, bytes]]] = {}

    async def ask(self, verb: str, data: bytes) -> tuple[str, bytes]:
        """(code, data) of MIC's answer, or of whoever could not reach it; the code is empty if it is good."""
        self._numbers += 1
        number = self._numbers
        answer: asyncio.Future[tuple[str, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._send(number, verb, data)
            return await answer
        finally:
            del self._waiting[number]

    def answered(self, number: int, code: str, data: bytes) -> None:
        """The machine's `Answered`."""
        answer = self._waiting.get(number)
        if answer is not None and not answer.done():
            answer.set_result((code, data))
