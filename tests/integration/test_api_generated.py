"""Requests made from the OpenAPI document, against the running HTTP side in front of a running MIC.

Whatever comes, the answer is one that the document promises: never a stack trace, never a failure of ours, and every
refusal a problem document with a code that has a row.
"""

import contextlib
import http.client
import os
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.from_thread
import hypothesis
import msgspec
import pytest

from coordinator.api import openapi, problems, routes, routing, server, statuses
from coordinator.host import clock, metrics
from coordinator.propagation import messages
from coordinator.tiers import mic, requests
from tests import builders, micworld, openapi_requests

pytestmark = pytest.mark.integration

DESCRIBED = openapi.document()
EXAMPLES = int(os.environ.get("TIERCAST_EXAMPLES", "10"))  # of each operation; more by hand
WITHIN_S = 20.0
LIBRARY = frozenset({404, 405, 413})
"""What a path that leads to no route gets, or to another one."""


class Link:
    """The link of WS to MIC, without a link."""

    def __init__(self, served: mic.Mic) -> None:
        self._served = served

    async def ask(self, verb: str, data: bytes) -> tuple[str, bytes]:
        return await self._served.answered(verb, messages.ChildKind.WS, data)


class Running:
    def __init__(self, world: micworld.World, served: mic.Mic, port: int) -> None:
        self.world = world
        self.served = served
        self.port = port

    def send(
        self, request: openapi_requests.Request, *, token: str | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WITHIN_S)
        try:
            bearer = {"Authorization": f"Bearer {token or self.world.token.text}"}
            connection.request(
                request.method, request.path, body=request.body, headers={**bearer, **request.headers}
            )
            response = connection.getresponse()
            streams = response.headers.get_content_type() == "text/event-stream"
            return response.status, response.headers, b"" if streams else response.read()
        finally:
            connection.close()

    def post(self, path: str, body: bytes, **headers: str) -> tuple[int, problems.Document]:
        kind = {"Content-Type": headers.pop("kind", "application/yaml")}
        request = openapi_requests.Request("POST", path, {**kind, **headers}, body)
        status, _, data = self.send(request)
        if status >= 400:
            return status, msgspec.json.decode(data, type=problems.Document)
        nothing = problems.Document(type="", title="", status=status, detail="", code="", request_id="")
        return status, nothing


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Running]:
    world = micworld.World()
    async with world.running() as (served, _):
        app = server.application(Link(served), clock.SystemClock(), clock.SystemRandom(), metrics.Metrics())
        runner = await server.serve(app, "127.0.0.1", 0, None)
        try:
            yield Running(world, served, runner.addresses[0][1])
        finally:
            await runner.cleanup()


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serving()) as made,
    ):
        yield made


ENDS_THE_TOKEN = {f"{routing.ADMIN}/login/first", f"{routing.ADMIN}/logout"}


@pytest.fixture
def alone() -> Iterator[Running]:
    """For what would take the token away under everybody else."""
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serving()) as made,
    ):
        yield made


def route_of(method: str, path: str) -> routing.Route | None:
    return next((one for one in routes.ROUTES if (one.method.lower(), one.path) == (method, path)), None)


@pytest.mark.parametrize(("method", "path"), openapi_requests.operations(DESCRIBED))
def test_whatever_is_asked_the_answer_is_one_that_the_description_promises(
    method: str, path: str, request: pytest.FixtureRequest
) -> None:
    running: Running = request.getfixturevalue("alone" if path in ENDS_THE_TOKEN else "running")
    route = route_of(method, path)
    promised = {int(status) for status in DESCRIBED["paths"][path][method]["responses"]} | LIBRARY

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=(hypothesis.Phase.generate,),  # what fails is small enough, and shrinking takes a minute
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(openapi_requests.requests_of(DESCRIBED, method, path))
    def asked(made: openapi_requests.Request) -> None:
        status, headers, body = running.send(made)
        hypothesis.note(f"{made} -> {status} {body[:400]!r}")
        assert status in promised
        assert status < 500
        assert headers["X-Request-Id"]
        assert "X-Evil" not in headers
        assert b"Traceback" not in body
        if status >= 400:
            told = msgspec.json.decode(body, type=problems.Document)
            assert headers.get_content_type() == problems.MEDIA_TYPE
            assert told.code in statuses.BY_CODE
            assert told.detail
        elif route is not None and not route.streams and _same(made.path, path):
            msgspec.json.decode(body, type=route.gives, strict=False)

    asked()


