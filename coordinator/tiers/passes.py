"""API tokens, and those of logins: made, listed, revoked.

Laws: a token is shown once and kept as a hash; it has an end, at most the rank of its person, and no scope that the
token that made it has not; what has expired makes room.
"""

import msgspec

from coordinator import errors, limits
from coordinator.config import findings
from coordinator.domains import people, scopes
from coordinator.store import commands
from coordinator.tiers import desk, last_administrator, permissions, requests_people
from coordinator.tiers import people as keeping
from coordinator.trust import tokens

TTL_MIN_S = 60.0
SWEPT = 100  # expired tokens taken away with one new one


class Wanted(msgspec.Struct, frozen=True):
    """A token to be."""

    person: people.PersonRecord
    kind: people.Kind
    ttl_s: float
    rank: people.Rank | None = None
    """At most this; None: the person's."""
    scopes: people.Scopes = ()
    note: str = ""


def ttl(seconds: float, most: float) -> float:
    """Raises `UsageError`."""
    if not TTL_MIN_S <= seconds <= most:
        raise errors.UsageError(
            f"a token lives from {TTL_MIN_S:.0f} s to {most / 86400:.0f} days (got {seconds:g} s)",
            hint="such as --ttl 12h or --ttl 90d",
        )
    return seconds


async def made(
    at: desk.Desk, caller: desk.Caller, wanted: Wanted
) -> tuple[people.TokenRecord, tokens.Token, list[commands.Operation]]:
    """A new token and what must be committed with it. Raises `NoSpaceError`, `RefusedError`."""
    person, wall, new = wanted.person, at.clock.wall(), tokens.new_token(at.means.random)
    every = await people.tokens_of(at.store)
    expired = [one for one in every if one.expired(wall)][:SWEPT]
    own = sorted(
        (
            one
            for one in every
            if (one.domain, one.name) == (person.domain, person.name) and one not in expired
        ),
        key=lambda one: one.made,
    )
    repeated = [one for one in own if caller.request and one.request == caller.request]
    gone = [*expired, *repeated, *_too_many(person, [one for one in own if one not in repeated])]
    if len(every) - len(gone) >= limits.TOKENS:
        raise errors.NoSpaceError(f"there are as many tokens as are kept (have {limits.TOKENS})")
    cap = wanted.rank or person.rank
    record = people.TokenRecord(
        new.id, tokens.digest(new.text), person.name, cap, wall, person.domain, wanted.kind,
        wall + wanted.ttl_s, wanted.scopes, wanted.note, caller.name, caller.request, cap,
    )  # fmt: skip
    return record, new, [*keeping.drops(gone), *keeping.puts(record)]


def _too_many(person: people.PersonRecord, own: list[people.TokenRecord]) -> list[people.TokenRecord]:
    """The oldest login, where there is no room for one more token of this person. Raises `RefusedError`."""
    if len(own) < limits.TOKENS_PER_PERSON:
        return []
    logins = [one for one in own if one.kind is people.Kind.LOGIN]
    if not logins:
        raise errors.RefusedError(
            f"{person.name} has as many tokens as one person may (have {limits.TOKENS_PER_PERSON})",
            hint="tiercast admin token list, then tiercast admin token revoke ID",
        )
    return logins[:1]


def issued(record: people.TokenRecord, token: tokens.Token) -> requests_people.Issued:
    """What is shown once."""
    return requests_people.Issued(
        token=token.text,
        id=record.id,
        name=record.name,
        domain=record.domain,
        role=record.rank.word,
        expires=record.expires,
        scopes=tuple(map(str, record.scopes)),
    )


# --- the verbs --------------------------------------------------------------------------------------------------------


