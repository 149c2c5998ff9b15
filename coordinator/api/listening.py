"""The listening end of WS: how many may be connected, and how long one may take to ask its first question.

The library waits for a first request for ever, and for the next one an hour; whoever opens connections and says nothing
would hold them all. Law: a connection whose first head is not whole after `HEAD_S` is closed, one that rests after an
answer after `REST_S`, and of more than `CONNECTIONS` none is begun; a long answer or upload is not disturbed.
"""

import asyncio
import ssl
import typing

from aiohttp import web

from coordinator import limits

HEAD_S = 10.0
SHUTDOWN_S = 2.0  # a client that does not say goodbye is not waited for
REST_S = 30.0  # a command line that waits for a rollout asks again at once
CONNECTIONS = 1_000  # each holds a descriptor and some 10 KiB

BEGUN: web.AppKey[set[object]] = web.AppKey("begun", set)
"""Connections that have asked something."""


class _Turned(asyncio.Protocol):
    """One too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        typing.cast("asyncio.Transport", transport).abort()


class Site(web.BaseSite):
    """See the module."""

    __slots__ = ("_address", "_begun", "_port")

    def __init__(
        self,
        runner: web.AppRunner,
        address: str,
        port: int,
        context: ssl.SSLContext | None,
    ) -> None:
        super().__init__(runner, ssl_context=context, backlog=limits.LISTEN_BACKLOG)
        self._address = address
        self._port = port
        self._begun = runner.app[BEGUN]

    @property
    def name(self) -> str:
        return f"{self._address}:{self._port}"

    async def start(self) -> None:
        """Raises `OSError` where the address is taken."""
        await super().start()
        self._server = await asyncio.get_running_loop().create_server(
            self._made,
            self._address,
            self._port,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_handshake_timeout=None if self._ssl_context is None else HEAD_S,
            ssl_shutdown_timeout=None if self._ssl_context is None else SHUTDOWN_S,
        )

    def _made(self) -> asyncio.Protocol:
        server = self._runner.server
        assert server is not None
        if len(server.connections) >= CONNECTIONS:
            return _Turned()
        made = server()
        asyncio.get_running_loop().call_later(HEAD_S, self._look, made)
        return made

    def _look(self, made: web.RequestHandler) -> None:
        server = self._runner.server
        if made not in self._begun:
            made.force_close()
        if server is not None:
            self._begun.intersection_update(server.connections)
