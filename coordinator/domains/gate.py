"""Where passwords are hashed and compared: in worker threads, few at once, and only so many may wait.

Law: a flood of logins takes `limits.PASSWORDS_AT_ONCE` times the memory of one and no more; who finds the queue full is
told to come back.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import anyio
import anyio.to_thread

from coordinator import effects, errors, limits
from coordinator.domains import tries
from coordinator.trust import passwords

_Result = TypeVar("_Result")


class CrowdedError(errors.TiercastError):
    """Too many at once, or too often; the same may succeed later."""

    code = "busy"


class Gate:
    """See the module; `tries` says who may try again already."""

    def __init__(self, cost: passwords.Cost, random: effects.Random) -> None:
        self.tries = tries.Tries()
        self._cost = cost
        self._random = random
        self._threads = anyio.CapacityLimiter(limits.PASSWORDS_AT_ONCE)
        self._inside = 0

    async def hashed(self, password: bytes) -> str:
        """Raises `CrowdedError`."""
        return await self._run(lambda: passwords.hashed(password, self._cost, self._random))

    async def matches(self, password: str, stored: str) -> bool:
        """Raises `CrowdedError`."""
        return await self._run(lambda: passwords.matches(password, stored, self._cost))

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        with self._place():
            return await anyio.to_thread.run_sync(work, limiter=self._threads)

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        if self._inside >= limits.PASSWORDS_WAITING:
            raise CrowdedError("too many are logging in at once", hint="try again shortly")
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
