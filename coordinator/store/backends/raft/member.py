"""One running member: drives the core, its disk and its links.

It makes no decision of Raft; see `messages` for the contract it keeps. Laws: nothing behind a `Persist` happens before
the disk has answered; one sync serves everything that came meanwhile; what one batch leads to is performed while the next
is on its way to the disk, all of it in the order in which the core said it; an error of the disk that could hide a loss
ends the process, and is never retried.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import msgspec

from coordinator import effects, errors
from coordinator.store import mvcc
from coordinator.store.backends.raft import (
    core,
    files,
    intake,
    keeper,
    log,
    machine,
    messages,
    pending,
    recovery,
    snapshot,
    worker,
)

SNAPSHOT_BYTES: Final = 64 * 1024 * 1024
SNAPSHOT_ENTRIES = 50_000  # applied again in about a second at start
KEEP_ENTRIES = 2_000  # for members that lag a little, so that they need no snapshot
KEEP_BYTES: Final = 64 * 1024 * 1024  # of these at most: they are kept in memory
RESIGN_S: Final = (
    0.5  # two messages and two syncs; without an answer by then nobody would be quicker than an election
)


class Links(Protocol):
    """How frames reach the other members; may lose any of them."""

    def send(self, to: str, frame: messages.Frame) -> None: ...


class _Batch(msgspec.Struct, eq=False):
    """Outputs of inputs that were handled together, on their way to being performed."""

    late: list[messages.Output]
    """What must wait until it is durable, in order."""
    last: log.Position | None = None
    """Of the entries in it."""
    durable: "asyncio.Future[None] | None" = None


class Member:
    """One member of a group while its process runs."""

    def __init__(
        self,
        opened: recovery.Opened,
        clock: effects.Clock,
        random: effects.Random,
        halt: Callable[[BaseException], None],
    ) -> None:
        self.opened = opened
        self.machine = machine.Machine(opened, clock)
        identity = opened.identity
        self.core = core.Core(
            identity.member,
            identity.members,
            opened.held,
            (opened.term, opened.vote),
            lambda: random.uniform(0.0, 1.0),
        )
        self.failure: BaseException | None = None
        self._clock = clock
        self._halt = halt
        self._disk = worker.Worker("store-disk")
        self.keeper = keeper.Keeper(opened, self._disk)
        self.alone = len(identity.members) == 1
        self._inputs: deque[messages.Input] = deque()
        self._proposals = intake.Intake()
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._logged_bytes = 0
        self._snapshot: asyncio.Task[None] | None = None
        self._snapshot_at = self.applied
        self._to_send: deque[messages.SendPiece] = deque()
        self._to_keep: deque[tuple[str, messages.Install]] = deque()
        self._links: Links | None = None
        self._doubt: Callable[[], None] = _nothing
        self._writing = False
        self._closing = False
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def applied(self) -> int:
        """The index of the last entry that is in the state."""
        return self.machine.applied

    @property
    def state(self) -> mvcc.State:
        return self.machine.replica.state

    # What others ask of it.

    def attach(self, links: Links, doubt: Callable[[], None]) -> None:
        """Speak over these; `doubt` is called when the leader changes."""
        self._links = links
        self._doubt = doubt

    async def propose(self, data: bytes) -> pending.Proposal:
        """Queue a command; waits while too much is queued."""
        self._check()
        while self._proposals.full:
            await self.machine.moved()
            self._check()
        return self._queue(data)

    async def result_at(self, position: log.Position) -> mvcc.Result:
        """What came of the entry that another member put there; raises OvertakenError, InDoubtError."""
        self._check()
        return await self.machine.pending.result_at(position, self.applied)

    async def barrier(self) -> bool:
        """Return once the state holds everything acknowledged before the call; False if no leader says so."""
        self._check()
        ticket, confirmed = self.machine.pending.ask()
        try:
            # A read promises nothing of its own, so it need not wait for the disk.
            self._perform(self.core.handle(messages.Read(ticket), self._clock.monotonic()))
            index = await confirmed
            await self.applied_to(index)
        except errors.NoQuorumError:
            return False
        finally:
            self.machine.pending.forget(ticket)
        return True

    async def barrier_with_leader(self) -> None:
        """Like `barrier`, once somebody leads; raises what stopped the member meanwhile."""
        while not await self.barrier():
            await self.machine.moved()

    async def applied_to(self, index: int) -> None:
        """Return once everything up to `index` is applied."""
        while self.applied < index:
            await self.machine.moved()
            self._check()

    def give(self, given: messages.Input) -> None:
        """An input from a link."""
        self._inputs.append(given)
        self._wake.set()

    async def snapshot_now(self) -> None:
        """Take a snapshot of what is applied and let go of the journal before it."""
        header = self.header()
        self._snapshot_at, self._logged_bytes = header.end.index, 0
        await self.keeper.take(header, self.state)
        end = header.end.index
        keep = end if self.alone else self.core.log.before(end, KEEP_ENTRIES, KEEP_BYTES)
        self.give(messages.Snapshotted(max(keep, self.core.log.prev.index)))

    def understands(self, other: str, level: int | None) -> None:
        """The feature level of another member's program."""
        self.machine.levels.understands(other, level)
        self._consider_level()

    def hand_to(self, other: str) -> None:
        """Let that member lead, if it can at once."""
        self.give(messages.Resign(other))

    async def resign(self) -> None:
        """If it leads, let another lead, so that going costs no election time-out; after RESIGN_S go anyway."""
        if self.core.lead is None or self.alone or self._closing:
            return
        self.give(messages.Resign())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RESIGN_S):
                while self.core.leader in {None, self.core.member} and not self._closing:
                    await self.machine.moved()

    async def close(self) -> None:
        """Finish what is under way and let go of the directory."""
        self._closing = True
        self._wake.set()
        await self._task
        if self._snapshot is not None:
            await asyncio.wait([self._snapshot])
        await self.keeper.close()
        await self._disk.close()
        self.opened.writer.close()
        self._end(errors.NoQuorumError("the store was closed"))

    # The loop.

    async def _run(self) -> None:
        try:
            self.core.start(self._clock.monotonic())
            self._inputs.append(messages.Tick())
            batch: _Batch | None = None
            while not self._closing or batch is not None:
                batch = await self._step(batch)
        except Exception as error:  # noqa: BLE001 whatever it was, this member must not go on
            self._fail(error)

    async def _step(self, batch: "_Batch | None") -> "_Batch | None":
        """See a batch through; answers the one that is on its way to the disk meanwhile, if any."""
        if batch is None:
            batch = await self._begin()
        if batch is None:
            self._set_timer()
            await self._wake.wait()
            return None
        following = None
        if batch.durable is not None:
            await self._written(batch.durable)
            if batch.last is not None:
                batch.late += self.core.handle(messages.Persisted(batch.last), self._clock.monotonic())
            if not self._closing and not any(isinstance(one, messages.KeepPiece) for one in batch.late):
                following = await self._begin()
        self._perform(batch.late)
        await self._move_pieces()
        self.machine.tell_moved()
        self._consider_snapshot()
        return following

    async def _begin(self) -> "_Batch | None":
        """Let the core have what waits, and the disk what follows from it; None where nothing waits."""
        self._wake.clear()
        given = await self._take()
        if not given and not self._proposals:
            return None
        now = self._clock.monotonic()
        outputs = [output for one in given for output in self.core.handle(one, now)]
        outputs += await self._propose_batch()
        late = self._send_early(outputs)
        written = [output for output in late if isinstance(output, messages.Persist)]
        if not written:
            return _Batch(late)
        self._logged_bytes += sum(len(e.data) + intake.ENTRY_BYTES for p in written for e in p.entries)
        last = next((p.entries[-1].position for p in reversed(written) if p.entries), None)
        return _Batch(late, last, self._disk.begin(lambda: self._write(written)))

    async def _written(self, durable: "asyncio.Future[None]") -> None:
        """Return once it is; a leader's heartbeats go on meanwhile."""
        self._writing = True
        self._set_timer()
        await durable
        self._writing = False

    def _on_timer(self) -> None:
        self._timer = None
        if self._writing and self.core.lead is not None:
            # A leader's tick promises nothing, so that a slow disk does not cost it its office at once.
            self._perform(self.core.handle(messages.Tick(), self._clock.monotonic()))
            self._set_timer()
        else:
            self._wake.set()

    def _send_early(self, outputs: list[messages.Output]) -> list[messages.Output]:
        """Send what need not wait for the own disk; answers the rest."""
        late: list[messages.Output] = []
        for output in outputs:
            if isinstance(output, messages.Send) and output.early:
                self._send(output.to, output.message)
            else:
                late.append(output)
        return late

    async def _take(self) -> list[messages.Input]:
        given = list(self._inputs)
        self._inputs.clear()
        if self._clock.monotonic() >= self.core.deadline:
            given.append(messages.Tick())
        for expire in self.machine.due():
            self._queue(expire)
        size = sum(_size(one) for one in given)
        if not size:
            return given
        try:
            await self._reserve(size)
        except errors.NoSpaceError:
            return [one for one in given if not _size(one)]  # as if they were lost on the way
        return given

    def _queue(self, data: bytes) -> pending.Proposal:
        self._wake.set()
        return self._proposals.put(data)

    async def _propose_batch(self) -> list[messages.Output]:
        """Hand queued commands to the core, once the disk has promised room for them."""
        batch, size = self._proposals.batch()
        if not batch:
            return []
        try:
            await self._reserve(size)
        except errors.NoSpaceError as error:
            for proposal in batch:
                pending.refuse(proposal.accepted, errors.NoSpaceError(error.message, hint=error.hint))
            return []
        items = tuple((self.machine.pending.propose(proposal), proposal.data) for proposal in batch)
        return list(self.core.handle(messages.Propose(items), self._clock.monotonic()))

    async def _reserve(self, size_bytes: int) -> None:
        if not self.opened.writer.room(size_bytes):
            await self._disk.run(lambda: self.opened.writer.reserve(size_bytes))

    def _write(self, written: list[messages.Persist]) -> None:
        for persist in written:
            self.opened.writer.append(persist.term, persist.vote, persist.cut, persist.entries)
        self.opened.writer.sync()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        delay = min(self.core.deadline, self.machine.deadline) - self._clock.monotonic()
        if delay < float("inf"):
            self._timer = asyncio.get_running_loop().call_later(max(delay, 0.0), self._on_timer)

    # Outputs.

    def _perform(self, outputs: Iterable[messages.Output]) -> None:
        for output in outputs:
            _PERFORM[type(output)](self, output)

    def _took_office(self, output: messages.Office) -> None:
        self.machine.took_office(output)
        self._doubt()
        self._consider_level()

    def _consider_level(self) -> None:
        raising = self.machine.rise() if self.core.lead is not None else None
        if raising is not None:
            self._queue(raising)

    def _sent(self, output: messages.Send) -> None:
        self._send(output.to, output.message)

    def _send(self, to: str, frame: messages.Frame) -> None:
        if self._links is not None:
            self._links.send(to, frame)

    def _send_piece(self, output: messages.SendPiece) -> None:
        self._to_send.append(output)

    def _keep_piece(self, output: messages.KeepPiece) -> None:
        self._to_keep.append((output.sender, output.piece))

    def _persisted(self, output: messages.Persist) -> None:
        """It was written before anything behind it was performed."""

    # Snapshots.

    def _consider_snapshot(self) -> None:
        # As much again as there is: so a state that grows is written twice at most, once as log and once as snapshot.
        enough = max(SNAPSHOT_BYTES, self.state.size_bytes)
        if self._logged_bytes < enough and self.applied - self._snapshot_at < SNAPSHOT_ENTRIES:
            return
        if not self.keeper.busy:
            self._snapshot = asyncio.get_running_loop().create_task(self._snapshot_quietly())

    async def _snapshot_quietly(self) -> None:
        try:
            await self.snapshot_now()
        except OSError as error:
            # On a full disk the journal goes on, and the next threshold tries again.
            if error.errno not in files.FULL:
                self._fail(error)
        except Exception as error:  # noqa: BLE001 a bug; the state on disk is whole, so starting again is safe
            self._fail(error)

    def header(self) -> snapshot.Header:
        """Of a snapshot of what is applied now."""
        term = self.core.log.term_at(self.applied)
        assert term is not None, "the log holds at least what is applied last"
        identity = self.opened.identity
        end = log.Position(self.applied, term)
        return snapshot.Header(snapshot.FORMAT, identity.cluster, end, identity.members)

    async def _move_pieces(self) -> None:
        """Send and take the pieces of snapshots that the core spoke of."""
        while self._to_send:
            wanted = self._to_send.popleft()
            piece = await self.keeper.piece(wanted)
            if piece is not None:
                self._send(wanted.to, piece)
        while self._to_keep:
            sender, arrived = self._to_keep.popleft()
            kept = await self.keeper.keep(self.core.term, arrived)
            if isinstance(kept, messages.Installed):
                self._send(sender, kept)
            elif kept is not None and kept.header.end.index > self.core.commit:
                await self._install(sender, kept)

    async def _install(self, sender: str, loaded: snapshot.Loaded) -> None:
        end = loaded.header.end
        after = log.Log(self.core.log.prev, self.core.log.entries)
        after.replace(end)
        await self.keeper.install(end, after.last)
        self.machine.replace(end, loaded.state)
        self._snapshot_at = end.index
        self._perform(self.core.handle(messages.Replaced(sender, end), self._clock.monotonic()))

    # The end.

    def _check(self) -> None:
        if self.failure is not None:
            raise errors.DamagedError(
                f"the store has stopped: {self.failure}", hint="the process must be started again"
            )
        if self._closing:
            raise errors.NoQuorumError("the store was closed")

    def _fail(self, error: BaseException) -> None:
        if self.failure is None:
            self.failure = error
            self._end(errors.UnknownOutcomeError(f"the store stopped meanwhile: {error}"))
            self._wake.set()
            self._closing = True
            self._halt(error)

    def _end(self, error: errors.TiercastError) -> None:
        """Nobody waits for ever."""
        if self._timer is not None:
            self._timer.cancel()
        self._proposals.end(error)
        self.machine.pending.end(error)
        self.machine.replica.close()
        self.machine.tell_moved()


def _nothing() -> None:
    """Nobody waits for other members in a group of one."""


def _size(given: messages.Input) -> int:
    """What the journal needs for the entries in it."""
    if isinstance(given, messages.Received) and isinstance(given.message, messages.Append):
        return sum(len(entry.data) + intake.ENTRY_BYTES for entry in given.message.entries)
    return 0


_PERFORM: Final[dict[type[messages.Output], Callable[[Member, Any], None]]] = {
    messages.Persist: Member._persisted,  # noqa: SLF001 the class's own table
    messages.Send: Member._sent,  # noqa: SLF001
    messages.SendPiece: Member._send_piece,  # noqa: SLF001
    messages.KeepPiece: Member._keep_piece,  # noqa: SLF001
    messages.Commit: lambda member, output: member.machine.commit(output.entries),
    messages.Accepted: lambda member, output: member.machine.pending.accepted(output),
    messages.Declined: lambda member, output: member.machine.pending.declined(output),
    messages.Readable: lambda member, output: member.machine.pending.readable(output),
    messages.Office: Member._took_office,  # noqa: SLF001
}
