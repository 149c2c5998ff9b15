"""The command line driven in this process: a fake terminal, a clock that moves when one sleeps, and the API's own forms.

What a command sends is read by the real table of routes, so that a request nobody understands fails here.
"""

import contextlib
import io
import json
import pathlib
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any

import msgspec

from coordinator import errors
from coordinator.api import answers, forms, problems, routes, routing
from coordinator.cli import client, main, session
from coordinator.host import contexts
from coordinator.tiers import requests
from tests import builders, upstream

WALL_S = 1_790_000_000.0


class Clock:
    """Stands still but for those who sleep."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return WALL_S + self.now

    def sleep(self, span_s: float) -> None:
        self.slept.append(span_s)
        self.now += span_s


class Counting:
    """Ids one after the other."""

    def __init__(self) -> None:
        self.count = 0

    def uniform(self, low: float, _high: float) -> float:
        return low

    def token(self, _size_bytes: int) -> str:
        self.count += 1
        return f"key-{self.count}"


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


class System:
    """WS and MIC in one: understands requests by the table, answers from `upstream.GOOD`, an exception where one stands."""

    place = "https://127.0.0.1:8443"

    def __init__(self, clock: Clock) -> None:
        self.answers: dict[str, Any] = dict(upstream.GOOD)
        self.asked: list[tuple[str, Any]] = []
        self.asks: list[client.Ask] = []
        self.as_of = ""
        self.streams: list[Any] = []
        """What the next streams say: bytes, and perhaps an exception at their end."""
        self._clock = clock

    def follow(self, ask: client.Ask) -> Iterator[bytes]:
        route, _ = understood(ask)
        assert route.streams
        self.asks.append(ask)
        for part in self.streams.pop(0):
            if isinstance(part, BaseException):
                raise part
            yield from part.split(b"\n")

    def call(self, ask: client.Ask) -> client.Answer:
        self.asks.append(ask)
        route, request = understood(ask)
        self.asked.append((route.verb, request))
        answer = self.answers[route.verb]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Exception | KeyboardInterrupt):
            raise answer
        if isinstance(answer, requests.Problem):
            document = problems.document(answer, "rq-1")
            return client.answered(document.status, msgspec.json.encode(document))
        self._clock.now += 0.5
        body = msgspec.json.encode(answer)
        return client.answered(answers.meaning(route, body).status, body, self.as_of)

    def request(self, verb: requests.Verb) -> Any:
        """The last one of that verb."""
        return [request for asked, request in self.asked if asked == verb][-1]


def understood(ask: client.Ask) -> tuple[routing.Route, Any]:
    """The row of the table that this is, and the request that it builds."""
    parts = urllib.parse.urlsplit(ask.path)
    for route in routes.ROUTES:
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(route.path))
        match = re.fullmatch(pattern, parts.path)
        if match is None or route.method != ask.method:
            continue
        assert len(ask.body) <= route.body.value, "the server reads no more than the table says"
        query = forms.known_query(urllib.parse.parse_qs(parts.query, keep_blank_values=True), route.query)
        given = forms.Given(
            path={name: urllib.parse.unquote(value) for name, value in match.groupdict().items()},
            query=query,
            body=ask.body,
            media_type=ask.headers.get("Content-Type", ""),
            if_match=ask.headers.get("If-Match", ""),
        )
        return route, route.build(given)
    raise errors.NotFoundError(f"no route for {ask.method} {ask.path}")


class Done(msgspec.Struct):
    exit: int
    out: str
    talk: str

    def json(self) -> Any:
        return json.loads(self.out)


class Terminal:
    """Runs commands; `typed` is what the person answers, empty where nobody sits there."""

    def __init__(self, home: pathlib.Path) -> None:
        self.clock = Clock()
        self.system = System(self.clock)
        self.environment: dict[str, str] = {"HOME": str(home)}
        place = contexts.path(self.environment)
        contexts.write_context(place, "demo", self.system.place, b"PEM", "secret-token")
        self.connected: list[contexts.Context] = []

    def run(self, *words: str, typed: str = "", stdin: bytes = b"", colour: bool = False) -> Done:
        out, talk = (Tty() if colour else io.StringIO()), (Tty() if typed else io.StringIO())
        shown = session.Session(
            environment=self.environment,
            stdin=io.BytesIO(typed.encode() or stdin),
            out=out,
            talk=talk,
            terminal=bool(typed),
            clock=self.clock,
            random=Counting(),
            sleep=self.clock.sleep,
            connect=self._connect,
            catalogue=lambda _tell: builders.CATALOGUE,
        )
        with contextlib.redirect_stdout(out):  # help is printed by click
            code = main.run(words, shown)
        return Done(code, out.getvalue(), talk.getvalue())

    def _connect(self, context: contexts.Context) -> System:
        self.connected.append(context)
        return self.system
