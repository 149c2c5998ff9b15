"""The HTTP side of WS: a router over the table of routes, in front of one `Upstream` (the link to MIC).

Translates and does nothing else: no verdict, no store, no belief. The caller's token and address are forwarded with
every request and MIC decides. Laws: every answer has a request id; every error is a problem document; no token, query
or body is logged; requests that wait are bounded, so that they never take the whole link.
"""

import functools
import re
import ssl
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import hdrs, web

from coordinator import effects, errors, limits
from coordinator.api import (
    answers,
    bodies,
    forms,
    kept,
    listening,
    observed,
    openapi,
    problems,
    routes,
    routing,
    statuses,
    streams,
    upward,
    welcome,
)
from coordinator.host import metrics
from coordinator.tiers import requests, requests_looking

SHUTDOWN_S = 1.0  # whoever waits is cut off and asks again
LINGER_S = 2.0  # what a refused client still sends is read so long, that it may read our answer
REQUEST_ID = "X-Request-Id"
IDEMPOTENCY_KEY = "Idempotency-Key"
LAST_EVENT = "Last-Event-ID"
LAST_EVENT_CHARACTERS = 64

_KEY = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
_BEARER = re.compile(r"bearer +([\x21-\x7e]+) *", re.ASCII | re.IGNORECASE)
_ID = web.RequestKey("id", str)
_HEADERS = {
    hdrs.SERVER: "tiercast",
    hdrs.CACHE_CONTROL: "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


Upstream = upward.Upstream


def _always() -> bool:
    return True


def application(  # noqa: PLR0913 what the process gives the HTTP side, each by name
    upstream: Upstream,
    clock: effects.Clock,
    random: effects.Random,
    meters: metrics.Metrics,
    *,
    ready: Callable[[], bool] = _always,
    own: Callable[[], kept.Own | None] = kept.no_own,
    admin: bool = True,
) -> web.Application:
    """The whole HTTP side; `ready` says whether there is a link to a MIC, `own` what this server has accepted.

    Without `admin` nothing is administered here: only what is open, and monitoring.
    """
    guests = listening.Guests()
    asks = upward.Upward(upstream, clock, kept.Kept(own))
    front = _Front(asks, random, observed.Observed(meters), guests)
    app = web.Application(middlewares=[front.guard], client_max_size=limits.HTTP_BODY_BYTES)
    app[listening.GUESTS] = guests
    app.on_response_prepare.append(_harden)
    for route in routes.ROUTES:
        if not admin and route.path.startswith(routing.ADMIN):
            continue
        respond = functools.partial(front.respond, route)
        app.router.add_route(route.method, route.path, respond, expect_handler=_unhurried)
    app.router.add_get("/", functools.partial(_welcome, welcome.text()))
    app.router.add_get("/livez", _live)
    app.router.add_get("/readyz", functools.partial(_ready, ready))
    app.router.add_get("/metrics", functools.partial(_metrics, meters))
    app.router.add_get(
        "/api/openapi.json", functools.partial(_described, msgspec.json.encode(openapi.document()))
    )
    return app


async def serve(
    app: web.Application, address: str, port: int, context: ssl.SSLContext | None
) -> web.AppRunner:
    """Listen; `await runner.cleanup()` ends it within `SHUTDOWN_S`. Raises `OSError` where the address is taken."""
    runner = web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        handler_cancellation=True,  # whoever hangs up does not hold a waiting request
        auto_decompress=False,
        lingering_time=LINGER_S,
        shutdown_timeout=SHUTDOWN_S,
        keepalive_timeout=listening.REST_S,
        logger=observed.Library(),
    )
    await runner.setup()
    site = listening.Site(runner, address, port, context)
    try:
        await site.start()
    except OSError:
        await runner.cleanup()
        raise
    return runner


class _Front:
    """Between HTTP and the link."""

    def __init__(
        self,
        upward: upward.Upward,
        random: effects.Random,
        told: observed.Observed,
        guests: listening.Guests,
    ) -> None:
        self._upward = upward
        self._random = random
        self._told = told
        self._guests = guests
        self._budget = bodies.Budget()
        self._hub = streams.Hub(upward.clock, told.meters)

    @web.middleware
    async def guard(self, request: web.Request, handler: _Respond) -> web.StreamResponse:
        """Around every answer: an id, a problem document instead of an exception, a line in the log."""
        begun = self._upward.clock.monotonic()
        request[_ID] = self._random.token(8)
        self._guests.begun(request.protocol)
        response = await self._answered(request, handler)
        if not response.prepared:
            response.headers[REQUEST_ID] = request[_ID]
        self._told.answered(request, request[_ID], response, self._upward.clock.monotonic() - begun)
        return response

    async def _answered(self, request: web.Request, respond: _Respond) -> web.StreamResponse:
        try:
            request[_ID] = _repeatable(request) or request[_ID]
            return await respond(request)
        except web.HTTPException as refused:
            return _of_library(refused, request)
        except errors.TiercastError as error:
            return _problem(problems.of_error(error), request[_ID])
        except Exception:  # noqa: BLE001 the last line before the outside: never a stack trace to a client
            self._told.broke(request, request[_ID])
            return _problem(requests.Problem("internal", "something broke here", "look up the request id in the log"),
                            request[_ID])  # fmt: skip

    async def respond(self, route: routing.Route, request: web.Request) -> web.StreamResponse:
        """One row of the table."""
        asking = upward.Asking(_token(request), request.remote or "", request[_ID])
        if route.streams:
            asked = route.build(await _given(route, request))
            assert isinstance(asked, requests_looking.Events)
            ask = functools.partial(self._upward.events, asking)
            with self._guests.at_work(request.protocol):
                return await self._hub.serve(request, ask, asked.after, {REQUEST_ID: request[_ID]})
        size_bytes = bodies.announced(request, route.body)
        if size_bytes > bodies.SMALL_BYTES:
            await self._upward.known(asking)
        with self._budget.held(size_bytes):
            asked = route.build(await _given(route, request))
            with self._guests.at_work(request.protocol):
                answer = await self._upward.ask(route, asking, asked)
        if answer.code:
            problem = problems.answered(answer.code, answer.data)
            return _problem(_sharpened(problem, request, route), request[_ID])
        meaning = answers.meaning(route, answer.data)
        headers = {**meaning.headers, **({kept.AS_OF: answer.as_of} if answer.as_of else {})}
        return web.Response(body=answer.data, status=meaning.status, headers=headers, content_type=forms.JSON)


