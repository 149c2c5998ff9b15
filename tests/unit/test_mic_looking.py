"""What MIC tells those who look: pages, deviations, differences, and what happens, in the order in which it does."""

from typing import Any

import anyio
import msgspec
import pytest

from coordinator import names
from coordinator.config import model
from coordinator.propagation import messages
from coordinator.tiers import desk, following, journal, mic, requests, requests_looking, views, waiting
from tests import builders, micworld

pytestmark = pytest.mark.anyio
Verb = requests.Verb
LOOKING = requests_looking


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LOOK_S", 0.0)


async def placed(world: micworld.World, served: mic.Mic, tree: micworld.Tree) -> dict[str, names.ServerId]:
    """Two sites of one server each, both linked and ready."""
    ids = {"c1": micworld.FIRST, "n1": await world.enroll(served, "n1")}
    code, answer = await world.apply(served, builders.document())
    assert code == "", answer
    for server in ids.values():
        tree.connect(server)
        tree.ack(server)
    return ids


async def asked(world: micworld.World, served: mic.Mic, verb: Verb, what: msgspec.Struct) -> Any:
    code, answer = await world.ask(served, verb, what)
    assert code == "", answer
    return answer


async def test_a_list_is_followed_by_its_cursor_and_shows_everything_once() -> None:
    world = micworld.World()
    served, tree = await world.open()
    await placed(world, served, tree)
    await world.enroll(served, "spare")
    for verb, kind, part in (
        (Verb.SERVERS, LOOKING.Servers, "servers"),
        (Verb.NODES, LOOKING.Nodes, "nodes"),
        (Verb.ROLES, LOOKING.Roles, "roles"),
    ):
        whole = await asked(world, served, verb, kind())
        assert whole["next"] == ""
        found: list[Any] = []
        after = ""
        while True:
            page = await asked(world, served, verb, kind(after=after, limit=1))
            found += page[part]
            after = page["next"]
            if not after:
                break
        assert found == whole[part]
        assert len(found) == len({str(one) for one in found}) > 1


def with_awkward_names() -> model.Document:
    """Names that sort one way with what follows them and another way without."""

    def change(plain: Any) -> None:
        plain["sites"]["north-2"] = {"type": "communication"}
        for number, (site, server) in enumerate([("north", "n1-b"), ("north-2", "n1_"), ("north-2", "n")]):
            plain["servers"][server] = {"interfaces": {"lan": f"10.9.0.{number + 1}"}}
            sleeps = {"type": "process", "params": {"command": ["/bin/sleep", "9"]}}
            plain["roles"] |= {f"x-{server}": sleeps, f"x{number}": sleeps}
            plain["structure"].setdefault(site, {})[server] = [f"x-{server}", f"x{number}"]
        plain["roles"]["icn2"] = {"type": "ic"}
        plain["structure"]["north-2"]["n"].append("icn2")

    return builders.bent(change)


@pytest.mark.parametrize(
    ("verb", "kind", "part"),
    [
        (Verb.SERVERS, LOOKING.Servers, "servers"),
        (Verb.NODES, LOOKING.Nodes, "nodes"),
        (Verb.ROLES, LOOKING.Roles, "roles"),
        (Verb.STATE, LOOKING.State, "deviations"),
    ],
)
async def test_no_name_makes_a_page_leave_anything_out(verb: Verb, kind: Any, part: str) -> None:
    world = micworld.World()
    served, _ = await world.open()
    code, answer = await world.apply(served, with_awkward_names())
    assert code == "", answer
    whole = await asked(world, served, verb, kind())
    found: list[Any] = []
    after = ""
    for _ in range(100):
        page = await asked(world, served, verb, kind(after=after, limit=1))
        found += page[part]
        after = page["next"]
        if not after:
            break
    assert found == whole[part]
    if "total" in whole and part != "deviations":
        assert whole["total"] == len(found)


async def test_servers_come_by_site_and_the_parked_ones_last() -> None:
    world = micworld.World()
    served, tree = await world.open()
    await placed(world, served, tree)
    await world.enroll(served, "a-spare")
    shown = await asked(world, served, Verb.SERVERS, LOOKING.Servers())
    assert [one["server"] for one in shown["servers"]] == ["c1", "n1", "a-spare"]
    north = await asked(world, served, Verb.SERVERS, LOOKING.Servers(site="north"))
    assert [one["server"] for one in north["servers"]] == ["n1"]


