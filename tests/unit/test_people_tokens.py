"""API tokens: shown once, with an end, never reaching further than what made them, revoked at once."""

from typing import Any

import pytest

from coordinator import limits
from coordinator.domains import people
from coordinator.tiers import mic, requests, requests_people
from tests import peopleworld

pytestmark = pytest.mark.anyio

Verb = requests.Verb
BRANCH = peopleworld.BRANCH
Create = requests_people.CreateToken


async def begun() -> tuple[peopleworld.World, mic.Mic]:
    world = peopleworld.World()
    served, _ = await world.begun()
    await world.add(served, "ci", "operator", password="")
    return world, served


async def tokens(world: peopleworld.World, served: mic.Mic, **how: Any) -> list[Any]:
    _, answer = await world.ask(served, Verb.TOKENS, requests_people.ListTokens(name="ci"), **how)
    return list(answer["tokens"])


async def test_a_token_has_an_end_and_what_it_was_made_for_and_its_secret_is_nowhere() -> None:
    world, served = await begun()
    asked = Create(name="ci", ttl_s=3600.0, scopes=("cfg:r",), note="nightly report")
    code, made = await world.ask(served, Verb.TOKEN_CREATE, asked)
    assert code == ""
    (shown,) = await tokens(world, served)
    assert (shown["id"], shown["role"], shown["scopes"], shown["note"], shown["by"]) == (
        made["id"], "operator", ["cfg:r"], "nightly report", "admin",
    )  # fmt: skip
    assert shown["expires"] - shown["made"] == 3600.0
    secret = made["token"].rpartition("_")[2]
    everything = b"".join([item.value for item in (await world.store.scan(b"")).items])
    assert secret.encode() not in everything
    who = await world.who(served, made["token"])
    assert (who["scopes"], who["role"], who["expires"]) == (["cfg:r"], "operator", shown["expires"])


async def test_a_token_reaches_no_further_than_the_one_that_made_it() -> None:
    world, served = await begun()
    await world.add(served, "ada", "administrator")
    narrow = await world.new_token(served, "ada", scopes=("people:operator", "cfg:r"))
    code, made = await world.ask(served, Verb.TOKEN_CREATE, Create(name="ci"), token=narrow)
    assert (code, made["scopes"]) == ("", ["people:operator", "cfg:r"])
    code, _ = await world.ask(served, Verb.TOKEN_CREATE, Create(name="ci", scopes=("cfg",)), token=narrow)
    assert code == "not_allowed"
    code, made = await world.ask(served, Verb.TOKEN_CREATE, Create(scopes=("cfg:r",)), token=narrow)
    assert (code, made["name"], made["scopes"]) == ("", "ada", ["cfg:r"])


async def test_a_repeated_request_makes_one_token() -> None:
    world, served = await begun()
    made = [await world.ask(served, Verb.TOKEN_CREATE, Create(name="ci"), request="same") for _ in range(2)]
    assert len(await tokens(world, served)) == 1
    assert await world.who(served, made[0][1]["token"]) == "unauthenticated"
    assert (await world.who(served, made[1][1]["token"]))["name"] == "ci"


async def test_what_has_expired_makes_room() -> None:
    world, served = await begun()
    for _ in range(5):
        await world.new_token(served, "ci", ttl_s=60.0)
    assert len(await tokens(world, served)) == 5
    world.clock.now += 61.0
    assert all(one["expired"] for one in await tokens(world, served))
    await world.new_token(served, "ci")
    assert len(await tokens(world, served)) == 1


async def test_one_person_has_so_many_tokens_and_a_login_takes_the_place_of_the_oldest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "TOKENS_PER_PERSON", 3)
    world, served = await begun()
    await world.add(served, "vic")
    logins = []
    for _ in range(4):
        world.clock.now += 1.0
        logins.append((await world.login(served, "vic"))[1]["token"])
    known = [await world.who(served, token) != "unauthenticated" for token in logins]
    assert known == [False, True, True, True]
    for _ in range(3):
        await world.new_token(served, "ci")
    code, answer = await world.ask(served, Verb.TOKEN_CREATE, Create(name="ci"))
    assert (code, "as many tokens" in answer["detail"]) == ("refused", True)


async def test_a_token_is_revoked_by_its_id_and_only_where_one_keeps_the_people() -> None:
    world, served = await begun()
    bea = await world.entered(served, "bea", BRANCH, people.Rank.ADMINISTRATOR)
    made = await world.new_token(served, "ci")
    revoke = requests_people.RevokeToken(made.split("_")[1])
    assert await tokens(world, served, token=bea) == []
    assert (await world.ask(served, Verb.TOKEN_REVOKE, revoke, token=bea))[0] == "not_found"
    assert (await world.ask(served, Verb.TOKEN_REVOKE, revoke))[0] == ""
    assert await world.who(served, made) == "unauthenticated"
    assert (await world.ask(served, Verb.TOKEN_REVOKE, revoke))[0] == "not_found"


async def test_the_one_time_secret_is_not_revoked_while_nobody_else_can_enter() -> None:
    world, served = await begun()
    revoke = requests_people.RevokeToken(world.token.id)
    assert (await world.ask(served, Verb.TOKEN_REVOKE, revoke))[0] == "refused"
    assert (await world.ask(served, Verb.LOGOUT))[0] == "refused"
    assert (await world.ask(served, Verb.TOKEN_CREATE, Create()))[0] == "usage"
    await world.add(served, "ada", "administrator")
    assert (await world.ask(served, Verb.TOKEN_REVOKE, revoke))[0] == ""


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"ttl_s": 0.0}, "usage"), ({"ttl_s": -1.0}, "usage"), ({"ttl_s": 1e12}, "usage"), ({"ttl_s": 59.9}, "usage"),
        ({"role": "root"}, "usage"), ({"role": "administrator"}, "usage"), ({"scopes": ("cgf",)}, "usage"),
        ({"scopes": ("cfg:/x:r",)}, "usage"), ({"scopes": ("",)}, "usage"), ({"scopes": ("cfg",) * 17}, "usage"),
        ({"name": "nobody"}, "not_found"), ({"name": "a" * 10_000}, "not_found"), ({"domain": "nowhere"}, "not_found"),
        ({"note": "\x00"}, "usage"),
    ],
)  # fmt: skip
async def test_a_token_that_cannot_be_is_not_made(wrong: dict[str, Any], code: str) -> None:
    world, served = await begun()
    asked = Create(**{"name": "ci", **wrong})
    assert (await world.ask(served, Verb.TOKEN_CREATE, asked))[0] == code
    assert await tokens(world, served) == []
