"""Prepared revisions at MIC: their number, what children are shown, what servers say, and how they end."""

import json
from typing import Any

import anyio
import msgspec
import pytest

from coordinator import names
from coordinator.config import model
from coordinator.propagation import asks, messages, objects
from coordinator.tiers import desk, inspection, keys, mic, requests, requests_people, requests_preparing
from tests import builders, micworld

pytestmark = pytest.mark.anyio
V = requests.Verb


def described(text: str) -> model.Document:
    basic = micworld.basic()
    sites = {name: msgspec.structs.replace(site, description=text) for name, site in basic.sites.items()}
    return msgspec.structs.replace(basic, sites=sites)


async def good(world: micworld.World, at: mic.Mic, verb: requests.Verb, asked: msgspec.Struct) -> Any:
    code, answer = await world.ask(at, verb, asked)
    assert code == "", answer
    return answer


def wanted(text: str, **rest: Any) -> requests.Apply:
    return requests.Apply(source=requests.Source(files=(micworld.file(described(text)),)), **rest)


def shown(at: mic.Mic) -> objects.Target:
    target = at.at.past.content.target
    assert target is not None
    return target.content


def checked(digest: str, stage: str, *troubles: tuple[str, str]) -> bytes:
    told = [{"role": role, "code": "port", "message": message} for role, message in troubles]
    return json.dumps({"revision": 2, "digest": digest, "stage": stage, "troubles": told}).encode()


async def test_it_is_shown_beside_the_active_one_and_becomes_active_under_its_own_number() -> None:
    world = micworld.World()
    async with world.running() as (at, _tree):
        told = await good(world, at, V.PREPARE, wanted("one", message="why"))
        assert (told["version"], told["unchanged"]) == ([1, 2], False)
        target = shown(at)
        assert target.version == names.Version(1, 1)
        assert target.prepared is not None
        assert (target.prepared.revision, target.prepared.digest) == (2, told["digest"])
        assert at.at.shelf.get(told["digest"]) is not None
        again = await good(world, at, V.PREPARE, wanted("one"))
        assert again["unchanged"]
        source = requests.Source(revision=2)
        applied = await good(world, at, V.APPLY, requests.Apply(source=source))
        assert applied["version"] == [1, 2]
        assert shown(at).prepared is None
        assert at.at.past.records[2].message == "why"


async def test_the_next_mic_finds_it_in_the_store_as_it_was() -> None:
    world = micworld.World()
    async with world.running() as (at, _tree):
        told = await good(world, at, V.PREPARE, wanted("one"))
    async with world.running() as (at, _tree):
        history = await good(world, at, V.HISTORY, requests.History())
        assert [one["state"] for one in history["revisions"]] == ["prepared", "active"]
        assert at.at.shelf.get(told["digest"]) is not None
        applied = await good(world, at, V.APPLY, wanted("one"))
        assert (applied["version"], applied["digest"]) == ([1, 2], told["digest"])


async def test_another_apply_overtakes_it_and_its_number_is_never_used() -> None:
    world = micworld.World()
    async with world.running() as (at, _tree):
        told = await good(world, at, V.PREPARE, wanted("one"))
        applied = await good(world, at, V.APPLY, wanted("other"))
        assert applied["version"] == [1, 3]
        assert shown(at).prepared is None
        assert sorted(at.at.past.records) == [1, 3]
        assert (await world.store.scan(keys.body(told["digest"]))).items == ()
        assert await world.store.get(keys.record(2)) is None


