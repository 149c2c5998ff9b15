"""The HTTP side over real sockets: what is forwarded, what comes back, and every way in which a request can be off."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import anyio
import msgspec
import pytest
import yarl

from coordinator import errors, limits
from coordinator.api import problems, routing, server, upward
from coordinator.host import clock, metrics
from coordinator.tiers import requests
from tests import upstream

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

TOKEN = "administrators-own-secret"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
CFG = routing.CFG
YAML = {"Content-Type": "application/yaml", **BEARER}
JSON = {"Content-Type": "application/json", **BEARER}


@contextlib.asynccontextmanager
async def serving(behind: server.Upstream, *, ready: bool = True) -> AsyncIterator[aiohttp.ClientSession]:
    app = server.application(
        behind, clock.SystemClock(), clock.SystemRandom(), metrics.Metrics(), ready=lambda: ready
    )
    runner = await server.serve(app, "127.0.0.1", 0, None)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:
            yield session
    finally:
        await runner.cleanup()


async def problem(response: aiohttp.ClientResponse) -> problems.Document:
    assert response.content_type == problems.MEDIA_TYPE
    told = msgspec.json.decode(await response.read(), type=problems.Document)
    assert told.status == response.status
    assert told.request_id == response.headers["X-Request-Id"]
    return told


async def test_what_mic_answers_is_what_the_client_gets() -> None:
    mic = upstream.FakeUpstream()
    async with serving(mic) as client, client.get(f"{CFG}/status?details=true", headers=BEARER) as response:
        assert response.status == 200
        assert response.headers["ETag"] == '"1.42"'
        assert await response.read() == msgspec.json.encode(upstream.STATUS)
    verb, call = mic.calls[0]
    assert verb == requests.Verb.STATUS
    assert (call.token, call.source) == (TOKEN, "127.0.0.1")
    assert mic.body() == {"site": "", "not_converged": False, "details": True, "index": 0, "wait_s": 0.0}


async def test_an_apply_is_accepted_and_its_rollout_has_a_place() -> None:
    mic = upstream.FakeUpstream()
    headers = {**YAML, "If-Match": '"1.41"', "Idempotency-Key": "key-1"}
    async with (
        serving(mic) as client,
        client.post(f"{CFG}/apply?message=why", data=b"schema: tiercast/1\n", headers=headers) as response,
    ):
        assert response.status == 202
        assert response.headers["Location"] == f"{CFG}/rollouts/ro-7"
        assert response.headers["ETag"] == '"1.42"'
        assert response.headers["X-Request-Id"] == "key-1"
    assert mic.calls[0][1].request_id == "key-1"
    assert mic.body() == {
        "source": {
            "files": [{"name": "document.yaml", "text": "schema: tiercast/1\n"}],
            "draft": "",
            "revision": 0,
        },
        "if_revision": 41,
        "if_generation": 1,
        "if_digest": "",
        "if_base_digest": "",
        "message": "why",
        "dry_run": False,
    }


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("unauthenticated", 401),
        ("not_allowed", 403),
        ("not_found", 404),
        ("conflict", 409),
        ("refused", 409),
        ("invalid", 422),
        ("no_quorum", 503),
        ("needs_recovery", 503),
    ],
)
async def test_mics_refusals_become_problem_documents(code: str, status: int) -> None:
    mic = upstream.FakeUpstream()
    mic.answers[requests.Verb.APPLY] = requests.Problem(
        code, "it cannot be", "do otherwise", (upstream.FINDING,)
    )
    async with serving(mic) as client, client.post(f"{CFG}/apply", data=b"a: 1", headers=YAML) as response:
        told = await problem(response)
        assert (response.status, told.code, told.detail, told.hint) == (
            status,
            code,
            "it cannot be",
            "do otherwise",
        )
        assert told.errors == (upstream.FINDING,)
        assert ("WWW-Authenticate" in response.headers) == (status == 401)


async def test_a_request_without_a_token_is_judged_by_mic_as_well() -> None:
    mic = upstream.FakeUpstream()
    mic.answers[requests.Verb.WHOAMI] = requests.Problem("unauthenticated", "no token", "log in")
    async with serving(mic) as client:
        for headers in ({}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer"}):
            async with client.get(f"{routing.ADMIN}/whoami", headers=headers) as response:
                assert (await problem(response)).code == "unauthenticated"
    assert [call.token for _, call in mic.calls] == ["", "", ""]


async def test_a_conflict_with_if_match_is_a_failed_precondition() -> None:
    mic = upstream.FakeUpstream()
    mic.answers[requests.Verb.ROLLBACK] = requests.Problem("conflict", "the active revision is r43")
    async with serving(mic) as client:
        async with client.post(f"{CFG}/rollback", headers={**BEARER, "If-Match": '"1.42"'}) as response:
            assert (response.status, (await problem(response)).code) == (412, "precondition")
        async with client.post(f"{CFG}/rollback", headers=BEARER) as response:
            assert response.status == 409


@pytest.mark.parametrize(
    "away",
    [
        errors.NoCoordinatorError("no coordinator (MIC) answers now"),
        ("no_coordinator", b""),
        ("unreachable", b""),
    ],
)
async def test_with_mic_away_the_answer_says_so_and_when_to_come_back(away: Any) -> None:
    mic = upstream.FakeUpstream()
    mic.answers[requests.Verb.STATUS] = away
    async with serving(mic) as client, client.get(f"{CFG}/status", headers=BEARER) as response:
        assert response.status == 503
        assert "no coordinator (MIC) answers now" in (await problem(response)).detail
        assert int(response.headers["Retry-After"]) > 0


async def test_a_change_whose_answer_is_lost_has_an_unknown_outcome_and_a_question_has_not() -> None:
    mic = upstream.FakeUpstream()
    mic.answers[requests.Verb.APPLY] = mic.answers[requests.Verb.PLAN] = ("timed_out", b"")
    async with serving(mic) as client:
        async with client.post(f"{CFG}/apply", data=b"a: 1", headers=YAML) as response:
            assert (response.status, (await problem(response)).code) == (504, "unknown_outcome")
        async with client.post(f"{CFG}/plan", data=b"a: 1", headers=YAML) as response:
            assert (response.status, (await problem(response)).code) == (504, "timed_out")


OFF = [
    ("POST", f"{CFG}/upload", YAML, b"a: 1", 404, "not_found"),
    ("GET", "/index.html", {}, b"", 404, "not_found"),
    ("GET", f"{CFG}/revisions/..%2f..%2fetc", BEARER, b"", 404, "not_found"),
    ("GET", f"{CFG}/revisions/%00", BEARER, b"", 404, "not_found"),
    ("DELETE", f"{CFG}/status", BEARER, b"", 405, "method"),
    ("GET", f"{CFG}/status?sit=north", BEARER, b"", 400, "usage"),
    ("GET", f"{CFG}/status?site=a&site=b", BEARER, b"", 400, "usage"),
    ("GET", f"{CFG}/status?site=%ff", BEARER, b"", 200, ""),
    ("GET", f"{CFG}/rollouts/ro-7?wait=soon", BEARER, b"", 400, "usage"),
    ("POST", f"{CFG}/revisions", JSON, b"{", 400, "syntax"),
    ("POST", f"{CFG}/revisions", JSON, b'{"files": "x"}', 400, "syntax"),
    ("POST", f"{CFG}/revisions", YAML, b"a: \xff", 400, "syntax"),
    ("POST", f"{CFG}/revisions", {**YAML, "Content-Type": "text/html"}, b"a: 1", 415, "media_type"),
    ("POST", f"{CFG}/revisions", {**YAML, "Content-Encoding": "gzip"}, b"\x1f\x8b", 415, "media_type"),
    ("POST", f"{CFG}/rollback", JSON, b" " * (routing.SMALL_BODY_BYTES + 1), 413, "too_large"),
    ("GET", f"{CFG}/status", YAML, b"a: 1", 413, "too_large"),
    ("POST", f"{CFG}/rollback", {**BEARER, "Idempotency-Key": "x" * 200}, b"", 400, "usage"),
    ("POST", f"{CFG}/rollback", {**BEARER, "If-Match": "r42"}, b"", 400, "usage"),
]


@pytest.mark.parametrize(("method", "path", "headers", "body", "status", "code"), OFF)
async def test_a_request_that_is_off_is_told_so(
    method: str, path: str, headers: dict[str, str], body: bytes, status: int, code: str
) -> None:
    mic = upstream.FakeUpstream()
    async with (
        serving(mic) as client,
        client.request(method, yarl.URL(path, encoded=True), data=body or None, headers=headers) as response,
    ):
        assert response.status == status
        if code:
            assert (await problem(response)).code == code
            assert mic.calls == []


async def raw(client: aiohttp.ClientSession, head: str, body: bytes = b"") -> bytes:
    """What comes back until the server closes or says nothing more."""
    assert client._base_url is not None
    stream = await anyio.connect_tcp("127.0.0.1", client._base_url.port or 0)
    got = b""
    async with stream:
        await stream.send(head.replace("\n", "\r\n").encode() + body)
        with anyio.move_on_after(30), contextlib.suppress(anyio.EndOfStream):
            while b"\r\n\r\n" not in got or b"request_id" not in got:
                got += await stream.receive()
    return got


async def test_a_body_announced_as_too_large_is_refused_before_it_is_sent() -> None:
    head = (
        f"POST {CFG}/revisions HTTP/1.1\nHost: x\nContent-Type: application/yaml\nExpect: 100-continue\n"
        f"Content-Length: {limits.HTTP_BODY_BYTES + 1}\n\n"
    )
    mic = upstream.FakeUpstream()
    async with serving(mic) as client:
        assert (await raw(client, head)).startswith(b"HTTP/1.1 413 ")
    assert mic.calls == []


async def test_a_body_that_grows_too_large_on_the_way_is_refused() -> None:
    head = f"POST {CFG}/rollback HTTP/1.1\nHost: x\nContent-Type: application/json\nTransfer-Encoding: chunked\n\n"
    size = routing.SMALL_BODY_BYTES + 1
    async with serving(upstream.FakeUpstream()) as client:
        assert (await raw(client, head, f"{size:x}\r\n".encode() + b" " * size)).startswith(b"HTTP/1.1 413 ")


async def test_a_client_that_asks_first_is_told_to_go_on() -> None:
    mic = upstream.FakeUpstream()
    async with (
        serving(mic) as client,
        client.post(f"{CFG}/revisions", data=b"a: 1", headers=YAML, expect100=True) as response,
    ):
        assert response.status == 201
    assert mic.body()["files"][0]["text"] == "a: 1"


async def test_a_head_that_is_no_http_gets_an_answer_and_no_more() -> None:
    async with serving(upstream.FakeUpstream()) as client:
        assert b" 400 " in (await raw(client, "GET / HTTP/1.1\nbad header\n\n"))[:20]


async def test_an_exception_of_ours_shows_no_trace() -> None:
    mic = upstream.FakeUpstream()
    mic.answers[requests.Verb.STATUS] = ValueError("a secret in the message")
    async with serving(mic) as client, client.get(f"{CFG}/status", headers=BEARER) as response:
        text = await response.text()
        assert response.status == 500
        assert (await problem(response)).code == "internal"
        assert "secret" not in text
        assert "Traceback" not in text


async def test_every_answer_forbids_what_a_browser_could_do_with_it() -> None:
    async with serving(upstream.FakeUpstream()) as client:
        for path in ("/livez", "/nowhere", f"{CFG}/status"):
            async with client.get(path, headers=BEARER) as response:
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["Cache-Control"] == "no-store"
                assert "default-src 'none'" in response.headers["Content-Security-Policy"]
                assert response.headers["Server"] == "tiercast"
                assert response.headers["X-Request-Id"]


async def test_no_token_is_logged_or_measured(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with serving(upstream.FakeUpstream()) as client:
        async with client.get(f"{CFG}/status?site=hidden-site", headers=BEARER) as response:
            await response.read()
        async with client.get("/metrics") as response:
            measured = await response.text()
    assert "tiercast_http_requests_total" in measured
    told = measured + "".join(str(record.__dict__) for record in caplog.records)
    assert "request answered" in told
    assert TOKEN not in told
    assert "hidden-site" not in told


async def test_readiness_is_having_a_coordinator_and_life_is_not() -> None:
    async with serving(upstream.FakeUpstream(), ready=False) as client:
        async with client.get("/readyz") as response:
            assert response.status == 503
        async with client.get("/livez") as response:
            assert (response.status, await response.text()) == (200, "ok\n")


async def test_the_api_describes_itself() -> None:
    async with serving(upstream.FakeUpstream()) as client, client.get("/api/openapi.json") as response:
        assert (await response.json())["openapi"].startswith("3.1")


class Waiting:
    """Answers nobody until told."""

    def __init__(self) -> None:
        self.go = anyio.Event()
        self.under_way = 0

    async def ask(self, _verb: str, _data: bytes) -> tuple[str, bytes]:
        self.under_way += 1
        try:
            await self.go.wait()
        finally:
            self.under_way -= 1
        return "", msgspec.json.encode(upstream.rollout())

    async def until(self, count: int) -> None:
        with anyio.fail_after(30):
            while self.under_way != count:
                await anyio.sleep(0.01)


async def get_status(client: aiohttp.ClientSession, path: str, statuses: list[int]) -> None:
    async with client.get(path, headers=BEARER) as response:
        await response.read()
        statuses.append(response.status)


async def test_those_who_wait_for_news_never_take_the_whole_link() -> None:
    mic = Waiting()
    statuses: list[int] = []
    async with serving(mic) as client:
        client._connector = aiohttp.TCPConnector(limit=0)
        async with anyio.create_task_group() as tasks:
            for _ in range(upward.WAITING):
                tasks.start_soon(get_status, client, f"{CFG}/rollouts/ro-7?wait=20s", statuses)
            await mic.until(upward.WAITING)
            await get_status(client, f"{CFG}/rollouts/ro-7?wait=20s", statuses)
            assert statuses == [429]
            tasks.start_soon(get_status, client, f"{CFG}/rollouts/ro-7", statuses)
            await mic.until(upward.WAITING + 1)
            mic.go.set()
    assert statuses.count(200) == upward.WAITING + 1


async def test_a_client_that_hangs_up_does_not_go_on_waiting() -> None:
    mic = Waiting()
    async with serving(mic) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get_status, client, f"{CFG}/rollouts/ro-7?wait=20s", [])
            await mic.until(1)
            tasks.cancel_scope.cancel()
        await mic.until(0)
