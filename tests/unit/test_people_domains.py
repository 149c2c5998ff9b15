"""Domains: what is attached to roles keeps them in place, who is in a domain keeps it, and both travel as a file."""

from typing import Any

import msgspec
import pytest

from coordinator import names
from coordinator.domains import people
from coordinator.store import commands
from coordinator.tiers import carrying, mic, requests, requests_looking, requests_people, sight
from tests import builders, micworld, peopleworld

pytestmark = pytest.mark.anyio

Verb = requests.Verb
BRANCH = peopleworld.BRANCH


async def begun() -> tuple[peopleworld.World, mic.Mic, micworld.Tree]:
    world = peopleworld.World()
    served, tree = await world.begun()
    return world, served, tree


async def attach(world: peopleworld.World, served: mic.Mic, role: str, **how: Any) -> Any:
    asked = requests_people.Attach(name="users", domain=BRANCH, role=role)
    return await world.ask(served, Verb.ATTACH, asked, **how)


# --- sites of other domains -------------------------------------------------------------------------------------------


def test_a_site_serves_what_it_lists_and_what_is_below_where_nobody_lists_that() -> None:
    document = builders.document()
    assert sight.serving(document, BRANCH) == {"north"}
    assert sight.serving(document, "acme") == {"central"}
    assert sight.serving(document, "nowhere") == frozenset()

    def unlisted(plain: Any) -> None:
        plain["sites"]["north"]["domains"] = []

    assert sight.serving(builders.bent(unlisted), BRANCH) == {"central"}


async def test_people_of_another_domain_see_the_sites_that_serve_it_and_nothing_of_the_rest() -> None:
    world, served, _ = await begun()
    bea = await world.entered(served, "bea", BRANCH, people.Rank.ADMINISTRATOR)
    await world.enroll(served, "spare")
    code, seen = await world.ask(served, Verb.STATUS, requests.Status(details=True), token=bea)
    assert code == ""
    assert [site["site"] for site in seen["sites"]] == ["north"]
    assert (seen["rollout"], seen["parked"]) == (None, [])
    for asked, wanted in (("north", ""), ("central", "not_found"), ("nowhere", "not_found")):
        assert (await world.ask(served, Verb.STATUS, requests.Status(site=asked), token=bea))[0] == wanted
    for server, wanted in (("n1", ""), ("c1", "not_found"), ("spare", "not_found")):
        assert (await world.ask(served, Verb.DESCRIBE, requests.Describe(server), token=bea))[0] == wanted
    _, servers = await world.ask(served, Verb.SERVERS, requests_looking.Servers(), token=bea)
    assert [one["server"] for one in servers["servers"]] == ["n1"]
    _, roles = await world.ask(served, Verb.ROLES, requests_looking.Roles(), token=bea)
    assert ({one["role"] for one in roles["roles"]}, roles["total"]) == ({"icn1", "web1"}, 2)
    _, nodes = await world.ask(served, Verb.NODES, requests_looking.Nodes(site="central"), token=bea)
    assert (nodes["nodes"], nodes["total"]) == ([], 0)
    code, listed = await world.ask(served, Verb.DOMAINS, requests_people.ListDomains(), token=bea)
    assert [one["domain"] for one in listed["domains"]] == [BRANCH]
    _, listed = await world.ask(served, Verb.DOMAINS, requests_people.ListDomains())
    assert [(one["domain"], one["people"], one["sites"]) for one in listed["domains"]] == [
        ("acme", 0, ["central"]),
        (BRANCH, 1, ["north"]),
    ]


# --- D7 and D11 -------------------------------------------------------------------------------------------------------


async def test_a_role_to_which_something_is_attached_stays_where_it_is_until_that_is_attached_elsewhere() -> (
    None
):
    world, served, _ = await begun()
    assert (await attach(world, served, "web1"))[0] == ""
    away = peopleworld.moved("web1", "central", "c1")
    code, answer = await world.apply(served, away)
    assert code == "refused"
    assert "D7" in answer["detail"]
    assert "users@branch is attached to it" in answer["detail"]
    assert (await attach(world, served, "icn1"))[1]["detail"] == (
        "users of branch is attached to icn1, was attached to web1"
    )
    code, answer = await world.apply(served, away)
    assert "D7" not in answer.get("detail", "")


