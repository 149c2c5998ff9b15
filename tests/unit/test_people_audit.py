"""The audit: every change and every refusal, by whom, from where; bounded, by page, and never with a secret in it."""

from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest

from coordinator import limits, names
from coordinator.domains import people
from coordinator.store import commands
from coordinator.tiers import desk, entries, keys, mic, requests, requests_people
from tests import builders, peopleworld

pytestmark = pytest.mark.anyio

Verb = requests.Verb
WORDS, OTHER = peopleworld.WORDS, peopleworld.OTHER_WORDS


async def begun() -> tuple[peopleworld.World, mic.Mic]:
    world = peopleworld.World()
    served, _ = await world.begun()
    return world, served


async def page(world: peopleworld.World, served: mic.Mic, **asked: Any) -> Any:
    code, answer = await world.ask(served, Verb.AUDIT, requests_people.ListAudit(**asked))
    assert code == "", answer
    return answer


async def filled(world: peopleworld.World, served: mic.Mic, count: int) -> None:
    """Many changes, without the verbs that would make them."""
    caller = desk.Caller("filler", "10.0.0.1", "kv.put", "")
    for number in range(count):
        operations = served.at._audited(caller, "ok", f"change {number}")
        past = served.at.past
        served.at.past = msgspec.structs.replace(past, audit_next=past.audit_next + 1)
        await world.store.commit(commands.Txn((), operations))


async def test_every_change_and_every_refusal_says_who_from_where_what_and_how_it_ended() -> None:
    world, served = await begun()
    vic = await world.entered(served, "vic", "", people.Rank.VIEWER)
    code, _ = await world.apply(served, builders.document(), token=vic)
    assert code == "not_allowed"
    await world.login(served, "vic", password=OTHER, source="192.0.2.66")
    found = await page(world, served)
    told = [(one["who"], one["source"], one["verb"], one["outcome"]) for one in found["entries"]]
    assert told == [
        ("", "192.0.2.66", "people.login", "unauthenticated"),
        ("vic", "10.9.9.9", "cfg.apply", "not_allowed"),
        ("admin", "10.9.9.9", "people.token-create", "ok"),
        ("admin", "10.9.9.9", "people.add", "ok"),
        ("admin", "10.9.9.9", "cfg.apply", "ok"),
    ]
    by_verb = {one["verb"]: one for one in found["entries"]}
    assert len(by_verb["cfg.apply"]["digest"]) == 64
    assert by_verb["people.login"]["digest"] == by_verb["people.add"]["digest"] == ""
    assert "vic@acme" in by_verb["people.login"]["detail"]
    for secret in (WORDS, OTHER, vic.rpartition("_")[2], world.token.text):
        assert secret not in str(found)


async def test_refusals_of_strangers_are_counted_where_they_are_too_many_to_keep() -> None:
    world, served = await begun()
    for _ in range(20):
        await world.ask(served, Verb.STATUS, token="nonsense")
    world.clock.now += 2.0
    await world.ask(served, Verb.STATUS, token="nonsense")
    found = await page(world, served, outcome="unauthenticated")
    assert len(found["entries"]) == 2
    assert "19 more like it before" in found["entries"][0]["detail"]


async def test_a_person_who_is_refused_again_and_again_does_not_fill_the_audit() -> None:
    world, served = await begun()
    vic = await world.entered(served, "vic", "", people.Rank.VIEWER)
    for _ in range(20):
        await world.ask(served, Verb.AUDIT, token=vic)
        await world.ask(served, Verb.TOKENS, token=vic)
    world.clock.now += 2.0
    await world.ask(served, Verb.AUDIT, token=vic)
    found = await page(world, served, who="vic")
    assert [one["verb"] for one in found["entries"]] == ["audit.list", "people.tokens", "audit.list"]
    assert "19 more like it before" in found["entries"][0]["detail"]


async def test_an_entry_is_bounded_whatever_is_in_it() -> None:
    world, served = await begun()
    caller = desk.Caller("n" * 9999, "s" * 9999, "v" * 64, "r" * 9999)
    await served.at.audit_refusal(caller, "c" * 32, "\U0001f980" * 9999)
    item = await world.store.get(keys.audit(served.at.past.audit_next - 1))
    assert item is not None
    assert len(item.value) <= limits.AUDIT_ENTRY_BYTES
    assert entries.AUDIT_ENTRY.decode(item.value).version == names.Version(1, 2)


async def test_pages_hold_everything_once_in_both_orders() -> None:
    world, served = await begun()
    await filled(world, served, 25)
    newest: list[int] = []
    asked: dict[str, Any] = {"limit": 7}
    while True:
        found = await page(world, served, **asked)
        newest += [one["number"] for one in found["entries"]]
        if not found["more"]:
            break
        asked["before"] = found["next"]
    assert newest == list(range(25, -1, -1))
    oldest: list[int] = []
    asked = {"limit": 7, "oldest_first": True}
    while True:
        found = await page(world, served, **asked)
        oldest += [one["number"] for one in found["entries"]]
        if not found["more"]:
            break
        asked["after"] = found["next"]
    assert oldest == list(range(26))


async def test_what_was_cut_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AUDIT_ENTRIES", 10)
    world, served = await begun()
    await filled(world, served, 30)
    found = await page(world, served, oldest_first=True, limit=500)
    assert (found["first"], found["last"], found["more"]) == (21, 30, False)
    assert [one["number"] for one in found["entries"]] == list(range(21, 31))
    assert len((await world.store.scan(keys.AUDIT)).items) == 10


async def test_one_answer_passes_over_so_many_and_says_where_to_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "AUDIT_LOOKED_AT", 200)
    world, served = await begun()
    await filled(world, served, 500)
    asked: dict[str, Any] = {"who": "admin"}
    answers = 0
    while True:
        found = await page(world, served, **asked)
        answers += 1
        if not found["more"]:
            break
        assert found["entries"] == []
        asked["before"] = found["next"]
    assert [one["verb"] for one in found["entries"]] == ["cfg.apply"]
    assert answers == 3


@pytest.mark.parametrize(
    ("asked", "verbs"),
    [
        ({"who": "vic"}, ["people.tokens"]),
        ({"outcome": "refused"}, ["people.tokens"]),
        ({"outcome": "ok", "verb": "cfg.apply"}, ["cfg.apply"]),
        ({"outcome": "conflict"}, []),
        ({"since": 1_700_002_000.0}, []),
        ({"before": 1}, ["cfg.apply"]),
    ],
)
async def test_a_filter_leaves_what_it_names(asked: dict[str, Any], verbs: list[str]) -> None:
    world, served = await begun()
    await world.add(served, "vic")
    vic = await world.new_token(served, "vic")
    await world.ask(served, Verb.TOKENS, token=vic)
    found = await page(world, served, **asked)
    assert [one["verb"] for one in found["entries"] if one["verb"] in {"people.tokens", "cfg.apply"}] == verbs


async def test_whoever_follows_is_answered_by_the_next_entry() -> None:
    world, served = await begun()
    last = (await page(world, served))["last"]
    found: list[Any] = []

    async def follow() -> None:
        found.append(await page(world, served, oldest_first=True, after=last, wait_s=20.0))

    with anyio.fail_after(50):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await anyio.lowlevel.checkpoint()
            await world.add(served, "vic")
    assert [one["verb"] for one in found[0]["entries"]] == ["people.add"]
