"""People: added, entered, changed and removed, and never so that nobody could enter any more."""

from typing import Any

import pytest

from coordinator import limits
from coordinator.domains import people
from coordinator.tiers import entering, mic, requests, requests_people
from tests import micworld, peopleworld

pytestmark = pytest.mark.anyio

Verb = requests.Verb
WORDS, OTHER, BRANCH = peopleworld.WORDS, peopleworld.OTHER_WORDS, peopleworld.BRANCH
ADMINISTRATOR = "administrator"


async def begun() -> tuple[peopleworld.World, mic.Mic]:
    world = peopleworld.World()
    served, _ = await world.begun()
    return world, served


async def claimed(name: str = "admin") -> tuple[peopleworld.World, mic.Mic, str]:
    """After the first login, with its token."""
    world, served = await begun()
    code, answer = await world.ask(served, Verb.CLAIM, requests_people.Claim(name=name, password=WORDS))
    assert code == "", answer
    return world, served, answer["token"]


# --- the first login --------------------------------------------------------------------------------------------------


async def test_the_secret_of_init_works_until_it_has_become_a_person_and_never_again() -> None:
    world, served = await begun()
    assert (await world.who(served, world.token.text))["first"]
    code, answer = await world.ask(served, Verb.CLAIM, requests_people.Claim(name="ada", password=WORDS))
    assert (code, answer["name"], answer["domain"], answer["role"]) == ("", "ada", "acme", ADMINISTRATOR)
    assert await world.who(served, world.token.text) == "unauthenticated"
    who = await world.who(served, answer["token"])
    assert (who["name"], who["first"], who["role"]) == ("ada", False, ADMINISTRATOR)
    code, answer = await world.login(served, "ada")
    assert code == ""
    code, again = await world.ask(
        served, Verb.CLAIM, requests_people.Claim(name="eve", password=WORDS), token=answer["token"]
    )
    assert (code, "one-time secret" in again["detail"]) == ("not_allowed", True)


async def test_any_login_of_an_administrator_of_the_master_domain_ends_the_secret_and_no_other_does() -> None:
    world, served = await begun()
    await world.add(served, "vic")
    await world.add(served, "bea", ADMINISTRATOR, domain=BRANCH)
    await world.add(served, "ada", ADMINISTRATOR)
    for name, domain in (("vic", ""), ("bea", BRANCH)):
        assert (await world.login(served, name, domain))[0] == ""
        assert (await world.who(served, world.token.text))["first"]
    assert (await world.login(served, "ada"))[0] == ""
    assert await world.who(served, world.token.text) == "unauthenticated"


async def test_a_new_mic_over_the_same_store_knows_the_same_people() -> None:
    world, served, token = await claimed()
    assert (await world.who(served, token))["name"] == "admin"
    second, _ = await world.open()
    assert (await world.who(second, token))["name"] == "admin"
    assert await world.who(second, world.token.text) == "unauthenticated"


# --- login and logout -------------------------------------------------------------------------------------------------


async def test_a_login_is_a_token_with_an_end_and_logout_ends_it_at_once() -> None:
    world, served = await begun()
    await world.add(served, "vic")
    code, answer = await world.login(served, "vic", ttl_s=3600.0)
    assert answer["expires"] == pytest.approx(world.clock.wall() + 3600.0)
    token = answer["token"]
    assert (await world.who(served, token))["name"] == "vic"
    code, _ = await world.ask(served, Verb.LOGOUT, token=token)
    assert (code, await world.who(served, token)) == ("", "unauthenticated")
    code, answer = await world.login(served, "vic")
    world.clock.now += limits.LOGIN_TTL_S + 1.0
    assert await world.who(served, answer["token"]) == "unauthenticated"


async def test_an_unknown_name_and_a_wrong_password_are_answered_alike() -> None:
    world, served = await begun()
    await world.add(served, "vic")
    await world.add(served, "ci", password="")
    answers = []
    for name, domain in (("vic", ""), ("nobody", ""), ("ci", ""), ("vic", BRANCH), ("vic", "nowhere")):
        code, answer = await world.login(served, name, domain, password=OTHER)
        assert code == "unauthenticated"
        answers.append(answer["detail"].partition(" (for")[0])
    assert set(answers) == {"wrong name or password"}


