"""From a request understood to MIC's answer: forwarded with the caller's own token, waited for, remembered.

Law: those who wait for news take at most half of the link; every ask ends; what is given again while MIC is away says so.
"""

from typing import Protocol

import anyio
import msgspec

from coordinator import effects, errors, limits
from coordinator.api import bodies, forms, kept, problems, routing
from coordinator.propagation import asks
from coordinator.tiers import requests, requests_looking

WAITING = limits.ASKS_UNDER_WAY // 2  # the other half of the link is for those who do not wait for news
UPSTREAM_S = asks.ASK_TIMEOUT_S + 5.0  # the link itself gives up before


class Upstream(Protocol):
    """The link to MIC."""

    async def ask(self, verb: str, data: bytes) -> tuple[str, bytes]:
        """(code, data): code empty is good; else `data` is a JSON `Problem` or empty. Raises `TiercastError`."""
        ...


class Asking(msgspec.Struct, frozen=True):
    """Who asks, from where, under which id."""

    token: str
    source: str
    request_id: str


class Answer(msgspec.Struct, frozen=True):
    """MIC's answer, or the one that it gave before."""

    code: str
    data: bytes
    as_of: str = ""


class SaidNoError(errors.TiercastError):
    """MIC's own problem, for those who handle it as an exception."""

    def __init__(self, problem: requests.Problem) -> None:
        super().__init__(problem.detail, hint=problem.hint)
        self.code = problem.code  # type: ignore[misc]  # MIC's, not ours


class _Indexed(msgspec.Struct, frozen=True):
    index: int = 0


class Upward:
    """See the module."""

    def __init__(self, upstream: Upstream, clock: effects.Clock, memory: kept.Kept) -> None:
        self.clock = clock
        self._upstream = upstream
        self._kept = memory
        self._waiting = 0

    async def ask(self, route: routing.Route, asking: Asking, asked: msgspec.Struct | None) -> Answer:
        """Once, or again and again for whoever waits longer than one ask may. Raises `TiercastError`."""
        wait_s = getattr(asked, "wait_s", 0.0)
        if wait_s <= 0:
            return await self._kept_or_asked(route, asking, asked)
        assert asked is not None
        if self._waiting >= WAITING:
            raise bodies.BusyError(
                "too many are waiting for news", hint="ask without waiting, or try again shortly"
            )
        self._waiting += 1
        try:
            return await self._waited(route, asking, asked, wait_s)
        finally:
            self._waiting -= 1

    async def _waited(
        self, route: routing.Route, asking: Asking, asked: msgspec.Struct, wait_s: float
    ) -> Answer:
        end, index = self.clock.monotonic() + wait_s, getattr(asked, "index", None)
        while True:
            left_s = max(0.0, end - self.clock.monotonic())
            part = msgspec.structs.replace(asked, wait_s=min(left_s, forms.WAIT_S))
            code, data = await self._once(route.verb, asking, part)
            over = left_s <= forms.WAIT_S or index is None
            if code or over or msgspec.json.decode(data, type=_Indexed).index > (index or 0):
                return Answer(code, data)

    async def _kept_or_asked(
        self, route: routing.Route, asking: Asking, asked: msgspec.Struct | None
    ) -> Answer:
        if not route.keeps:
            return Answer(*await self._once(route.verb, asking, asked))
        question, now = kept.question(asked), self.clock.monotonic()
        try:
            code, data = await self._once(route.verb, asking, asked)
        except errors.TiercastError as problem:
            before = self._recalled(problem.code, route, asking, question)
            if before is None:
                raise
            return before
        if not code:
            self._kept.keep(asking.token, route.verb, question, data, now)
        return self._recalled(code, route, asking, question) or Answer(code, data)

    def _recalled(self, code: str, route: routing.Route, asking: Asking, question: bytes) -> Answer | None:
        if code not in kept.AWAY:
            return None
        found = self._kept.recall(asking.token, route.verb, question, self.clock.monotonic())
        return None if found is None else Answer("", found.data, found.header)

    async def events(self, asking: Asking, asked: requests_looking.Events) -> requests_looking.EventsView:
        """For a viewer of the stream. Raises `TiercastError`."""
        code, data = await self._once(requests.Verb.EVENTS, asking, asked)
        if code:
            raise SaidNoError(problems.answered(code, data))
        return msgspec.json.decode(data, type=requests_looking.EventsView)

    async def known(self, asking: Asking) -> None:
        """Raises `SaidNoError` where MIC does not know who asks, and what asking raises."""
        code, data = await self._once(requests.Verb.WHOAMI, asking, None)
        if code:
            raise SaidNoError(problems.answered(code, data))

    async def _once(
        self, verb: requests.Verb, asking: Asking, asked: msgspec.Struct | None
    ) -> tuple[str, bytes]:
        body = b"{}" if asked is None else msgspec.json.encode(asked)
        call = requests.Call(asking.token, asking.source, asking.request_id, body)
        try:
            with anyio.fail_after(UPSTREAM_S):
                code, data = await self._upstream.ask(verb, msgspec.msgpack.encode(call))
        except TimeoutError:
            raise errors.TimedOutError(
                "the coordinator (MIC) did not answer in time", hint="try again"
            ) from None
        over = verb is requests.Verb.LOGOUT and not code
        self._kept.refused(asking.token, verb, errors.UnauthenticatedError.code if over else code)
        return code, data
