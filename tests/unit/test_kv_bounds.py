"""What the users' keys may cost, and whose leases are whose: nobody deletes by a lease what they may not write."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from coordinator import limits
from coordinator.domains import people
from coordinator.tiers import kv_space, mic, rates, requests, requests_kv
from tests import builders, peopleworld

pytestmark = pytest.mark.anyio
V = requests.Verb
K = requests_kv


class World(peopleworld.World):
    """With tokens to ask by."""

    async def good(self, served: mic.Mic, verb: requests.Verb, asked: Any, token: str = "") -> Any:
        code, answer = await self.ask(served, verb, asked, token=token or self.token.text)
        assert code == "", answer
        return answer

    async def refused(self, served: mic.Mic, verb: requests.Verb, asked: Any, token: str = "") -> str:
        code, _answer = await self.ask(served, verb, asked, token=token or self.token.text)
        return str(code)

    async def narrowed(self, served: mic.Mic, name: str, *scopes: str) -> str:
        return await self.new_token(served, name, scopes=scopes)


@asynccontextmanager
async def system() -> AsyncIterator[tuple[World, mic.Mic]]:
    """With what counts the quota, and two domains."""
    world = World()
    async with world.running() as (served, _tree):
        code, answer = await world.apply(served, builders.document())
        assert code == "", answer
        yield world, served


async def test_a_lease_is_ended_by_the_token_that_made_it_or_by_who_may_write_everything() -> None:
    async with system() as (world, served):
        await world.add(served, "ann", "operator")
        app = await world.narrowed(served, "ann", "kv:/kv/app/:rw")
        other = await world.narrowed(served, "ann", "kv:/kv/other/:rw")
        bea = await world.entered(served, "bea", peopleworld.BRANCH, people.Rank.OPERATOR)
        lease = (await world.good(served, V.KV_GRANT, K.Grant(ttl_s=60.0), app))["lease"]
        await world.good(served, V.KV_PUT, K.Put(key="app/alive", lease=lease), app)
        asked = K.LeaseAsked(lease=lease)
        for verb in (V.KV_REVOKE, V.KV_KEEPALIVE):
            assert await world.refused(served, verb, asked, other) == "not_allowed"
            assert await world.refused(served, verb, asked, bea) == "not_allowed"
        assert (await world.good(served, V.KV_LEASES, K.Nothing(), bea))["leases"] == []
        await world.good(served, V.KV_KEEPALIVE, asked, app)
        await world.good(served, V.KV_REVOKE, asked, app)
        assert (await world.good(served, V.KV_GET, K.Range(key="app/alive")))["items"] == []
        lease = (await world.good(served, V.KV_GRANT, K.Grant(ttl_s=60.0), bea))["lease"]
        assert len((await world.good(served, V.KV_LEASES, K.Nothing(), bea))["leases"]) == 1
        await world.good(served, V.KV_REVOKE, K.LeaseAsked(lease=lease))


async def test_a_read_of_one_key_names_a_revision_from_which_it_can_be_watched() -> None:
    """It named the key's own, which is forgotten sooner or later: whoever watched from there was told to read again, for ever."""
    async with system() as (world, served):
        await world.good(served, V.KV_PUT, K.Put(key="old"))
        for number in range(3):
            await world.good(served, V.KV_PUT, K.Put(key=f"old{number}"))
        now = (await world.store.status()).revision
        await world.store.compact(now)
        read = await world.good(served, V.KV_GET, K.Range(key="old"))
        assert read["revision"] == now
        assert [one["key"] for one in read["items"]] == ["/kv/old"]
        watched = await world.good(served, V.KV_WATCH, K.Watch(key="old", revision=now + 1))
        assert watched.get("reset", False) is False


async def test_all_reads_of_a_transaction_share_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KV_PAGE_BYTES", 1000)
    async with system() as (world, served):
        for number in range(4):
            await world.good(served, V.KV_PUT, K.Put(key=f"big{number}", value="x" * 400))
        reads = tuple(K.Operation(op="get", key="big", prefix=True) for _ in range(50))
        done = await world.good(served, V.KV_TXN, K.Txn(success=reads))
        assert [len(one["items"]) for one in done["responses"]] == [2, *[0] * 49]
        assert all(one["more"] for one in done["responses"])


async def test_request_ids_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KV_REPEATABLE", 3)
    async with system() as (world, served):
        for number in range(3):
            await world.good(served, V.KV_PUT, K.Put(key="a", request=f"r{number}"))
        assert await world.refused(served, V.KV_PUT, K.Put(key="a", request="r4")) == "busy"
        await world.good(served, V.KV_PUT, K.Put(key="a"))
        world.clock.now += kv_space.MARKER_TTL_S + 1
        await world.good(served, V.KV_PUT, K.Put(key="a", request="r5"))


async def test_many_keys_read_at_once_are_many_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KV_REQUESTS_BURST", 20.0)
    monkeypatch.setattr(limits, "KV_KEYS_PER_REQUEST", 1.0)
    async with system() as (world, served):
        keys = tuple(K.Operation(op="put", key=f"k{n}") for n in range(30))
        await world.good(served, V.KV_TXN, K.Txn(success=keys))
        await world.good(served, V.KV_GET, K.Range(key="k", prefix=True))
        assert await world.refused(served, V.KV_GET, K.Range(key="k0")) == "busy"


def test_what_is_owed_is_bounded_and_paid_by_waiting() -> None:
    measured = rates.Rates(10.0, 20.0)
    assert measured.admits("a", 0.0)
    measured.charge("a", 1e9, 0.0)
    assert not measured.admits("a", 1.9)
    assert measured.admits("a", 2.2)
    assert measured.admits("b", 0.0)
