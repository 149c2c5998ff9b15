"""An etcd cluster as a `port.Store`: what a caller asks, in etcd's words, and what its answers mean.

It may not decide what a failed request means (`gateway` does) nor what stands where (`keys`). Laws: an error that says
"nothing was done" is true; a write goes only where the guard is still the one that was found at the opening.
"""

import asyncio
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

from coordinator import effects, errors, limits, names
from coordinator.store import commands, port
from coordinator.store.backends.etcd import (
    access,
    gateway,
    keeping,
    keys,
    large,
    messages,
    reading,
    transactions,
    watching,
)

ID_BYTES: Final = 7  # of leases and sessions: fits etcd's signed number
STAGE_S: Final = 60  # how long pieces wait for their transaction; more than any call takes
TIDY_EVERY: Final = 16  # large transactions between two looks at what is left of older ones
_SEND: Final = {True: gateway.Sending.REPEATABLE, False: gateway.Sending.ONCE}


class EtcdStore:
    """Made by `open_store`."""

    def __init__(
        self,
        through: gateway.Gateway,
        used: access.Access,
        found: keeping.Found,
        random: effects.Random,
    ) -> None:
        self.gateway = through
        self.root = keys.Root(used.address.prefix, found.guard.root)
        self.reader = reading.Reader(through, self.root)
        self._access = used
        self.ours = transactions.Ours(used.address.prefix, found.guard.root, found.revision)
        self._cluster = found.guard.cluster
        self._random = random
        self._watches: set[watching.EtcdWatch] = set()
        self._tidying: asyncio.Task[None] | None = None
        self._larges = 0
        self._compacted = 0
        self._closed = False

    @property
    def member(self) -> str:
        """Where it is, for people."""
        return str(self._access.address)

    # --- keys -----------------------------------------------------------------------------------------------------------

    async def get(self, key: bytes) -> port.KeyValue | None:
        return await self.reader.get(key)

    async def scan(
        self, prefix: bytes, *, limit: int = 0, revision: int = 0, after: bytes = b""
    ) -> port.Scan:
        return await self.reader.scan(self.reader.of_prefix(prefix, after, limit, revision))

    async def commit(self, txn: commands.Txn) -> port.TxnResult:
        commands.check(txn)
        if txn.request is not None and txn.request.number < txn.request.settled:
            raise errors.UnknownOutcomeError("the outcome of this request was forgotten")
        parted = large.part(txn, bytes.fromhex(self._random.token(large.GROUP_BYTES)))
        asked = transactions.encoded(parted, self.ours)
        writes = any(not isinstance(one, commands.Range) for one in txn.success + txn.failure)
        await self._sure()
        if not parted.pieces:
            return await self._committed(txn, asked, repeatable=txn.request is not None or not writes)
        lease = await self._stage(parted)
        try:
            return await self._committed(txn, asked, repeatable=txn.request is not None)
        except errors.ConflictError as wrong:
            raise errors.NoQuorumError(
                "a large value was put aside for too long, and nothing was done"
            ) from wrong
        finally:
            await self._dropped(lease)  # what was committed is not on it any more
            self._tidy_now_and_then()

    async def _committed(
        self, txn: commands.Txn, asked: messages.Message, *, repeatable: bool
    ) -> port.TxnResult:
        answer = await self.gateway.call(messages.TXN, asked, messages.Txn, _SEND[repeatable])
        if not answer.succeeded:
            return transactions.known(answer, self.ours)
        succeeded, done = transactions.branch(answer, txn)
        operations = txn.success if succeeded else txn.failure
        revision = answer.header.revision
        responses = [
            await self._response(one, what, revision) for one, what in zip(operations, done, strict=True)
        ]
        return port.TxnResult(succeeded, revision, tuple(responses))

    async def _response(
        self, operation: commands.Operation, done: messages.Done, revision: int
    ) -> port.Response:
        match operation:
            case commands.Put():
                return port.PutDone()
            case commands.Delete():
                return port.Deleted(done.response_delete_range.deleted if done.response_delete_range else 0)
            case commands.Range():
                found = done.response_range or messages.Range()
                return port.Ranged(await self.reader.items(found.kvs, revision), found.more)

    async def _sure(self) -> None:
        """After a call without an answer, a write is not begun before a majority answers: else nobody could tell its fate."""
        if self.gateway.doubtful:
            await self.reader.get(b"")

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

    async def _stage(self, parted: large.Parted) -> int:
        """Nothing of it is seen before the transaction; doing it twice changes nothing. Raises as a read does."""
        try:
            lease = await self.grant(STAGE_S)
            for number, piece in enumerate(parted.pieces):
                put = transactions.put(self.root.piece(parted.group, number), piece, lease)
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

    def _tidy_now_and_then(self) -> None:
        self._larges += 1
        if self._larges % TIDY_EVERY == 1 and (self._tidying is None or self._tidying.done()):
            self._tidying = asyncio.ensure_future(keeping.tidy(self.gateway, self.ours))

    # --- sessions and leases --------------------------------------------------------------------------------------------

    async def open_session(self) -> int:
        await self._sure()
        session = self._number()
        asked = keeping.session_made(self.ours, session)
        answer = await self.gateway.call(messages.TXN, asked, messages.Txn, gateway.Sending.REPEATABLE)
        if not answer.succeeded:
            transactions.known(answer, self.ours)
        await keeping.trim_sessions(self.gateway, self.ours, limits.STORE_SESSIONS)
        return session

    async def grant(self, ttl_s: float) -> int:
        if not 0 < ttl_s < 2**31:
            raise errors.UsageError(f"a lease needs a time to live (got {ttl_s:g} s)")
        await self._sure()
        lease = self._number()
        asked = {"ID": lease, "TTL": math.ceil(ttl_s)}
        await self._once(messages.GRANT, asked, errors.InUseError)
        return lease

    async def keep_alive(self, lease: int) -> None:
        asked = {"ID": lease}
        kept = await self.gateway.call(messages.KEEP_ALIVE, asked, messages.Kept)
        if kept.result.TTL <= 0:
            raise errors.NotFoundError("there is no such lease")

    async def revoke(self, lease: int) -> None:
        await self._sure()
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
        return await keeping.status(self.gateway, self.ours, self._compacted)

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

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


