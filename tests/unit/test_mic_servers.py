"""MIC and its servers: who is asked, who has come, who may go; and who may ask MIC what."""

import anyio
import msgspec
import pytest

from coordinator import errors, limits, names
from coordinator.domains import people
from coordinator.propagation import events, messages, objects
from coordinator.store import commands
from coordinator.tiers import (
    desk,
    entries,
    keys,
    permissions,
    requests,
    requests_people,
    rolling,
    seeing,
    verbs,
)
from coordinator.trust import tokens
from tests import builders, micworld

Verb = requests.Verb
State = objects.AdmissionState


def test_an_enrolled_server_waits_parked_and_is_placed_by_the_revision_that_names_it() -> None:
    async def main() -> None:
        world = micworld.World()
        served, tree = await world.open()
        server = await world.enroll(served, "n1")
        assert micworld.state_of(served, "n1") is State.PARKED
        tree.connect(server)
        _, status = await world.ask(served, Verb.STATUS, requests.Status())
        assert [(one["server"], one["linked"]) for one in status["parked"]] == [("n1", True)]
        code, answer = await world.apply(served, builders.document())
        assert (code, answer["warnings"]) == ("", [])
        assert micworld.state_of(served, "n1") is State.PLACED
        assert served.at.past.content.admissions[server].content.site == "north"

    anyio.run(main)


def test_a_server_that_the_document_names_before_it_is_enrolled_is_asked_and_unknown() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        await world.apply(served, builders.document())
        _, status = await world.ask(served, Verb.STATUS, requests.Status(not_converged=True))
        north = next(site for site in status["sites"] if site["site"] == "north")
        assert north["counts"] == {"unknown": 1}
        assert north["servers"][0]["reason"] == "not enrolled"
        server = await world.enroll(served, "n1")
        assert micworld.state_of(served, "n1") is State.PLACED
        assert server in served.at.master.convergence.asked
        assert len(served.at.master.convergence.asked) == 2

    anyio.run(main)


def test_a_name_is_given_once_but_the_same_key_may_ask_again() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        pem = micworld.signing_request()
        assert await world.enroll(served, "n1", pem) == await world.enroll(served, "n1", pem)
        asked = requests.Enroll("n1", micworld.signing_request())
        code, _ = await world.ask(served, Verb.ENROLL, asked)
        assert code == "conflict"
        for bad in (requests.Enroll("1 1", pem), requests.Enroll("n2", "nonsense")):
            code, _ = await world.ask(served, Verb.ENROLL, bad)
            assert code == "usage"

    anyio.run(main)


def test_a_server_that_no_revision_names_any_more_is_parked_once_it_has_released_everything() -> None:
    async def main() -> None:
        world = micworld.World()
        async with world.running() as (served, tree):
            spare = builders.bent(
                lambda plain: (
                    plain["servers"].update(n2={"interfaces": {"lan": "10.2.0.12"}}),
                    plain["structure"]["north"].update(n2=[]),
                )
            )
            server = await world.enroll(served, "n2")
            await world.apply(served, spare)
            tree.connect(server)
            tree.ack(server)
            code, _ = await world.apply(served, builders.document())
            assert code == ""
            assert served.at.master.convergence.asked[server].leaving
            assert micworld.state_of(served, "n2") is State.PLACED
            tree.ack(server, messages.Level.RELEASED)
            await micworld.until(lambda: micworld.state_of(served, "n2") is State.PARKED)
            assert server not in served.at.master.convergence.asked
            item = await world.store.get(keys.admission(server))
            assert item is not None
            assert item.value == served.at.past.content.admissions[server].raw

    anyio.run(main)


def test_a_rollout_is_waited_for_and_its_end_is_committed_once() -> None:
    async def main() -> None:
        world = micworld.World()
        async with world.running() as (served, tree):
            tree.connect(micworld.FIRST)
            rollout = served.at.past.rollout
            _, view = await world.ask(served, Verb.ROLLOUT, requests.WaitRollout(rollout=rollout))
            assert (view["state"], view["ready"], view["asked"]) == ("running", 0, 1)
            assert view["blocking"][0]["server"] == "c1"
            found = []

            async def wait() -> None:
                asked = requests.WaitRollout(rollout=rollout, index=view["index"], wait_s=20)
                found.append(await world.ask(served, Verb.ROLLOUT, asked))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await anyio.lowlevel.checkpoint()
                tree.ack(micworld.FIRST)
            _, view = found[0]
            assert (view["state"], view["ready"]) == ("converged", 1)
            assert view["converged_after_ms"] is not None
            await micworld.until(lambda: served.at.past.rollouts[rollout].state == "converged")
            assert (await world.store.get(keys.seen("central"))) is not None

    anyio.run(main)