async def test_a_role_is_ready_with_its_server_and_says_itself_what_troubles_it() -> None:
    world = micworld.World()
    served, tree = await world.open()
    ids = await placed(world, served, tree)
    roles = await asked(world, served, Verb.ROLES, LOOKING.Roles())
    assert {one["state"] for one in roles["roles"]} == {"ready"}
    assert (
        roles["total"]
        == len(roles["roles"])
        == sum(number for some in roles["counts"].values() for number in some.values())
    )
    trouble = messages.RoleAck(
        names.RoleName("web1"), messages.Level.ACCEPTED, messages.Outcome.FAILED, "exited", "with 1"
    )
    tree.ack(ids["n1"], messages.Level.ACCEPTED, messages.Outcome.FAILED, roles=(trouble,))
    (web,) = (await asked(world, served, Verb.ROLES, LOOKING.Roles(type="process")))["roles"]
    assert (web["state"], web["reason"]) == ("failed", "exited: with 1")
    nodes = await asked(world, served, Verb.NODES, LOOKING.Nodes(server="n1"))
    assert nodes["counts"]["failed"] >= 1


async def test_a_healthy_system_has_no_deviations_and_a_sick_one_names_them() -> None:
    world = micworld.World()
    served, tree = await world.open()
    ids = await placed(world, served, tree)
    healthy = await asked(world, served, Verb.STATE, LOOKING.State())
    assert (healthy["deviations"], healthy["total"], healthy["coordinator"]) == ([], 0, "active")
    tree.leave(ids["n1"])
    sick = await asked(world, served, Verb.STATE, LOOKING.State())
    assert [(one["site"], one["server"], one["state"]) for one in sick["deviations"]] == [
        ("north", "n1", "pending")
    ]


async def test_a_rollout_tells_how_far_every_site_is_where_that_is_asked() -> None:
    world = micworld.World()
    served, tree = await world.open()
    ids = await placed(world, served, tree)
    tree.leave(ids["n1"])
    view = await asked(
        world, served, Verb.ROLLOUT, requests.WaitRollout(rollout=served.at.past.rollout, by_site=True)
    )
    assert [(one["site"], one["ready"], one["reachable"], one["asked"]) for one in view["by_site"]] == [
        ("central", 1, 1, 1),
        ("north", 0, 0, 1),
    ]
    view = await asked(world, served, Verb.ROLLOUT, requests.WaitRollout(rollout=served.at.past.rollout))
    assert view["by_site"] == []


