"""Users' transactions on the store, under this MIC's term, behind the configuration's own writes.

Laws: the term is compared inside every transaction and every command on a lease (I7); a branch that writes is never taken because the term is lost;
the same request id is done once; whoever is answered finds it in the store, whoever cannot be told is told so.
"""

import hashlib
from collections import deque
from collections.abc import Awaitable, Sequence
from typing import TypeVar

import anyio
import msgspec

from coordinator import effects, errors, limits
from coordinator.store import commands, mvcc, port
from coordinator.tiers import keys, kv_usage, office, rates

T = TypeVar("T")

TRIES = 8  # of a transaction whose keys others keep changing
MARKER_TTL_S = 900.0  # a request may be repeated within a third less
MARKER_RENEWED_S = 300.0
YIELD_S = 1.0  # the longest that a change of the configuration is waited for; then both go on


class BusyError(errors.TiercastError):
    """Too much at once; the same may succeed shortly."""

    code = "busy"


class Branches(msgspec.Struct, frozen=True):
    """A transaction as a user means it, in full keys."""

    compare: tuple[commands.Compare, ...] = ()
    success: tuple[commands.Operation, ...] = ()
    failure: tuple[commands.Operation, ...] = ()


class Keyspace:
    """What the verbs of `kv` write through; one per term of office."""

    def __init__(
        self, store: port.Store, held: office.Office, clock: effects.Clock, turn: anyio.Lock
    ) -> None:
        self.store = store
        self.usage = kv_usage.Usage(store)
        self.rates = rates.Rates(limits.KV_REQUESTS_PER_S, limits.KV_REQUESTS_BURST)
        self._office = held
        self._clock = clock
        self._turn = turn
        self._slots = anyio.CapacityLimiter(limits.KV_WRITES_UNDER_WAY)
        self._session = 0
        self._number = 0
        self._under_way: set[int] = set()
        self._marker_lease = 0
        self._marker_made = 0.0
        self._remembered: deque[tuple[float, int]] = deque()
        """When a lease of markers was made, and how many stand under it."""
        self.renewed: dict[int, float] = {}
        """Monotonic second of the last renewal of a lease."""

    async def commit(self, asked: Branches, request: str = "") -> port.TxnResult:
        """Do it, once per `request`.

        Raises `ConflictError` (its keys never keep still), `ReusedKeyError`, `DeposedError`, `NoSpaceError`,
        `UnknownOutcomeError`, and what the store raises where nothing was done.
        """
        async with self._slots:
            with anyio.move_on_after(YIELD_S):
                while self._turn.locked():  # noqa: ASYNC110 the lock tells nobody that it is free
                    await anyio.sleep(0.002)
            puts = {
                one.key: len(one.value)
                for one in (*asked.success, *asked.failure)
                if isinstance(one, commands.Put) and one.key.startswith(keys.KV)
            }
            async with self.usage.room(puts) as held:
                result = await self._done(asked, await self._marker(asked, request))
                held.revision = result.revision if puts else 0
            return result

    # --- leases -----------------------------------------------------------------------------------------------------

    async def grant(self, ttl_s: float) -> int:
        """Under the term, as what follows. Raises `DeposedError`, what the store raises."""
        return await self._bound(self.store.grant(ttl_s, (self._office.guard,)))

    async def keep_alive(self, lease: int) -> None:
        """Raises `NotFoundError`, `DeposedError`, what the store raises."""
        await self._bound(self.store.keep_alive(lease, (self._office.guard,)))

    async def revoke(self, lease: int) -> None:
        """Raises `NotFoundError`, `DeposedError`, what the store raises."""
        await self._bound(self.store.revoke(lease, (self._office.guard,)))

    async def _bound(self, act: Awaitable[T]) -> T:
        try:
            return await act
        except errors.ConflictError as wrong:
            raise office.DeposedError(
                "another MIC has taken office", hint="ask again: the other one answers"
            ) from wrong

    # --- transactions -----------------------------------------------------------------------------------------------

    async def _done(self, asked: Branches, marker: "_Marker | None") -> port.TxnResult:
        """First as if the conditions held; where they do not, the other branch under what they were found to be."""
        for _ in range(TRIES):
            result, found = await self._first(asked, marker)
            if result is not None:
                return result
            still = (
                commands.compare_mod(key, 0 if item is None else item.mod_revision)
                for key, item in found.items()
            )
            other = await self._once(
                (*_unmade(marker), *still), _marked(asked.failure, marker, b"0"), (commands.read(keys.TERM),)
            )
            if other.succeeded:
                return port.TxnResult(False, other.revision, _own(other, asked.failure), other.repeated)
            if not other.repeated:
                self._check_term(other.responses[0])
        raise errors.ConflictError(
            "the keys of this transaction keep changing", hint="nothing was done; try again"
        )

    async def _first(
        self, asked: Branches, marker: "_Marker | None"
    ) -> tuple[port.TxnResult | None, dict[bytes, port.KeyValue | None]]:
        """The outcome, or None with the compared keys as they were found."""
        compared = tuple(dict.fromkeys(one.key for one in asked.compare))
        reads = (commands.read(keys.TERM), *map(commands.read, (marker.key,) if marker else ()))
        plain = (
            not any(isinstance(one, commands.Put | commands.Delete) for one in asked.failure) and not marker
        )
        after = asked.failure if plain else tuple(map(commands.read, compared))
        conditions = (*_unmade(marker), *asked.compare)
        result = await self._once(conditions, _marked(asked.success, marker, b"1"), (*reads, *after))
        if result.succeeded:
            return msgspec.structs.replace(result, responses=_own(result, asked.success)), {}
        if result.repeated:  # nothing was written, and what was read is not kept
            return await self._first(asked, marker)
        self._check_term(result.responses[0])
        if marker is not None and (known := _item(result.responses[1])) is not None:
            return marker.told(known), {}
        if plain:
            return msgspec.structs.replace(result, responses=result.responses[len(reads) :]), {}
        found = dict(zip(compared, map(_item, result.responses[len(reads) :]), strict=True))
        assert not all(mvcc.holds(found[one.key], one) for one in asked.compare), (
            "or the branch would have been taken"
        )
        return None, found

    async def _once(
        self,
        compare: Sequence[commands.Compare],
        success: Sequence[commands.Operation],
        failure: Sequence[commands.Operation],
    ) -> port.TxnResult:
        """Repeated under the same request id until its outcome is known."""
        if not self._session:
            self._session = await self.store.open_session()
        self._number += 1
        number, session = self._number, self._session
        self._under_way.add(number)
        try:
            for tried in range(office.TRIES):
                if not self._office.left_s:
                    raise self._lost(doubtful=tried > 0)
                request = commands.RequestId(session, number, min(self._under_way))
                txn = commands.Txn((self._office.guard, *compare), tuple(success), tuple(failure), request)
                try:
                    return await self.store.commit(txn)
                except errors.UnknownOutcomeError:
                    await anyio.sleep(office.RETRY_S * min(tried, 1))
                except errors.TiercastError:
                    if not tried:
                        raise
                    await anyio.sleep(office.RETRY_S)
            raise self._lost(doubtful=True)
        finally:
            self._under_way.discard(number)

    def _lost(self, *, doubtful: bool) -> errors.TiercastError:
        self._session = 0  # whatever this one has forgotten, the next one begins anew
        if doubtful:
            return errors.UnknownOutcomeError(
                "the store did not say whether it was done",
                hint="read the keys, or repeat it with the same key",
            )
        return office.DeposedError("this MIC has lost its office", hint="ask again: another one answers")

    def _check_term(self, response: port.Response) -> None:
        item = _item(response)
        if item is None or item.value != self._office.guard.operand:
            raise office.DeposedError("another MIC has taken office", hint="ask again: the other one answers")

    # --- requests that may be repeated ------------------------------------------------------------------------------

    async def _marker(self, asked: Branches, request: str) -> "_Marker | None":
        if not request:
            return None
        now = self._clock.monotonic()
        if not self._marker_lease or now - self._marker_made > MARKER_RENEWED_S:
            self._marker_lease, self._marker_made = await self.grant(MARKER_TTL_S), now
            self._remembered.append((now, 0))
        while now - self._remembered[0][0] > MARKER_TTL_S:
            self._remembered.popleft()
        if sum(count for _made, count in self._remembered) >= limits.KV_REPEATABLE:
            raise BusyError(
                f"too many requests that may be repeated (have {limits.KV_REPEATABLE} in {MARKER_TTL_S / 60:.0f} minutes)",
                hint="send them without an Idempotency-Key, or several operations in one transaction",
            )
        made, count = self._remembered.pop()
        self._remembered.append((made, count + 1))
        digest = hashlib.sha256(
            commands.encode(commands.Txn(asked.compare, asked.success, asked.failure))
        ).digest()
        return _Marker(
            keys.kv_request(hashlib.sha256(request.encode()).hexdigest()), digest, self._marker_lease
        )


