"""Events by HTTP, long waits, and reading with MIC away: over real sockets, before a MIC that a test plays."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import anyio
import msgspec
import pytest

from coordinator import errors, names
from coordinator.api import kept, routing, server, streams, upward
from coordinator.host import clock, metrics
from coordinator.tiers import requests, requests_looking
from tests import upstream

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

CFG = routing.CFG
EVENTS = f"{CFG}/events"
WITHIN_S = 60.0
Verb = requests.Verb
AWAY = errors.NoCoordinatorError("no coordinator (MIC) answers now")


def bearer(token: str = "viewer") -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class Mic:
    """Keeps a journal, and counts how often it is asked."""

    def __init__(self) -> None:
        self.term = 1
        self.events: list[requests_looking.Event] = []
        self.asked: list[tuple[str, requests_looking.Events]] = []
        self.away = False
        self.revoked: set[str] = set()
        self._news = anyio.Event()

    @property
    def last(self) -> str:
        return f"{self.term}.{len(self.events)}"

    def happens(self, *servers: str) -> None:
        for name in servers:
            number = len(self.events) + 1
            self.events.append(
                requests_looking.Event(
                    f"{self.term}.{number}", "server", 1.0, upstream.ACTIVE, server=name, now="converged"
                )
            )
        self._news.set()
        self._news = anyio.Event()

    def succeeded(self) -> None:
        """Another MIC, with a journal of its own."""
        self.term += 1
        self.events = []
        self.happens()

    @property
    def waiting(self) -> int:
        return sum(asked.wait_s > 0 for _, asked in self.asked)

    async def ask(self, verb: str, data: bytes) -> tuple[str, bytes]:
        call = msgspec.msgpack.decode(data, type=requests.Call)
        if self.away:
            raise AWAY
        if call.token in self.revoked:
            return "unauthenticated", msgspec.json.encode(requests.Problem("unauthenticated", "not known"))
        if verb != Verb.EVENTS:
            return "", msgspec.json.encode(upstream.GOOD[verb])
        asked = msgspec.json.decode(call.body, type=requests_looking.Events)
        self.asked.append((call.token, asked))
        term, _, number = asked.after.partition(".")
        if term != str(self.term):
            view = requests_looking.EventsView(self.last, bool(asked.after), (), upstream.STATUS)
            return "", msgspec.json.encode(view)
        if asked.wait_s and int(number) >= len(self.events):
            with anyio.move_on_after(asked.wait_s):
                await self._news.wait()
            if self.away:
                raise AWAY
            if term != str(self.term):
                return await self.ask(verb, data)
        found = tuple(self.events[int(number) :])
        return "", msgspec.json.encode(requests_looking.EventsView(self.last, False, found))


@contextlib.asynccontextmanager
async def serving(
    behind: upward.Upstream, own: Callable[[], kept.Own | None] = kept.no_own, *, admin: bool = True
) -> AsyncIterator[aiohttp.ClientSession]:
    app = server.application(
        behind, clock.SystemClock(), clock.SystemRandom(), metrics.Metrics(), own=own, admin=admin
    )
    runner = await server.serve(app, "127.0.0.1", 0, None)
    connector = aiohttp.TCPConnector(limit=0)
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession(url, connector=connector) as session:
            yield session
    finally:
        await runner.cleanup()


class Stream:
    """One viewer."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> tuple[str, str, Any]:
        """(id, kind, data) of the next event."""
        found: dict[str, str] = {}
        with anyio.fail_after(WITHIN_S):
            while line := (await self.response.content.readline()).decode():
                if line == "\n":
                    if "event" in found:
                        return found.get("id", ""), found["event"], json.loads(found["data"])
                    continue
                key, _, value = line.rstrip("\n").partition(": ")
                if key:
                    found[key] = value
        raise EOFError


@contextlib.asynccontextmanager
async def following(
    session: aiohttp.ClientSession, after: str = "", token: str = "viewer"
) -> AsyncIterator[Stream]:
    headers = {**bearer(token), **({"Last-Event-ID": after} if after else {})}
    async with session.get(EVENTS, headers=headers) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        yield Stream(response)


