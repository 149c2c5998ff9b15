"""MIC over its store: one history, each number given once, by whoever holds the office."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import msgspec
import pytest

from coordinator import errors, names
from coordinator.config import model
from coordinator.propagation import events, messages, objects
from coordinator.store import commands
from coordinator.tiers import entries, history, keys, mic, office, requests, seed, standing, taking
from tests import builders, micworld

Verb = requests.Verb


def world_of(test: Callable[[micworld.World], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a coroutine test with a fresh world."""

    @functools.wraps(test)
    def run() -> None:
        anyio.run(test, micworld.World())

    del run.__wrapped__  # pytest would take its parameter for a fixture
    return run


def hot(greeting: str = "hello") -> model.Document:
    """The plain system with one more role."""
    return builders.bent(
        lambda plain: (
            plain["roles"].update(
                {"greet": {"type": "greeter", "params": {"port": 9000, "greeting": greeting}}}
            ),
            plain["structure"]["north"]["n1"].append("greet"),
        )
    )


@world_of
async def test_an_empty_store_takes_the_seed_and_a_second_start_finds_it_there(world: micworld.World) -> None:
    first, _ = await world.open()
    assert first.at.past.version == names.Version(1, 1)
    again, _ = await world.open()
    assert again.at.past.version == names.Version(1, 1)
    assert again.at.office is not None
    assert again.at.office.term == 2
    planted = [txn for txn in world.store.commits if any(op.key == keys.TRUST for op in txn.success)]
    assert len(planted) == 1


@world_of
async def test_an_apply_is_the_next_revision_and_stands_in_the_store_as_in_memory(
    world: micworld.World,
) -> None:
    served, _ = await world.open()
    code, answer = await world.apply(served, builders.document(), message="two sites")
    assert (code, answer["version"], answer["unchanged"]) == ("", [1, 2], False)
    assert any("not enrolled yet: n1" in warning for warning in answer["warnings"])
    stored = await history.load(world.store, micworld.CLUSTER)
    assert stored is not None
    assert stored == served.at.past
    assert stored.records[2].parent == stored.records[1].digest
    assert stored.records[2].message == "two sites"
    assert stored.records[2].author == "admin"


@world_of
async def test_an_identical_document_is_unchanged_and_gets_no_number(world: micworld.World) -> None:
    served, _ = await world.open()
    await world.apply(served, builders.document())
    before = len(world.store.commits)
    code, answer = await world.apply(served, builders.document())
    assert (code, answer["unchanged"], answer["version"]) == ("", True, [1, 2])
    assert len(world.store.commits) == before


@world_of
async def test_of_two_applies_upon_one_revision_one_wins_and_the_other_is_told(world: micworld.World) -> None:
    served, _ = await world.open()
    answers: list[Any] = []

    async def one(greeting: str) -> None:
        answers.append(await world.apply(served, hot(greeting), if_revision=1))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one, "a")
        tasks.start_soon(one, "b")
    assert sorted(code for code, _ in answers) == ["", "conflict"]
    assert served.at.past.version == names.Version(1, 2)


@world_of
async def test_a_target_that_moved_under_the_plan_is_a_conflict_and_nothing_is_done(
    world: micworld.World,
) -> None:
    served, _ = await world.open()

    def sneak(txn: commands.Txn) -> None:
        if any(op.key == keys.record(2) for op in txn.success):
            world.store.before = lambda _txn: None
            raw = served.at.past.content.target
            assert raw is not None
            world.store._apply(commands.Txn((), (commands.put(keys.TARGET, raw.raw),)))

    world.store.before = sneak
    code, answer = await world.apply(served, builders.document())
    assert (code, answer["code"]) == ("conflict", "conflict")
    assert await world.store.get(keys.record(2)) is None


@world_of
async def test_a_mic_whose_term_is_over_changes_nothing_and_steps_down(world: micworld.World) -> None:
    old, _ = await world.open()
    new, _ = await world.open()
    code, _ = await world.apply(old, builders.document())
    assert code == "no_coordinator"
    assert isinstance(old.fallen, office.DeposedError)
    with pytest.raises(office.DeposedError):
        await old.run()
    code, answer = await world.apply(new, builders.document())
    assert (code, answer["version"]) == ("", [1, 2])


