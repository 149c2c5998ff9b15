"""The users' own keys at MIC: what they answer, whose they are, their quota, and what never happens twice."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from coordinator import errors, limits
from coordinator.domains import people, scopes
from coordinator.store import commands
from coordinator.tiers import keys, kv_names, mic, requests, requests_kv
from tests import micworld

pytestmark = pytest.mark.anyio

V = requests.Verb
K = requests_kv


@asynccontextmanager
async def served() -> AsyncIterator[tuple[micworld.World, mic.Mic]]:
    world = micworld.World()
    async with world.running() as (opened, _tree):
        yield world, opened


async def good(world: micworld.World, at: mic.Mic, verb: requests.Verb, asked: msgspec.Struct) -> Any:
    code, answer = await world.ask(at, verb, asked)
    assert code == "", answer
    return answer


async def refused(world: micworld.World, at: mic.Mic, verb: requests.Verb, asked: msgspec.Struct) -> str:
    code, answer = await world.ask(at, verb, asked)
    assert code, answer
    assert code == answer["code"]
    return str(code)


def put(key: str, value: str = "", **rest: Any) -> K.Put:
    return K.Put(key=key, value=value, **rest)


async def test_what_was_put_is_read_with_its_revisions_by_its_short_and_its_full_name() -> None:
    async with served() as (world, at):
        first = await good(world, at, V.KV_PUT, put("app/leader", "n1"))
        second = await good(world, at, V.KV_PUT, put("/kv/app/leader", "n2"))
        assert second["revision"] == first["revision"] + 1
        for name in ("app/leader", "/kv/app/leader"):
            found = await good(world, at, V.KV_GET, K.Range(key=name))
            assert found["items"] == [
                {
                    "key": "/kv/app/leader",
                    "value": "n2",
                    "encoding": "",
                    "create_revision": first["revision"],
                    "mod_revision": second["revision"],
                    "version": 2,
                    "lease": 0,
                }
            ]
        older = await good(world, at, V.KV_GET, K.Range(key="app/leader", revision=first["revision"]))
        assert [one["value"] for one in older["items"]] == ["n1"]


async def test_a_prefix_is_read_by_page_and_an_absent_key_is_no_error() -> None:
    async with served() as (world, at):
        for number in range(5):
            await good(world, at, V.KV_PUT, put(f"p/{number}"))
        found: list[str] = []
        more = True
        while more:
            after = found[-1] if found else ""
            page = await good(world, at, V.KV_GET, K.Range(key="p/", prefix=True, limit=2, after=after))
            found += [one["key"] for one in page["items"]]
            more = page["more"]
        assert found == [f"/kv/p/{number}" for number in range(5)]
        assert (await good(world, at, V.KV_GET, K.Range(key="none")))["items"] == []


async def test_bytes_that_are_no_text_come_back_as_base64() -> None:
    async with served() as (world, at):
        raw = base64.b64encode(b"\xff\x00").decode()
        name = base64.b64encode(b"blob").decode()
        await good(world, at, V.KV_PUT, put(name, raw, encoding="base64"))
        (item,) = (await good(world, at, V.KV_GET, K.Range(key="blob")))["items"]
        assert (item["encoding"], item["value"]) == ("base64", raw)
        assert base64.b64decode(item["key"]) == b"/kv/blob"


async def test_a_transaction_does_one_branch_and_says_which() -> None:
    async with served() as (world, at):
        lock = K.Txn(
            compare=(K.Compare(key="lock", target="version", number=0),),
            success=(K.Operation(op="put", key="lock", value="mine"),),
            failure=(K.Operation(op="get", key="lock"), K.Operation(op="put", key="lost", value="1")),
        )
        assert (await good(world, at, V.KV_TXN, lock))["succeeded"]
        other = await good(world, at, V.KV_TXN, lock)
        assert not other["succeeded"]
        assert other["responses"][0]["items"][0]["value"] == "mine"
        assert (await good(world, at, V.KV_GET, K.Range(key="lost")))["items"][0]["value"] == "1"


async def test_the_other_branch_is_taken_under_the_keys_as_they_are_when_it_is_done() -> None:
    """Between the look and the write somebody makes the condition true: then the first branch is done after all."""
    async with served() as (world, at):
        looks = 0

        def meddle(txn: commands.Txn) -> None:
            nonlocal looks
            writes = [one.key for one in txn.success if isinstance(one, commands.Put)]
            if keys.KV + b"no" in writes and not looks:
                looks += 1
                world.store._apply(commands.Txn(success=(commands.put(keys.KV + b"flag", b"x"),)))

        world.store.before = meddle
        asked = K.Txn(
            compare=(K.Compare(key="flag", target="value", value="x"),),
            success=(K.Operation(op="put", key="yes"),),
            failure=(K.Operation(op="put", key="no"),),
        )
        assert (await good(world, at, V.KV_TXN, asked))["succeeded"]
        assert looks == 1
        assert (await good(world, at, V.KV_GET, K.Range(key="no")))["items"] == []


async def test_a_request_that_is_sent_again_is_done_once_and_another_one_under_its_id_is_refused() -> None:
    async with served() as (world, at):
        asked = K.Txn(success=(K.Operation(op="put", key="n", value="1"),), request="once")
        first = await good(world, at, V.KV_TXN, asked)
        await good(world, at, V.KV_PUT, put("n", "2"))
        again = await good(world, at, V.KV_TXN, asked)
        assert (again["repeated"], again["revision"]) == (True, first["revision"])
        assert (await good(world, at, V.KV_GET, K.Range(key="n")))["items"][0]["value"] == "2"
        other = K.Txn(success=(K.Operation(op="put", key="n", value="3"),), request="once")
        assert await refused(world, at, V.KV_TXN, other) == errors.ReusedKeyError.code


async def test_an_outcome_that_was_lost_is_found_and_nothing_is_done_twice() -> None:
    async with served() as (world, at):
        lost = 0

        def lose(txn: commands.Txn) -> None:
            nonlocal lost
            if any(one.key == keys.KV + b"n" for one in txn.success) and not lost:
                lost += 1
                raise errors.UnknownOutcomeError("lost")

        world.store.after = lose
        await good(world, at, V.KV_PUT, put("n", "1"))
        (item,) = (await good(world, at, V.KV_GET, K.Range(key="n")))["items"]
        assert (lost, item["version"]) == (1, 1)


async def test_a_deposed_mic_writes_no_key_in_either_branch() -> None:
    async with served() as (world, at):
        world.store._apply(commands.Txn(success=(commands.put(keys.TERM, b"another"),)))
        assert await refused(world, at, V.KV_PUT, put("n", "1")) == errors.NoCoordinatorError.code
        asked = K.Txn(
            compare=(K.Compare(key="never", target="version", number=9),),
            failure=(K.Operation(op="put", key="m"),),
        )
        assert await refused(world, at, V.KV_TXN, asked) == errors.NoCoordinatorError.code
        assert (await world.store.scan(keys.KV)).items == ()


async def test_a_watch_tells_what_happened_since_and_waits_for_what_comes() -> None:
    async with served() as (world, at):
        first = await good(world, at, V.KV_PUT, put("w/a", "1"))
        await good(world, at, V.KV_DELETE, K.Delete(key="w/", prefix=True))
        asked = K.Watch(key="w/", prefix=True, revision=first["revision"])
        told = await good(world, at, V.KV_WATCH, msgspec.structs.replace(asked, wait_s=5.0))
        assert [(one["type"], one["item"]["key"]) for one in told["events"]] == [
            ("put", "/kv/w/a"),
            ("delete", "/kv/w/a"),
        ]
        answers: list[Any] = []

        async def wait() -> None:
            later = K.Watch(key="w/b", revision=told["revision"] + 1, wait_s=20.0)
            answers.append(await good(world, at, V.KV_WATCH, later))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            await good(world, at, V.KV_PUT, put("w/bb", "foreign"))
            await good(world, at, V.KV_PUT, put("w/b", "2"))
        assert [one["item"]["value"] for one in answers[0]["events"]] == ["2"]


async def test_a_watch_from_a_forgotten_revision_says_so() -> None:
    async with served() as (world, at):
        await good(world, at, V.KV_PUT, put("a"))
        await world.store.compact((await world.store.status()).revision)
        told = await good(world, at, V.KV_WATCH, K.Watch(key="a", revision=1, wait_s=5.0))
        assert told["reset"]


async def test_keys_under_a_lease_end_with_it_and_only_users_leases_can_be_ended() -> None:
    async with served() as (world, at):
        lease = (await good(world, at, V.KV_GRANT, K.Grant(ttl_s=10.0)))["lease"]
        await good(world, at, V.KV_PUT, put("eph", "1", lease=lease))
        assert [one["lease"] for one in (await good(world, at, V.KV_LEASES, K.Nothing()))["leases"]] == [
            lease
        ]
        await good(world, at, V.KV_KEEPALIVE, K.LeaseAsked(lease=lease))
        await good(world, at, V.KV_REVOKE, K.LeaseAsked(lease=lease))
        assert (await good(world, at, V.KV_GET, K.Range(key="eph")))["items"] == []
        assert (await good(world, at, V.KV_LEASES, K.Nothing()))["leases"] == []
        office = await world.store.get(keys.LEASE)
        assert office is not None
        for verb in (V.KV_KEEPALIVE, V.KV_REVOKE):
            assert await refused(world, at, verb, K.LeaseAsked(lease=office.lease)) == "not_found"
        assert await refused(world, at, V.KV_PUT, put("x", lease=office.lease)) == "not_found"


async def test_a_full_quota_refuses_keys_and_no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KV_QUOTA_BYTES", 100)
    async with served() as (world, at):
        await good(world, at, V.KV_PUT, put("a", "x" * 80))
        assert await refused(world, at, V.KV_PUT, put("b", "x" * 80)) == "no_space"
        await good(world, at, V.KV_PUT, put("a", "y" * 80))
        code, _answer = await world.apply(at, micworld.basic())
        assert code == ""
        await good(world, at, V.KV_DELETE, K.Delete(key="a"))
        await good(world, at, V.KV_PUT, put("b", "x" * 80))
        usage = await good(world, at, V.KV_USAGE, K.Nothing())
        assert (usage["keys"], usage["size_bytes"]) == (1, len("/kv/b") + 80)


async def test_one_token_is_slowed_down_before_it_takes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KV_REQUESTS_BURST", 3.0)
    async with served() as (world, at):
        codes = [(await world.ask(at, V.KV_GET, K.Range(key="a")))[0] for _ in range(5)]
        assert codes == ["", "", "", "busy", "busy"]


@pytest.mark.parametrize(
    ("verb", "asked", "code"),
    [
        (V.KV_PUT, put(""), "usage"),
        (V.KV_PUT, put("k" * limits.STORE_KEY_BYTES), "too_large"),
        (V.KV_PUT, put("k", "v" * (limits.STORE_VALUE_BYTES + 1)), "too_large"),
        (V.KV_PUT, put("k", "@@", encoding="base64"), "usage"),
        (V.KV_PUT, put("/config/target", "mine"), "not_allowed"),
        (V.KV_PUT, put("/private/term"), "not_allowed"),
        (V.KV_DELETE, K.Delete(key="/", prefix=True), "not_allowed"),
        (V.KV_GET, K.Range(key="/", prefix=True), "not_allowed"),
        (V.KV_GET, K.Range(key="/private/term"), "not_allowed"),
        (V.KV_GET, K.Range(key="/domains/", prefix=True), "not_allowed"),
        (V.KV_TXN, K.Txn(), "usage"),
        (V.KV_TXN, K.Txn(success=tuple(K.Operation(op="get", key=f"{n}") for n in range(200))), "too_large"),
        (
            V.KV_TXN,
            K.Txn(
                compare=(K.Compare(key="/private/term", target="version", number=1),),
                success=(K.Operation(op="get", key="a"),),
            ),
            "not_allowed",
        ),
        (V.KV_GRANT, K.Grant(ttl_s=0.1), "usage"),
        (V.KV_REVOKE, K.LeaseAsked(lease=-1), "not_found"),
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_is_done(
    verb: requests.Verb, asked: msgspec.Struct, code: str
) -> None:
    async with served() as (world, at):
        before = (await world.store.scan(keys.KV)).items
        assert await refused(world, at, verb, asked) == code
        assert (await world.store.scan(keys.KV)).items == before


async def test_an_administrator_of_the_master_domain_reads_the_systems_own_keys() -> None:
    async with served() as (world, at):
        found = await good(world, at, V.KV_GET, K.Range(key="/config/", prefix=True, keys_only=True))
        names = [one["key"] if not one["encoding"] else "" for one in found["items"]]
        assert "/config/target" in names


def person(rank: people.Rank, domain: str = "acme", *narrowed: str) -> people.Person:
    return people.Person("p", rank, "t", domain, tuple(map(scopes.parse, narrowed)))


OURS = {b"/kv/app/a", b"/kv/@branch/a", b"/kv/@bran", b"/kv/branch/a"}


@pytest.mark.parametrize(
    ("who", "reads", "writes"),
    [
        (person(people.Rank.VIEWER), OURS, set()),
        (
            person(people.Rank.OPERATOR),
            OURS,
            OURS,
        ),
        (
            person(people.Rank.ADMINISTRATOR),
            {*OURS, b"/config/target"},
            OURS,
        ),
        (person(people.Rank.ADMINISTRATOR, "branch"), {b"/kv/@branch/a"}, {b"/kv/@branch/a"}),
        (person(people.Rank.ADMINISTRATOR, "acme", "kv:/kv/app/:r"), {b"/kv/app/a"}, set()),
        (person(people.Rank.ADMINISTRATOR, "acme", "kv:/kv/app/:rw"), {b"/kv/app/a"}, {b"/kv/app/a"}),
        (person(people.Rank.ADMINISTRATOR, "acme", "cfg"), set(), set()),
    ],
)
def test_whose_key_it_is(who: people.Person, reads: set[bytes], writes: set[bytes]) -> None:
    rights = kv_names.Rights(who, "acme")

    def may(check: Any, key: bytes) -> bool:
        try:
            check(key)
        except errors.NotAllowedError:
            return False
        return True

    every = {*OURS, b"/config/target", b"/private/term", b"/domains/tokens/x", b"/"}
    assert {key for key in every if may(rights.may_read, key)} == reads
    assert {key for key in every if may(rights.may_write, key)} == writes
