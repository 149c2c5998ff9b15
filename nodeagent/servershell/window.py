"""Where programs on this machine look at their server's own view of the configuration: `run/view.sock`.

One line of JSON asks (`{"watch": "view"}`, `{"get": "document"}`), lines of JSON answer: the view now, and with `watch`
again whenever it has changed. It needs no network and no parent. Laws: who does not read gets the newest once it does,
never a queue; all get the same bytes, encoded once; only this user's programs and root's are answered.
"""

import contextlib
import pathlib
from collections.abc import Callable
from typing import Literal

import anyio
import anyio.abc
import msgspec

from coordinator import errors, limits
from coordinator.hop import link
from coordinator.host import logs
from nodeagent.servershell import outlook

_LOG = logs.Log("window")
SOCKET = "view"
ASK_S = 5.0
STUCK_S = 60.0  # of somebody who does not read while there is something new
ASK_BYTES = 1024

_GONE = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)
"""It has hung up, or did not read in time (`TimeoutError` is an `OSError`)."""

What = Literal["view", "document"]
Look = Callable[[], tuple[outlook.Outlook, bytes]]
"""The view now, and the document as canonical JSON (empty where there is none)."""


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Exactly one of them."""

    get: What | None = None
    watch: What | None = None


class Refused(msgspec.Struct, frozen=True):
    """The only other line; the connection ends after it."""

    error: str


class Window:
    """See the module."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._seen: outlook.Outlook | None = None
        self._lines: dict[What, bytes] = {}
        self._news = anyio.Event()
        self._open = 0

    def tell(self) -> None:
        """Something may have changed; cheap where nothing has, and where nobody looks."""
        if self._open and self._refresh():
            self._news.set()
            self._news = anyio.Event()

    def _refresh(self) -> bool:
        found, _document = self._look()
        if found == self._seen:
            return False
        self._seen, self._lines = found, {}
        return True

    def _line(self, what: What) -> bytes:
        if what not in self._lines:
            found, document = self._look()
            self._lines[what] = outlook.line(found, document if what == "document" else None)
        return self._lines[what]

    async def serve(self, path: str) -> None:
        """Until cancelled. Raises `OSError` where the path cannot be used."""
        listener = await anyio.create_unix_listener(path, mode=0o600, backlog=limits.LISTEN_BACKLOG)
        try:
            async with listener:
                await listener.serve(self._attend)
        finally:
            _unlink(path)

    async def _attend(self, stream: anyio.abc.SocketStream) -> None:
        self._open += 1
        try:
            async with stream:
                await self._answer(stream)
        except _GONE as gone:
            _LOG.debug("a program has gone", reason=type(gone).__name__)
        finally:
            self._open -= 1

    async def _answer(self, stream: anyio.abc.SocketStream) -> None:
        try:
            raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)  # noqa: S610 anyio's, no query
            link.unix_peer(raw)
            if self._open > limits.LOCAL_WATCHERS:
                raise errors.TooLargeError(f"too many programs are looking (have {limits.LOCAL_WATCHERS})")
            asked = await _asked(stream)
        except errors.TiercastError as problem:
            await stream.send(msgspec.json.encode(Refused(problem.message)) + b"\n")
            return
        self.tell()  # not only for this one: whoever looks already must hear of it as well
        if asked.watch is None:
            assert asked.get is not None, "one of them is asked for"
            await stream.send(self._line(asked.get))
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_until_gone, stream, tasks.cancel_scope)
            with contextlib.suppress(*_GONE):
                await self._follow(stream, asked.watch)
            tasks.cancel_scope.cancel()

    async def _follow(self, stream: anyio.abc.SocketStream, what: What) -> None:
        sent: bytes = b""
        while True:
            news, line = self._news, self._line(what)
            if line is not sent and line != sent:
                with anyio.fail_after(STUCK_S):
                    await stream.send(line)
                sent = line
            elif news is self._news:
                await news.wait()


def _unlink(path: str) -> None:
    pathlib.Path(path).unlink(missing_ok=True)


async def _asked(stream: anyio.abc.SocketStream) -> Asked:
    """Raises `UsageError`."""
    data = b""
    try:
        with anyio.fail_after(ASK_S):
            while b"\n" not in data and len(data) <= ASK_BYTES:
                data += await stream.receive(ASK_BYTES)
        asked = msgspec.json.decode(data.partition(b"\n")[0], type=Asked)
    except (*_GONE, msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise errors.UsageError(
            f'one line asks, such as {{"watch": "view"}} ({str(wrong) or "none came in time"})'
        ) from wrong
    if (asked.get is None) == (asked.watch is None):
        raise errors.UsageError('one line asks, such as {"watch": "view"} or {"get": "document"}')
    return asked


async def _until_gone(stream: anyio.abc.SocketStream, scope: anyio.CancelScope) -> None:
    """Whoever hangs up is forgotten at once; what else is said is not listened to."""
    try:
        while True:
            await stream.receive(ASK_BYTES)
    except _GONE:
        scope.cancel()
