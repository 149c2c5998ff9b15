"""Whom a narrowed token may keep: every verb that lets somebody in, or takes somebody away, by the rank that its scope names."""

import msgspec
import pytest

from coordinator.domains import people
from coordinator.tiers import mic, requests, requests_people
from tests import peopleworld

pytestmark = pytest.mark.anyio
V, R = requests.Verb, people.Rank
SCOPES = {"people:r": 0, "people:viewer": 1, "people:operator": 2, "people:administrator": 3}
NEW_WORDS = "another long password"


class World(peopleworld.World):
    """With one person of every rank, each with a password and a token."""

    async def filled(self) -> mic.Mic:
        served, _tree = await self.begun()
        for rank in R:
            await self.add(served, f"a-{rank.word}", rank.word)
            await self.new_token(served, f"a-{rank.word}")
        await self.add(served, "boss", "administrator")
        return served


@pytest.mark.parametrize(("scope", "most"), SCOPES.items())
async def test_whoever_lets_somebody_in_can_let_in_nobody_of_a_higher_rank(scope: str, most: int) -> None:
    world = World()
    served = await world.filled()
    await world.add(served, "base")
    token = await world.new_token(served, "boss", scopes=(scope,))
    for rank in R:
        name = f"a-{rank.word}"
        for verb, asked in (
            (V.PERSON_ADD, requests_people.AddPerson(name=f"new-{rank.word}", role=rank.word)),
            (V.PERSON_ROLE, requests_people.SetRole(name="base", role=rank.word)),
            (V.PERSON_PASSWORD, requests_people.SetPassword(name=name, password=NEW_WORDS)),
            (V.TOKEN_CREATE, requests_people.CreateToken(name=name, scopes=(scope,))),
            (V.PERSON_REMOVE, requests_people.RemovePerson(name)),
        ):
            code, answer = await world.ask(served, verb, asked, token=token)
            assert code == ("" if rank <= most else "not_allowed"), (verb, rank, answer)


async def test_lowering_and_revoking_are_for_those_who_could_give_it_back() -> None:
    world = World()
    served = await world.filled()
    token = await world.new_token(served, "boss", scopes=("people:operator",))
    lower = requests_people.SetRole(name="a-administrator", role="viewer")
    code, problem = await world.ask(served, V.PERSON_ROLE, lower, token=token)
    assert (code, problem["hint"]) == (
        "not_allowed",
        "a token with the scope people:administrator, or without scopes",
    )
    _, listed = await world.ask(served, V.TOKENS, requests_people.ListTokens(), token=token)
    ids = {one["name"]: one["id"] for one in listed["tokens"]}
    for name, wanted in (("a-administrator", "not_allowed"), ("a-operator", ""), ("boss", "")):
        code, answer = await world.ask(
            served, V.TOKEN_REVOKE, requests_people.RevokeToken(ids[name]), token=token
        )
        assert code == wanted, (name, answer)


async def test_a_program_that_is_an_administrator_sets_itself_no_password_by_a_narrowed_token() -> None:
    world = World()
    served = await world.filled()
    await world.add(served, "ci", "administrator", password="")
    asked = requests_people.SetPassword(password=NEW_WORDS)
    narrow = await world.new_token(served, "ci", scopes=("people:operator",))
    assert (await world.ask(served, V.PERSON_PASSWORD, asked, token=narrow))[0] == "not_allowed"
    wide = await world.new_token(served, "ci")
    assert (await world.ask(served, V.PERSON_PASSWORD, asked, token=wide))[0] == ""
    mine = requests_people.SetPassword(password=peopleworld.OTHER_WORDS, present=NEW_WORDS)
    assert (await world.ask(served, V.PERSON_PASSWORD, mine, token=narrow))[0] == "", (
        "whoever knows it may change it"
    )


async def test_a_file_of_a_domain_is_taken_in_and_out_by_those_who_keep_its_people() -> None:
    world = World()
    served = await world.filled()
    _, file = await world.ask(served, V.DOMAIN_EXPORT, requests_people.ExportDomain())
    carried = msgspec.convert(file, requests_people.Carried)
    for scopes, wanted in (
        (("domains",), "not_allowed"),
        (("domains", "people:operator"), "not_allowed"),
        (("domains", "people:administrator"), ""),
    ):
        token = await world.new_token(served, "boss", scopes=scopes)
        code, answer = await world.ask(served, V.DOMAIN_EXPORT, requests_people.ExportDomain(), token=token)
        assert code == wanted, answer
        asked = requests_people.ImportDomain(file=carried, domain=peopleworld.BRANCH)
        code, answer = await world.ask(served, V.DOMAIN_IMPORT, asked, token=token)
        assert code == wanted, answer


async def test_a_scope_that_would_change_people_names_a_role() -> None:
    world = World()
    served = await world.filled()
    code, problem = await world.ask(
        served, V.TOKEN_CREATE, requests_people.CreateToken(name="boss", scopes=("people",))
    )
    assert (code, problem["hint"]) == (
        "usage",
        "people:viewer, people:operator, people:administrator; or people:r to look",
    )
