"""The raft backend as a `port.Store`: what a caller asks, carried through the log, and what its outcome means.

It may not touch the disk or the core itself; `member` does. Law: an error that says "nothing was done" is true, and
where that cannot be known the error is `UnknownOutcomeError`.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

from coordinator import effects, errors, names
from coordinator.store import commands, mvcc, port, watch
from coordinator.store.backends import replica
from coordinator.store.backends.raft import (
    calls,
    files,
    forwarding,
    journal,
    log,
    member,
    recovery,
    snapshot,
    transport,
)


class RaftStore:
    """A member of a group with its directory; made by `open_store`."""

    def __init__(
        self,
        running: member.Member,
        directory: files.DiskFiles,
        clock: effects.Clock,
        through: calls.Calls,
        links: tuple[transport.Transport, forwarding.Forwarding] | None = None,
    ) -> None:
        self._member = running
        self._directory = directory
        self._clock = clock
        self._calls = through
        self._links = links
        self._closed = False

    @property
    def member(self) -> str:
        """The own id."""
        return self._member.opened.identity.member

    @property
    def empty(self) -> bool:
        """Nothing was ever put into it, as far as this member has applied."""
        return self._state.revision == 0

    @property
    def sealed(self) -> tuple[str, ...]:
        """The members for whom this group has ended, as far as this member has applied; empty while it goes on."""
        return self._state.sealed

    @property
    def _state(self) -> mvcc.State:
        return self._member.state

    async def get(self, key: bytes) -> port.KeyValue | None:
        await self._calls.barrier()
        return self._state.keys.get(key)

    async def scan(
        self, prefix: bytes, *, limit: int = 0, revision: int = 0, after: bytes = b""
    ) -> port.Scan:
        await self._calls.barrier()
        return self._member.machine.replica.scan(watch.Wanted(prefix, limit, after), revision)

    async def commit(self, txn: commands.Txn) -> port.TxnResult:
        commands.check(txn)
        answer = await self._done(txn)
        assert isinstance(answer, port.TxnResult)
        return answer

    def watch(self, prefix: bytes, from_revision: int = 0) -> port.Watch:
        return self._member.machine.replica.open_watch(prefix, from_revision)

    async def open_session(self) -> int:
        return await self._number(commands.SessionOpen())

    async def grant(self, ttl_s: float, guard: commands.Guard = ()) -> int:
        return await self._number(commands.LeaseGrant(ttl_s, self._bound(guard)))

    async def keep_alive(self, lease: int, guard: commands.Guard = ()) -> None:
        await self._done(commands.LeaseKeepalive(lease, self._bound(guard)))

    async def revoke(self, lease: int, guard: commands.Guard = ()) -> None:
        await self._done(commands.LeaseRevoke(lease, self._bound(guard)))

    def _bound(self, guard: commands.Guard) -> commands.Guard:
        """Until all members run a program that looks at it, a lease is renewed without: else it would end meanwhile."""
        return guard if self._state.level >= commands.GUARDED else ()

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
        lead, now = self._member.core.lead, self._clock.monotonic()
        others = lead.others if lead is not None else {}
        return tuple(
            port.MemberStatus(name, "", others[name].match, now - others[name].heard)
            if name in others
            else port.MemberStatus(name)
            for name in self._member.opened.identity.members
        )

    async def seal(self, members: tuple[str, ...]) -> int:
        """End this group for ever in favour of `members`; answers the revision its snapshot has."""
        await self._done(commands.Seal(members))
        await self._member.snapshot_now()
        return self._state.revision

    async def snapshot(self, target: Path) -> int:
        """Write everything, with digests, to a new file; answers the store's revision in it."""
        await self._calls.barrier()
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
            if self._links is not None:
                await self._member.resign()
                links, route = self._links
                await links.close()
                await route.close()
            await self._member.close()
            self._directory.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def _number(self, command: commands.Command) -> int:
        answer = await self._done(command)
        assert isinstance(answer, int)
        return answer

    async def _done(self, command: commands.Command) -> port.TxnResult | int:
        if commands.level(command) > self._state.level:
            raise errors.RefusedError(
                f"not every member of the store understands that yet (level {self._state.level})",
                hint="install the new version on all of them, and let all run at once",
            )
        result = await self._calls.carry(command)
        if isinstance(result, mvcc.Rejected):
            raise replica.refusal(result)
        return result.answer


def stop_process(error: BaseException) -> None:
    """End the process at once: after an error of the disk nothing it holds in memory can be trusted to last."""
    sys.stderr.write(f"the store has failed and stops this process: {error!r}\n")
    sys.stderr.flush()
    os._exit(70)


async def open_store(  # noqa: PLR0913 everything a store is given of its world
    directory: Path,
    *,
    cluster: names.ClusterId,
    clock: effects.Clock,
    random: effects.Random,
    create: bool,
    group: transport.Group | None = None,
    halt: Callable[[BaseException], None] = stop_process,
) -> RaftStore:
    """Open the store in `directory`; with `create`, make a store of one member where there is none.

    Raises InUseError, NotFoundError, DamagedError, IdentityError, NoSpaceError. A store of one answers once everything
    acknowledged before is there; one of several needs `group`, answers at once and may have no quorum yet. `halt` is
    called when the disk fails; it should not return.
    """
    held = await asyncio.to_thread(files.DiskFiles, directory)
    try:
        opened = await asyncio.to_thread(_open, held, cluster, random, create)
        _check_group(opened.identity, group)
    except BaseException:
        held.close()
        raise
    running = member.Member(opened, clock, random, halt)
    if group is None:
        store = RaftStore(running, held, clock, calls.AloneCalls(running))
        await _or_close(store, running.barrier_with_leader())
        return store
    route = forwarding.Forwarding(running, random)
    links = transport.Transport(opened.identity.member, cluster, group, route, random)
    route.attach(links)
    store = RaftStore(running, held, clock, calls.GroupCalls(route, clock), (links, route))
    await _or_close(store, links.start())
    return store


async def create_member(
    directory: Path, identity: journal.Identity, random: effects.Random, snapshot_file: Path | None = None
) -> None:
    """Make a member of a group, empty or from a snapshot that every member is made from.

    Raises InUseError, DamagedError.
    """

    def act() -> None:
        held = files.DiskFiles(directory)
        try:
            if snapshot_file is None:
                recovery.begin(held, identity, random)
            else:
                loaded = snapshot.decode(snapshot_file.name, snapshot_file.read_bytes())
                recovery.begin_from(held, identity, random, loaded)
        finally:
            held.close()

    await asyncio.to_thread(act)


async def _or_close(store: RaftStore, act: Awaitable[None]) -> None:
    try:
        await act
    except BaseException:
        await store.close()
        raise


def _check_group(identity: journal.Identity, group: transport.Group | None) -> None:
    """Who is a member stands in the journal; what is given must agree with it."""
    given = set(group.addresses) if group is not None else {identity.member}
    if given != set(identity.members):
        raise errors.IdentityError(
            f"the store has other members (got {sorted(given)}, have {sorted(identity.members)})",
            hint="members change by seal and hand over only",
        )


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
