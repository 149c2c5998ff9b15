"""Every verb of MIC x every identity: who is let in, who is refused, and that the refusal says why.

The table is written twice on purpose, here and in the product: a change of who may is a change of both, and a new verb
without a row fails.
"""

import msgspec
import pytest

from coordinator.domains import people
from coordinator.propagation import messages
from coordinator.tiers import desk, mic, permissions, requests, requests_people, verbs
from tests import peopleworld

pytestmark = pytest.mark.anyio

Verb = requests.Verb
Rank = people.Rank
MASTER, BRANCH = peopleworld.MASTER, peopleworld.BRANCH


class Who(msgspec.Struct, frozen=True):
    """Least rank, whether of the master domain alone, whether it needs a scope that writes; None: any scope will do."""

    least: people.Rank
    master: bool
    writes: bool | None


V, O, A = Rank.VIEWER, Rank.OPERATOR, Rank.ADMINISTRATOR  # noqa: E741 the letters of a table
EXPECTED: dict[Verb, Who] = {
    Verb.UPLOAD: Who(O, True, True),
    Verb.VALIDATE: Who(O, True, False),
    Verb.PLAN: Who(O, True, False),
    Verb.APPLY: Who(A, True, True),
    Verb.ROLLBACK: Who(A, True, True),
    Verb.PREPARE: Who(A, True, True),
    Verb.WITHDRAW: Who(A, True, True),
    Verb.PREPARED: Who(V, True, False),
    Verb.DRAFTS: Who(V, True, False),
    Verb.ROLLOUT: Who(V, True, False),
    Verb.STATUS: Who(V, False, False),
    Verb.DESCRIBE: Who(V, False, False),
    Verb.HISTORY: Who(V, True, False),
    Verb.SHOW: Who(V, True, False),
    Verb.SERVERS: Who(V, False, False),
    Verb.NODES: Who(V, False, False),
    Verb.ROLES: Who(V, False, False),
    Verb.DIFF: Who(O, True, False),
    Verb.EVENTS: Who(V, True, False),
    Verb.STATE: Who(V, True, False),
    Verb.KV_GET: Who(V, False, False),
    Verb.KV_WATCH: Who(V, False, False),
    Verb.KV_USAGE: Who(V, False, False),
    Verb.KV_LEASES: Who(V, False, False),
    Verb.KV_PUT: Who(O, False, True),
    Verb.KV_DELETE: Who(O, False, True),
    Verb.KV_TXN: Who(O, False, True),
    Verb.KV_GRANT: Who(O, False, True),
    Verb.KV_KEEPALIVE: Who(O, False, True),
    Verb.KV_REVOKE: Who(O, False, True),
    Verb.ENROLL: Who(A, True, True),
    Verb.LINE_CREATE: Who(A, True, True),
    Verb.LINES: Who(O, True, False),
    Verb.LINE_REVOKE: Who(A, True, True),
    Verb.ACCEPT: Who(A, True, True),
    Verb.EXPEL: Who(A, True, True),
    Verb.WHOAMI: Who(V, False, None),
    Verb.CLAIM: Who(A, True, True),
    Verb.LOGOUT: Who(V, False, None),
    Verb.PEOPLE: Who(V, False, False),
    Verb.PERSON_ADD: Who(A, False, True),
    Verb.PERSON_REMOVE: Who(A, False, True),
    Verb.PERSON_ROLE: Who(A, False, True),
    Verb.PERSON_PASSWORD: Who(V, False, True),
    Verb.TOKENS: Who(A, False, False),
    Verb.TOKEN_CREATE: Who(A, False, True),
    Verb.TOKEN_REVOKE: Who(A, False, True),
    Verb.DOMAINS: Who(V, False, False),
    Verb.ATTACH: Who(A, False, True),
    Verb.DETACH: Who(A, False, True),
    Verb.DOMAIN_EXPORT: Who(A, False, True),
    Verb.DOMAIN_IMPORT: Who(A, False, True),
    Verb.AUDIT: Who(A, True, False),
}
FOR_ANYONE = {Verb.LOGIN}
SCOPES = {
    "cfg": "cfg",
    "cfg-read": "cfg:r",
    "people": "people:administrator",
    "people-read": "people:r",
    "keys": "kv:/app/:rw",
    "audit": "audit:r",
}


def test_every_verb_has_a_row() -> None:
    assert EXPECTED.keys() | FOR_ANYONE == set(Verb)
    assert {verb for verb, row in permissions.ROWS.items() if row.least is None} == FOR_ANYONE


