"""Events as a stream, for many viewers at the price of one: each event is encoded once, and one ask waits for all.

Whoever finds nobody waiting at MIC waits there for everybody, with a token of its own, so no right is lent to anybody:
every viewer asks MIC itself when it comes, when it has missed something, and every `RECHECK_S`. Laws: a viewer holds
nothing but the id of its last event, and the ring of the last `RING` events is shared; one that falls behind that is
told `reset` with the state to begin from; one that does not read is closed after `WRITE_S`.
"""

from collections import deque
from collections.abc import Awaitable, Callable

import anyio
import msgspec
from aiohttp import web

from coordinator import effects, errors
from coordinator.api import bodies, kept
from coordinator.host import metrics
from coordinator.tiers import requests_looking

VIEWERS = 600
RING = 1_024
KEEP_ALIVE_S = 15.0  # below what proxies close silent connections after
RECHECK_S = 60.0  # whoever may not look any more sees no more than this
WRITE_S = 20.0
AGAIN_S = 1.0  # between asks while MIC is away
CONTENT_TYPE = "text/event-stream"
_ALIVE = b": keep-alive\n\n"
_AWAY = b'event: coordinator\ndata: {"state":"away"}\n\n'
_BACK = b'event: coordinator\ndata: {"state":"active"}\n\n'

Ask = Callable[[requests_looking.Events], Awaitable[requests_looking.EventsView]]
"""With the viewer's own token. Raises `TiercastError`."""


def encoded(kind: str, number: str, data: bytes) -> bytes:
    """One event as it goes over the wire; JSON has no line breaks of its own."""
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (number.encode(), kind.encode(), data)


class Ring:
    """The last events, encoded, by number within one term; what came before them is `base`."""

    def __init__(self) -> None:
        self.last = ""
        self._term = ""
        self._first = 0
        """Number of the event before the oldest one kept."""
        self._base = b""
        """A `reset` to that number, where there was one."""
        self._kept: deque[bytes] = deque()

    def begin(self, last: str, base: bytes = b"") -> None:
        """Nothing before `last` is known any more."""
        term, number = _parted(last)
        self.last, self._term, self._first, self._base = last, term, number, base
        self._kept.clear()

    def add(self, events: tuple[requests_looking.Event, ...]) -> None:
        for event in events:
            term, number = _parted(event.id)
            if (term, number) != (self._term, self._first + len(self._kept) + 1):
                continue  # told before
            self._kept.append(encoded(event.kind, event.id, msgspec.json.encode(event)))
            if len(self._kept) > RING:
                self._kept.popleft()
                self._first += 1
                self._base = b""
            self.last = event.id

    def after(self, last: str) -> bytes | None:
        """All that follows that event, or a reset and what follows it; None where neither is known."""
        term, number = _parted(last)
        if term == self._term and number >= self._first:
            return b"".join(list(self._kept)[number - self._first :])
        return self._base + b"".join(self._kept) if self._base and term != self._term else None


def _parted(last: str) -> tuple[str, int]:
    term, _, number = last.partition(".")
    return term, int(number) if number.isdecimal() and len(number) <= 15 else -1


