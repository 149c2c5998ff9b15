"""Hostile clients of the HTTP side: what the API's own tests do not try, and one good client beside all of it."""

import contextlib
import gc
import gzip
import socket
import ssl
from collections.abc import AsyncIterator

import aiohttp
import anyio
import anyio.abc
import pytest

from coordinator.api import listening, routing, server
from coordinator.host import clock, metrics
from coordinator.trust import authority, certificates, tls
from tests import upstream
from tests.security import cluster

pytestmark = pytest.mark.anyio

ADDRESS = "127.0.88.9"
TOKEN = "tca_000000000000_" + "5ec2e7" * 10
CFG = routing.CFG
ENDS_S = 60.0
TICK_S, SILENT_TICKS = 0.01, 40


class Slow(upstream.FakeUpstream):
    """Answers once the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.came, self.gate = anyio.Event(), anyio.Event()

    async def ask(self, verb: str, data: bytes) -> tuple[str, bytes]:
        self.came.set()
        await self.gate.wait()
        return await super().ask(verb, data)


class Served:
    def __init__(self, port: int, mic: upstream.FakeUpstream, guests: listening.Guests) -> None:
        self.port = port
        self.mic = mic
        self.guests = guests

    async def answer(self, data: bytes) -> bytes:
        """The beginning of what comes back, however long that takes on a busy machine."""
        with anyio.fail_after(ENDS_S):
            async with await anyio.connect_tcp(ADDRESS, self.port) as stream:
                await stream.send(data)
                return await stream.receive()

    async def say(self, data: bytes) -> bytes:
        """Everything that comes back until the server closes, or has been silent for a while.

        In turns of the loop that both share: in a moment in which neither goes on, nobody is silent.
        """
        got, silent, seen = bytearray(), 0, 0
        async with await anyio.connect_tcp(ADDRESS, self.port) as stream, anyio.create_task_group() as tasks:

            async def hear() -> None:
                with contextlib.suppress(anyio.BrokenResourceError, anyio.EndOfStream):
                    while True:
                        got.extend(await stream.receive())
                tasks.cancel_scope.cancel()

            tasks.start_soon(hear)
            with contextlib.suppress(anyio.BrokenResourceError):
                await stream.send(data)
            while silent < SILENT_TICKS:
                await anyio.sleep(TICK_S)
                silent, seen = (0 if len(got) > seen else silent + 1), len(got)
            tasks.cancel_scope.cancel()
        return bytes(got)


@contextlib.asynccontextmanager
async def serving(
    context: ssl.SSLContext | None = None, mic: upstream.FakeUpstream | None = None
) -> AsyncIterator[Served]:
    mic = upstream.FakeUpstream() if mic is None else mic
    app = server.application(mic, clock.SystemClock(), clock.SystemRandom(), metrics.Metrics())
    runner = await server.serve(app, ADDRESS, 0, context)
    try:
        yield Served(runner.addresses[0][1], mic, app[listening.GUESTS])
    finally:
        await runner.cleanup()


def head(line: str, *fields: str) -> bytes:
    return "\r\n".join((line, "Host: x", *fields, "", "")).encode("latin-1")


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0


PATHS = (
    "/../../etc/passwd",
    "/..%2f..%2f..%2fetc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/..%252f..%252fetc/passwd",
    "/....//....//etc/passwd",
    "/..\\..\\etc\\passwd",
    "/%00",
    "//evil/",
    "/;/admin",
    "/%c0%ae%c0%ae/etc/passwd",
    "/" + "A" * 70_000,
    f"{CFG}/servers/..%2f..%2fwhoami",
    f"{CFG}/servers/%0d%0aX-Evil:%201",
    "http://evil.example/livez",
)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:24])
async def test_a_path_leads_nowhere_but_to_a_route(path: str) -> None:
    async with serving() as served:
        answer = await served.say(head(f"GET {path} HTTP/1.1", "Connection: close"))
    assert status(answer) in {0, 200, 400, 404}
    assert b"root:" not in answer
    assert b"\r\nX-Evil" not in answer
    assert b"Traceback" not in answer
    if status(answer) == 200:
        assert path.endswith(("/livez", "X-Evil:%201", "whoami")), "a route, with this as its parameter"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PUT", "PATCH", "DELETE", "FOO", "get", "G\x00ET"])
async def test_a_method_that_no_route_has_does_nothing(method: str) -> None:
    async with serving() as served:
        answer = await served.say(head(f"{method} {CFG}/apply HTTP/1.1", "Connection: close"))
    assert status(answer) in {0, 400, 404, 405, 501}
    assert served.mic.calls == []


SMUGGLED = {
    "two lengths": head(f"POST {CFG}/rollback HTTP/1.1", "Content-Length: 2", "Content-Length: 40") + b"{}",
    "length and chunks": head(f"POST {CFG}/rollback HTTP/1.1", "Content-Length: 2", "Transfer-Encoding: chunked") + b"{}",
    "a strange coding": head(f"POST {CFG}/rollback HTTP/1.1", "Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "a negative length": head(f"POST {CFG}/rollback HTTP/1.1", "Content-Length: -1") + b"{}",
    "a length with a sign": head(f"POST {CFG}/rollback HTTP/1.1", "Content-Length: +2") + b"{}",
    "a chunk of no size": head(f"POST {CFG}/rollback HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked") + b"zz\r\n{}\r\n",
    "a chunk size without end": head(f"POST {CFG}/rollback HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked") + b"0" * 70_000,
    "a folded header": head("GET /livez HTTP/1.1", "X-A: 1", " Authorization: Bearer x"),
    "a space before the colon": head("GET /livez HTTP/1.1", "Authorization : Bearer x"),
    "a bare newline": b"GET /livez HTTP/1.1\nHost: x\nX: \x00\n\n",
    "a huge header": head("GET /livez HTTP/1.1", "X-A: " + "a" * 100_000),
    "ten thousand headers": head("GET /livez HTTP/1.1", *(f"X-{n}: 1" for n in range(10_000))),
    "tls": bytes.fromhex("16030100f8010000f40303") + b"A" * 300,
    "binary": bytes(range(256)) * 16,
    "http 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("data", SMUGGLED.values(), ids=SMUGGLED.keys())
async def test_a_head_with_two_meanings_has_none(data: bytes) -> None:
    async with serving() as served:
        answer = await served.say(data)
        assert status(answer) in {0, 400, 413, 415, 431}
        assert served.mic.calls == []
        assert status(await served.say(head("GET /livez HTTP/1.1", "Connection: close"))) == 200


async def test_a_request_id_cannot_split_an_answer() -> None:
    async with serving() as served:
        for key in ("a\tb", "a b", "ä", "x" * 129, "\x7f"):
            answer = await served.say(
                head(f"POST {CFG}/rollback HTTP/1.1", f"Idempotency-Key: {key}", "Connection: close")
            )
            assert status(answer) == 400
        assert served.mic.calls == []


@pytest.mark.parametrize(
    ("fields", "token"),
    [
        (("Authorization: Bearer ",), ""),
        (("Authorization: Basic YWRtaW46YWRtaW4=",), ""),
        (("Authorization: Bearer a b",), ""),
        (("Authorization: Bearer ä",), ""),
        ((f"Authorization: Bearer {'A' * 8000}",), "A" * 8000),
        (
            ("Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",),
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
        ),
        (("X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1"), ""),
    ],
)
async def test_who_asks_is_for_mic_to_judge_and_from_where_for_the_socket(
    fields: tuple[str, ...], token: str
) -> None:
    async with serving() as served:
        await served.say(head(f"GET {CFG}/status HTTP/1.1", "Connection: close", *fields))
    (call,) = [call for _, call in served.mic.calls]
    assert call.token == token
    assert call.source.startswith("127.")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "GZIP", "identity, gzip", "x"])
async def test_a_compressed_body_is_not_unpacked(coding: str) -> None:
    body = gzip.compress(b"[" + b"0," * (1 << 20) + b"0]")
    fields = (f"Content-Encoding: {coding}", "Content-Type: application/json", f"Content-Length: {len(body)}")
    async with serving() as served:
        assert status(await served.say(head(f"POST {CFG}/revisions HTTP/1.1", *fields) + body)) == 415
    assert served.mic.calls == []


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"files":' * 20_000,
        b'{"a":"\xff"}',
        b'{"files":[{"name":"\\ud800","text":""}]}',
        b"1e999",
        b"\0",
    ],
)
async def test_json_that_is_none_of_ours_is_told_so(body: bytes) -> None:
    fields = ("Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close")
    async with serving() as served:
        answer = await served.say(head(f"POST {CFG}/revisions HTTP/1.1", *fields) + body)
    assert status(answer) in {400, 413}
    assert b"Traceback" not in answer


# --- those who take their time --------------------------------------------------------------------------------------


async def closed(stream: anyio.abc.ByteStream) -> bool:
    """Whether the other side ends it in time."""
    with anyio.move_on_after(ENDS_S), contextlib.suppress(anyio.BrokenResourceError):
        with contextlib.suppress(anyio.EndOfStream):
            while True:
                await stream.receive()
        return True
    return False


@pytest.mark.parametrize("said", [b"", b"G", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: "])
async def test_a_connection_that_asks_nothing_is_closed(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "HEAD_S", 0.3)
    async with serving() as served, await anyio.connect_tcp(ADDRESS, served.port) as stream:
        if said:
            await stream.send(said)
        assert await closed(stream)


async def test_a_connection_that_rests_is_closed_and_a_busy_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listening, "HEAD_S", 0.5)
    monkeypatch.setattr(listening, "REST_S", 1.0)
    async with serving() as served:
        async with aiohttp.ClientSession(f"http://{ADDRESS}:{served.port}") as session:
            for _ in range(4):
                async with session.get("/livez") as response:
                    assert response.status == 200
                await anyio.sleep(0.1)
        async with await anyio.connect_tcp(ADDRESS, served.port) as stream:
            await stream.send(head("GET /livez HTTP/1.1"))
            assert b"200 OK" in await stream.receive()
            assert await closed(stream)


def kept_guests() -> int:
    gc.collect()
    return sum(isinstance(one, listening.Guest) for one in gc.get_objects())


async def test_whoever_comes_and_goes_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each was held for ten seconds more: of a flood, tens of thousands."""
    monkeypatch.setattr(listening, "HEAD_S", 3600.0)
    async with serving() as served:
        for _ in range(5):
            await served.answer(head("GET /livez HTTP/1.1", "Connection: close"))
        with anyio.fail_after(ENDS_S):
            while kept_guests() > 1:  # noqa: ASYNC110 nobody tells; the last one stays until another one comes
                await anyio.sleep(TICK_S)