async def test_an_unknown_name_costs_as_much_work_as_a_wrong_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, served = await begun()
    await world.add(served, "vic")
    compared: list[str] = []

    async def counted(_password: str, stored: str) -> bool:
        compared.append(stored)
        return False

    monkeypatch.setattr(served.at.gate, "matches", counted)
    await world.login(served, "vic", password=OTHER)
    await world.login(served, "nobody", password=OTHER)
    assert [bool(one) for one in compared] == [True, False]


async def test_whoever_guesses_from_one_place_is_stopped_and_the_owner_elsewhere_is_not() -> None:
    world, served = await begun()
    await world.add(served, "vic")
    codes = [(await world.login(served, "vic", password=OTHER, source="192.0.2.66"))[0] for _ in range(9)]
    assert codes == ["unauthenticated"] * 5 + ["busy"] * 4
    code, answer = await world.login(served, "vic", source="192.0.2.66")
    assert (code, "try again in" in answer["hint"]) == ("busy", True)
    assert (await world.login(served, "vic", source="198.51.100.7"))[0] == ""
    world.clock.now += 31.0
    assert (await world.login(served, "vic", source="192.0.2.66"))[0] == ""


# --- who keeps whom ---------------------------------------------------------------------------------------------------


async def test_an_administrator_of_another_domain_keeps_its_people_and_nobody_elses() -> None:
    world, served = await begun()
    bea = await world.entered(served, "bea", BRANCH, people.Rank.ADMINISTRATOR)
    await world.add(served, "ben", "operator", token=bea)
    await world.add(served, "ada", ADMINISTRATOR)
    code, seen = await world.ask(served, Verb.PEOPLE, requests_people.ListPeople(), token=bea)
    assert [(one["name"], one["domain"], one["role"]) for one in seen["people"]] == [
        ("bea", BRANCH, ADMINISTRATOR),
        ("ben", BRANCH, "operator"),
    ]
    refused: list[tuple[Verb, Any]] = [
        (Verb.PERSON_ADD, requests_people.AddPerson(name="eve", domain="acme")),
        (Verb.PERSON_REMOVE, requests_people.RemovePerson("ada", "acme")),
        (Verb.PERSON_ROLE, requests_people.SetRole(name="ada", domain="acme", role="viewer")),
        (Verb.PERSON_PASSWORD, requests_people.SetPassword(name="ada", domain="acme", password=OTHER)),
        (Verb.TOKEN_CREATE, requests_people.CreateToken(name="ada", domain="acme")),
        (Verb.PEOPLE, requests_people.ListPeople("acme")),
        (Verb.PEOPLE, requests_people.ListPeople("nowhere")),
    ]
    for verb, asked in refused:
        code, answer = await world.ask(served, verb, asked, token=bea)
        assert code == "not_allowed", verb
        assert BRANCH in answer["detail"], "both domains are named"
        assert "acme" in answer["detail"]


async def test_who_is_in_another_domain_cannot_configure_and_is_told_both_domains() -> None:
    world, served = await begun()
    bea = await world.entered(served, "bea", BRANCH, people.Rank.ADMINISTRATOR)
    code, answer = await world.apply(served, peopleworld.without_branch(), token=bea)
    assert code == "not_allowed"
    assert answer["detail"] == "cfg.apply is for the master domain alone (got branch, have need of acme)"


async def test_a_name_is_given_once_per_domain_and_a_repeated_request_is_harmless() -> None:
    world, served = await begun()
    asked = requests_people.AddPerson(name="vic", password=WORDS)
    for unchanged in (False, True):
        code, answer = await world.ask(served, Verb.PERSON_ADD, asked, request="same")
        assert (code, answer["unchanged"]) == ("", unchanged)
    code, _ = await world.ask(served, Verb.PERSON_ADD, asked)
    assert code == "conflict"
    await world.add(served, "vic", domain=BRANCH)