@pytest.mark.parametrize("verb", [Verb.STATUS, Verb.HISTORY])
async def test_whoever_waits_for_news_is_answered_with_the_next_change(verb: Verb) -> None:
    world = micworld.World()
    async with world.running() as (served, tree):
        kind: Any = requests.Status if verb is Verb.STATUS else requests.History
        first = await asked(world, served, verb, kind())
        news: list[Any] = []

        async def waits() -> None:
            news.append(await asked(world, served, verb, kind(index=first["index"], wait_s=20.0)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waits)
            await anyio.wait_all_tasks_blocked()
            assert news == []
            tree.connect(micworld.FIRST)
        assert news[0]["index"] > first["index"]


async def test_a_status_names_no_more_servers_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    world = micworld.World()
    served, tree = await world.open()
    await placed(world, served, tree)
    await world.enroll(served, "spare")
    monkeypatch.setattr("coordinator.tiers.views.DETAILED", 1)
    status = await asked(world, served, Verb.STATUS, requests.Status(details=True))
    named = [one["server"] for site in status["sites"] for one in site["servers"]]
    assert (named, len(status["parked"]), status["left_out"]) == (["c1"], 1, 1)
    assert sum(sum(site["counts"].values()) for site in status["sites"]) == 2


async def test_whoever_sees_some_sites_only_is_told_nothing_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = micworld.World()
    served, tree = await world.open()
    await placed(world, served, tree)
    await world.enroll(served, "spare")
    monkeypatch.setattr("coordinator.tiers.views.DETAILED", 1)
    caller = desk.Caller("somebody", "", "cfg.status", "")
    north = frozenset([names.SiteName("north")])
    shown = await views.status(served.at, caller, requests.Status(details=True), only=north)
    assert [[one.server for one in site.servers] for site in shown.sites] == [["n1"]]
    assert (shown.left_out, shown.parked) == (0, ())


@pytest.mark.parametrize(
    ("verb", "what", "hint"),
    [
        (Verb.DESCRIBE, requests.Describe("n11"), "did you mean 'n1'?"),
        (Verb.DESCRIBE, requests.Describe("web1"), "web1 is a role on n1: tiercast describe n1"),
        (Verb.DESCRIBE, requests.Describe("zzz"), "tiercast servers"),
        (Verb.STATUS, requests.Status(site="nrth"), "did you mean 'north'?"),
        (Verb.ROLLOUT, requests.WaitRollout(rollout="r9"), "tiercast history"),
        (Verb.SHOW, requests.Show(revision=99), "tiercast history"),
        (Verb.PLAN, requests.Plan(requests.Source(revision=99)), "tiercast history"),
    ],
)
async def test_a_name_that_is_not_there_is_told_with_what_is_near(
    verb: Verb, what: msgspec.Struct, hint: str
) -> None:
    world = micworld.World()
    served, tree = await world.open()
    await placed(world, served, tree)
    code, problem = await world.ask(served, verb, what)
    assert (code, problem["hint"]) == ("not_found", hint)


# --- events -----------------------------------------------------------------------------------------------------------


async def test_events_tell_what_changed_since_and_go_on_where_one_was() -> None:
    world = micworld.World()
    async with world.running() as (served, tree):
        first = await asked(world, served, Verb.EVENTS, LOOKING.Events())
        assert (first["events"], first["reset"]) == ([], False)
        assert first["state"]["version"] == [1, 1]
        await placed(world, served, tree)
        told = await asked(world, served, Verb.EVENTS, LOOKING.Events(after=first["last"], wait_s=5.0))
        kinds = [one["kind"] for one in told["events"]]
        assert kinds[0] == "revision"
        assert set(kinds) == {"revision", "server", "rollout"}
        assert [one["id"] for one in told["events"]] == [f"1.{n}" for n in range(1, len(kinds) + 1)]
        rest = await asked(world, served, Verb.EVENTS, LOOKING.Events(after="1.1"))
        assert rest["events"] == told["events"][1:]
        assert (await asked(world, served, Verb.EVENTS, LOOKING.Events(after=told["last"])))["events"] == []


@pytest.mark.parametrize("after", ["0.7", "1.999", "nonsense", "1.-1", "\N{DEVANAGARI DIGIT ONE}.1"])
async def test_an_event_that_is_not_known_any_more_is_a_reset_with_the_state(after: str) -> None:
    world = micworld.World()
    served, _ = await world.open()
    told = await asked(world, served, Verb.EVENTS, LOOKING.Events(after=after))
    assert told["reset"]
    assert told["state"]["version"] == [1, 1]


async def test_whoever_waits_for_events_is_woken_by_one() -> None:
    world = micworld.World()
    async with world.running() as (served, tree):
        first = await asked(world, served, Verb.EVENTS, LOOKING.Events())
        told: list[Any] = []

        async def waits() -> None:
            told.append(
                await asked(world, served, Verb.EVENTS, LOOKING.Events(after=first["last"], wait_s=20.0))
            )

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waits)
            await anyio.wait_all_tasks_blocked()
            tree.connect(micworld.FIRST)
        assert told[0]["events"][0]["kind"] == "server"


def look(**changes: Any) -> journal.Look:
    servers = {
        names.ServerId(f"s{n}"): journal.Server(
            names.ServerName(f"n{n}"), names.SiteName("north"), "converged"
        )
        for n in range(changes.pop("count", 3))
    }
    plain = journal.Look(
        1.0, names.Version(1, 1), "admin", "", names.RolloutId("r1"), "converged", (3, 3, 3), servers
    )
    return msgspec.structs.replace(plain, **changes)


def test_nothing_is_written_of_what_has_not_changed() -> None:
    book = journal.Journal(4)
    book.look(look(), {})
    book.look(look(wall=2.0), {})
    assert book.last == "4.0"
    assert book.after("4.0") == ()


def test_very_many_servers_at_once_are_counted_by_site() -> None:
    book = journal.Journal(4)
    many = look(count=journal.SERVERS_AT_ONCE + 1)
    book.look(many, {})
    gone = {server: msgspec.structs.replace(one, sync="lost") for server, one in many.servers.items()}
    book.look(msgspec.structs.replace(many, servers=gone), {})
    told = book.after("4.0")
    assert told is not None
    (event,) = told
    assert (event.kind, event.site, event.counts) == ("site", "north", {"lost": journal.SERVERS_AT_ONCE + 1})


