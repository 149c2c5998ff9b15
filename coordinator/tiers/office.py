"""MIC's office: its term, its lease, and the only way by which MIC writes to the store.

Taking office raises the term in one transaction; the term is compared inside EVERY later one (I7), so that a deposed MIC
changes nothing and learns that it is deposed. The lease says who is active, so that the others leave the office alone:
it is renewed every second, and acted upon only within two thirds of its time to live by the own monotonic clock, so that
whoever holds it has stopped before anybody else can have it. With one member nobody else can open the store, so being late
costs nothing.
Law: `commit` returns only what is in the store for ever; what it could not learn is `UnknownOutcomeError`, after which
this office writes no more (whoever follows reads the store anew).
"""

import math
from collections.abc import Sequence

import anyio
import msgspec

from coordinator import effects, errors, limits, names
from coordinator.store import commands, port
from coordinator.tiers import entries, keys

TRIES = 20
RETRY_S = 0.25  # with the tries: longer than an election
RENEW_S = 1.0
ACTS_S = limits.LEASE_TTL_S * 2 / 3
NONCE_BYTES = 8


class DeposedError(errors.NoCoordinatorError):
    """Somebody else has taken the office, or may have."""


class HeldError(errors.ConflictError):
    """Another MIC is active."""


async def holder(store: port.Store, server: names.ServerId) -> names.ServerId | None:
    """Who else is active now; None where the office may be taken. Raises `NoQuorumError`.

    A lease of this very server is nobody's: whoever held it had this server's own store open, which is ours now.
    """
    item = await store.get(keys.LEASE)
    if item is None:
        return None
    held = entries.TERM.decode(item.value).server
    return None if held == server else held


class Means(msgspec.Struct, frozen=True):
    """What an office is given of its process."""

    server: names.ServerId
    clock: effects.Clock
    random: effects.Random


class Office:
    """One term of one MIC; made by `take`."""

    def __init__(self, store: port.Store, clock: effects.Clock, entry: entries.Term, session: int) -> None:
        self.term = entry.term
        self.over = False
        """Nothing may be written under this term any more, or it is not known whether something was."""
        self._store = store
        self._clock = clock
        self._value = entries.encode(entry)
        self._session = session
        self._number = 0
        self._turn = anyio.Lock()
        self._lease = 0
        self._until = 0.0
        self._alone = True

    @classmethod
    async def take(cls, store: port.Store, means: Means) -> "Office":
        """Raise the term and hold the lease.

        Raises `HeldError` where another MIC is active, `ConflictError` where others raise the term all the time, and what
        the store raises.
        """
        for _ in range(TRIES):
            other = await holder(store, means.server)
            if other is not None:
                raise HeldError(f"another MIC is active (server {other})")
            item, leased = await store.get(keys.TERM), await store.get(keys.LEASE)
            term = 1 if item is None else entries.TERM.decode(item.value).term + 1
            entry = entries.Term(term, means.server, means.random.token(NONCE_BYTES))
            value, begun = entries.encode(entry), means.clock.monotonic()
            lease = await store.grant(limits.LEASE_TTL_S)
            guards = (_unmoved(keys.TERM, item), _unmoved(keys.LEASE, leased))
            puts = (commands.put(keys.TERM, value), commands.put(keys.LEASE, value, lease=lease))
            if await _taken(store, commands.Txn(guards, puts), value):
                made = cls(store, means.clock, entry, await store.open_session())
                await made._hold(lease, begun)
                return made
        raise errors.ConflictError("the term of office is raised by others all the time")

    async def _hold(self, lease: int, begun: float) -> None:
        self._lease, self._until = lease, begun + ACTS_S
        status = await self._store.status()
        self._alone = len(status.members) == 1 and not status.shared

    @property
    def guard(self) -> commands.Compare:
        """True as long as the term is ours; belongs into every transaction of this MIC (I7)."""
        return commands.compare_value(keys.TERM, self._value)

    # --- the lease ------------------------------------------------------------------------------------------------

    @property
    def left_s(self) -> float:
        """How long it may still be acted upon without another renewal."""
        if self.over:
            return 0.0
        return math.inf if self._alone else max(0.0, self._until - self._clock.monotonic())

    async def renew(self) -> None:
        """Raises `DeposedError` where the lease has ended, and what the store raises."""
        begun = self._clock.monotonic()
        try:
            await self._store.keep_alive(self._lease)
        except errors.NotFoundError:
            await self._lease_anew()
        self._until = begun + ACTS_S

    async def _lease_anew(self) -> None:
        """Alone, a lease that ended while this process stood still was nobody else's meanwhile."""
        if not self._alone:
            self.over = True
            raise DeposedError("the lease of this MIC has ended")
        lease = await self._store.grant(limits.LEASE_TTL_S)
        await self.commit((commands.put(keys.LEASE, self._value, lease=lease),))
        self._lease = lease

    async def release(self) -> None:
        """Let the next one have it at once. Raises what the store raises."""
        self.over = True
        await self._store.revoke(self._lease)

    # --- writing --------------------------------------------------------------------------------------------------

    async def commit(
        self, operations: Sequence[commands.Operation], compare: Sequence[commands.Compare] = ()
    ) -> int:
        """Do it if the term is still ours and `compare` holds; the store's revision after it.

        Raises `DeposedError`, `ConflictError` (a compare failed, nothing was done), `UnknownOutcomeError`, and what the
        store raises where nothing was done.
        """
        async with self._turn:
            if not self.left_s:
                self.over = True
                raise DeposedError("this MIC has lost its office", hint="ask again: another one answers")
            self._number += 1
            request = commands.RequestId(self._session, self._number, self._number)
            txn = commands.Txn((self.guard, *compare), tuple(operations), (), request)
            result = await self._outcome(txn)
            if not result.succeeded:
                await self._why()
            return result.revision

    async def _outcome(self, txn: commands.Txn) -> port.TxnResult:
        """Repeated under the same request id until it is known; it is applied once all the same.

        After a first doubt no error says that nothing was done: it tells of the repetition alone.
        """
        doubtful = False
        for tried in range(TRIES):
            try:
                return await self._store.commit(txn)
            except errors.UnknownOutcomeError:
                doubtful = True
            except errors.TiercastError:
                if not doubtful:
                    raise
            if not self.left_s:
                break
            await anyio.sleep(
                RETRY_S * min(tried, 1)
            )  # at once the first time: most often an answer was lost
        self.over = True
        raise errors.UnknownOutcomeError(
            "the store did not say whether it was done",
            hint="look with `tiercast history` before trying again",
        )

    async def _why(self) -> None:
        """A compare failed: the term's, or the caller's."""
        item = await self._store.get(keys.TERM)
        if item is None or item.value != self._value:
            self.over = True
            raise DeposedError("another MIC has taken office", hint="ask again: the other one answers")
        raise errors.ConflictError("the base has moved meanwhile", hint="plan again and apply that")


def _unmoved(key: bytes, item: port.KeyValue | None) -> commands.Compare:
    return commands.compare_mod(key, 0 if item is None else item.mod_revision)


async def _taken(store: port.Store, txn: commands.Txn, value: bytes) -> bool:
    try:
        return (await store.commit(txn)).succeeded
    except errors.UnknownOutcomeError:
        found = await store.get(keys.TERM)
        return found is not None and found.value == value