async def test_whoever_connects_and_says_nothing_gives_way_to_whoever_does_not_crowd(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They kept everybody else out, for ten seconds at a time, again and again."""
    monkeypatch.setattr(listening, "CONNECTIONS", 3)
    async with serving() as served:
        held = [await anyio.connect_tcp(ADDRESS, served.port) for _ in range(3)]
        assert status(await served.answer(head("GET /livez HTTP/1.1", "Connection: close"))) == 200
        assert await closed(held[0])
        for stream in held:
            await stream.aclose()


async def test_who_is_being_answered_is_not_disturbed_by_a_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "CONNECTIONS", 3)
    slow = Slow()
    async with serving(mic=slow) as served:
        asking = head(f"GET {CFG}/status HTTP/1.1", f"Authorization: Bearer {TOKEN}")
        working = await anyio.connect_tcp(ADDRESS, served.port)
        await working.send(asking)
        await slow.came.wait()
        crowd = [await anyio.connect_tcp(ADDRESS, served.port) for _ in range(6)]
        assert await closed(crowd[0])
        slow.gate.set()
        with anyio.fail_after(ENDS_S):
            assert status(await working.receive()) == 200
        for stream in (working, *crowd):
            await stream.aclose()


async def test_handshakes_that_never_end_are_counted_and_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "CONNECTIONS", 3)
    wall, key = clock.SystemClock().wall(), certificates.new_key()
    held = authority.create_authority(cluster.CLUSTER, wall)
    pem = authority.issue_https(held, certificates.public_pem(key), [ADDRESS], [], wall)
    async with serving(tls.https_context(pem, key)) as served:
        crowd = []
        for _ in range(3):
            crowd.append(await anyio.connect_tcp(ADDRESS, served.port))
            await crowd[-1].send(b"\x16\x03\x01")
        context = tls.pinned_client_context(held.ca_pem)
        async with (
            aiohttp.ClientSession(f"https://{ADDRESS}:{served.port}") as session,
            session.get("/livez", ssl=context) as response,
        ):
            assert response.status == 200
        assert await closed(crowd[0])
        for stream in crowd:
            await stream.aclose()


async def test_who_reads_nothing_of_a_large_answer_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "WRITE_S", 0.2)
    async with serving() as served:
        served.mic.answers["cfg.status"] = ("", b'"' + b"x" * 8_000_000 + b'"')
        with socket.create_connection((ADDRESS, served.port)) as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.sendall(head(f"GET {CFG}/status HTTP/1.1", f"Authorization: Bearer {TOKEN}"))
            with anyio.fail_after(ENDS_S):
                while len(served.guests):  # noqa: ASYNC110 nobody tells
                    await anyio.sleep(0.02)


async def test_a_large_body_of_somebody_unknown_is_not_read_and_takes_nobodys_room() -> None:
    """Four of them, a byte at a time, kept every administrator from uploading."""
    async with serving() as served:
        served.mic.answers["people.whoami"] = ("unauthenticated", b"")
        for _ in range(8):
            answer = await served.answer(
                head(f"POST {CFG}/plan HTTP/1.1", f"Content-Length: {32 * 1024 * 1024}",
                     "Content-Type: application/json", "Authorization: Bearer nobody")
                + b"{"
            )  # fmt: skip
            assert status(answer) == 401
        assert {verb for verb, _ in served.mic.calls} == {"people.whoami"}


async def test_a_handshake_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "HEAD_S", 0.3)
    held, key = (
        authority.create_authority(cluster.CLUSTER, clock.SystemClock().wall()),
        certificates.new_key(),
    )
    pem = authority.issue_https(held, certificates.public_pem(key), [ADDRESS], [], clock.SystemClock().wall())
    async with serving(tls.https_context(pem, key)) as served:
        for said in (b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"):
            async with await anyio.connect_tcp(ADDRESS, served.port) as stream:
                if said:
                    await stream.send(said)
                assert await closed(stream)
        context = tls.pinned_client_context(held.ca_pem)
        async with (
            aiohttp.ClientSession(f"https://{ADDRESS}:{served.port}") as session,
            session.get("/livez", ssl=context) as response,
        ):
            assert response.status == 200


async def test_no_token_reaches_a_log_whatever_fails(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with serving() as served:
        served.mic.answers = dict.fromkeys(served.mic.answers, RuntimeError("broke"))
        await served.say(
            head(
                f"GET {CFG}/status?{TOKEN}=1 HTTP/1.1", f"Authorization: Bearer {TOKEN}", "Connection: close"
            )
        )
        await served.say(
            head(f"GET {CFG}/status HTTP/1.1", f"Authorization: Bearer {TOKEN}", "Connection: close")
        )
        for bad in ("bad", "GET / HTTP/1.1\r\nX: \x7f\x01"):
            await served.say(head(bad, f"Authorization: Bearer {TOKEN}"))
            await served.say(head("GET / HTTP/1.1", f"Authorization: Bearer {TOKEN}\x01"))
    facts = [str(getattr(record, "facts", "")) for record in caplog.records]
    assert TOKEN not in caplog.text + "".join(facts)
    assert "Traceback" in caplog.text, "the crash itself is logged"
    assert "request cannot be read" in caplog.text