async def create(
    at: desk.Desk, caller: desk.Caller, asked: requests_people.CreateToken
) -> requests_people.Issued:
    """Raises `UsageError`, `NotFoundError`, `NotAllowedError`, `NoSpaceError`, `RefusedError`."""
    if caller.person.first and not asked.name:
        raise errors.UsageError(
            "the one-time secret of init is nobody in particular",
            hint="`tiercast login` first, or name a person",
        )
    domain = keeping.domain_meant(at, caller, asked.domain)
    held = _scopes(asked.scopes, caller.person)
    ttl_s, note = ttl(asked.ttl_s, limits.TOKEN_TTL_MAX_S), keeping.note_meant(asked.note)
    async with at.turn:
        at.may_change()
        person = await keeping.found(at, domain, asked.name or caller.person.name)
        if (domain, person.name) != (caller.person.domain, caller.person.name):
            keeping.check_reach(caller, person.rank)
        rank = people.rank(asked.role) if asked.role else person.rank
        if rank > person.rank:
            raise errors.UsageError(f"{person.name} is no {rank.word} (have {person.rank.word})")
        wanted = Wanted(person, people.Kind.API, ttl_s, rank, held, note)
        record, token, operations = await made(at, caller, wanted)
        told = f"token {record.id} of {person.name} of {domain} made, {rank.word}"
        shown = ", ".join(map(str, held))
        await keeping.commit(at, caller, operations, f"{told}, for {shown}" if shown else told)
    return issued(record, token)


def _scopes(texts: tuple[str, ...], person: people.Person) -> people.Scopes:
    """Raises `UsageError`, `NotAllowedError`."""
    if len(texts) > limits.SCOPES_PER_TOKEN:
        raise errors.UsageError(f"too many scopes (got {len(texts)}, have {limits.SCOPES_PER_TOKEN})")
    held = tuple(scopes.parse(text) for text in texts) or person.scopes
    for one in held:
        if one.area not in permissions.AREAS:
            have = f"have {', '.join(sorted(permissions.AREAS))}"
            hint = findings.near(one.area, permissions.AREAS, have)
            raise errors.UsageError(f"no scope is called so (got {one.area!r})", hint=hint)
        if one.area in scopes.RANKED and one.writes and not one.prefix:
            ways = ", ".join(f"{one.area}:{rank}" for rank in scopes.RANKED[one.area])
            raise errors.UsageError(
                f"{one.area} to change needs the highest role that it may give (got {str(one)!r})",
                hint=f"{ways}; or {one.area}:r to look",
            )
    if not scopes.within(held, person.scopes):
        raise errors.NotAllowedError(
            f"a token makes none that reaches further (have {', '.join(map(str, person.scopes))})"
        )
    return held


async def listed(
    at: desk.Desk, caller: desk.Caller, asked: requests_people.ListTokens
) -> requests_people.TokensView:
    """Without their secrets, by domain, name and age."""
    everywhere = caller.person.domain == at.master_domain and not asked.domain
    domain = "" if everywhere else keeping.domain_meant(at, caller, asked.domain)
    wall = at.clock.wall()
    found = await people.tokens_of(at.store, domain, asked.name)
    return requests_people.TokensView(
        tuple(
            requests_people.TokenView(
                one.id, one.name, one.domain, one.rank.word, str(one.kind), tuple(map(str, one.scopes)), one.note,
                one.made, one.by, one.expires, one.expired(wall),
            )
            for one in sorted(found, key=lambda one: (one.domain, one.name, one.made))
        )
    )  # fmt: skip


async def revoke(
    at: desk.Desk, caller: desk.Caller, asked: requests_people.RevokeToken
) -> requests_people.Done:
    """In force at once. Raises `NotFoundError`, `RefusedError` for a one-time secret that nobody could do without."""
    async with at.turn:
        at.may_change()
        mine = caller.person.domain
        every = await people.tokens_of(at.store, "" if mine == at.master_domain else mine)
        record = next((one for one in every if one.id == asked.token), None)
        if record is None:
            raise errors.NotFoundError(
                f"there is no token {asked.token[:64]!r}", hint="tiercast admin token list"
            )
        if (record.domain, record.name) != (mine, caller.person.name):
            keeping.check_reach(caller, record.rank)
        if record.kind is people.Kind.FIRST:
            await last_administrator.somebody_enters(at)
        told = f"token {record.id} of {record.name} of {record.domain} revoked"
        await keeping.commit(at, caller, keeping.drops((record,)), told)
    return requests_people.Done(told)
