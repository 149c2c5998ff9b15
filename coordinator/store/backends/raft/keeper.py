"""Keeps a member's journal short, and moves snapshots to and from other members.

It decides nothing of Raft. Law: one at a time, from the first byte written to the last file removed, off the event loop;
what a snapshot replaces goes only once it is durable.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from coordinator.store import mvcc
from coordinator.store.backends.raft import log, messages, recovery, snapshot, transfer, worker

T = TypeVar("T")


class Keeper:
    """Of one member's directory."""

    def __init__(self, opened: recovery.Opened, disk: worker.Worker) -> None:
        self._opened = opened
        self._disk = disk
        self._incoming = transfer.Incoming(opened.directory)
        self._outgoing = transfer.Outgoing(opened.directory)
        self._moving = asyncio.Lock()

    @property
    def busy(self) -> bool:
        return self._moving.locked()

    async def take(self, header: snapshot.Header, state: mvcc.State) -> None:
        """Write a snapshot and let go of everything before it. Raises OSError."""

        def write() -> None:
            snapshot.write(self._opened.directory, header, snapshot.encode(header, state))

        async with self._moving:
            await asyncio.to_thread(write)
            await self._disk.run(lambda: self._let_go(header.end.index))

    async def undisturbed(self, act: Callable[[], T]) -> T:
        """Do something with the files, in a thread, while no snapshot moves them."""
        async with self._moving:
            return await asyncio.to_thread(act)

    async def piece(self, wanted: messages.SendPiece) -> messages.Install | None:
        """The piece to send, if there is a snapshot."""
        return await self._disk.run(lambda: self._outgoing.piece(wanted))

    async def keep(self, term: int, piece: messages.Install) -> messages.Installed | snapshot.Loaded | None:
        """Take a piece that arrived; the state once it is whole. None where there is no room."""
        return await self._disk.run(lambda: self._incoming.keep(term, piece))

    async def install(self, end: log.Position, last: log.Position) -> None:
        """Let what arrived take the place of the log up to `end`."""

        def act() -> None:
            transfer.install(self._opened.directory, self._opened.writer, end, last)

        async with self._moving:
            await self._disk.run(act)
            await self._disk.run(lambda: self._let_go(end.index))

    async def close(self) -> None:
        async with self._moving:
            pass
        self._incoming.close()
        self._outgoing.close()

    def _let_go(self, index: int) -> None:
        self._opened.writer.roll()
        self._opened.writer.drop_before(index)
        snapshot.drop_before(self._opened.directory, index)
