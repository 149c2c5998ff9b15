"""What a caller of the store goes through: at once in a group of one, with patience and exactly once in a larger one.

Law: `carry` does a transaction once however often it has to be sent; an error that says "nothing was done" is true, and
where that cannot be known it is `UnknownOutcomeError`.
"""

import asyncio
from typing import Final, Protocol

import msgspec

from coordinator import effects, errors, limits
from coordinator.store import commands, mvcc
from coordinator.store.backends.raft import forwarding, member, pending

QUORUM_S: Final = 2.0  # how long a caller waits for a leader before it is told that there is no quorum
DOUBT_S: Final = 6.0  # how long it is tried to learn an outcome: a lost leader and two elections
RETRY_S: Final = 0.05


class Calls(Protocol):
    async def carry(self, command: commands.Command) -> mvcc.Result:
        """Raises NoQuorumError and NoSpaceError (nothing was done), UnknownOutcomeError."""
        ...

    async def barrier(self) -> None:
        """The own state holds everything acknowledged before the call. Raises NoQuorumError."""
        ...


class AloneCalls:
    """In a group of one: this member leads, and whatever it took it will do."""

    def __init__(self, running: member.Member) -> None:
        self._member = running

    async def carry(self, command: commands.Command) -> mvcc.Result:
        proposal = await self._member.propose(commands.encode(command))
        await proposal.accepted
        try:
            return await proposal.result
        except pending.OvertakenError as error:
            raise errors.NoQuorumError("the command was overtaken") from error
        except pending.InDoubtError as error:
            raise errors.UnknownOutcomeError("the member stepped down meanwhile") from error

    async def barrier(self) -> None:
        if not await self._member.barrier():
            raise errors.NoQuorumError("the member does not lead")


class GroupCalls:
    """In a group of several: wherever the leader is, and across a change of leader."""

    def __init__(self, route: forwarding.Forwarding, clock: effects.Clock) -> None:
        self._route = route
        self._clock = clock
        self._session: _Session | None = None
        self._slots = asyncio.Semaphore(limits.STORE_REQUESTS)

    async def carry(self, command: commands.Command) -> mvcc.Result:
        if not isinstance(command, commands.Txn):
            result, doubtful = await self._persist(command)
            return _made_good(command, result) if doubtful else result
        if command.request is not None:
            return (await self._persist(command))[0]
        async with self._slots:
            return await self._once(command)

    async def barrier(self) -> None:
        try:
            async with asyncio.timeout(QUORUM_S):
                while not await self._try_barrier():  # noqa: ASYNC110 nothing tells when a leader would answer
                    await asyncio.sleep(RETRY_S)
        except TimeoutError as error:
            raise errors.NoQuorumError("no majority of the store's members answers") from error

    async def _try_barrier(self) -> bool:
        try:
            await self._route.barrier()
        except errors.NoQuorumError:
            return False
        return True

    async def _once(self, txn: commands.Txn) -> mvcc.Result:
        """Under a request id of the own session, so that sending it again cannot do it again."""
        while True:
            session = await self._open_session()
            request = session.begin()
            try:
                result, doubtful = await self._persist(msgspec.structs.replace(txn, request=request))
            finally:
                session.under_way.discard(request.number)
            if not isinstance(result, mvcc.Rejected) or result.code != "session_unknown" or doubtful:
                return result
            if self._session is session:
                self._session = None

    async def _open_session(self) -> "_Session":
        while self._session is None:
            result, _doubtful = await self._persist(commands.SessionOpen())
            if isinstance(result, mvcc.Rejected):
                raise errors.RefusedError(result.detail)
            assert isinstance(result.answer, int)
            if self._session is None:
                self._session = _Session(result.answer)
        return self._session

    async def _persist(self, command: commands.Command) -> tuple[mvcc.Result, bool]:
        """Try until there is a result, and say whether an earlier attempt may have been the one that was done."""
        data = commands.encode(command)
        started = self._clock.monotonic()
        doubtful = False
        while True:
            try:
                return await self._route.carry(data), doubtful
            except (errors.NoQuorumError, pending.OvertakenError):
                pass
            except pending.InDoubtError:
                doubtful = True
            if self._clock.monotonic() - started > (DOUBT_S if doubtful else QUORUM_S):
                if doubtful:
                    raise errors.UnknownOutcomeError("the store lost its leader, and no other came to tell")
                raise errors.NoQuorumError("no majority of the store's members answers")
            await asyncio.sleep(RETRY_S)


class _Session:
    """Request ids of one session of the store's, and those of them that are under way."""

    def __init__(self, number: int) -> None:
        self._session = number
        self._last = 0
        self.under_way: set[int] = set()

    def begin(self) -> commands.RequestId:
        self._last += 1
        self.under_way.add(self._last)
        return commands.RequestId(self._session, self._last, min(self.under_way))


def _made_good(command: commands.Command, result: mvcc.Result) -> mvcc.Result:
    """A refusal that only says that the first attempt succeeded. Raises UnknownOutcomeError where it may have."""
    if result == mvcc.OVERRULED:
        raise errors.UnknownOutcomeError("the conditions of this command do not hold any more, but may have")
    done = {
        commands.LeaseRevoke: "lease_gone",
        commands.Compact: "compacted",
        commands.Seal: "sealed",
        commands.RaiseLevel: "level",
    }
    if isinstance(result, mvcc.Rejected) and done.get(type(command)) == result.code:
        return mvcc.Applied()
    return result
