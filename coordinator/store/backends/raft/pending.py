"""Who waits for what: proposals on their way into the log, entries that are to be applied, barriers that are asked for.

No I/O. Law: whoever waits is told exactly once: the result, that it was overtaken (and so never done), that the outcome
is in doubt, or why nothing was done.
"""

import asyncio
from typing import Any, Final

import msgspec

from coordinator import errors
from coordinator.store import mvcc
from coordinator.store.backends.raft import log, messages

RECENT: Final = 256  # results kept for answers that come late; as many entries as come within a round trip


class Proposal(msgspec.Struct, frozen=True, eq=False):
    """On its way into the log; `accepted` tells where it came to stand."""

    data: bytes
    accepted: "asyncio.Future[log.Position]"
    result: "asyncio.Future[mvcc.Result]"


class InDoubtError(Exception):
    """The leader changed, or can no longer be asked: it may have been done, or may yet be."""


class OvertakenError(Exception):
    """Another entry stands where this one stood: it was not done and never will be."""


class _Waiting(msgspec.Struct, frozen=True):
    """Somebody who proposed what stands at an index, if it is still of that term."""

    term: int
    result: "asyncio.Future[mvcc.Result]"


class Pending:
    """Of one member."""

    def __init__(self) -> None:
        self._tickets = 0
        self._asked: dict[int, Proposal] = {}
        self._barriers: dict[int, asyncio.Future[int]] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._recent: dict[int, tuple[int, mvcc.Result]] = {}

    def propose(self, proposal: Proposal) -> int:
        """A ticket for it."""
        self._tickets += 1
        self._asked[self._tickets] = proposal
        return self._tickets

    def ask(self) -> tuple[int, "asyncio.Future[int]"]:
        """A ticket for a barrier, and what will tell its index; raises NoQuorumError there."""
        self._tickets += 1
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._barriers[self._tickets] = future
        return self._tickets, future

    def forget(self, ticket: int) -> None:
        self._barriers.pop(ticket, None)

    def accepted(self, output: messages.Accepted) -> None:
        proposal = self._asked.pop(output.ticket, None)
        if proposal is not None:
            self._wait_at(output.position, proposal.result)
            if not proposal.accepted.done():
                proposal.accepted.set_result(output.position)

    def declined(self, output: messages.Declined) -> None:
        error = errors.NoQuorumError("no member leads the store now")
        proposal = self._asked.pop(output.ticket, None)
        if proposal is not None:
            refuse(proposal.accepted, error)
        barrier = self._barriers.pop(output.ticket, None)
        if barrier is not None:
            refuse(barrier, error)

    def readable(self, output: messages.Readable) -> None:
        barrier = self._barriers.pop(output.ticket, None)
        if barrier is not None and not barrier.done():
            barrier.set_result(output.index)

    def applied(self, entry: log.Entry, result: mvcc.Result) -> None:
        """Tell whoever waits for it; a follower may apply an entry before it learns that it was its own."""
        self._recent[entry.index] = (entry.term, result)
        self._recent.pop(entry.index - RECENT, None)
        waiting = self._waiting.pop(entry.index, None)
        if waiting is None or waiting.result.done():
            return
        if waiting.term == entry.term:
            waiting.result.set_result(result)
        else:
            refuse(waiting.result, OvertakenError())

    def result_at(self, position: log.Position, applied: int) -> "asyncio.Future[mvcc.Result]":
        """What came or comes of the entry that another member put there."""
        future: asyncio.Future[mvcc.Result] = asyncio.get_running_loop().create_future()
        if position.index > applied:
            self._wait_at(position, future)
            return future
        term, result = self._recent.get(position.index, (0, mvcc.MALFORMED))
        if term == position.term:
            future.set_result(result)
        else:
            refuse(future, InDoubtError())
        return future

    def skipped(self, index: int) -> None:
        """A snapshot stands for all entries up to there: what came of each is not known here."""
        for at in [at for at in self._waiting if at <= index]:
            refuse(self._waiting.pop(at).result, InDoubtError())

    def doubt(self) -> None:
        """The leader changed: nobody can say what becomes of what was accepted."""
        for waiting in self._waiting.values():
            refuse(waiting.result, InDoubtError())
        self._waiting.clear()

    def end(self, error: errors.TiercastError) -> None:
        """Nobody waits for ever."""
        for proposal in self._asked.values():
            refuse(proposal.accepted, error)
        for waiting in self._waiting.values():
            refuse(waiting.result, errors.UnknownOutcomeError("the store stopped before it knew"))
        for barrier in self._barriers.values():
            refuse(barrier, errors.NoQuorumError("the store has stopped"))

    def _wait_at(self, position: log.Position, future: "asyncio.Future[mvcc.Result]") -> None:
        before = self._waiting.get(position.index)
        if before is not None:
            refuse(before.result, InDoubtError())
        self._waiting[position.index] = _Waiting(position.term, future)


def refuse(future: "asyncio.Future[Any]", error: BaseException) -> None:
    """Hand an error to whoever waits, if anyone still does."""
    if not future.done():
        future.set_exception(error)
        future.exception()  # whoever asked may have gone