def test_where_the_store_has_no_room_what_was_seen_is_tried_again_now_and_then() -> None:
    async def main() -> None:
        world = micworld.World()
        tries: list[commands.Txn] = []

        def full(txn: commands.Txn) -> None:
            if any(operation.key == keys.seen("central") for operation in txn.success):
                tries.append(txn)
                raise errors.NoSpaceError("full")

        async with world.running() as (served, tree):
            world.store.before = full
            tree.connect(micworld.FIRST)
            tree.ack(micworld.FIRST)
            await micworld.until(lambda: rolling.ended(served.at) and tries)
            for _ in range(1000):
                await anyio.lowlevel.checkpoint()
            assert len(tries) <= 2
            world.store.before = lambda _txn: None
            await micworld.until(lambda: not rolling.ended(served.at))

    anyio.run(main)


def test_the_first_rollout_is_timed_from_the_first_office_and_not_from_init() -> None:
    async def main() -> None:
        world = micworld.World()
        world.clock.now += 3600.0
        served, _ = await world.open()
        world.clock.now += 2.0
        asked = requests.WaitRollout(rollout=served.at.past.rollout)
        _, view = await world.ask(served, Verb.ROLLOUT, asked)
        assert 1.9 < view["elapsed_s"] < 2.1

    anyio.run(main)


def test_the_next_mic_knows_what_was_last_seen_and_that_it_is_the_past() -> None:
    async def main() -> None:
        world = micworld.World()
        async with world.running() as (served, tree):
            tree.connect(micworld.FIRST)
            tree.ack(micworld.FIRST)
            await micworld.until(lambda: served.at.past.seen)
        served, _ = await world.open()
        _, status = await world.ask(served, Verb.STATUS, requests.Status(details=True))
        (server,) = status["sites"][0]["servers"]
        assert (server["sync"], server["linked"], server["revision"]) == ("pending", False, "r1")

    anyio.run(main)


def test_a_site_of_thousands_that_fail_is_remembered_as_far_as_there_is_room() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        at, count = served.at, 6000
        known = at.past.content.admissions[micworld.FIRST]
        ids = [names.ServerId(f"{number:016x}") for number in range(count)]
        content = msgspec.structs.replace(at.past.content, admissions=dict.fromkeys(ids, known))
        at.past = msgspec.structs.replace(at.past, content=content)
        for server in ids:
            ack = messages.AckState(
                at.past.version, at.past.content.digest, messages.Level.ACCEPTED, messages.Outcome.FAILED,
                names.Epoch(1, 1), "exited_early", "\N{SNOWMAN}" * 400,
            )  # fmt: skip
            at.master.convergence.row(names.LinkId(1), messages.Row(server, True, ack), 1.0)
        await seeing.Watcher(at).commit()
        item = await world.store.get(keys.seen("central"))
        assert item is not None
        stored = entries.SITE_SEEN.decode(item.value)
        assert 0.95 * limits.STORE_VALUE_BYTES < len(item.value) <= limits.STORE_VALUE_BYTES
        assert len(stored.servers) + stored.left_out == count

    anyio.run(main)


def test_a_server_lost_during_apply_is_lost_to_the_next_mic_too() -> None:
    async def main() -> None:
        world = micworld.World()
        async with world.running() as (served, tree):
            server = await world.enroll(served, "n1")
            _, answer = await world.apply(served, builders.document())
            tree.connect(micworld.FIRST)
            tree.ack(micworld.FIRST)
            tree.connect(server)
            tree.leave(server)
            await micworld.until(lambda: server in served.at.past.seen.get("north", nobody).servers)
        served, tree = await world.open()
        served.at.settled = True
        tree.connect(micworld.FIRST)
        tree.ack(micworld.FIRST)
        asked = requests.WaitRollout(rollout=answer["rollout"])
        _, early = await world.ask(served, Verb.ROLLOUT, asked)
        assert (early["state"], early["ready"], early["reachable"]) == ("running", 1, 2)
        world.clock.now += limits.SILENT_S
        tree.feed(events.Tick())
        _, later = await world.ask(served, Verb.ROLLOUT, asked)
        assert (later["state"], later["blocking"][0]["sync"]) == ("failed", "lost")

    nobody = entries.SiteSeen({})
    anyio.run(main)


def test_a_new_mic_calls_nobody_absent_before_they_had_the_time_to_come() -> None:
    async def main() -> None:
        world = micworld.World()
        served, tree = await world.open()
        await world.enroll(served, "n1")
        _, answer = await world.apply(served, builders.document())
        tree.connect(micworld.FIRST)
        tree.ack(micworld.FIRST)
        asked = requests.WaitRollout(rollout=answer["rollout"])
        _, early = await world.ask(served, Verb.ROLLOUT, asked)
        assert (early["state"], early["ready"], early["reachable"], early["asked"]) == ("running", 1, 1, 2)
        served.at.settled = True
        _, later = await world.ask(served, Verb.ROLLOUT, asked)
        assert later["state"] == "reached"
        assert later["index"] > early["index"]

    anyio.run(main)