async def test_a_lesser_role_and_a_removal_are_in_force_at_once_for_every_token() -> None:
    world, served = await begun()
    token = await world.entered(served, "oli", "", people.Rank.OPERATOR)
    assert (await world.who(served, token))["role"] == "operator"
    await world.ask(served, Verb.PERSON_ROLE, requests_people.SetRole(name="oli", role="viewer"))
    assert (await world.who(served, token))["role"] == "viewer"
    code, answer = await world.ask(served, Verb.PERSON_REMOVE, requests_people.RemovePerson("oli"))
    assert (code, answer["detail"]) == ("", "oli of acme was removed, and 1 token with them")
    assert await world.who(served, token) == "unauthenticated"
    code, _ = await world.ask(served, Verb.PERSON_REMOVE, requests_people.RemovePerson("oli"))
    assert code == "not_found"


# --- passwords --------------------------------------------------------------------------------------------------------


async def test_ones_own_password_is_set_by_the_present_one_and_ends_every_other_login() -> None:
    world, served = await begun()
    await world.add(served, "vic")
    tokens = [(await world.login(served, "vic"))[1]["token"] for _ in range(2)]
    wrong = requests_people.SetPassword(password=OTHER, present="not that at all")
    assert (await world.ask(served, Verb.PERSON_PASSWORD, wrong, token=tokens[0]))[0] == "unauthenticated"
    right = requests_people.SetPassword(password=OTHER, present=WORDS)
    code, answer = await world.ask(served, Verb.PERSON_PASSWORD, right, token=tokens[0])
    assert code == "", answer
    assert (await world.who(served, tokens[0]))["name"] == "vic"
    assert await world.who(served, tokens[1]) == "unauthenticated"
    assert (await world.login(served, "vic"))[0] == "unauthenticated"
    assert (await world.login(served, "vic", password=OTHER))[0] == ""