@world_of
async def test_an_outcome_that_was_lost_is_found_out_before_anybody_is_answered(
    world: micworld.World,
) -> None:
    served, _ = await world.open()

    def lose(txn: commands.Txn) -> None:
        if any(op.key == keys.TARGET for op in txn.success):
            world.store.after = lambda _txn: None
            raise errors.UnknownOutcomeError("lost")

    world.store.after = lose
    code, answer = await world.apply(served, builders.document())
    assert (code, answer["version"]) == ("", [1, 2])
    assert await history.load(world.store, micworld.CLUSTER) == served.at.past


@world_of
async def test_a_mark_that_cannot_be_written_after_the_commit_ends_this_mic(world: micworld.World) -> None:
    served, _ = await world.open()

    def full(_name: str, _data: bytes) -> None:
        raise IsADirectoryError("high-water")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.disk, "write", full)
        code, _ = await world.apply(served, builders.document())
    assert code == "unknown_outcome"
    with pytest.raises(errors.UnknownOutcomeError):
        await served.run()
    again, _ = await world.open()
    assert again.at.past.version == names.Version(1, 2)
    code, answer = await world.apply(again, hot(), if_revision=2)
    assert (code, answer["version"]) == ("", [1, 3])


@world_of
async def test_a_repeated_request_is_answered_with_what_it_did_the_first_time(world: micworld.World) -> None:
    served, _ = await world.open()
    _, first = await world.apply(served, builders.document(), request="same", if_revision=1)
    served, _ = await world.open()  # a new MIC knows it too
    _, again = await world.apply(served, builders.document(), request="same", if_revision=1)
    assert (again["version"], again["rollout"]) == (first["version"], first["rollout"])


@world_of
async def test_a_repetition_that_comes_while_the_first_is_under_way_is_answered_with_the_same(
    world: micworld.World,
) -> None:
    served, _ = await world.open()
    answers: list[Any] = []

    async def one(asked: msgspec.Struct, verb: Verb) -> None:
        answers.append(await world.ask(served, verb, asked, request="same"))

    apply = requests.Apply(source=requests.Source(files=(micworld.file(builders.document()),)), if_revision=1)
    await served.at.turn.acquire()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one, apply, Verb.APPLY)
        tasks.start_soon(one, apply, Verb.APPLY)
        await micworld.until(lambda: served.at.turn.statistics().tasks_waiting == 2)
        served.at.turn.release()
    assert [(code, answer["version"]) for code, answer in answers] == [("", [1, 2])] * 2
    assert len({answer["rollout"] for _, answer in answers}) == 1


@world_of
async def test_a_request_id_used_for_something_else_is_refused(world: micworld.World) -> None:
    served, _ = await world.open()
    await world.apply(served, builders.document(), request="same")
    code, problem = await world.apply(served, hot(), request="same")
    assert (code, "r2" in problem["detail"]) == ("reused_key", True)
    code, _ = await world.ask(served, Verb.ROLLBACK, requests.Rollback(to=1), request="same")
    assert code == "reused_key"
    assert served.at.past.version == names.Version(1, 2)


