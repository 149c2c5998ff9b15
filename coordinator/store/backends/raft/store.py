"""The raft backend as a `port.Store`: what a caller asks, carried through the log, and what its outcome means.

It may not touch the disk or the core itself; `member` does. Law: an error that says "nothing was done" is true, and
where that cannot be known the error is `UnknownOutcomeError`.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from coordinator import effects, errors, names
from coordinator.store import commands, mvcc, port
from coordinator.store.backends import replica
from coordinator.store.backends.raft import files, journal, log, member, recovery, snapshot

LEADER_S: Final = 2.0
"""How long a caller waits for somebody to lead before it is told that there is no quorum."""


class RaftStore:
    """A member of a group with its directory; made by `open_store`."""

    def __init__(self, running: member.Member, directory: files.DiskFiles) -> None:
        self._member = running
        self._directory = directory
        self._closed = False

    @property
    def empty(self) -> bool:
        """Nothing was ever put into it, as far as this member has applied."""
        return self._state.revision == 0

    @property
    def _state(self) -> mvcc.State:
        return self._member.replica.state

    async def get(self, key: bytes) -> port.KeyValue | None:
        await self._barrier()
        return self._state.keys.get(key)

    async def scan(self, prefix: bytes, *, limit: int = 0, revision: int = 0) -> port.Scan:
        await self._barrier()
        return self._member.replica.scan(prefix, limit, revision)

    async def commit(self, txn: commands.Txn) -> port.TxnResult:
        commands.check(txn)
        answer = await self._done(txn)
        assert isinstance(answer, port.TxnResult)
        return answer

    def watch(self, prefix: bytes, from_revision: int = 0) -> port.Watch:
        return self._member.replica.open_watch(prefix, from_revision)

    async def open_session(self) -> int:
        return await self._number(commands.SessionOpen())

    async def grant(self, ttl_s: float) -> int:
        return await self._number(commands.LeaseGrant(ttl_s))

    async def keep_alive(self, lease: int) -> None:
        await self._done(commands.LeaseKeepalive(lease))

    async def revoke(self, lease: int) -> None:
        await self._done(commands.LeaseRevoke(lease))

    async def compact(self, revision: int) -> None:
        await self._done(commands.Compact(revision))

    async def status(self) -> port.StoreStatus:
        core = self._member.core
        return port.StoreStatus(
            backend="raft",
            members=await self.members(),
            leader=core.leader,
            revision=self._state.revision,
            compacted=self._state.compacted,
            size_bytes=self._state.size_bytes,
            keys=len(self._state.keys),
            term=core.term,
            committed=core.commit,
            applied=self._member.applied,
            sealed=bool(self._state.sealed),
        )

    async def members(self) -> tuple[port.MemberStatus, ...]:
        """The group, with what the leader knows of each if this is it."""
        return tuple(port.MemberStatus(name) for name in self._member.opened.identity.members)

    async def seal(self, members: tuple[str, ...]) -> int:
        """End this group for ever in favour of `members`; answers the revision its snapshot has."""
        revision = await self._number(commands.Seal(members))
        await self._member.snapshot_now()
        return revision

    async def snapshot(self, target: Path) -> int:
        """Write everything, with digests, to a new file; answers the store's revision in it."""
        await self._barrier()
        header, state = self._member.header(), self._state
        await asyncio.to_thread(_export, target, header, state)
        return state.revision

    async def take_snapshot(self) -> None:
        """Let the journal begin anew behind a snapshot."""
        await self._member.snapshot_now()

    async def check(self) -> port.CheckReport:
        """Read every record and digest on disk."""
        return await self._member.keeper.undisturbed(lambda: _check(self._directory))

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._member.close()
            self._directory.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def _barrier(self) -> None:
        if not await self._member.barrier():
            raise errors.NoQuorumError("no majority of the store's members answers")

    async def _number(self, command: commands.Command) -> int:
        answer = await self._done(command)
        assert isinstance(answer, int)
        return answer

    async def _done(self, command: commands.Command) -> port.TxnResult | int:
        proposal = await self._member.propose(commands.encode(command))
        await proposal.accepted
        try:
            result = await proposal.result
        except member.OvertakenError as error:
            raise errors.NoQuorumError("the store lost its leader before the command was done") from error
        if isinstance(result, mvcc.Rejected):
            raise replica.refusal(result)
        return result.answer


def stop_process(error: BaseException) -> None:
    """End the process at once: after an error of the disk nothing it holds in memory can be trusted to last."""
    sys.stderr.write(f"the store has failed and stops this process: {error!r}\n")
    sys.stderr.flush()
    os._exit(70)


async def open_store(
    directory: Path,
    *,
    cluster: names.ClusterId,
    clock: effects.Clock,
    random: effects.Random,
    create: bool,
    halt: Callable[[BaseException], None] = stop_process,
) -> RaftStore:
    """Open the one-member store in `directory`, or with `create` make it where there is none.

    Raises InUseError, NotFoundError, DamagedError, IdentityError, NoSpaceError. Answers once everything acknowledged
    before is there. `halt` is called when the disk fails; it should not return.
    """
    held = await asyncio.to_thread(files.DiskFiles, directory)
    try:
        opened = await asyncio.to_thread(_open, held, cluster, random, create)
    except BaseException:
        held.close()
        raise
    running = member.Member(opened, clock, random, halt)
    store = RaftStore(running, held)
    try:
        await running.barrier_with_leader()
    except BaseException:
        await store.close()
        raise
    return store


def _open(
    held: files.Files, cluster: names.ClusterId, random: effects.Random, create: bool
) -> recovery.Opened:
    if create and not journal.exists(held):
        name = random.token(8)
        recovery.begin(held, journal.Identity(cluster, name, (name,)), random)
    return recovery.resume(held, cluster, random)


def _export(target: Path, header: snapshot.Header, state: mvcc.State) -> None:
    with target.open("xb") as file:
        file.writelines(snapshot.encode(header, state))
        file.flush()
        os.fsync(file.fileno())


def _check(directory: files.Files) -> port.CheckReport:
    findings: list[str] = []
    records = size = 0
    end = log.NOTHING
    try:
        loaded = recovery.load(directory)
        if loaded:
            records, end = loaded.chunks, loaded.header.end
        found = journal.check(directory)
        records += found.records
        recovery.join(found, end)
    except errors.DamagedError as error:
        findings.append(error.message)
    for name in directory.names():
        size += len(directory.read(name))
    return port.CheckReport(records, size, tuple(findings))
