"""Bad input about people, through the HTTP side and a real MIC: refused by code, told without the secret, and nothing kept."""

import contextlib
import io
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from coordinator import limits
from coordinator.api import routing, server
from coordinator.domains import people
from coordinator.host import clock, metrics
from coordinator.propagation import messages
from coordinator.tiers import mic
from tests import peopleworld

pytestmark = pytest.mark.anyio

ADMIN = routing.ADMIN
SECRET = "correct horse battery"


class Link:
    """Of WS to MIC, without a link."""

    def __init__(self, served: mic.Mic) -> None:
        self._served = served

    async def ask(self, verb: str, data: bytes) -> tuple[str, bytes]:
        return await self._served.answered(verb, messages.ChildKind.WS, data)


class Asked:
    def __init__(
        self, world: peopleworld.World, served: mic.Mic, client: aiohttp.ClientSession, base: str
    ) -> None:
        self.world = world
        self.served = served
        self._client = client
        self._base = base

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        data = (
            io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
            if body is not None
            else None
        )
        sent = {
            "Authorization": f"Bearer {self.world.token.text}",
            "Content-Type": "application/json",
            **headers,
        }
        async with self._client.request(method, self._base + path, data=data, headers=sent) as response:
            text = await response.text()
            assert "Traceback" not in text
            assert SECRET not in text
            assert "X-Evil" not in response.headers
            return response.status, json.loads(text) if text else None


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Asked]:
    world = peopleworld.World()
    served, _ = await world.begun()
    app = server.application(Link(served), clock.SystemClock(), clock.SystemRandom(), metrics.Metrics())
    runner = await server.serve(app, "127.0.0.1", 0, None)
    try:
        async with aiohttp.ClientSession() as client:
            yield Asked(world, served, client, f"http://127.0.0.1:{runner.addresses[0][1]}{ADMIN}")
    finally:
        await runner.cleanup()


GOOD: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/people"): {"name": "vic", "role": "viewer", "password": SECRET},
    ("POST", "/login"): {"name": "vic", "password": SECRET},
    ("POST", "/login/first"): {"name": "vic", "password": SECRET},
    ("POST", "/people/acme/vic/role"): {"role": "viewer"},
    ("POST", "/people/acme/vic/password"): {"password": SECRET},
    ("POST", "/access/tokens"): {"name": "vic", "ttl_s": 3600, "scopes": ["cfg"], "role": "viewer"},
    ("POST", "/domains/acme/entities"): {"name": "users", "role": "web1"},
    ("POST", "/domains/acme/import"): {"file": {}},
}
VALUES: list[Any] = [
    None,
    5,
    -1.5,
    True,
    [],
    {},
    ["x y"],
    "x" * 70_000,
    {"a": {"b": []}},
    "\ud800",
    "\x00",
    "a\r\nX-Evil: 1",
]


@pytest.mark.parametrize(("method", "path"), GOOD, ids=[path for _, path in GOOD])
async def test_a_field_of_another_type_missing_unknown_or_too_long_is_refused(method: str, path: str) -> None:
    good = GOOD[method, path]
    async with serving() as asked:
        for field in good:
            for value in VALUES:
                if type(value) is type(good[field]) and value in ([], {}):
                    continue
                status, told = await asked.send(method, path, {**good, field: value})
                assert status in {400, 401, 404, 413}, (field, value, told)
                assert told["code"]
        status, told = await asked.send(method, path, {**good, "unknown": SECRET})
        assert (status, told["code"]) == (400, "syntax")
        required = {"/people": "name", "/login": "password", "/login/first": "password"}.get(path)
        if required:
            status, _ = await asked.send(method, path, {key: good[key] for key in good if key != required})
            assert status == 400
        assert await people.known(asked.served.at.store) == ()


@pytest.mark.parametrize(("method", "path"), GOOD, ids=[path for _, path in GOOD])
async def test_a_body_that_is_none_is_refused(method: str, path: str) -> None:
    bodies: list[tuple[bytes, dict[str, str], set[int]]] = [
        (b"{", {}, {400}),
        (b"\xff\xfe", {}, {400}),
        (b"null", {}, {400}),
        (b'"' + SECRET.encode() + b'"', {}, {400}),
        (b"[" * 50_000, {}, {400, 413}),
        (b"{}", {"Content-Type": "text/yaml"}, {415}),
        (
            b"name=vic&password=" + SECRET.encode(),
            {"Content-Type": "application/x-www-form-urlencoded"},
            {415},
        ),
        (b" " * (limits.DOMAIN_FILE_BYTES + 1), {}, {413}),
        (b"{}", {"Content-Encoding": "gzip"}, {415}),
    ]
    async with serving() as asked:
        for body, headers, statuses in bodies:
            assert (await asked.send(method, path, body, **headers))[0] in statuses, (body[:20], headers)
        assert await people.known(asked.served.at.store) == ()


PLACES = (
    "..",
    "%2e%2e",
    "a%2Fb",
    "a%00",
    "%0d%0aX-Evil:%201",
    "\u0430dmin",
    "x" * 300,
    "acme%20",
    "'; drop",
    "%ff",
)


@pytest.mark.parametrize("place", PLACES)
async def test_a_name_in_the_path_leads_to_nobody(place: str) -> None:
    async with serving() as asked:
        await asked.world.add(asked.served, "vic")
        for method, path in (
            ("DELETE", f"/people/acme/{place}"),
            ("DELETE", f"/people/{place}/vic"),
            ("DELETE", f"/access/tokens/{place}"),
            ("DELETE", f"/domains/{place}/entities/users"),
            ("DELETE", f"/domains/acme/entities/{place}"),
        ):
            assert (await asked.send(method, path))[0] in {400, 404, 405}, path
        assert (await asked.send("POST", f"/domains/{place}/export"))[0] in {400, 404, 405}
        assert [one.name for one in await people.known(asked.served.at.store)] == ["vic"]


@pytest.mark.parametrize(
    "query",
    ["since=yesterday", "limit=-1", "limit=1e3", "before=x", "oldest_first=maybe", "wait=9q", "who=a&who=b", "hwo=a",
     f"password={SECRET}", "after=99999999999999999999"],
)  # fmt: skip
async def test_a_question_about_the_audit_that_cannot_be_read_is_refused(query: str) -> None:
    async with serving() as asked:
        status, told = await asked.send("GET", f"/audit?{query}")
        assert (status, bool(told["code"])) == (400, True)


async def test_a_password_that_came_the_wrong_way_is_in_no_log_and_not_in_the_audit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving() as asked:
        await asked.send("POST", f"/login?password={SECRET}", {"name": "vic", "password": SECRET})
        await asked.send("POST", "/login", {"name": "vic", "password": SECRET})
        await asked.send("POST", "/people", {"name": "vic", "password": SECRET[:5], "role": "viewer"})
        asked.world.clock.now += 2.0
        await asked.send("POST", "/login", {"name": SECRET, "password": "vic"})
        items = (await asked.world.store.scan(b"/audit/")).items
        for header in ("Basic dmljOnNlY3JldA==", f"Bearer {SECRET}", "Bearer tca_x\ty", "Bearer"):
            assert (await asked.send("GET", "/whoami", Authorization=header))[0] == 401
    logged = "".join(
        f"{record.getMessage()}{vars(record)}"
        for record in caplog.records
        if record.name.startswith("tiercast")
    )
    assert "password" not in logged
    assert SECRET not in logged
    stored = b"".join(item.value for item in items)
    assert b"people.login" in stored
    assert SECRET.encode() not in stored
