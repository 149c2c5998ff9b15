"""The listening end of a member: whoever comes is shown, and judged by, the certificates and roots of that very moment.

It accepts by itself rather than through asyncio's server, whose context cannot be another one later, and which counts
nobody before the handshake is over. Law: at most `ROOM` handshakes are under way, none longer than `HELLO_S`, and however
many strangers come, a member whose address does not crowd gets through.
"""

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import Callable
from typing import Final

from coordinator import limits
from coordinator.trust import crowd

ROOM: Final = 64  # four other members, each with a few attempts under way, and room for strangers
RETRY_S: Final = 0.1  # out of descriptors or memory: somebody has to close one first


class Accepting:
    """Of one member. To be made inside the running event loop."""

    def __init__(
        self,
        place: tuple[str, int],
        context: Callable[[], ssl.SSLContext],
        make: Callable[[], asyncio.BaseProtocol],
    ) -> None:
        """`make` is a connection from the end of its handshake on. Raises OSError where the address cannot be had."""
        family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        self._listener = socket.create_server(place, family=family, backlog=limits.LISTEN_BACKLOG)
        self._listener.setblocking(False)
        self._context = context
        self._make = make
        self._crowd = crowd.Crowd(ROOM)
        self._loop = asyncio.get_running_loop()
        self._greeted: dict[asyncio.Task[None], socket.socket] = {}
        self._accepts = self._loop.create_task(self._accept())

    async def close(self) -> None:
        """No more come in, and what has not come in yet does not."""
        self._accepts.cancel()
        for connected in self._greeted.values():
            crowd.hang_up(connected)
        await asyncio.gather(self._accepts, *self._greeted, return_exceptions=True)
        self._listener.close()

    async def _accept(self) -> None:
        while True:
            try:
                connected, address = await self._loop.sock_accept(self._listener)
            except OSError:
                await asyncio.sleep(RETRY_S)
                continue
            connected.setblocking(False)
            task = self._loop.create_task(self._greet(connected))
            give_way = functools.partial(crowd.hang_up, connected)
            ticket = self._crowd.enter(crowd.of_one(str(address[0])), give_way)
            self._greeted[task] = connected
            task.add_done_callback(functools.partial(self._ended, ticket))

    def _ended(self, ticket: int, task: asyncio.Task[None]) -> None:
        self._crowd.leave(ticket)
        del self._greeted[task]

    async def _greet(self, connected: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._make, connected, ssl=self._context(), ssl_handshake_timeout=limits.HELLO_S
            )
        except OSError:  # of the handshake: a stranger has no part in this
            with contextlib.suppress(OSError):
                connected.close()