@world_of
async def test_a_rollback_that_is_repeated_undoes_nothing_twice(world: micworld.World) -> None:
    served, _ = await world.open()
    await world.apply(served, builders.document())
    await world.apply(served, hot())
    answers: list[Any] = []

    async def one() -> None:
        answers.append(await world.ask(served, Verb.ROLLBACK, requests.Rollback(), request="same"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one)
        tasks.start_soon(one)
    assert [answer["version"] for _, answer in answers] == [[1, 4], [1, 4]]


@world_of
async def test_a_rollback_is_a_new_revision_with_the_old_body(world: micworld.World) -> None:
    served, _ = await world.open()
    await world.apply(served, builders.document())
    await world.apply(served, hot())
    code, answer = await world.ask(served, Verb.ROLLBACK, requests.Rollback())
    assert (code, answer["version"]) == ("", [1, 4])
    assert served.at.past.document == builders.document()
    assert served.at.past.records[4].digest == served.at.past.records[2].digest
    _, shown = await world.ask(served, Verb.SHOW, requests.Show(document=True))
    assert shown["files"][0]["name"] == "system.json"


@world_of
async def test_a_rule_of_change_refuses_with_its_id_and_the_steps_by_hand(world: micworld.World) -> None:
    served, _ = await world.open()
    await world.apply(served, builders.document())
    moved = builders.bent(lambda plain: plain["servers"]["n1"]["interfaces"].update(lan="10.2.0.99"))
    code, problem = await world.apply(served, moved)
    assert code == "refused"
    assert problem["detail"].startswith("refused by D3")
    assert problem["findings"] == []
    assert problem["hint"]
    assert served.at.past.version == names.Version(1, 2)


@world_of
async def test_an_invalid_document_is_answered_with_its_findings(world: micworld.World) -> None:
    served, _ = await world.open()
    broken = builders.bent(lambda plain: plain["roles"].update(web1={"type": "process", "params": {}}))
    code, problem = await world.apply(served, broken)
    assert code == "invalid"
    assert problem["findings"][0]["rule"] == "S18"


@world_of
async def test_a_dry_run_shows_the_plan_and_gives_no_number(world: micworld.World) -> None:
    served, _ = await world.open()
    code, answer = await world.apply(served, builders.document(), dry_run=True)
    assert (code, answer["rollout"]) == ("", "")
    assert "to start" in answer["plan_text"]
    assert served.at.past.version == names.Version(1, 1)


@world_of
async def test_a_rollback_goes_to_the_last_revision_that_is_known_to_run(world: micworld.World) -> None:
    served, tree = await world.open()
    served.at.settled = True
    tree.connect(micworld.FIRST)
    for document, outcome in ((builders.document(), "ok"), (hot("a"), "failed"), (hot("b"), "failed")):
        await world.apply(served, document)
        tree.ack(micworld.FIRST, outcome=messages.Outcome(outcome))
    served, tree = await world.open()  # a new MIC knows it too
    _, told = await world.ask(served, Verb.HISTORY, requests.History())
    ended = {one["version"][1]: one["outcome"] for one in told["revisions"]}
    assert (ended[2], ended[3], told["back"]) == ("reached", "failed", 2)
    code, answer = await world.ask(served, Verb.ROLLBACK, requests.Rollback())
    assert (code, answer["version"]) == ("", [1, 5])
    assert served.at.past.document == builders.document()
    _, told = await world.ask(served, Verb.HISTORY, requests.History())
    assert told["back"] == 4  # of no other document it is known that it ran; not 2 again, which is this one


@world_of
async def test_a_draft_is_saved_shown_planned_and_applied(world: micworld.World) -> None:
    served, _ = await world.open()
    asked = requests.Upload((micworld.file(builders.document()),))
    code, draft = await world.ask(served, Verb.UPLOAD, asked)
    assert (code, draft["valid"]) == ("", True)
    served, _ = await world.open()
    _, shown = await world.ask(served, Verb.SHOW, requests.Show(draft=draft["draft"], document=True))
    assert shown["files"][0]["text"] == micworld.file(builders.document()).text
    source = requests.Source(draft=draft["draft"])
    code, planned = await world.ask(served, Verb.PLAN, requests.Plan(source))
    assert (code, planned["verdict"], planned["base"]) == ("", "direct", [1, 1])
    code, answer = await world.ask(served, Verb.APPLY, requests.Apply(source=source))
    assert (code, answer["version"]) == ("", [1, 2])


@world_of
async def test_history_is_told_in_pages_the_newest_first(world: micworld.World) -> None:
    served, _ = await world.open()
    await world.apply(served, builders.document())
    await world.apply(served, hot())
    _, page = await world.ask(served, Verb.HISTORY, requests.History(limit=2))
    assert [(one["version"], one["state"]) for one in page["revisions"]] == [
        ([1, 3], "active"),
        ([1, 2], "superseded"),
    ]
    _, rest = await world.ask(served, Verb.HISTORY, requests.History(before=page["next"]))
    assert [one["version"] for one in rest["revisions"]] == [[1, 1]]
    assert rest["next"] == 0


@world_of
async def test_old_revisions_go_but_not_the_one_that_a_server_still_holds(world: micworld.World) -> None:
    served, _ = await world.open()
    past = served.at.past
    many = {
        number: objects.Record(1, number, "", past.content.digest, 1, "", "", 0.0) for number in range(1, 111)
    }
    full = msgspec.structs.replace(past, records=many)
    operations, after = history.prune(full, frozenset({3}))
    assert sorted(after.records) == [3, *range(11, 111)]
    assert commands.delete(keys.record(4)) in operations
    assert commands.delete(keys.record(3)) not in operations


@world_of
async def test_every_change_and_every_refusal_is_in_the_audit(world: micworld.World) -> None:
    served, _ = await world.open()
    await world.apply(served, builders.document())
    await world.apply(served, builders.document(), if_revision=7)
    await world.ask(served, Verb.STATUS, requests.Status(), token="tca_nonsense")
    items = (await world.store.scan(keys.AUDIT)).items
    told = [entries.AUDIT_ENTRY.decode(item.value) for item in items]
    assert [(one.who, one.verb, one.outcome) for one in told] == [
        ("admin", "cfg.apply", "ok"),
        ("admin", "cfg.apply", "conflict"),
        ("", "cfg.status", "unauthenticated"),
    ]


# --- recovery -------------------------------------------------------------------------------------------------------


async def assert_read_only(world: micworld.World, served: mic.Mic) -> None:
    code, problem = await world.apply(served, builders.document())
    assert (code, problem["code"]) == ("needs_recovery", "needs_recovery")
    code, status = await world.ask(served, Verb.STATUS, requests.Status())
    assert (code, status["coordinator"]) == ("", "needs recovery")


@world_of
async def test_a_store_that_was_emptied_is_not_seeded_again(world: micworld.World) -> None:
    await world.open()
    world.store = micworld.Store(world.clock)
    served, _ = await world.open()
    assert "empty" in served.recovery
    await assert_read_only(world, served)
    assert world.store.commits == []


@world_of
async def test_a_store_older_than_what_was_issued_is_served_and_never_written(world: micworld.World) -> None:
    served, _ = await world.open()
    await world.apply(served, builders.document())
    newer, world.store = world.disk, micworld.Store(world.clock)
    world.disk = micworld.Disk()
    await world.open()
    world.disk = newer
    before = len(world.store.commits)
    old, _ = await world.open()
    assert "older" in old.recovery
    assert old.at.past.version == names.Version(1, 1)
    await assert_read_only(world, old)
    assert len(world.store.commits) == before


@world_of
async def test_a_server_that_has_newer_than_its_store_says_so_at_the_start(world: micworld.World) -> None:
    served, _ = await world.open()
    await world.apply(served, builders.document())
    world.ledger, world.store, world.disk = (
        served.at.past.content,
        micworld.Store(world.clock),
        micworld.Disk(),
    )
    behind, _ = await world.open()
    assert "newer" in behind.recovery
    assert behind.at.past.version == names.Version(1, 2)
    await assert_read_only(world, behind)


@pytest.mark.parametrize("revision", [1, 5])
def test_a_child_that_shows_a_newer_target_stops_all_changes_also_after_a_restart(revision: int) -> None:
    async def main() -> None:
        world = micworld.World()
        served, tree = await world.open()
        pointer = objects.Pointer(revision, served.at.past.content.digest)
        newer = objects.Target(1, 9, pointer, None, names.RolloutId("x"), 1)
        tree.connect(micworld.FIRST)
        offer = messages.Offer((served.at.sign(objects.Kind.TARGET, newer),), None)
        tree.feed(events.Heard(tree.links[micworld.FIRST], offer))
        await assert_read_only(world, served)
        again, _ = await world.open()
        await assert_read_only(world, again)

    anyio.run(main)


def test_the_mark_never_falls_and_a_damaged_one_counts_as_one() -> None:
    disk = micworld.Disk()
    mark = standing.HighWater(disk)
    mark.raise_to(standing.Mark(names.Version(1, 7), names.Serial(1, 9)))
    mark.raise_to(standing.Mark(names.Version(1, 3), names.Serial(1, 11)))
    assert standing.HighWater(disk).mark == standing.Mark(names.Version(1, 7), names.Serial(1, 11))
    disk.files[standing.NAME] = b"\xff"
    damaged = standing.HighWater(disk)
    assert isinstance(standing.judge(None, damaged, None, None), standing.Recover)


def test_a_seed_survives_its_file_and_a_foreign_one_is_refused() -> None:
    world = micworld.World()
    assert world.seed is not None
    assert seed.decode(seed.encode(world.seed)) == world.seed
    with pytest.raises(errors.DamagedError):
        seed.decode(b"nonsense")
    with pytest.raises(errors.SignatureError):
        seed.content(world.seed, names.ClusterId("other"))


@world_of
async def test_a_signing_key_that_the_cluster_does_not_trust_is_refused_at_the_start(
    world: micworld.World,
) -> None:
    await world.open()
    world.authority = micworld.World().authority
    with pytest.raises(errors.IdentityError):
        await taking.open_mic(
            world.means, world.store, taking.Memory(standing.HighWater(world.disk), world.seed, None)
        )