async def until(true: Callable[[], object]) -> None:
    with anyio.fail_after(WITHIN_S):
        while not true():
            await anyio.sleep(0.01)


async def test_a_stream_begins_with_the_state_and_goes_on_with_what_happens() -> None:
    mic = Mic()
    async with serving(mic) as session, following(session) as stream:
        number, kind, state = await stream.next()
        assert (number, kind, state["digest"]) == ("1.0", "state", upstream.DIGEST)
        assert stream.response.headers["X-Request-Id"]
        mic.happens("n1")
        mic.happens("n2")
        told = [await stream.next(), await stream.next()]
    assert [(number, kind, data["server"]) for number, kind, data in told] == [
        ("1.1", "server", "n1"),
        ("1.2", "server", "n2"),
    ]


async def test_a_stream_is_resumed_after_the_last_event_that_was_seen() -> None:
    mic = Mic()
    mic.happens("n1", "n2", "n3")
    async with serving(mic) as session:
        async with following(session, "1.1") as stream:
            assert [(await stream.next())[0] for _ in range(2)] == ["1.2", "1.3"]
        async with session.get(f"{EVENTS}?after=1.2", headers=bearer()) as response:
            assert (await Stream(response).next())[0] == "1.3"


async def test_whoever_is_too_far_behind_is_told_to_begin_anew() -> None:
    mic = Mic()
    async with serving(mic) as session, following(session, "0.12345") as stream:
        assert (await stream.next())[:2] == ("1.0", "reset")


async def test_another_mic_is_a_reset_for_every_viewer_and_asked_about_once() -> None:
    mic = Mic()
    async with serving(mic) as session, contextlib.AsyncExitStack() as stack:
        viewers = [await stack.enter_async_context(following(session)) for _ in range(5)]
        for viewer in viewers:
            await viewer.next()
        await until(lambda: mic.waiting == 1)
        before = len(mic.asked)
        mic.succeeded()
        for viewer in viewers:
            assert (await viewer.next())[:2] == ("2.0", "reset")
        assert len(mic.asked) - before <= 2


async def test_one_ask_waits_for_all_viewers_and_another_takes_over() -> None:
    mic = Mic()
    async with serving(mic) as session, contextlib.AsyncExitStack() as rest:
        async with following(session, token="first") as first:
            await first.next()
            await until(lambda: mic.waiting == 1)
            viewers = [await rest.enter_async_context(following(session, token=f"t{n}")) for n in range(20)]
            for viewer in viewers:
                await viewer.next()
            assert mic.waiting == 1
        await until(lambda: mic.waiting == 2)
        mic.happens("n1")
        for viewer in viewers:
            assert (await viewer.next())[0] == "1.1"
        assert mic.waiting <= 4
        waited = {token for token, asked in mic.asked if asked.wait_s}
        assert "first" in waited
        assert len(waited) > 1


async def test_viewers_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "VIEWERS", 1)
    async with serving(Mic()) as session:
        async with following(session) as stream:
            await stream.next()
            async with session.get(EVENTS, headers=bearer()) as response:
                assert response.status == 429
                assert "Retry-After" in response.headers
        with anyio.fail_after(WITHIN_S):
            while True:
                async with session.get(EVENTS, headers=bearer()) as response:
                    if response.status == 200:
                        break


async def test_a_stranger_gets_a_problem_and_no_stream() -> None:
    mic = Mic()
    mic.revoked.add("stranger")
    async with serving(mic) as session, session.get(EVENTS, headers=bearer("stranger")) as response:
        assert (response.status, response.content_type) == (401, "application/problem+json")


async def test_whoever_may_not_look_any_more_sees_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "RECHECK_S", 0.0)
    mic = Mic()
    async with serving(mic) as session, following(session) as good, following(session, token="gone") as gone:
        await good.next()
        await gone.next()
        mic.revoked.add("gone")
        mic.happens("n1")
        await _ended(gone)
        mic.happens("n2")
        assert [(await good.next())[0] for _ in range(2)] == ["1.1", "1.2"]