async def test_withdrawn_it_is_gone_and_its_number_is_never_used() -> None:
    world = micworld.World()
    async with world.running() as (at, _tree):
        told = await good(world, at, V.PREPARE, wanted("one"))
        assert (await good(world, at, V.WITHDRAW, requests_preparing.Withdraw()))["revision"] == 2
        assert shown(at).prepared is None
        code, _answer = await world.ask(at, V.WITHDRAW, requests_preparing.Withdraw())
        assert code == "not_found"
        code, _answer = await world.ask(at, V.APPLY, requests.Apply(source=requests.Source(revision=2)))
        assert code == "not_found", "somebody else was still asked whether to activate it"
        again = await good(world, at, V.PREPARE, wanted("one"))
        assert (again["version"], again["digest"]) == ([1, 3], told["digest"])
        assert (await world.store.scan(keys.body(told["digest"]))).items != ()
        assert sorted(at.at.past.records) == [1, 3]
        applied = await good(world, at, V.APPLY, wanted("one"))
        assert applied["version"] == [1, 3]


async def test_the_message_given_at_the_end_stands_and_without_one_that_of_the_preparation() -> None:
    world = micworld.World()
    async with world.running() as (at, _tree):
        await good(world, at, V.PREPARE, wanted("one", message="why"))
        world.clock.now += 500.0
        code, answer = await world.apply(at, described("one"), message="now")
        assert (code, answer["version"]) == ("", [1, 2])
        assert (at.at.past.records[2].message, at.at.past.records[2].issued) == ("now", world.clock.wall())
        await good(world, at, V.PREPARE, wanted("two", message="later"))
        await good(world, at, V.APPLY, wanted("two"))
        assert at.at.past.records[3].message == "later"
        audit = await good(world, at, V.AUDIT, requests_people.ListAudit(limit=1))
        assert audit["entries"][0]["detail"] == "revision 3: later"


async def test_a_request_that_is_sent_again_prepares_and_withdraws_once_also_at_the_next_mic() -> None:
    world = micworld.World()
    async with world.running() as (at, _tree):
        code, first = await world.ask(at, V.PREPARE, wanted("one"), request="k1")
        assert code == ""
        code, again = await world.ask(at, V.PREPARE, wanted("one"), request="k1")
        assert (code, again) == ("", {**first, "plan_text": ""})
        code, _taken = await world.ask(at, V.WITHDRAW, requests_preparing.Withdraw(), request="k2")
        assert code == ""
    async with world.running() as (at, _tree):
        code, again = await world.ask(at, V.WITHDRAW, requests_preparing.Withdraw(), request="k2")
        assert (code, again) == ("", {"revision": 2})
        code, again = await world.ask(at, V.PREPARE, wanted("one"), request="k1")
        assert (code, again["version"]) == ("", [1, 2]), "answered as it was then, and not done again"
        assert shown(at).prepared is None


async def test_a_request_id_of_something_else_is_refused() -> None:
    world = micworld.World()
    async with world.running() as (at, _tree):
        await world.ask(at, V.PREPARE, wanted("one"), request="k1")
        for verb, asked, key in (
            (V.PREPARE, wanted("other"), "k1"),
            (V.APPLY, wanted("one"), "k1"),
            (V.WITHDRAW, requests_preparing.Withdraw(), "k1"),
        ):
            code, problem = await world.ask(at, verb, asked, request=key)
            assert (code, "was used before" in problem["detail"]) == ("reused_key", True), verb
        assert shown(at).prepared is not None
        await world.ask(at, V.APPLY, wanted("one"), request="k3")
        for verb, asked in (
            (V.PREPARE, wanted("one")),
            (V.WITHDRAW, requests_preparing.Withdraw()),
        ):
            code, problem = await world.ask(at, verb, asked, request="k3")
            assert (code, "it made r2" in problem["detail"]) == ("reused_key", True), (verb, problem)