async def test_whoever_proved_a_password_does_not_undo_the_one_that_was_set_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An administrator sets it because somebody else knows it."""
    world, served = await begun()
    await world.add(served, "vic")
    token = (await world.login(served, "vic"))[1]["token"]
    hashed = served.at.gate.hashed

    async def after_the_administrator(password: bytes) -> str:
        monkeypatch.setattr(served.at.gate, "hashed", hashed)
        asked = requests_people.SetPassword(name="vic", password=OTHER)
        assert (await world.ask(served, Verb.PERSON_PASSWORD, asked))[0] == ""
        return await hashed(password)

    monkeypatch.setattr(served.at.gate, "hashed", after_the_administrator)
    own = requests_people.SetPassword(password="a third long password", present=WORDS)
    assert (await world.ask(served, Verb.PERSON_PASSWORD, own, token=token))[0] == "unauthenticated"
    assert (await world.login(served, "vic", password=OTHER))[0] == ""


async def test_a_token_makes_no_password_for_whoever_has_none() -> None:
    """It would let in whoever found the token, with all that its person may and for ever."""
    world = peopleworld.World()
    served, _ = await world.begun()
    await world.add(served, "robot", "administrator", password="")
    viewer = await world.new_token(served, "robot", role="viewer")
    asked = requests_people.SetPassword(password=OTHER)
    code, _ = await world.ask(served, Verb.PERSON_PASSWORD, asked, token=viewer)
    assert code == "not_allowed"
    assert (await world.login(served, "robot", password=OTHER))[0] == "unauthenticated"
    whole = await world.new_token(served, "robot")
    assert (await world.ask(served, Verb.PERSON_PASSWORD, asked, token=whole))[0] == ""


async def test_the_password_of_another_is_set_by_an_administrator_alone() -> None:
    world, served = await begun()
    oli = await world.entered(served, "oli", "", people.Rank.OPERATOR)
    await world.add(served, "vic")
    asked = requests_people.SetPassword(name="vic", password=OTHER)
    assert (await world.ask(served, Verb.PERSON_PASSWORD, asked, token=oli))[0] == "not_allowed"
    assert (await world.ask(served, Verb.PERSON_PASSWORD, asked))[0] == ""
    assert (await world.login(served, "vic", password=OTHER))[0] == ""


# --- the last administrator -------------------------------------------------------------------------------------------


async def test_the_last_administrator_of_the_master_domain_is_neither_removed_nor_lowered() -> None:
    world, served, token = await claimed()
    gone = requests_people.RemovePerson("admin")
    lower = requests_people.SetRole(name="admin", role="operator")
    for verb, asked in ((Verb.PERSON_REMOVE, gone), (Verb.PERSON_ROLE, lower)):
        code, answer = await world.ask(served, verb, asked, token=token)
        assert (code, answer["detail"]) == (
            "refused",
            "admin is the last administrator of acme who can log in",
        )
    for name, more in (("ci", {"password": ""}), ("bea", {"domain": BRANCH})):
        await world.add(served, name, ADMINISTRATOR, token=token, **more)
        assert (await world.ask(served, Verb.PERSON_REMOVE, gone, token=token))[0] == "refused"
    await world.add(served, "ada", ADMINISTRATOR, token=token)
    assert (await world.ask(served, Verb.PERSON_ROLE, lower, token=token))[0] == ""


async def test_the_one_time_secret_does_not_go_with_somebody_of_its_name() -> None:
    world, served = await begun()
    await world.add(served, "admin", ADMINISTRATOR)
    code, _ = await world.ask(served, Verb.PERSON_REMOVE, requests_people.RemovePerson("admin"))
    assert code == ""
    assert (await world.who(served, world.token.text))["first"]


async def test_the_way_back_in_makes_an_administrator_and_ends_what_was_known_of_that_name() -> None:
    world, served, token = await claimed()
    done = await entering.reset_administrator(served.at, "admin", OTHER)
    assert "administrator with a new password" in done.detail
    assert await world.who(served, token) == "unauthenticated"
    assert (await world.login(served, "admin", password=OTHER))[0] == ""
    _, page = await world.ask(
        served, Verb.AUDIT, requests_people.ListAudit(verb="server.reset-admin"),
        token=(await world.login(served, "admin", password=OTHER))[1]["token"],
    )  # fmt: skip
    assert [(one["who"], one["outcome"]) for one in page["entries"]] == [("root", "ok")]
    assert OTHER not in str(page)


# --- what is no name, role or note ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""}, {"name": "a" * 64}, {"name": "1a"}, {"name": "a b"}, {"name": "a/b"}, {"name": "a@b"},
        {"name": "..", "domain": ""}, {"name": "a\nb"}, {"name": "\u0430dmin"}, {"role": "root"}, {"role": ""},
        {"password": "short"}, {"password": "x" * 10_000}, {"note": "n" * 300}, {"note": "a\x1b[31m"},
    ],
)  # fmt: skip
async def test_a_person_that_cannot_be_is_not_added(wrong: dict[str, str]) -> None:
    world, served = await begun()
    asked = requests_people.AddPerson(**{"name": "vic", "password": WORDS, **wrong})
    code, answer = await world.ask(served, Verb.PERSON_ADD, asked)
    assert code == "usage"
    assert wrong.get("password", "-") not in answer["detail"]
    assert await people.known(served.at.store) == ()


async def test_a_domain_has_room_for_so_many_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PEOPLE_PER_DOMAIN", 2)
    world, served = await begun()
    for name in ("a", "b"):
        await world.add(served, name, password="")
    code, _ = await world.ask(served, Verb.PERSON_ADD, requests_people.AddPerson(name="c"))
    assert code == "no_space"
    await world.add(served, "c", password="", domain=BRANCH)


async def test_a_store_that_needs_recovery_lets_nobody_change_people_and_still_knows_the_first_secret() -> (
    None
):
    world = peopleworld.World()
    served, _ = await world.begun()
    world.ledger = served.at.past.content
    world.store = micworld.Store(world.clock)
    second, _ = await world.open()
    assert second.recovery
    assert (await world.who(second, world.token.text))["first"]
    code, _ = await world.ask(second, Verb.PERSON_ADD, requests_people.AddPerson(name="vic"))
    assert code == "needs_recovery"