async def _ended(stream: Stream) -> None:
    with contextlib.suppress(EOFError):
        while True:
            await stream.next()


async def test_mic_going_away_and_coming_back_is_told_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "AGAIN_S", 0.05)
    mic = Mic()
    async with serving(mic) as session, following(session) as stream:
        await stream.next()
        mic.away = True
        mic.happens()
        assert await stream.next() == ("", "coordinator", {"state": "away"})
        mic.away = False
        assert await stream.next() == ("", "coordinator", {"state": "active"})
        mic.happens("n1")
        assert (await stream.next())[0] == "1.1"


async def test_a_silent_stream_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE_S", 0.05)
    monkeypatch.setattr(streams, "AGAIN_S", 0.01)
    async with serving(Mic()) as session, following(session) as stream:
        await stream.next()
        with anyio.fail_after(WITHIN_S):
            while await stream.response.content.readline() != b": keep-alive\n":
                pass


async def viewers(session: aiohttp.ClientSession) -> float:
    async with session.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("tiercast_http_event_viewers "))


async def test_a_viewer_that_does_not_read_is_closed_and_the_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "WRITE_S", 2.0)
    mic = Mic()
    async with serving(mic) as session, following(session) as good:
        await good.next()
        base = session._base_url
        assert base is not None
        async with await anyio.connect_tcp("127.0.0.1", base.port or 0) as deaf:
            await deaf.send(
                f"GET {EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer deaf\r\n\r\n".encode()
            )
            assert b"200 OK" in await deaf.receive(64)
            assert await viewers(session) == 2
            number = 0
            with anyio.fail_after(WITHIN_S):
                while await viewers(session) == 2:
                    mic.happens(*("n" * 4_000 for _ in range(100)))
                    while number < len(mic.events):
                        number = int((await good.next())[0].partition(".")[2])
        mic.happens("last")
        assert (await good.next())[2]["server"] == "last"


# --- the ring, by itself ----------------------------------------------------------------------------------------------


def event(number: int, term: int = 1) -> requests_looking.Event:
    return requests_looking.Event(f"{term}.{number}", "server", 1.0, names.Version(1, 1))


def test_a_ring_knows_its_own_last_events_and_nothing_else() -> None:
    ring = streams.Ring()
    ring.begin("1.5")
    ring.add(tuple(event(n) for n in range(6, 6 + streams.RING + 1)))
    assert ring.after("1.5") is None
    whole = ring.after("1.6")
    assert whole is not None
    assert whole.count(b"\n\n") == streams.RING
    assert ring.after(ring.last) == b""
    assert ring.after("1.999999") == b""
    assert ring.after("2.7") is None
    assert ring.after("") is None


def test_a_ring_takes_no_event_twice_and_none_out_of_order() -> None:
    ring = streams.Ring()
    ring.begin("1.5")
    ring.add((event(6), event(6), event(5), event(8), event(7), event(8)))
    told = ring.after("1.5")
    assert told is not None
    assert [line for line in told.split(b"\n") if line.startswith(b"id")] == [
        b"id: 1.6",
        b"id: 1.7",
        b"id: 1.8",
    ]


# --- long waits -------------------------------------------------------------------------------------------------------


async def test_whoever_waits_longer_than_one_ask_may_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("coordinator.api.forms.WAIT_S", 0.2)
    mic = upstream.FakeUpstream()
    later = msgspec.structs.replace(upstream.STATUS, index=8)
    mic.answers[Verb.STATUS] = [msgspec.structs.replace(upstream.STATUS, index=7)] * 3 + [later]
    path = f"{CFG}/status?index=7&wait=60s"
    async with serving(mic) as session, session.get(path, headers=bearer()) as response:
        assert (await response.json())["index"] == 8
    assert [mic.body(n)["index"] for n in range(4)] == [7, 7, 7, 7]
    assert max(mic.body(n)["wait_s"] for n in range(4)) <= 0.2


# --- with MIC away ----------------------------------------------------------------------------------------------------


class Leaving(upstream.FakeUpstream):
    away = False

    async def ask(self, verb: str, data: bytes) -> tuple[str, bytes]:
        if self.away:
            raise AWAY
        return await super().ask(verb, data)