class Hub:
    """See the module."""

    def __init__(self, clock: effects.Clock, meters: metrics.Metrics) -> None:
        self._clock = clock
        self._ring = Ring()
        self._viewers = 0
        self._asking = False
        self._away = False
        self._news = anyio.Event()
        self._gauge = meters.gauge("http_event_viewers", "Viewers of the stream of events")

    async def serve(
        self, request: web.Request, ask: Ask, after: str, headers: dict[str, str]
    ) -> web.StreamResponse:
        """One viewer, until it leaves. Raises `BusyError`, and what the first ask raises."""
        if self._viewers >= VIEWERS:
            raise bodies.BusyError(
                f"too many are following events (have {VIEWERS})", hint="try again later, or another server"
            )
        self._viewers += 1
        self._gauge.set(self._viewers)
        try:
            first = await ask(requests_looking.Events(after=after))
            response = web.StreamResponse(headers={**headers, "X-Accel-Buffering": "no"})
            response.content_type = CONTENT_TYPE
            await response.prepare(request)
            await _Viewer(self, response, ask).follow(first)
            if request.transport is not None and response.keep_alive is False:
                request.transport.abort()  # what it has not read it will not read any more
            return response
        finally:
            self._viewers -= 1
            self._gauge.set(self._viewers)

    # --- for viewers ----------------------------------------------------------------------------------------------

    def joined(self, last: str) -> None:
        """Somebody follows from there on."""
        if not self._ring.last or (self._viewers == 1 and not self._asking):
            self._ring.begin(last)

    def after(self, last: str) -> tuple[bytes | None, str]:
        """What that viewer has not seen, None where that is not known here; and the id of the last of it."""
        return self._ring.after(last), self._ring.last

    @property
    def away(self) -> bool:
        return self._away

    @property
    def now(self) -> float:
        return self._clock.monotonic()

    async def news(self, ask: Ask) -> None:
        """Until something has happened, or a while has passed: waits at MIC for everybody where nobody does yet."""
        if self._asking:
            with anyio.move_on_after(KEEP_ALIVE_S):
                await self._news.wait()
            return
        self._asking = True
        try:
            await self._asked(ask)
        finally:
            self._asking = False
            self._news.set()
            self._news = anyio.Event()

    async def _asked(self, ask: Ask) -> None:
        try:
            wait_s = 0.0 if self._away else KEEP_ALIVE_S  # that it is back is news of its own
            view = await ask(requests_looking.Events(after=self._ring.last, wait_s=wait_s))
        except errors.TiercastError as problem:
            if problem.code not in kept.AWAY and problem.code != "busy":
                raise
            self._away = problem.code in kept.AWAY
            await anyio.sleep(AGAIN_S)
            return
        self._away = False
        if view.state is not None:
            self._ring.begin(view.last, encoded("reset", view.last, msgspec.json.encode(view.state)))
        else:
            self._ring.add(view.events)


class _Viewer:
    """One connection: the id of its last event, and when MIC was last asked whether it may look."""

    def __init__(self, hub: Hub, response: web.StreamResponse, ask: Ask) -> None:
        self._hub = hub
        self._response = response
        self._ask = ask
        self._last = ""
        self._away = False
        self._checked = hub.now
        self._wrote = self._checked

    async def follow(self, first: requests_looking.EventsView) -> None:
        """Until the client leaves, or may not look any more."""
        try:
            await self._caught_up(first)
            self._hub.joined(self._last)
            while True:
                await self._hub.news(self._ask)
                await self._told()
                await self._check()
        except (errors.TiercastError, ConnectionError):
            return

    async def _told(self) -> None:
        found, last = self._hub.after(self._last)
        if found is None:
            await self._ask_again()
        elif found:
            self._last = last
            await self._write(found)
        if self._hub.away != self._away:
            self._away = self._hub.away
            await self._write(_AWAY if self._away else _BACK)
        if self._hub.now - self._wrote >= KEEP_ALIVE_S - AGAIN_S:
            await self._write(_ALIVE)

    async def _check(self) -> None:
        if self._hub.now - self._checked >= RECHECK_S:
            await self._ask_again()

    async def _ask_again(self) -> None:
        """For oneself: what was missed, and whether one may still look. MIC being away is no verdict."""
        try:
            view = await self._ask(requests_looking.Events(after=self._last))
        except errors.TiercastError as problem:
            if problem.code not in kept.AWAY and problem.code != "busy":
                raise
            await anyio.sleep(AGAIN_S)
            return
        self._checked = self._hub.now
        await self._caught_up(view)

    async def _caught_up(self, view: requests_looking.EventsView) -> None:
        self._last = view.last
        if view.state is not None:
            kind = "reset" if view.reset else "state"
            await self._write(encoded(kind, view.last, msgspec.json.encode(view.state)))
            return
        told = b"".join(encoded(one.kind, one.id, msgspec.json.encode(one)) for one in view.events)
        await self._write(told or _ALIVE)

    async def _write(self, data: bytes) -> None:
        """Raises `ConnectionError` where the client does not read."""
        with anyio.move_on_after(WRITE_S) as scope:
            await self._response.write(data)
        if scope.cancelled_caught:
            self._response.force_close()
            raise ConnectionResetError("a viewer does not read")
        self._wrote = self._hub.now