async def test_something_is_attached_to_a_role_that_runs_and_that_one_sees() -> None:
    world, served, _ = await begun()
    bea = await world.entered(served, "bea", BRANCH, people.Rank.ADMINISTRATOR)
    for role, code in (("web1", ""), ("web9", "not_found"), ("dc1", "not_found"), ("", "not_found")):
        assert (await attach(world, served, role, token=bea))[0] == code, role
    assert (await attach(world, served, "dc1"))[0] == ""
    _, listed = await world.ask(served, Verb.DOMAINS, requests_people.ListDomains(), token=bea)
    assert [(one["name"], one["role"], one["server"]) for one in listed["domains"][0]["entities"]] == [
        ("users", "dc1", "c1")
    ]
    gone = requests_people.Detach("users", BRANCH)
    assert (await world.ask(served, Verb.DETACH, gone, token=bea))[0] == ""
    assert (await world.ask(served, Verb.DETACH, gone, token=bea))[0] == "not_found"


async def test_a_domain_with_people_in_it_stays_in_the_document() -> None:
    world, served, _ = await begun()
    for name in ("bea", "ben"):
        await world.add(served, name, domain=BRANCH)
    await attach(world, served, "web1")
    await world.store.commit(commands.Txn((), (commands.put(b"/kv/@branch/leader", b"n1"),)))
    code, answer = await world.apply(served, peopleworld.without_branch())
    assert code == "refused"
    assert "D11" in answer["detail"]
    assert (
        "the domain branch would go, with 2 people and 1 entity and keys below /kv/@branch/ in it"
        in answer["detail"]
    )
    assert "tiercast domains export branch" in answer["hint"]
    for name in ("bea", "ben"):
        await world.ask(served, Verb.PERSON_REMOVE, requests_people.RemovePerson(name, BRANCH))
    await world.ask(served, Verb.DETACH, requests_people.Detach("users", BRANCH))
    code, answer = await world.apply(served, peopleworld.without_branch())
    assert (code, "with keys below /kv/@branch/ in it" in answer["detail"]) == ("refused", True)
    await world.store.commit(commands.Txn((), (commands.delete_prefix(b"/kv/@branch/"),)))
    code, answer = await world.apply(served, peopleworld.without_branch())
    assert code == "", answer


async def test_the_master_tidies_up_in_a_domain_that_is_gone() -> None:
    world, served, _ = await begun()
    await world.add(served, "bea", domain=BRANCH)
    gone = msgspec.structs.replace(peopleworld.without_branch(), overrides={"D11": peopleworld.override()})
    assert (await world.apply(served, gone))[0] == ""
    _, listed = await world.ask(served, Verb.DOMAINS, requests_people.ListDomains())
    assert ("branch", False) in [(one["domain"], one["configured"]) for one in listed["domains"]]
    code, _ = await world.ask(served, Verb.PERSON_ADD, requests_people.AddPerson(name="eve", domain=BRANCH))
    assert code == "not_found"
    code, file = await world.ask(served, Verb.DOMAIN_EXPORT, requests_people.ExportDomain(BRANCH))
    assert (code, len(file["people"])) == ("", 1)
    assert (await world.ask(served, Verb.PERSON_REMOVE, requests_people.RemovePerson("bea", BRANCH)))[0] == ""


# --- export and import ------------------------------------------------------------------------------------------------


async def exported(world: peopleworld.World, served: mic.Mic) -> requests_people.Carried:
    code, file = await world.ask(served, Verb.DOMAIN_EXPORT, requests_people.ExportDomain(BRANCH))
    assert code == ""
    return msgspec.convert(file, requests_people.Carried)


async def take(world: peopleworld.World, served: mic.Mic, file: requests_people.Carried, **more: Any) -> Any:
    how = {key: more.pop(key) for key in ("token",) if key in more}
    return await world.ask(served, Verb.DOMAIN_IMPORT, requests_people.ImportDomain(file=file, **more), **how)


