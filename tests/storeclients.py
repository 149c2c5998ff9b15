"""Clients of a group of members that are processes: they write, read and swap through whichever member answers.

Every write carries a request id. A write whose outcome is unknown (its member was killed, froze, lost its majority) is sent
again under the same id, to whoever answers, until somebody knows: so every write ends up done or not done, and what was
acknowledged can be counted.
"""

import asyncio  # noqa: TID251 the bench's links are asyncio's
import contextlib
import itertools
import pathlib
import random
import time
from collections.abc import Sequence

import msgspec

from bench.store import service
from coordinator import errors
from coordinator.store import commands
from tests import storehistory as history

KEYS = tuple(b"/r/%d" % number for number in range(5))
MARKS = b"/n/"
ANSWER_S = (
    1.5  # shorter than what a member takes to say that it does not know: both ways of not knowing are met
)
PAUSE_S = 0.02
_TROUBLE = (OSError, TimeoutError, errors.TiercastError)


class Counts(msgspec.Struct):
    """What all clients did."""

    acknowledged: set[bytes]
    """Marks of writes that were answered as done: each must be there at the end."""
    refused: set[bytes]
    """Marks of writes of which it was said that nothing was done: none may be there."""
    attempts: int = 0
    doubts: int = 0
    """Attempts that ended without an outcome."""
    resolved: int = 0
    """Writes that were in doubt, until their request id told."""
    acks: list[tuple[float, float]] = []
    """Start and end of each acknowledged write."""


class Client:
    """One of them; one operation at a time."""

    def __init__(self, base: pathlib.Path, number: int, members: Sequence[str], seed: int) -> None:
        self._base = base
        self._number = number
        self._source = random.Random(seed * 1000 + number)
        turn = number % len(members)
        self._members = itertools.cycle((*members[turn:], *members[:turn]))
        self._link: service.Remote | None = None
        self._session = 0
        self._request = 0
        self._writes = 0
        self.operations: list[history.Operation] = []
        self.stopping = False

    async def run(self, counts: Counts, pause_s: float = 0.0) -> None:
        """Until `stopping`, and until the last outcome is known."""
        try:
            self._session = await self._opened()
            while not self.stopping:
                await self._operate(counts)
                await asyncio.sleep(self._source.uniform(0, 2 * pause_s))
        finally:
            await self._drop()

    async def read_all(self) -> list[history.Operation]:
        """Every key once, which must succeed; the last word of a history."""
        for key in KEYS:
            while not await self._read(key):  # noqa: ASYNC110 a member that recovers tells nobody
                await asyncio.sleep(PAUSE_S)
        await self._drop()
        return self.operations

    async def _operate(self, counts: Counts) -> None:
        key, choice = self._source.choice(KEYS), self._source.random()
        if choice < 0.45:
            await self._read(key)
            return
        self._writes += 1
        value = b"%d.%d" % (self._number, self._writes)
        keys: tuple[bytes, ...] = (key,)
        expected: bytes | None = None
        if choice < 0.65:
            seen = [one for one in self.operations[-8:] if one.key == key and one.value is not None]
            expected = seen[-1].value if seen else b"none"
        elif choice < 0.75:
            keys = tuple(self._source.sample(KEYS, 2))
        await self._write(keys, value, expected, counts)

    async def _read(self, key: bytes) -> bool:
        start = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_S):
                item = await (await self._linked()).get(key)
        except _TROUBLE:
            await self._turn()
            return False
        seen = (None, 0) if item is None else (item.value, item.mod_revision)
        self.operations.append(
            history.Operation(history.Kind.GET, key, start, time.monotonic(), seen[0], revision=seen[1])
        )
        return True

    async def _write(
        self, keys: tuple[bytes, ...], value: bytes, expected: bytes | None, counts: Counts
    ) -> None:
        """One transaction: the value on all keys, and a mark that says that it was done."""
        self._request += 1
        request = commands.RequestId(self._session, self._request, self._request)
        puts = (*(commands.put(key, value) for key in keys), commands.put(MARKS + value, b""))
        when = () if expected is None else (commands.compare_value(keys[0], expected),)
        reads = () if expected is None else (commands.read(keys[0]),)
        start = time.monotonic()
        reply = await self._resolved(commands.Txn(when, puts, reads, request), counts)
        end = history.NEVER if reply is None else time.monotonic()
        if reply is _NOTHING:
            counts.refused.add(value)
            return
        if reply is not None and reply.succeeded:
            counts.acknowledged.add(value)
            counts.acks.append((start, end))
        kind = history.Kind.PUT if expected is None else history.Kind.SWAP
        done = None if reply is None else reply.succeeded
        revision = 0 if reply is None else reply.revision
        self.operations += [
            history.Operation(kind, key, start, end, value, expected, done, revision) for key in keys
        ]
        for item in () if reply is None else reply.items:
            self.operations.append(
                history.Operation(
                    history.Kind.GET, item.key, start, end, item.value, revision=item.mod_revision
                )
            )

    async def _resolved(self, txn: commands.Txn, counts: Counts) -> service.Reply | None:
        """What became of it; `_NOTHING` where the first word was that nothing was done, None where nobody knows."""
        doubtful = False
        while True:
            counts.attempts += 1
            try:
                async with asyncio.timeout(ANSWER_S):
                    reply = await (await self._linked()).commit(txn)
            except (errors.NoQuorumError, errors.NoSpaceError, ConnectionRefusedError, FileNotFoundError):
                await self._turn()  # nothing was done by this attempt
                if not doubtful:
                    return _NOTHING
            except _TROUBLE:
                doubtful = True
                counts.doubts += 1
                await self._turn()
            else:
                counts.resolved += doubtful
                return reply

    async def _opened(self) -> int:
        while True:
            try:
                async with asyncio.timeout(ANSWER_S):
                    return await (await self._linked()).open_session()
            except _TROUBLE:
                await self._turn()

    async def _linked(self) -> service.Remote:
        if self._link is None or self._link.closed:
            self._link = await service.dial(self._base, next(self._members))
        return self._link

    async def _turn(self) -> None:
        """To the next member."""
        await self._drop()
        await asyncio.sleep(PAUSE_S)

    async def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            with contextlib.suppress(OSError):
                await link.close()


_NOTHING = service.Reply(-1)
