"""Laws of people, whatever is asked of MIC in whatever order and by whomever."""

from typing import Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.domains import people
from coordinator.tiers import mic, requests, requests_people
from tests import peopleworld

Verb = requests.Verb
WORDS, OTHER, MASTER, BRANCH = (
    peopleworld.WORDS, peopleworld.OTHER_WORDS, peopleworld.MASTER, peopleworld.BRANCH,
)  # fmt: skip
NAMES = st.sampled_from(["admin", "bob"])
DOMAINS = st.sampled_from([MASTER, BRANCH])
ROLES = st.sampled_from([one.word for one in people.Rank])
WORDING = st.sampled_from([WORDS, OTHER])
ASKED: st.SearchStrategy[tuple[Verb, Any]] = st.one_of(
    st.builds(
        lambda name, domain, role, password: (
            Verb.PERSON_ADD,
            requests_people.AddPerson(name=name, domain=domain, role=role, password=password),
        ),
        NAMES, DOMAINS, ROLES, st.sampled_from(["", WORDS]),
    ),
    st.builds(lambda name, domain: (Verb.PERSON_REMOVE, requests_people.RemovePerson(name, domain)), NAMES, DOMAINS),
    st.builds(
        lambda name, domain, role: (Verb.PERSON_ROLE, requests_people.SetRole(name=name, domain=domain, role=role)),
        NAMES, DOMAINS, ROLES,
    ),
    st.builds(
        lambda name, domain, new: (
            Verb.PERSON_PASSWORD,
            requests_people.SetPassword(name=name, domain=domain, password=new, present=WORDS),
        ),
        NAMES, DOMAINS, WORDING,
    ),
    st.builds(
        lambda name, domain, role: (
            Verb.TOKEN_CREATE, requests_people.CreateToken(name=name, domain=domain, role=role)
        ),
        NAMES, DOMAINS, st.sampled_from(["", "viewer", "administrator"]),
    ),
    st.builds(
        lambda name, domain, password: (
            Verb.LOGIN, requests_people.Login(name=name, domain=domain, password=password)
        ),
        NAMES, DOMAINS, WORDING,
    ),
    st.builds(lambda name: (Verb.CLAIM, requests_people.Claim(name=name, password=WORDS)), NAMES),
    st.just((Verb.LOGOUT, requests_people.Logout())),
    st.just((Verb.TOKEN_REVOKE, None)),
)  # fmt: skip
STEPS = st.lists(st.tuples(ASKED, st.integers(0, 7)), min_size=5, max_size=30)


class Told:
    """A world, the tokens that were handed out in it, and what must hold after every step."""

    def __init__(self, world: peopleworld.World, served: mic.Mic) -> None:
        self.world = world
        self.served = served
        self.tokens = [world.token.text]

    async def held(self) -> dict[bytes, bytes]:
        found = await self.world.store.scan(b"/domains/")
        return {item.key: item.value for item in found.items}

    async def step(self, verb: Verb, asked: Any, which: int) -> None:
        """Asked by one of those who hold a token, of the eight newest."""
        token = self.tokens[-8:][which % len(self.tokens[-8:])]
        if verb is Verb.TOKEN_REVOKE:
            asked = requests_people.RevokeToken(self.tokens[which % len(self.tokens)].split("_")[1])
        before, numbered = await self.held(), self.served.at.past.audit_next
        self.world.clock.now += 40.0  # nobody is slowed down here
        code, answer = await self.world.ask(self.served, verb, asked, token=token)
        after = await self.held()
        if code:
            assert after == before, "what was refused has changed nothing"
        if isinstance(answer, dict) and "token" in answer:
            self.tokens.append(answer["token"])
        assert self.served.at.past.audit_next - numbered in ({1} if code or after != before else {0, 1})
        await self.somebody_enters(after)
        await self.tokens_follow_their_people(after)

    async def somebody_enters(self, held: dict[bytes, bytes]) -> None:
        persons = [
            people.PERSON.decode(value) for key, value in held.items() if key.startswith(people.PEOPLE)
        ]
        firsts = [key for key, value in held.items() if key.startswith(people.TOKENS)
                  and people.TOKEN.decode(value).kind is people.Kind.FIRST]  # fmt: skip
        enters = [one for one in persons if one.rank is people.Rank.ADMINISTRATOR and one.password]
        assert firsts or any(one.domain == MASTER for one in enters)

    async def tokens_follow_their_people(self, held: dict[bytes, bytes]) -> None:
        for text in self.tokens:
            value = held.get(people.token_key(text.split("_")[1]))
            who = await self.world.who(self.served, text)
            if value is None:
                assert who == "unauthenticated"
                continue
            record = people.TOKEN.decode(value)
            if record.kind is people.Kind.FIRST:
                continue
            owner = people.PERSON.decode(held[people.person_key(record.domain, record.name)])
            assert who["role"] == min(record.cap, owner.rank).word
            assert (who["name"], who["domain"]) == (owner.name, owner.domain)


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_somebody_can_always_enter_and_nobody_is_more_than_they_are(steps: list[Any]) -> None:
    async def main() -> None:
        world = peopleworld.World()
        served, _ = await world.begun()
        told = Told(world, served)
        for (verb, asked), which in steps:
            await told.step(verb, asked, which)

    anyio.run(main)