async def test_it_waits_for_no_rollout_and_disturbs_none() -> None:
    world = micworld.World()
    async with world.running() as (at, tree):
        tree.connect(micworld.FIRST)
        applied = await good(world, at, V.APPLY, wanted("one"))
        begun = await good(world, at, V.ROLLOUT, requests.WaitRollout(rollout=applied["rollout"]))
        assert begun["state"] == "running"
        told = await good(world, at, V.PREPARE, wanted("two"))
        after = await good(world, at, V.ROLLOUT, requests.WaitRollout(rollout=applied["rollout"]))
        assert (after["state"], after["asked"], after["reachable"]) == ("running", 1, 1)
        tree.ack(micworld.FIRST)
        after = await good(world, at, V.ROLLOUT, requests.WaitRollout(rollout=applied["rollout"]))
        assert after["state"] == "converged"
        assert shown(at).prepared is not None
        activated = await good(world, at, V.APPLY, requests.Apply(source=requests.Source(revision=3)))
        assert activated["version"] == told["version"] == [1, 3]
        code, _answer = await world.ask(at, V.WITHDRAW, requests_preparing.Withdraw(3))
        assert code == "not_found", "it runs, and nothing is prepared any more"


async def test_the_active_document_and_a_rehearsal_prepare_nothing() -> None:
    world = micworld.World()
    async with world.running() as (at, _tree):
        source = requests.Source(files=(micworld.file(micworld.basic()),))
        assert (await good(world, at, V.PREPARE, requests.Apply(source=source)))["unchanged"]
        assert (await good(world, at, V.PREPARE, wanted("one", dry_run=True)))["plan_text"]
        assert shown(at).prepared is None
        code, _answer = await world.ask(at, V.PREPARED, requests_preparing.Look())
        assert code == "not_found"


async def test_a_stale_base_is_refused() -> None:
    world = micworld.World()
    async with world.running() as (at, _tree):
        code, _answer = await world.ask(at, V.PREPARE, wanted("one", if_revision=7))
        assert code == "conflict"
        await good(world, at, V.PREPARE, wanted("one"))
        code, _answer = await world.ask(at, V.PREPARE, wanted("one", if_revision=7))
        assert code == "conflict", "also where that document is prepared already"


async def test_what_every_server_found_is_told_the_worst_first_and_the_absent_by_name() -> None:
    world = micworld.World()
    async with world.running() as (at, tree):
        told = await good(world, at, V.PREPARE, wanted("one"))
        view = await good(world, at, V.PREPARED, requests_preparing.Look())
        assert [(one["server"], one["state"]) for one in view["servers"]] == [("c1", "absent")]
        tree.connect(micworld.FIRST)
        tree.answers[asks.CHECK] = ("", checked(told["digest"], "coming"))
        assert await seen(world, at) == [("c1", "coming", [])]
        tree.answers[asks.CHECK] = ("", checked(told["digest"], "held", ("ws1", "in use")))
        assert await seen(world, at) == [("c1", "refused", ["in use"])]
        tree.answers[asks.CHECK] = ("unreachable", b"")
        assert await seen(world, at) == [("c1", "silent", [])]
        tree.answers[asks.CHECK] = ("", b"junk")
        assert await seen(world, at) == [("c1", "silent", [])]
        tree.answers[asks.CHECK] = ("", checked("0" * 64, "held"))
        assert await seen(world, at) == [("c1", "coming", [])], "what it holds is another one"
        tree.answers[asks.CHECK] = ("", checked("0" * 64, "held", ("ws1", "in use")))
        assert await seen(world, at) == [("c1", "coming", [])], "what it complains of is another one"
        tree.answers[asks.CHECK] = ("", checked(told["digest"], "held"))
        assert await seen(world, at) == [("c1", "held", [])]


async def seen(world: micworld.World, at: mic.Mic) -> list[tuple[str, str, list[str]]]:
    world.clock.now += 2.0
    view = await good(world, at, V.PREPARED, requests_preparing.Look())
    assert sum(view["counts"].values()) == len(view["servers"]) + view["left_out"]
    return [
        (one["server"], one["state"], [trouble["message"] for trouble in one["troubles"]])
        for one in view["servers"]
    ]