def test_only_the_last_events_are_kept_and_who_is_behind_them_is_told_so() -> None:
    book = journal.Journal(4)
    for number in range(journal.KEPT + 2):
        book.look(look(numbers=(number, 3, 3)), {})
    assert book.after("4.0") is None
    kept = book.after("4.1")
    assert kept is not None
    assert len(kept) == journal.KEPT


def test_the_index_of_another_term_is_greater_than_any_before() -> None:
    assert waiting.TERM_STEP > 10**8


# --- documents --------------------------------------------------------------------------------------------------------


async def test_a_difference_names_both_sides_and_what_changes() -> None:
    world = micworld.World()
    served, tree = await world.open()
    await placed(world, served, tree)
    told = await asked(
        world, served, Verb.DIFF, LOOKING.Diff(old=requests.Source(revision=1), new=requests.Source())
    )
    assert (told["old"], told["new"], told["same"]) == ("revision 1", "revision 2", False)
    assert "to start" in told["text"]
    assert told["difference"]["roles"]
    same = await asked(world, served, Verb.DIFF, LOOKING.Diff())
    assert same["same"]


async def test_a_draft_is_uploaded_once_however_often_it_is_sent() -> None:
    world = micworld.World()
    served, _ = await world.open()
    what = requests.Upload((micworld.file(builders.document()),), "why")
    first = await world.ask(served, Verb.UPLOAD, what, request="key")
    assert await world.ask(served, Verb.UPLOAD, what, request="key") == first
    assert len(served.at.past.drafts) == 1
    code, problem = await world.ask(
        served, Verb.UPLOAD, msgspec.structs.replace(what, message="other"), request="key"
    )
    assert (code, "was used before, for something else" in problem["detail"]) == ("reused_key", True)
    again, _ = await world.open()
    assert await world.ask(again, Verb.UPLOAD, what, request="key") == first


async def test_drafts_are_listed_newest_first() -> None:
    world = micworld.World()
    served, _ = await world.open()
    made = []
    for number in range(3):
        world.clock.now += 1
        what = requests.Upload((micworld.file(builders.document()),), f"try {number}")
        made.append((await asked(world, served, Verb.UPLOAD, what))["draft"])
    listed = await asked(world, served, Verb.DRAFTS, LOOKING.Drafts())
    assert [one["draft"] for one in listed["drafts"]] == made[::-1]
    assert listed["drafts"][0]["message"] == "try 2"


async def test_a_draft_keeps_its_text_beside_what_is_planned() -> None:
    world = micworld.World()
    served, _ = await world.open()
    text = "# ours\n" + micworld.file(builders.document()).text
    uploaded = await asked(world, served, Verb.UPLOAD, requests.Upload((requests.File("a.yaml", text),)))
    shown = await asked(world, served, Verb.SHOW, requests.Show(draft=uploaded["draft"], document=True))
    assert shown["files"] == [{"name": "a.yaml", "text": text}]
    assert shown["draft"]["digest"] == uploaded["digest"]
    planned = await asked(world, served, Verb.PLAN, requests.Plan(requests.Source(draft=uploaded["draft"])))
    assert (planned["digest"], planned["verdict"]) == (uploaded["digest"], "direct")


async def test_a_plan_is_applied_only_to_the_document_that_it_was_made_of() -> None:
    world = micworld.World()
    served, _ = await world.open()
    code, problem = await world.apply(served, builders.document(), if_digest="f" * 64, if_revision=1)
    assert (code, "the document is not the one that was planned" in problem["detail"]) == ("conflict", True)
    code, problem = await world.apply(served, builders.document(), if_base_digest="f" * 64)
    assert (code, "the active document is not" in problem["detail"]) == ("conflict", True)
    assert served.at.past.version.revision == 1


async def test_a_finding_comes_with_the_line_that_it_stands_in() -> None:
    world = micworld.World()
    served, _ = await world.open()
    text = "schema: tiercast/1\ngeneral: {master_domain: acme, colour: red}\n"
    told = await asked(world, served, Verb.VALIDATE, requests.Validate((requests.File("a.yaml", text),)))
    (finding,) = [one for one in told["findings"] if "colour" in one["message"]]
    assert finding["text"] == "general: {master_domain: acme, colour: red}"
    assert finding["text"][finding["caret"] - 1 :].startswith("colour")
