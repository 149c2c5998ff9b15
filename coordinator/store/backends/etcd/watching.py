"""A watch over etcd's stream: it goes on after the last change seen, whatever became of the stream.

Nothing is read before it is asked for: a watcher that never reads costs its connection and no memory of ours.
Laws: what is handed out are whole revisions, each once, in order; where etcd has compacted what is missing, the prefix as
it stands takes its place.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final, Protocol, Self

import aiohttp
import msgspec

from coordinator import errors
from coordinator.store import commands, port
from coordinator.store.backends.etcd import gateway, keeping, keys, members, messages

IDLE_S: Final = 2.0  # a frozen member's stream is as silent as one without changes: then it is looked at
LOOK_S: Final = 1.0
AGAIN_S: Final = 0.2
LINE_BYTES: Final = 64 * 1024 * 1024  # etcd sends fragments of about 2 MiB

_LOST = (
    aiohttp.ClientError, TimeoutError, members.NotSentError, members.UnansweredError, members.RefusedError,
    errors.NoQuorumError, errors.IdentityError, errors.RefusedError, errors.UnauthenticatedError,
)  # fmt: skip
"""The stream is gone; another one is tried."""


class Owner(Protocol):
    """What a watch needs of its store."""

    gateway: gateway.Gateway

    async def connected(self) -> keeping.Opened: ...

    def forget(self, watch: "EtcdWatch") -> None: ...


class EtcdWatch:
    """A `port.Watch` of one task."""

    def __init__(self, owner: Owner, prefix: bytes, from_revision: int) -> None:
        self._owner = owner
        self._prefix = prefix
        self._whole = from_revision == 0
        """The next batch is all that is there."""
        self._seen = max(from_revision - 1, 0)
        self._stream: _Stream | None = None
        self._waiting: asyncio.Task[port.Batch] | None = None
        self._kept: port.Batch | None = None
        """Was there in the very moment in which whoever waited gave up."""
        self._closed = False

    @property
    def revision(self) -> int:
        """Everything of the prefix up to it has been handed out; later ones of other keys do not raise it."""
        return self._seen

    async def next(self) -> port.Batch:
        """Wait for the next batch; raises NoQuorumError once the store has closed, or holds other data than it did."""
        if self._closed:
            raise _ended()
        if self._kept is not None:
            kept, self._kept = self._kept, None
            return kept
        waiting = self._waiting = asyncio.ensure_future(self._advance())
        try:
            return await waiting
        except asyncio.CancelledError:
            if self._closed:
                raise _ended() from None
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                self._kept = waiting.result()
            waiting.cancel()
            raise
        except errors.NoQuorumError:
            raise
        except errors.TiercastError as wrong:
            raise errors.NoQuorumError(wrong.message, hint=wrong.hint) from wrong
        finally:
            self._waiting = None

    async def __aiter__(self) -> AsyncIterator[port.Batch]:
        while not self._closed:
            try:
                yield await self.next()
            except errors.NoQuorumError:
                return

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._owner.forget(self)
            self._drop()
            if self._waiting is not None:
                self._waiting.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # --- one batch ------------------------------------------------------------------------------------------------------

    async def _advance(self) -> port.Batch:
        while True:
            try:
                at = await self._owner.connected()
                if self._whole:
                    return await self._snapshot(at)
                if self._stream is None:
                    self._stream = await self._opened(at)
                events = await self._stream.changes()
                if events is None:
                    self._drop()
                    self._whole = True
                elif events:
                    return await self._batched(at, events)
            except _LOST:
                self._drop()
                await asyncio.sleep(AGAIN_S)
            except errors.ConflictError:  # compacted while a value of it was read
                self._drop()
                self._whole = True

    async def _snapshot(self, at: keeping.Opened) -> port.Batch:
        found = await at.reader.scan(at.reader.of_prefix(self._prefix))
        self._whole, self._seen = False, found.revision
        return port.Batch(found.revision, reset=found)

    async def _batched(self, at: keeping.Opened, changes: list[messages.Change]) -> port.Batch:
        """Whoever gives up meanwhile has not seen them: the stream begins again behind what was."""
        try:
            return await self._batch(at, changes)
        except BaseException:
            self._drop()
            raise

    async def _batch(self, at: keeping.Opened, changes: list[messages.Change]) -> port.Batch:
        made = []
        for change in changes:
            if change.type == "DELETE":
                gone = port.KeyValue(at.root.key(change.kv.key), b"", 0, change.kv.mod_revision, 0)
                made.append(port.Event(gone, deleted=True))
            else:
                made.append(port.Event(await at.reader.item(change.kv, change.kv.mod_revision)))
        self._seen = changes[-1].kv.mod_revision
        return port.Batch(self._seen, tuple(made))

    async def _opened(self, at: keeping.Opened) -> "_Stream":
        """Behind a read that a majority has answered: a cluster that lost what was seen is not watched as if nothing were."""
        root, through = at.root, self._owner.gateway
        guard = await through.call(messages.RANGE, {"key": keys.guard(at.ours.prefix)}, messages.Range)
        if not guard.kvs or guard.kvs[0].mod_revision != at.ours.guard_revision:
            raise errors.NeedsRecoveryError("the watched history has ended: another one took its place")
        member = through.members.now
        if not member.known:
            await through.members.look(member, LOOK_S)
        asked = {
            "key": root.data(self._prefix),
            "range_end": root.end(commands.prefix_end(self._prefix)),
            "start_revision": self._seen + 1,
            "fragment": True,
        }
        try:
            async with asyncio.timeout(LOOK_S):
                response = await through.members.post(
                    member,
                    messages.WATCH,
                    messages.encode({"create_request": asked}),
                    await through.stream_headers(member),
                    connect_s=LOOK_S,
                )
        except (TimeoutError, aiohttp.ClientError):
            through.members.failed(member)
            raise
        return _Stream(response, member, through)

    def _drop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


class _Stream:
    """One answer without end."""

    def __init__(
        self, response: aiohttp.ClientResponse, member: members.Member, through: gateway.Gateway
    ) -> None:
        self._response = response
        self._member = member
        self._gateway = through
        self._buffer = bytearray()
        self._held: list[messages.Change] = []
        """Of a revision that a later fragment may go on with."""

    async def changes(self) -> list[messages.Change] | None:
        """The next whole revisions, maybe none; None where they were compacted. Raises of `_LOST`."""
        line = await self._line()
        try:
            found = messages.watch_line(line)
        except msgspec.MsgspecError as wrong:
            raise errors.NoQuorumError("a watch's stream cannot be read") from wrong
        if found.result is None:
            told = found.error.message if found.error is not None else "no reason"
            if "auth" in told:
                self._gateway.forget_token()
            raise errors.NoQuorumError(f"a watch was ended by etcd: {told}")
        if found.result.compact_revision:
            return None
        if found.result.canceled:
            if "auth" in found.result.cancel_reason:
                self._gateway.forget_token()
            raise errors.NoQuorumError(f"a watch was ended by etcd: {found.result.cancel_reason}")
        self._held += found.result.events
        if not found.result.fragment:
            whole, self._held = self._held, []
            return whole
        last = self._held[-1].kv.mod_revision if self._held else 0
        whole = [one for one in self._held if one.kv.mod_revision < last]
        self._held = self._held[len(whole) :]
        return whole

    async def _line(self) -> bytes:
        while (at := self._buffer.find(b"\n")) < 0:
            data = await self._some()
            if not data or len(self._buffer) > LINE_BYTES:
                raise errors.NoQuorumError("a watch's stream has ended")
            self._buffer += data
        line = bytes(self._buffer[:at])
        del self._buffer[: at + 1]
        return line

    async def _some(self) -> bytes:
        """Bytes; in a silence the member is looked at, and one that does not answer has no stream."""
        while True:
            try:
                async with asyncio.timeout(IDLE_S):
                    return await self._response.content.readany()
            except TimeoutError:
                try:
                    await self._gateway.members.look(self._member, LOOK_S)
                except Exception:
                    self._gateway.members.failed(self._member)
                    raise

    def close(self) -> None:
        self._response.close()


def _ended() -> errors.NoQuorumError:
    return errors.NoQuorumError("the watch has ended: the store was closed")