async def test_an_ic_that_cannot_hold_it_is_named_and_nobody_waits_for_those_behind_it() -> None:
    world = micworld.World()
    async with world.running() as (at, tree):
        behind = await world.enroll(at, "n1")
        assert (await world.apply(at, builders.document()))[0] == ""
        tree.connect(micworld.FIRST)
        tree.connect_relay("icn1", behind, behind)
        other = builders.bent(lambda plain: plain["sites"]["north"].update(description="new"))
        source = requests.Source(files=(micworld.file(other),))
        told = await good(world, at, V.PREPARE, requests.Apply(source=source))
        digest = told["digest"]
        tree.answers[asks.CHECK] = ("", checked(digest, "coming"))
        tree.relayed = ("", checked(digest, "coming"))
        assert await relayed(world, at) == ([("icn1", "n1", "coming", "")], {"c1": "coming", "n1": "coming"})
        tree.relayed = ("timed_out", b"")
        assert await relayed(world, at) == (
            [("icn1", "n1", "silent", "timed_out")],
            {"c1": "coming", "n1": "coming"},
        )
        tree.relayed = ("", checked("0" * 64, "refused", ("", "no space left")))
        assert (await relayed(world, at))[0] == [("icn1", "n1", "coming", "")], "of another one"
        tree.relayed = ("", checked(digest, "refused", ("", "no space left")))
        assert await relayed(world, at) == (
            [("icn1", "n1", "refused", "no space left")],
            {"c1": "coming", "n1": "blocked"},
        )
        tree.relayed = tree.answers[asks.CHECK] = ("", checked(digest, "held"))
        assert await relayed(world, at) == ([], {"c1": "held", "n1": "held"})


async def relayed(world: micworld.World, at: mic.Mic) -> tuple[list[tuple[Any, ...]], dict[str, str]]:
    world.clock.now += 2.0
    view = await good(world, at, V.PREPARED, requests_preparing.Look())
    relays: list[tuple[Any, ...]] = [
        (one["role"], one["server"], one["state"], one["reason"]) for one in view["relays"]
    ]
    return relays, {one["server"]: one["state"] for one in view["servers"]}


async def test_whoever_looks_at_the_same_time_does_not_wait_for_silent_servers_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(desk, "ASK_S", 0.05)
    world = micworld.World()
    async with world.running() as (at, tree):
        tree.connect(micworld.FIRST)
        await good(world, at, V.PREPARE, wanted("one"))
        asked: list[messages.Ask] = []

        def says_nothing(_link: names.LinkId, ask: messages.Ask) -> None:
            world.clock.now += 5.0
            asked.append(ask)

        monkeypatch.setattr(tree, "_answer", says_nothing)
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(good, world, at, V.PREPARED, requests_preparing.Look())
        assert len(asked) == 1
        view = await good(world, at, V.PREPARED, requests_preparing.Look())
        assert view["servers"][0]["reason"] in {"no answer yet", "timed_out"}, "it was asked"


async def test_only_the_one_that_was_meant_is_withdrawn() -> None:
    world = micworld.World()
    async with world.running() as (at, _tree):
        await good(world, at, V.PREPARE, wanted("one"))
        code, problem = await world.ask(at, V.WITHDRAW, requests_preparing.Withdraw(7))
        assert (code, problem["detail"]) == ("conflict", "another revision is prepared now (got 7, have 2)")
        assert (await good(world, at, V.WITHDRAW, requests_preparing.Withdraw(2)))["revision"] == 2


async def test_store_check_looks_at_what_is_prepared_and_at_what_was_withdrawn() -> None:
    world = micworld.World()
    async with world.running() as (at, _tree):
        await good(world, at, V.PREPARE, wanted("one"))
        held = (await world.store.scan(b"")).items
        await good(world, at, V.WITHDRAW, requests_preparing.Withdraw())
        after = (await world.store.scan(b"")).items
    assert inspection.inspect(held, micworld.CLUSTER).findings == ()
    assert inspection.inspect(after, micworld.CLUSTER).findings == ()
    without = [item for item in held if item.key != keys.record(2)]
    (found,) = inspection.inspect(without, micworld.CLUSTER).findings
    assert "prepares revision 2, which has no record" in found