async def test_a_domain_travels_with_its_passwords_and_without_its_tokens() -> None:
    world, served, _ = await begun()
    bea = await world.entered(served, "bea", BRANCH, people.Rank.ADMINISTRATOR)
    await attach(world, served, "web1")
    file = await exported(world, served)
    assert bea.rpartition("_")[2] not in msgspec.json.encode(file).decode()

    other = peopleworld.World()
    there, _ = await other.begun()
    code, rehearsed = await take(other, there, file, dry_run=True)
    assert (code, rehearsed["added"], rehearsed["dry_run"]) == ("", ["bea", "entity users"], True)
    assert await people.known(there.at.store) == ()
    code, done = await take(other, there, file)
    assert (code, done["added"], done["conflicts"]) == ("", ["bea", "entity users"], [])
    code, entered = await other.login(there, "bea", BRANCH)
    assert (code, entered["role"]) == ("", "administrator")
    assert await other.who(there, bea) == "unauthenticated"
    code, again = await take(other, there, file)
    assert (code, again["added"], again["unchanged"]) == ("", [], 2)


async def test_who_is_there_already_and_different_is_named_and_nothing_is_imported() -> None:
    world, served, _ = await begun()
    for name in ("bea", "ben"):
        await world.add(served, name, domain=BRANCH)
    file = await exported(world, served)
    await world.ask(
        served, Verb.PERSON_ROLE, requests_people.SetRole(name="bea", domain=BRANCH, role="operator")
    )
    bea = await world.new_token(served, "bea", BRANCH)
    await world.ask(served, Verb.PERSON_REMOVE, requests_people.RemovePerson("ben", BRANCH))
    code, answer = await take(world, served, file)
    assert (code, answer["detail"]) == ("conflict", "in branch already, and different: bea")
    assert await people.find(served.at.store, BRANCH, "ben") is None
    code, rehearsed = await take(world, served, file, dry_run=True)
    assert (code, rehearsed["conflicts"], rehearsed["added"]) == ("", ["bea"], ["ben"])
    code, done = await take(world, served, file, replace=True)
    assert (code, done["replaced"], done["added"]) == ("", ["bea"], ["ben"])
    assert (await world.who(served, bea))["role"] == "viewer"


async def test_an_import_lets_nobody_in_elsewhere_and_takes_nobodys_way_in() -> None:
    world, served, _ = await begun()
    bea = await world.entered(served, "bea", BRANCH, people.Rank.ADMINISTRATOR)
    file = await exported(world, served)
    assert (await take(world, served, file, domain="acme", token=bea))[0] == "not_allowed"
    _, answer = await world.ask(
        served, Verb.CLAIM, requests_people.Claim(name="bea", password=peopleworld.WORDS)
    )
    lesser = msgspec.structs.replace(file.people[0], role="viewer")
    bent = msgspec.structs.replace(file, people=(lesser,))
    bent = msgspec.structs.replace(bent, digest=carrying.digest(bent))
    code, told = await take(world, served, bent, domain="acme", replace=True, token=answer["token"])
    assert (code, "nobody could log in" in told["detail"]) == ("refused", True)


BAD_FILES: dict[str, dict[str, Any]] = {
    "another kind": {"format": "tiercast-domain/9"},
    "a changed file": {"digest": "0" * 64},
    "no digest": {"digest": ""},
    "a name twice": {"people": (requests_people.CarriedPerson("a", "viewer"),) * 2},
    "a name that is none": {"people": (requests_people.CarriedPerson("a/b", "viewer"),)},
    "a role that is none": {"people": (requests_people.CarriedPerson("a", "root"),)},
    "a hash that would take all memory": {
        "people": (requests_people.CarriedPerson("a", "viewer", "$argon2id$v=19$m=9999999,t=9,p=1$" + "A" * 22 + "$" + "A" * 43),)
    },
    "a role that is not here": {"entities": (requests_people.CarriedEntity("users", "web9"),)},
    "too many": {"people": tuple(requests_people.CarriedPerson(f"a{n}", "viewer") for n in range(1001))},
}  # fmt: skip


@pytest.mark.parametrize("wrong", BAD_FILES.values(), ids=BAD_FILES)
async def test_a_file_that_cannot_be_used_changes_nothing(wrong: dict[str, Any]) -> None:
    world, served, _ = await begun()
    file = msgspec.structs.replace(await exported(world, served), **wrong)
    if "digest" not in wrong:
        file = msgspec.structs.replace(file, digest=carrying.digest(file))
    code, _ = await take(world, served, file)
    assert code in {"usage", "not_found"}
    assert await people.known(served.at.store) == ()
    assert names.RoleName("web1") in served.at.past.expanded.roles