def _same(asked: str, path: str) -> bool:
    """Whether the request went where it was meant to."""
    pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))
    return re.fullmatch(pattern, asked.partition("?")[0]) is not None


# --- bad input, through to MIC --------------------------------------------------------------------------------------------

CFG = routing.CFG
ALIASES = b"a: &a [x]\n" + b"".join(b"b%d: &b%d [%s]\n" % (n, n, b"*a, " * 9 + b"*a") for n in range(9))
BOMBS: dict[str, tuple[bytes, str, int, str]] = {
    "aliases of aliases": (ALIASES, "application/yaml", 422, "invalid"),
    "yaml nested without end": (b"[" * 50_000, "application/yaml", 422, "invalid"),
    "mappings nested without end": (b"{a: " * 20_000, "application/yaml", 422, "invalid"),
    "json nested without end": (b'{"schema":' + b"[" * 100_000, "application/json", 400, "syntax"),
    "a document nested without end": (b'{"schema":"tiercast/1","general":' + b"[" * 40 + b"]" * 40 + b"}", "application/json", 422, "invalid"),
    "an object of python": (b"!!python/object/apply:os.system [id]", "application/yaml", 422, "invalid"),
    "a huge number": (b"schema: tiercast/1\ngeneral: " + b"9" * 5_000, "application/yaml", 422, "invalid"),
    "duplicate keys": (b"schema: tiercast/1\nschema: tiercast/2\n", "application/yaml", 422, "invalid"),
    "several documents": (b"a: 1\n---\nb: 2\n", "application/yaml", 422, "invalid"),
    "control characters": (b"schema: \x07\n", "application/yaml", 422, "invalid"),
    "utf-16": ("schema: tiercast/1\n".encode("utf-16"), "application/yaml", 400, "syntax"),
    "latin-1": (b"schema: \xe4\n", "application/yaml", 400, "syntax"),
    "nothing": (b"", "application/yaml", 422, "invalid"),
    "another charset": (b"schema: tiercast/1\n", "application/yaml; charset=utf-16", 415, "media_type"),
    "another media type": (b"schema: tiercast/1\n", "text/html", 415, "media_type"),
    "no media type": (b"schema: tiercast/1\n", "", 415, "media_type"),
    "a form": (b"a=b", "application/x-www-form-urlencoded", 415, "media_type"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("verb", ["revisions", "apply", "plan"])
def test_a_hostile_document_is_refused_with_code_and_hint_and_leaves_nothing(
    name: str, verb: str, running: Running
) -> None:
    body, kind, status, code = BOMBS[name]
    before = (len(running.served.at.past.drafts), running.served.at.past.version)
    got, told = running.post(f"{CFG}/{verb}", body, kind=kind)
    assert (got, told.code) == (status, code)
    assert told.hint or all(one.message for one in told.errors)
    assert (len(running.served.at.past.drafts), running.served.at.past.version) == before


FILE = {"name": "a.yaml", "text": "schema: tiercast/1\n"}


@pytest.mark.parametrize(
    "files",
    [
        [FILE, {**FILE, "text": "general: {master_domain: acme}\n"}],
        [{**FILE, "name": ""}],
        [{**FILE, "name": "a\r\nX-Evil: 1"}],
        [{**FILE, "name": "x" * 2_000}],
        [{**FILE, "name": f"{n}.yaml"} for n in range(1_001)],
    ],
    ids=["twice", "none", "lines", "long", "many"],
)
def test_files_that_cannot_be_told_apart_or_shown_are_refused(files: list[Any], running: Running) -> None:
    """Of two with one name the first would have been lost without a word."""
    for path, body in (("revisions", {"files": files}), ("plan", {"source": {"files": files}})):
        got, told = running.post(f"{CFG}/{path}", msgspec.json.encode(body), kind="application/json")
        assert (got, told.code, bool(told.hint)) == (400, "usage", True)


def test_findings_come_with_their_line_and_a_near_name(running: Running) -> None:
    text = micworld.file(builders.document()).text.replace('"mic1"', '"mic9"', 1)
    _, told = running.post(f"{CFG}/apply", text.encode(), kind="application/json")
    assert told.code == "invalid"
    assert any("did you mean" in one.hint for one in told.errors)
    assert all(one.line >= 1 and one.text and one.caret for one in told.errors if one.file)


@pytest.mark.parametrize(
    ("source", "status", "code"),
    [
        ({"revision": 4711}, 404, "not_found"),
        ({"draft": "d-none"}, 404, "not_found"),
        ({"revision": -1}, 404, "not_found"),
        ({}, 400, "usage"),
        ({"draft": "d-1", "revision": 1}, 400, "usage"),
    ],
)
def test_a_source_that_is_not_there_is_told_so(
    source: dict[str, Any], status: int, code: str, running: Running
) -> None:
    got, told = running.post(f"{CFG}/apply", msgspec.json.encode({"source": source}), kind="application/json")
    assert (got, told.code) == (status, code)
    assert told.hint or told.detail


def test_two_administrators_at_once_do_not_overwrite_each_other(running: Running) -> None:
    """Both saw the same revision; the second is told that its base has moved."""
    version = running.served.at.past.version
    etag = f'"{version.generation}.{version.revision}"'
    first, second = (
        builders.bent(lambda plain, n=n: plain["sites"]["central"].update(description=f"by {n}"))  # type: ignore[misc]
        for n in (1, 2)
    )
    headers = {"If-Match": etag, "kind": "application/json"}
    assert running.post(f"{CFG}/apply", micworld.file(first).text.encode(), **headers)[0] == 202
    got, told = running.post(f"{CFG}/apply", micworld.file(second).text.encode(), **headers)
    assert (got, told.code) == (412, "precondition")
    assert "plan again" in told.hint
    stale = msgspec.json.encode({"source": {"revision": 1}, "if_revision": version.revision})
    assert running.post(f"{CFG}/apply", stale, kind="application/json")[1].code == "conflict"


@pytest.mark.parametrize("path", ["apply", "rollback", "revisions"])
def test_a_key_with_another_body_is_refused_and_with_the_same_repeated(path: str, running: Running) -> None:
    bodies = {
        "apply": [
            builders.bent(lambda plain, n=n: plain["sites"]["central"].update(description=f"key {n}"))  # type: ignore[misc]
            for n in (1, 2)
        ],
        "revisions": [builders.document(), micworld.basic()],
    }
    if path == "rollback":
        back = running.served.at.past.version.revision
        said = [b'{"to": %d}' % back, b'{"to": %d, "message": "other"}' % back]
        change = builders.bent(lambda plain: plain["sites"]["central"].update(description="to go back from"))
        running.post(f"{CFG}/apply", micworld.file(change).text.encode(), kind="application/json")
    else:
        said = [micworld.file(one).text.encode() for one in bodies[path]]
    headers = {"Idempotency-Key": f"key-of-{path}", "kind": "application/json"}
    version = running.served.at.past.version.revision
    first = running.post(f"{CFG}/{path}", said[0], **headers)
    again = running.post(f"{CFG}/{path}", said[0], **headers)
    assert first[0] == again[0] in {200, 201, 202}
    got, told = running.post(f"{CFG}/{path}", said[1], **headers)
    assert (got, told.code, bool(told.hint)) == (422, "reused_key", True)
    assert running.served.at.past.version.revision <= version + 2


def test_every_verb_that_is_described_is_one_of_mic() -> None:
    assert {route.verb for route in routes.ROUTES} <= set(requests.Verb)