class _Marker(msgspec.Struct, frozen=True):
    """Stands in the store beside what a repeatable request did."""

    key: bytes
    digest: bytes
    """Of all that it asked for."""
    lease: int

    def told(self, item: port.KeyValue) -> port.TxnResult:
        """What came of it the first time. Raises `ReusedKeyError`."""
        if item.value[1:] != self.digest:
            raise errors.ReusedKeyError(
                "this request id was used before, for another change of keys",
                hint="choose another Idempotency-Key for another request",
            )
        return port.TxnResult(item.value[:1] == b"1", item.mod_revision, repeated=True)


def _unmade(marker: _Marker | None) -> tuple[commands.Compare, ...]:
    return () if marker is None else (commands.absent(marker.key),)


def _marked(
    operations: tuple[commands.Operation, ...], marker: _Marker | None, outcome: bytes
) -> tuple[commands.Operation, ...]:
    if marker is None:
        return operations
    return (*operations, commands.put(marker.key, outcome + marker.digest, lease=marker.lease))


def _own(result: port.TxnResult, asked: tuple[commands.Operation, ...]) -> tuple[port.Response, ...]:
    """Without those of what was added to a branch."""
    return result.responses[: len(asked)]


def _item(response: port.Response) -> port.KeyValue | None:
    assert isinstance(response, port.Ranged)
    return response.items[0] if response.items else None
