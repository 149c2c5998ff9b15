"""An etcd cluster as a `port.Store`: what a caller asks, in etcd's words, and what its answers mean.

It may not decide what a failed request means (`gateway` does) nor what stands where (`keys`). Laws: an error that says
"nothing was done" is true; a write goes only where the guard is still the one that was found at the opening.
"""

import asyncio
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol, Self

from coordinator import effects, errors, limits, names
from coordinator.store import commands, port
from coordinator.store.backends.etcd import (
    access,
    gateway,
    keeping,
    keys,
    large,
    leasing,
    messages,
    reading,
    transactions,
    watching,
)

ID_BYTES: Final = 7  # of leases and sessions: fits etcd's signed number
STAGE_S: Final = 60  # how long pieces wait for their transaction; more than any call takes
TIDY_EVERY: Final = 16  # large transactions between two looks at what is left of older ones
_SEND: Final = {True: gateway.Sending.REPEATABLE, False: gateway.Sending.ONCE}


class Held(Protocol):
    """What is let go once the store has closed."""

    def release(self) -> None: ...


class EtcdStore:
    """It is connected by its first use, and not before: etcd may come up later than its users."""

    def __init__(
        self,
        used: access.Access,
        cluster: names.ClusterId,
        clock: effects.Clock,
        random: effects.Random,
        *,
        create: bool,
        held: Held | None = None,
    ) -> None:
        self.gateway = gateway.Gateway(access.check(used), clock)
        self._access = used
        self._cluster = cluster
        self._random = random
        self._create = create
        self._held = held
        self._opened: keeping.Opened | None = None
        self._opening = asyncio.Lock()
        self._watches: set[watching.EtcdWatch] = set()
        self._tidying: asyncio.Task[None] | None = None
        self._larges = 0
        self._compacted = 0
        self._closed = False

    async def connected(self) -> keeping.Opened:
        """What was found below the prefix, once; with `create`, begun there where nothing stood.

        Raises `NotFoundError`, `IdentityError` (another system's prefix, another cluster, another authority), `InUseError`
        (foreign keys), `RefusedError` (a version that is not used), `UnauthenticatedError`, `NotAllowedError`, `NoQuorumError`.
        """
        if self._closed:
            raise errors.NoQuorumError("the store was closed")
        async with self._opening:
            if self._opened is None:
                self._opened = await keeping.opened(
                    self.gateway,
                    self._access.address.prefix,
                    self._cluster,
                    self._random,
                    create=self._create,
                )
        return self._opened

    @property
    def member(self) -> str:
        """Where it is, for people."""
        return str(self._access.address)

    # --- keys -----------------------------------------------------------------------------------------------------------

    async def get(self, key: bytes) -> port.KeyValue | None:
        return await (await self.connected()).reader.get(key)

    async def scan(
        self, prefix: bytes, *, limit: int = 0, revision: int = 0, after: bytes = b""
    ) -> port.Scan:
        reader = (await self.connected()).reader
        return await reader.scan(reader.of_prefix(prefix, after, limit, revision))

    async def commit(self, txn: commands.Txn) -> port.TxnResult:
        commands.check(txn)
        if txn.request is not None and txn.request.number < txn.request.settled:
            raise errors.UnknownOutcomeError("the outcome of this request was forgotten")
        parted = large.part(txn, bytes.fromhex(self._random.token(large.GROUP_BYTES)))
        at = await self._sure()
        asked = transactions.encoded(parted, at.ours)
        writes = any(not isinstance(one, commands.Range) for one in txn.success + txn.failure)
        repeatable = txn.request is not None or not writes
        if not parted.pieces:
            return await self._committed(at, txn, asked, repeatable=repeatable)
        lease = await self._stage(at, parted)
        try:
            return await self._committed(at, txn, asked, repeatable=repeatable)
        except errors.ConflictError as wrong:
            raise errors.NoQuorumError(
                "a large value was put aside for too long, and nothing was done"
            ) from wrong
        finally:
            await self._dropped(lease)  # what was committed is not on it any more
            self._tidy_now_and_then(at)

    async def _committed(
        self, at: keeping.Opened, txn: commands.Txn, asked: messages.Message, *, repeatable: bool
    ) -> port.TxnResult:
        answer = await self.gateway.call(messages.TXN, asked, messages.Txn, _SEND[repeatable])
        outcome = transactions.outcome(answer, txn, at.ours)
        if isinstance(outcome, port.TxnResult):
            return outcome
        succeeded, done = outcome
        operations = txn.success if succeeded else txn.failure
        revision = answer.header.revision
        responses = [
            await _response(at.reader, one, what, revision)
            for one, what in zip(operations, done, strict=True)
        ]
        return port.TxnResult(succeeded, revision, tuple(responses))

    async def _sure(self) -> keeping.Opened:
        """After a call without an answer, a write is not begun before a majority answers: else nobody could tell its fate."""
        at = await self.connected()
        if self.gateway.doubtful:
            await at.reader.get(b"")
        return at

    def watch(self, prefix: bytes, from_revision: int = 0) -> port.Watch:
        made = watching.EtcdWatch(self, prefix, from_revision)
        self._watches.add(made)
        if self._closed:
            made.close()
        return made

    def forget(self, watch: watching.EtcdWatch) -> None:
        """It has closed."""
        self._watches.discard(watch)

    # --- large values ---------------------------------------------------------------------------------------------------

    async def _stage(self, at: keeping.Opened, parted: large.Parted) -> int:
        """Nothing of it is seen before the transaction; doing it twice changes nothing. Raises as a read does."""
        try:
            lease = await self.grant(STAGE_S)
            for number, piece in enumerate(parted.pieces):
                put = transactions.put(at.root.piece(parted.group, number), piece, lease)
                asked = {"success": [put]}
                await self.gateway.call(messages.TXN, asked, messages.Txn, gateway.Sending.REPEATABLE)
        except errors.UnknownOutcomeError as wrong:
            raise errors.NoQuorumError(f"a large value could not be put aside: {wrong.message}") from wrong
        return lease

    async def _dropped(self, lease: int) -> None:
        try:
            await self.revoke(lease)
        except errors.TiercastError:
            return  # it ends by itself

    def _tidy_now_and_then(self, at: keeping.Opened) -> None:
        self._larges += 1
        if self._larges % TIDY_EVERY == 1 and (self._tidying is None or self._tidying.done()):
            self._tidying = asyncio.ensure_future(keeping.tidy(self.gateway, at.ours))

    # --- sessions and leases --------------------------------------------------------------------------------------------

    async def open_session(self) -> int:
        at = await self._sure()
        session = self._number()
        asked = keeping.session_made(at.ours, session)
        answer = await self.gateway.call(messages.TXN, asked, messages.Txn, gateway.Sending.REPEATABLE)
        if not answer.succeeded:
            transactions.known(answer, at.ours)
        await keeping.trim_sessions(self.gateway, at.ours, limits.STORE_SESSIONS)
        return session

    async def grant(self, ttl_s: float, guard: commands.Guard = ()) -> int:
        if not 0 < ttl_s < 2**31:
            raise errors.UsageError(f"a lease needs a time to live (got {ttl_s:g} s)")
        await self._sure()
        await leasing.check(self, guard)
        lease = self._number()
        asked = {"ID": lease, "TTL": math.ceil(ttl_s)}
        await self._once(messages.GRANT, asked, errors.InUseError)
        return lease

    async def keep_alive(self, lease: int, guard: commands.Guard = ()) -> None:
        """Raises `RefusedError` too, where another history has taken the place of the one that the lease is for."""
        at = await self.connected()
        await leasing.check(self, guard)
        asked = {"ID": lease}
        kept = await self.gateway.call(messages.KEEP_ALIVE, asked, messages.Kept)
        if kept.result.TTL <= 0:
            raise errors.NotFoundError("there is no such lease")
        found = await self.gateway.call(messages.RANGE, {"key": keys.guard(at.ours.prefix)}, messages.Range)
        transactions.check_guard(found.kvs, at.ours)

    async def revoke(self, lease: int, guard: commands.Guard = ()) -> None:
        at = await self._sure()
        if guard:
            await leasing.empty(self, self.gateway, at.root, lease, guard)
        await self._once(messages.REVOKE, {"ID": lease}, errors.NotFoundError)

    async def compact(self, revision: int) -> None:
        await self._sure()
        await self._once(messages.COMPACT, {"revision": revision}, errors.ConflictError)
        self._compacted = max(self._compacted, revision)

    async def _once(self, path: str, asked: messages.Message, done: type[errors.TiercastError]) -> None:
        """Said again until it is known, for a refusal of the kind `done` tells that it was done before."""
        try:
            await self.gateway.call(path, asked, messages.Answer, gateway.Sending.REPEATABLE, done)
        except gateway.DoneBeforeError:
            return

    def _number(self) -> int:
        return int(self._random.token(ID_BYTES), 16) or 1

    # --- the store as a whole -------------------------------------------------------------------------------------------

    async def status(self) -> port.StoreStatus:
        """Never raises: where no member tells, the reason stands among the alarms."""
        try:
            return await keeping.status(self.gateway, (await self.connected()).ours, self._compacted)
        except errors.TiercastError as wrong:
            return port.StoreStatus(
                backend="etcd",
                members=(),
                leader=None,
                revision=self.gateway.revision,
                compacted=self._compacted,
                size_bytes=0,
                keys=0,
                shared=True,
                alarms=(wrong.message,),
            )

    async def members(self) -> tuple[port.MemberStatus, ...]:
        return (await self.status()).members

    async def snapshot(self, target: Path) -> int:
        """Write everything, with digests, to a new file; answers the store's revision in it."""
        return await keeping.export(self, self._cluster, target)

    async def check(self) -> port.CheckReport:
        """Read every key and every large value."""
        return await keeping.check(self)

    async def seal(self, members: tuple[str, ...]) -> int:
        """Members of etcd are etcd's own affair. Raises `RefusedError`."""
        raise errors.RefusedError(
            f"a store in etcd is not handed over to {len(members)} members", hint="see `etcdctl member add`"
        )

    async def take_place(self, items: Iterable[port.KeyValue]) -> str:
        """Begin a history of these keys below the prefix; the root of the one before it, which stays there, or nothing.

        It is in force from one moment to the next, and whoever writes to the one before is refused from then on. Raises as
        `connected`, and `ConflictError` where somebody else does the same.
        """
        prefix = self._access.address.prefix
        before = await keeping.find(self.gateway, prefix, self._cluster)
        guard = keys.Guard(keys.FORMAT, self._cluster, self._random.token(keeping.ROOT_BYTES))
        made = keeping.Found(guard, 0 if before is None else before.revision)
        self._opened = keeping.Opened.of(self.gateway, prefix, made)
        await keeping.copied(self, items)
        await keeping.put_in_force(self.gateway, self._opened.ours, self._cluster)
        self._opened = None
        return "" if before is None else before.guard.root

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for watch in list(self._watches):
            watch.close()
        if self._tidying is not None:
            self._tidying.cancel()
            await asyncio.wait((self._tidying,))
        await self.gateway.close()
        if self._held is not None:
            self._held.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


async def _response(
    reader: reading.Reader, operation: commands.Operation, done: messages.Done, revision: int
) -> port.Response:
    match operation:
        case commands.Put():
            return port.PutDone()
        case commands.Delete():
            return port.Deleted(done.response_delete_range.deleted if done.response_delete_range else 0)
        case commands.Range():
            found = done.response_range or messages.Range()
            return port.Ranged(await reader.items(found.kvs, revision), found.more)