def own() -> kept.Own:
    return kept.Own(names.Version(1, 41), names.Digest("e" * 64), b'{"schema":"tiercast/1"}', 3.0)


async def test_what_was_answered_before_is_answered_again_with_its_age() -> None:
    mic = Leaving()
    async with serving(mic) as session:
        async with session.get(f"{CFG}/status", headers=bearer()) as response:
            assert kept.AS_OF not in response.headers
        mic.away = True
        async with session.get(f"{CFG}/status", headers=bearer()) as response:
            assert (response.status, await response.read()) == (200, msgspec.json.encode(upstream.STATUS))
            revision, _, age = response.headers[kept.AS_OF].partition(", ")
            assert (revision, float(age) < 60) == ("1.42", True)


async def test_nobody_is_shown_what_only_others_were_shown() -> None:
    mic = Leaving()
    async with serving(mic, own) as session:
        async with session.get(f"{CFG}/status", headers=bearer("one")) as response:
            assert response.status == 200
        mic.away = True
        async with session.get(f"{CFG}/status", headers=bearer("two")) as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) > 0


async def test_the_servers_own_copy_stands_in_where_mic_has_answered_such_a_question() -> None:
    mic = Leaving()
    async with serving(mic, own) as session:
        for path in ("status?site=north", "revisions/d-7f3a"):
            async with session.get(f"{CFG}/{path}", headers=bearer()) as response:
                assert response.status == 200
        async with session.get(f"{CFG}/status", headers=bearer("looks at nothing else")) as response:
            assert response.status == 200
        mic.away = True
        path = f"{CFG}/revisions/active/document"
        async with session.get(path, headers=bearer("looks at nothing else")) as response:
            assert response.status == 503
        async with session.get(f"{CFG}/status", headers=bearer()) as response:
            assert response.headers[kept.AS_OF] == "1.41, 3.0"
            assert (await response.json())["coordinator"] == "away"
        async with session.get(f"{CFG}/revisions/active/document", headers=bearer()) as response:
            assert "tiercast/1" in (await response.json())["files"][0]["text"]
        async with session.get(f"{CFG}/revisions/7", headers=bearer()) as response:
            assert response.status == 503


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{CFG}/apply"),
        ("POST", f"{CFG}/rollback"),
        ("POST", f"{CFG}/revisions"),
        ("GET", f"{CFG}/status?index=9&wait=5s"),
        ("GET", f"{routing.MONITOR}/system/state"),
        ("GET", f"{CFG}/servers/n1"),
    ],
)
async def test_a_change_a_wait_for_news_and_the_question_of_health_are_never_answered_from_memory(
    method: str, path: str
) -> None:
    mic = Leaving()
    headers = {**bearer(), "Content-Type": "application/yaml"}
    body = b"schema: tiercast/1\n" if method == "POST" else None
    if path.endswith("rollback"):
        headers["Content-Type"], body = "application/json", b"{}"
    async with serving(mic, own) as session:
        async with session.request(method, path, headers=headers, data=body) as response:
            assert response.status < 300
        mic.away = True
        async with session.request(method, path, headers=headers, data=body) as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) > 0
            assert kept.AS_OF not in response.headers


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "ANSWERS_BYTES", 1_000)
    memory = kept.Kept(kept.no_own)
    for number in range(100):
        memory.keep("t", Verb.SHOW, b"%d" % number, b"x" * 100, float(number))
    held = [memory.recall("t", Verb.SHOW, b"%d" % number, 100.0) for number in range(100)]
    assert [one is not None for one in held] == [False] * 90 + [True] * 10
    assert memory.recall("t", Verb.SHOW, b"99", 99.0 + kept.AGE_S) is None


async def test_away_from_the_master_site_nothing_is_administered_unless_a_role_says_so() -> None:
    async with serving(upstream.FakeUpstream(), admin=False) as session:
        async with session.get(f"{CFG}/status", headers=bearer()) as response:
            assert response.status == 404
        async with session.get(f"{routing.MONITOR}/system/state", headers=bearer()) as response:
            assert response.status == 200