async def replace(
    used: access.Access,
    *,
    cluster: names.ClusterId,
    clock: effects.Clock,
    random: effects.Random,
    items: Iterable[port.KeyValue],
) -> str:
    """Begin a history of these keys below the prefix; the root of the one before it, which stays there, or nothing.

    It is in force from one moment to the next, and whoever writes to the one before is refused from then on. Raises as
    `open_store`, and `ConflictError` where somebody else does the same.
    """
    through = gateway.Gateway(access.check(used), clock)
    try:
        before = await keeping.find(through, used.address.prefix, cluster)
        guard = keys.Guard(keys.FORMAT, cluster, random.token(keeping.ROOT_BYTES))
        made = keeping.Found(guard, 0 if before is None else before.revision)
        store = EtcdStore(through, used, made, random)
        await keeping.copied(store, items)
        await keeping.put_in_force(through, store.ours, cluster)
    finally:
        await through.close()
    return "" if before is None else before.guard.root


async def open_store(
    used: access.Access,
    *,
    cluster: names.ClusterId,
    clock: effects.Clock,
    random: effects.Random,
    create: bool,
) -> EtcdStore:
    """Open the store of `cluster` below the prefix; with `create`, begin one where nothing stands yet.

    Raises `NotFoundError`, `IdentityError` (another system's prefix, another cluster, another authority), `InUseError`
    (foreign keys), `RefusedError` (a version that is not used), `UnauthenticatedError`, `NotAllowedError`, `NoQuorumError`.
    """
    through = gateway.Gateway(access.check(used), clock)
    try:
        found = await keeping.find(through, used.address.prefix, cluster)
        if found is None and create:
            guard = keys.Guard(keys.FORMAT, cluster, random.token(keeping.ROOT_BYTES))
            found = await keeping.begin(through, used.address.prefix, guard)
    except BaseException:
        await through.close()
        raise
    if found is None:
        await through.close()
        raise errors.NotFoundError(f"there is no store below {used.address.prefix} in this etcd")
    return EtcdStore(through, used, found, random)