async def world_with(rank: people.Rank, domain: str) -> tuple[peopleworld.World, mic.Mic, str]:
    """And the token of such a person."""
    world = peopleworld.World()
    served, _ = await world.begun()
    await world.add(served, "eve", rank.word, domain=domain)
    return world, served, await world.new_token(served, "eve", domain)


async def _let_in(_at: desk.Desk, _caller: desk.Caller, _body: bytes) -> msgspec.Struct:
    return requests_people.Done("let in")


async def refused(world: peopleworld.World, served: mic.Mic, token: str) -> dict[Verb, str]:
    """Verbs whose hand is never reached, with the code."""
    found: dict[Verb, str] = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(verbs, "VERBS", dict.fromkeys(Verb, _let_in))
        for verb in EXPECTED:
            code, answer = await world.ask(served, verb, token=token)
            if code:
                found[verb] = code
                assert answer["detail"]
    return found


@pytest.mark.parametrize("domain", [MASTER, BRANCH])
@pytest.mark.parametrize("rank", list(Rank))
async def test_rank_and_domain_decide(rank: people.Rank, domain: str) -> None:
    world, served, token = await world_with(rank, domain)
    expected = {
        verb: "not_allowed"
        for verb, row in EXPECTED.items()
        if rank < row.least or (row.master and domain != MASTER)
    }
    assert await refused(world, served, token) == expected


@pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
async def test_a_narrower_token_of_an_administrator_reaches_what_its_scope_names(scope: str) -> None:
    world = peopleworld.World()
    served, _ = await world.begun()
    await world.add(served, "eve", "administrator")
    token = await world.new_token(served, "eve", scopes=(scope,))
    area, reads = scope.partition(":")[0], scope.endswith(":r")
    expected = {
        verb: "not_allowed"
        for verb, row in EXPECTED.items()
        if row.writes is not None and (permissions.area(verb) != area or (row.writes and reads))
    }
    assert await refused(world, served, token) == expected


@pytest.mark.parametrize("rank", list(Rank))
async def test_a_token_of_a_lesser_rank_than_its_person_has_that_rank(rank: people.Rank) -> None:
    world = peopleworld.World()
    served, _ = await world.begun()
    await world.add(served, "eve", "administrator")
    token = await world.new_token(served, "eve", role=rank.word)
    expected = {verb: "not_allowed" for verb, row in EXPECTED.items() if rank < row.least}
    assert await refused(world, served, token) == expected


async def test_an_expired_a_revoked_a_foreign_and_a_removed_ones_token_open_nothing() -> None:
    world, served, token = await world_with(A, MASTER)
    other, other_served, foreign = await world_with(A, MASTER)
    assert await refused(world, served, foreign + "0") == dict.fromkeys(EXPECTED, "unauthenticated")
    short = await world.new_token(served, "eve", ttl_s=60.0)
    revoked = await world.new_token(served, "eve")
    await world.ask(served, Verb.TOKEN_REVOKE, requests_people.RevokeToken(revoked.split("_")[1]))
    world.clock.now += 61.0
    await other.add(other_served, "ada", "administrator")
    await other.ask(other_served, Verb.PERSON_REMOVE, requests_people.RemovePerson("eve"))
    for where, what, opens in (
        (world, served, short),
        (world, served, revoked),
        (other, other_served, foreign),
    ):
        assert await refused(where, what, opens) == dict.fromkeys(EXPECTED, "unauthenticated")
    assert (await world.who(served, token))["name"] == "eve"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "tca_",
        "tca_" + "0" * 12 + "_" + "0" * 64,
        "tca_\u0660" * 3,
        "x" * 10_000,
        "\ud800",
        "\x00",
    ],
)
async def test_a_stranger_opens_nothing(text: str) -> None:
    world = peopleworld.World()
    served, _ = await world.begun()
    if text == "\ud800":
        call = msgspec.msgpack.encode(requests.Call("", "10.9.9.9", "q", b"{}")).replace(
            b"\xa0", b"\xa3\xed\xa0\x80", 1
        )
        assert (await served.answered(Verb.STATUS, messages.ChildKind.WS, call))[0] == "protocol"
        return
    assert await refused(world, served, text) == dict.fromkeys(EXPECTED, "unauthenticated")


async def test_people_of_a_domain_that_left_the_document_are_nobody_until_it_is_back() -> None:
    world, served, token = await world_with(A, BRANCH)
    document = peopleworld.without_branch()
    overridden = msgspec.structs.replace(document, overrides={"D11": peopleworld.override()})
    code, answer = await world.apply(served, overridden)
    assert code == "", answer
    assert await refused(world, served, token) == dict.fromkeys(EXPECTED, "unauthenticated")
    assert (await world.login(served, "eve", BRANCH))[0] == "unauthenticated"
