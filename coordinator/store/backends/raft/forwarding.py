"""What a member does for callers while another leads, and for other members while it leads itself.

It decides nothing and promises nothing of its own. Law: whoever waits here is answered, or told that the outcome is in
doubt, as soon as the leader changes or the link to it ends.
"""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from coordinator import effects, errors
from coordinator.store import commands, mvcc
from coordinator.store.backends.raft import log, member, messages, pending, transport

SERVED: Final = 1024  # requests of other members under way; more are declined and come again
TICKET_BYTES: Final = 6  # random, and far from the end of 64 bits however long it counts on
LEAD_COMMANDS: Final = 200
LEAD_S: Final = 2.0
"""A member from which so many commands came for so long, and from nobody else, is to lead: each of them crosses the
network once less then. Where the active MIC is, that is."""
_NO_SPACE: Final = "no_space"

T = TypeVar("T")


class Forwarding:
    """Between one member, its links and its callers; it is the links' `Events`."""

    def __init__(self, running: member.Member, random: effects.Random) -> None:
        self._member = running
        self._links: transport.Transport | None = None
        # Not from one: a leader may still answer what was asked by this member before it was started anew.
        self._tickets = int(random.token(TICKET_BYTES), 16)
        self._proposed: dict[int, tuple[str, asyncio.Future[messages.Forwarded]]] = {}
        self._asked: dict[int, tuple[str, asyncio.Future[messages.Answer]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._origin = _Origin()

    def attach(self, links: transport.Transport) -> None:
        self._links = links
        self._member.attach(links, self.led_anew)

    async def carry(self, data: bytes) -> mvcc.Result:
        """Have a command done, here or at the leader.

        Raises NoQuorumError, NoSpaceError and OvertakenError (nothing was done) and InDoubtError.
        """
        if self._member.core.lead is not None:
            self._origin.came("")
            proposal = await self._member.propose(data)
            await proposal.accepted
            return await proposal.result
        leader, links = self._leader()
        future: asyncio.Future[messages.Forwarded] = asyncio.get_running_loop().create_future()
        self._tickets += 1
        ticket = self._tickets
        self._proposed[ticket] = (leader, future)
        links.send(leader, messages.Forward(ticket, data))
        try:
            answer = await future
        finally:
            self._proposed.pop(ticket, None)
        if answer.position is None:
            if answer.reason == _NO_SPACE:
                raise errors.NoSpaceError("the disk of the store's leader is full")
            raise errors.NoQuorumError("the store has no leader now")
        return await self._member.result_at(answer.position)

    async def barrier(self) -> None:
        """Return once the own state holds everything acknowledged before the call; raises NoQuorumError."""
        if self._member.core.lead is not None:
            if not await self._member.barrier():
                raise errors.NoQuorumError("the leader lost its majority")
            return
        leader, links = self._leader()
        future: asyncio.Future[messages.Answer] = asyncio.get_running_loop().create_future()
        self._tickets += 1
        ticket = self._tickets
        self._asked[ticket] = (leader, future)
        links.send(leader, messages.Ask(ticket))
        try:
            answer = await future
        except pending.InDoubtError as error:
            raise errors.NoQuorumError("the leader is gone") from error
        finally:
            self._asked.pop(ticket, None)
        if answer.index is None:
            raise errors.NoQuorumError("the store has no leader now")
        await self._member.applied_to(answer.index)

    # From the links.

    def received(self, sender: str, frame: messages.Frame) -> None:
        match frame:
            case messages.Forward():
                self._serve(self._propose_for(sender, frame), sender, messages.Forwarded(frame.ticket, None))
            case messages.Ask():
                self._serve(self._ask_for(sender, frame), sender, messages.Answer(frame.ticket, None))
            case messages.Forwarded():
                _resolve(self._proposed, sender, frame.ticket, frame)
            case messages.Answer():
                _resolve(self._asked, sender, frame.ticket, frame)
            case _:
                self._member.give(messages.Received(sender, frame))

    def linked(self, other: str) -> None:
        self._member.give(messages.Reconnected(other))

    def unlinked(self, other: str) -> None:
        self.doubt(other)

    def understands(self, other: str, level: int | None) -> None:
        self._member.understands(other, level)
        # Its answers come over the link that it has made: those said before this one came up, or ended, may be lost.
        self.doubt(other)

    def led_anew(self) -> None:
        """Somebody else leads, or nobody, or this member: where commands came from before says nothing of now on.

        A member that cannot hold on to the lead would be given it back with its next command, and leases begin anew each time.
        """
        self._origin = _Origin()
        self.doubt()

    def doubt(self, other: str | None = None) -> None:
        """Nobody will answer what was sent to that member (to any: None)."""
        waiting: list[tuple[str, asyncio.Future[Any]]] = [*self._proposed.values(), *self._asked.values()]
        for leader, future in waiting:
            if other in (None, leader) and not future.done():
                future.set_exception(pending.InDoubtError())
                future.exception()

    async def close(self) -> None:
        self.doubt()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _leader(self) -> tuple[str, transport.Transport]:
        leader = self._member.core.leader
        if leader is None or self._links is None or not self._links.reaches(leader):
            raise errors.NoQuorumError("the store has no leader now")
        return leader, self._links

    # For other members.

    def _serve(self, act: Coroutine[object, object, None], sender: str, busy: messages.Frame) -> None:
        if len(self._tasks) >= SERVED:
            act.close()
            self._reply(sender, busy)
            return
        task = asyncio.get_running_loop().create_task(act)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _propose_for(self, sender: str, asked: messages.Forward) -> None:
        position: log.Position | None = None
        reason = ""
        try:
            if commands.decode(asked.data) is not None:
                proposal = await self._member.propose(asked.data)
                position = await proposal.accepted
        except errors.NoSpaceError:
            reason = _NO_SPACE
        except errors.TiercastError:
            reason = "declined"
        self._reply(sender, messages.Forwarded(asked.ticket, position, reason))
        if position is not None and self._origin.came(sender):
            with contextlib.suppress(errors.TiercastError, pending.InDoubtError, pending.OvertakenError):
                await self._member.applied_to(position.index)
                self._member.hand_to(sender)

    async def _ask_for(self, sender: str, asked: messages.Ask) -> None:
        index: int | None = None
        try:
            if await self._member.barrier():
                index = self._member.applied
        except errors.TiercastError:
            index = None
        self._reply(sender, messages.Answer(asked.ticket, index))

    def _reply(self, to: str, frame: messages.Frame) -> None:
        if self._links is not None:
            self._links.send(to, frame)


class _Origin:
    """Where a leader's commands come from."""

    def __init__(self) -> None:
        self._member = ""
        self._count = 0
        self._since = 0.0

    def came(self, member: str) -> bool:
        """Whether it was that member alone for long; empty: this one."""
        now = asyncio.get_running_loop().time()
        if member != self._member:
            self._member, self._count, self._since = member, 0, now
        self._count += 1
        return bool(member) and self._count >= LEAD_COMMANDS and now - self._since >= LEAD_S


def _resolve(
    waiting: dict[int, tuple[str, "asyncio.Future[T]"]], sender: str, ticket: int, answer: T
) -> None:
    """Only the member that was asked may answer."""
    asked, future = waiting.get(ticket, ("", None))
    if future is not None and asked == sender and not future.done():
        future.set_result(answer)