async def _given(route: routing.Route, request: web.Request) -> forms.Given:
    query = {key: request.query.getall(key) for key in request.query}
    if (request.charset or "utf-8").lower() not in {"utf-8", "utf8"}:
        raise forms.MediaTypeError(
            f"charset not read here (got {str(request.charset)[:40]!r})", hint="send UTF-8"
        )
    return forms.Given(
        path=dict(request.match_info),
        query=forms.known_query(query, route.query),
        body=await bodies.read(request, route.body) if request.body_exists else b"",
        media_type=request.content_type if hdrs.CONTENT_TYPE in request.headers else "",
        if_match=request.headers.get(hdrs.IF_MATCH, ""),
        idempotency_key=request.headers.get(IDEMPOTENCY_KEY, ""),
        last_event=request.headers.get(LAST_EVENT, "")[:LAST_EVENT_CHARACTERS],
    )


def _token(request: web.Request) -> str:
    match = _BEARER.fullmatch(request.headers.get(hdrs.AUTHORIZATION, ""))
    return match[1] if match else ""


def _repeatable(request: web.Request) -> str:
    """The client's own id of this request, by which MIC knows a repetition."""
    key = request.headers.get(IDEMPOTENCY_KEY, "")
    if key and not _KEY.fullmatch(key):
        raise errors.UsageError(
            "the Idempotency-Key cannot be used", hint="1 to 128 visible ASCII characters"
        )
    return key


def _sharpened(problem: requests.Problem, request: web.Request, route: routing.Route) -> requests.Problem:
    """What only the outside knows: whether If-Match was asked for, and that a lost change may have been made."""
    if problem.code == "conflict" and hdrs.IF_MATCH in request.headers:
        return msgspec.structs.replace(problem, code="precondition")
    if problem.code in {"timed_out", "lost"} and route.mutates:
        return requests.Problem(
            "unknown_outcome",
            f"{problem.detail}; it may or may not have been done",
            f"send it again with the same {IDEMPOTENCY_KEY}, or look at the history",
        )
    return problem


def _problem(problem: requests.Problem, request_id: str) -> web.Response:
    row = statuses.row(problem.code)
    headers = {hdrs.RETRY_AFTER: str(statuses.RETRY_AFTER_S)} if row.retry else {}
    if row.status == 401:
        headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="tiercast"'
    body = msgspec.json.encode(problems.document(problem, request_id))
    return web.Response(body=body, status=row.status, headers=headers, content_type=problems.MEDIA_TYPE)


def _of_library(refused: web.HTTPException, request: web.Request) -> web.Response:
    code = statuses.code_of(refused.status)
    hint = "the paths stand in /api/openapi.json" if code in {"not_found", "method"} else ""
    told = {
        "not_found": f"there is nothing at {request.path[:100]}",
        "method": f"{request.method[:20]} is not done at {request.path[:100]}",
    }
    response = _problem(requests.Problem(code, told.get(code, refused.reason.lower()), hint), request[_ID])
    if hdrs.ALLOW in refused.headers:
        response.headers[hdrs.ALLOW] = refused.headers[hdrs.ALLOW]
    return response


async def _unhurried(_request: web.Request) -> None:
    """`Expect: 100-continue` is answered by `bodies.read`, once the head has been judged."""


async def _harden(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


async def _welcome(text: str, _request: web.Request) -> web.Response:
    return web.Response(text=text)


async def _live(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _ready(ready: Callable[[], bool], request: web.Request) -> web.Response:
    if ready():
        return web.Response(text="ok\n")
    return _problem(problems.answered("no_coordinator", b""), request[_ID])


async def _metrics(meters: metrics.Metrics, _request: web.Request) -> web.Response:
    return web.Response(body=meters.text(), headers={hdrs.CONTENT_TYPE: metrics.CONTENT_TYPE})


async def _described(body: bytes, _request: web.Request) -> web.Response:
    return web.Response(body=body, content_type=forms.JSON)