def test_an_overtaken_rollout_is_superseded_and_waiting_on_it_ends() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        before = served.at.past.rollout
        await world.apply(served, builders.document())
        asked = requests.WaitRollout(rollout=before, index=10**15, wait_s=20)
        _, view = await world.ask(served, Verb.ROLLOUT, asked)
        assert view["state"] == "superseded"
        code, _ = await world.ask(served, Verb.ROLLOUT, requests.WaitRollout(rollout="r99-x"))
        assert code == "not_found"

    anyio.run(main)


def test_a_server_describes_itself_over_its_link_and_says_why_it_cannot() -> None:
    async def main() -> None:
        world = micworld.World()
        served, tree = await world.open()
        asked = requests.Describe("c1")
        _, away = await world.ask(served, Verb.DESCRIBE, asked)
        assert (away["nodes"], away["reason"]) == ([], "it could not be asked: unreachable")
        node = requests.NodeView("ws1@10.1.0.11", "running", 7, 0, ())
        said = {"accepted": "r1", "parent": "mic1", "boot": 3, "nodes": [msgspec.to_builtins(node)]}
        tree.connect(micworld.FIRST)
        tree.answers["status"] = ("", msgspec.json.encode(said))
        _, there = await world.ask(served, Verb.DESCRIBE, asked)
        assert (there["boot"], there["nodes"][0]["pid"], there["reason"]) == (3, 7, "")
        assert there["address"] == "10.1.0.11"
        code, _ = await world.ask(served, Verb.DESCRIBE, requests.Describe("nobody"))
        assert code == "not_found"

    anyio.run(main)


# --- who may --------------------------------------------------------------------------------------------------------


def test_every_verb_has_a_permission_and_a_hand_that_does_it() -> None:
    assert set(permissions.ROWS) == set(Verb)
    assert set(verbs.VERBS) | {Verb.WHOAMI} == set(Verb)


async def _let_in(_at: desk.Desk, _caller: desk.Caller, _body: bytes) -> msgspec.Struct:
    return requests_people.Done("let in")


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is let in is answered at once: some verbs wait for what no test here does."""
    monkeypatch.setattr(verbs, "VERBS", dict.fromkeys(Verb, _let_in))


@pytest.mark.usefixtures("hands")
@pytest.mark.parametrize("rank", list(people.Rank))
@pytest.mark.parametrize("verb", list(Verb))
def test_a_person_may_do_what_the_table_says_and_nothing_else(verb: Verb, rank: people.Rank) -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        token = tokens.new_token(world.random)
        record = people.TokenRecord(token.id, tokens.digest(token.text), "eve", rank, 0.0, "acme")
        await world.store.commit(commands.Txn((), (commands.put(record.key, entries.encode(record)),)))
        code, _ = await world.ask(served, verb, token=token.text)
        least = permissions.ROWS[verb].least
        assert (code == "not_allowed") == (least is not None and rank < least)

    anyio.run(main)


@pytest.mark.usefixtures("hands")
@pytest.mark.parametrize("over", [None, *messages.ChildKind])
def test_nothing_is_answered_over_a_link_that_the_table_does_not_name(
    over: messages.ChildKind | None,
) -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        for verb in Verb:
            code, _ = await world.ask(served, verb, over=over)
            assert (code == "not_allowed") == (over not in permissions.ROWS[verb].over)

    anyio.run(main)


def test_a_stranger_is_told_nothing() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        other = tokens.new_token(world.random).text
        for token in ("", "nonsense", other, world.token.text[:-1] + "0"):
            for verb in set(Verb) - {Verb.LOGIN}:
                code, _ = await world.ask(served, verb, token=token)
                assert code == "unauthenticated"
        code, _ = await world.ask(served, "cfg.nonsense")
        assert code == "not_found"
        code, who = await world.ask(served, Verb.WHOAMI)
        assert (code, who["name"], who["role"], who["cluster"]) == ("", "admin", "administrator", "acme")

    anyio.run(main)


def test_a_request_that_is_none_is_answered_all_the_same() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        code, _ = await served.answered("cfg.status", messages.ChildKind.WS, b"\xc1")
        assert code == errors.ProtocolError.code
        code, _ = await world.ask(served, Verb.APPLY, requests.Status())
        assert code == "usage"

    anyio.run(main)


def test_only_the_greatest_number_of_admissions_is_a_cursor() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        for name in ("a", "b", "c"):
            await world.enroll(served, name)
        numbers = [one.content.seq for one in served.at.past.content.admissions.values()]
        assert sorted(numbers) == [1, 2, 3, 4]
        assert served.at.past.content.numbers.admission == names.Serial(1, 4)

    anyio.run(main)
