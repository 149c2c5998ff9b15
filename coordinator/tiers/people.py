"""People and programs of the domains, as administrators keep them: list, add, remove, roles, passwords.

An administrator of the master domain keeps the people of every domain, one of another domain those of that domain alone.
Law: a change of a person is one transaction with everything that follows from it for their tokens.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from coordinator import errors, limits
from coordinator.domains import gate, people, scopes
from coordinator.host import durations
from coordinator.store import commands
from coordinator.tiers import desk, last_administrator, requests_people
from coordinator.trust import passwords

AREA = "people"
_NAME = re.compile(rf"[A-Za-z][A-Za-z0-9_.-]{{0,{limits.NAME_CHARACTERS - 1}}}", re.ASCII)


# --- what is meant, and whether the caller may ------------------------------------------------------------------------


def domain_meant(at: desk.Desk, caller: desk.Caller, domain: str) -> str:
    """The domain asked about, else the caller's own. Raises `NotAllowedError`, `NotFoundError`."""
    own, master = caller.person.domain, at.master_domain
    meant = domain or own
    if own not in {meant, master}:
        raise errors.NotAllowedError(
            f"{meant[:64]!r} is kept by its own administrators and those of the master domain (got {own}, have {master})",
            hint=f"ask an administrator of {master}",
        )
    if meant not in {master, *at.past.document.domains}:
        have = ", ".join(sorted(at.past.document.domains))
        raise errors.NotFoundError(f"there is no domain {meant[:64]!r} in the document (have {have})")
    return meant


def domain_kept(at: desk.Desk, caller: desk.Caller, domain: str) -> str:
    """As `domain_meant`; those of the master domain may tidy up where the document has no such domain any more."""
    if caller.person.domain == at.master_domain and domain:
        return domain
    return domain_meant(at, caller, domain)


def check_reach(caller: desk.Caller, *ranks: people.Rank) -> None:
    """Whether a narrowed token names people of these ranks: by a password they are all that their rank allows.

    Raises `NotAllowedError`.
    """
    most = scopes.highest(caller.person.scopes, AREA)
    if max(ranks, default=0) > most:
        needed = max(ranks).word
        held = ", ".join(map(str, caller.person.scopes))
        raise errors.NotAllowedError(
            f"this token does not keep people of that role (got {needed}, have {held})",
            hint=f"a token with the scope {AREA}:{needed}, or without scopes",
        )


def name_meant(name: str, what: str = "a person or program") -> str:
    """Raises `UsageError`."""
    if not _NAME.fullmatch(name):
        raise errors.UsageError(
            f"this is no name for {what} (got {name[:80]!r})",
            hint="a letter, then letters, digits, dots, - and _; at most 63",
        )
    return name


def account(name: str, domain: str) -> str:
    """As it is told and counted; what is no name may be a password in the wrong place, and is told to nobody."""
    if not _NAME.fullmatch(name) or not _NAME.fullmatch(domain):
        return "no name"
    return f"{name}@{domain}"


def note_meant(note: str) -> str:
    """Raises `UsageError`."""
    if len(note) > limits.NOTE_CHARACTERS or not note.isprintable():
        raise errors.UsageError(f"a note is one line of at most {limits.NOTE_CHARACTERS} characters")
    return note


async def found(at: desk.Desk, domain: str, name: str) -> people.PersonRecord:
    """Raises `NotFoundError`."""
    person = await people.find(at.store, domain, name)
    if person is None:
        raise errors.NotFoundError(f"there is no {name[:64]!r} in {domain}", hint="tiercast admin list")
    return person


async def commit(
    at: desk.Desk, caller: desk.Caller, operations: Iterable[commands.Operation], detail: str
) -> None:
    """`turn` must be held. Raises what `Desk.commit` raises."""
    await at.commit(desk.Change(tuple(operations), at.past, caller=caller, detail=detail))


def puts(
    *records: people.PersonRecord | people.TokenRecord | people.EntityRecord,
) -> list[commands.Operation]:
    return [commands.put(one.key, msgspec.msgpack.encode(one)) for one in records]


async def followed(
    at: desk.Desk, domain: str, changed: Sequence[people.PersonRecord]
) -> list[commands.Operation]:
    """What another rank of these people of a domain means for their tokens."""
    ranks = {one.name: one.rank for one in changed}
    held = await people.tokens_of(at.store, domain)
    own = (one for one in held if one.name in ranks and one.kind is not people.Kind.FIRST)
    return puts(*(one.of(ranks[one.name]) for one in own))


def drops(records: Iterable[people.TokenRecord | people.PersonRecord]) -> list[commands.Operation]:
    return [commands.delete(one.key) for one in records]


# --- the verbs --------------------------------------------------------------------------------------------------------


async def listed(
    at: desk.Desk, caller: desk.Caller, asked: requests_people.ListPeople
) -> requests_people.PeopleView:
    """Whom the caller may see, by domain and name."""
    everywhere = caller.person.domain == at.master_domain and not asked.domain
    domain = "" if everywhere else domain_meant(at, caller, asked.domain)
    tokens = await people.tokens_of(at.store, domain)
    held = Counter((one.domain, one.name) for one in tokens if one.kind is not people.Kind.FIRST)
    return requests_people.PeopleView(
        tuple(
            requests_people.PersonView(
                one.name, one.domain, one.rank.word, bool(one.password), held[one.domain, one.name], one.note,
                one.made, one.by,
            )
            for one in await people.known(at.store, domain)
        )
    )  # fmt: skip


async def add(at: desk.Desk, caller: desk.Caller, asked: requests_people.AddPerson) -> requests_people.Done:
    """Raises `UsageError`, `ConflictError` on a name that is taken, `NotAllowedError`, `CrowdedError`."""
    domain, name = domain_meant(at, caller, asked.domain), name_meant(asked.name)
    rank, note = people.rank(asked.role), note_meant(asked.note)
    check_reach(caller, rank)
    plain = passwords.checked(asked.password, name) if asked.password else b""
    at.may_change()
    stored = await at.gate.hashed(plain) if plain else ""
    async with at.turn:
        there = await people.find(at.store, domain, name)
        if there is not None:
            if caller.request and (there.request, there.by, there.rank) == (
                caller.request,
                caller.name,
                rank,
            ):
                return requests_people.Done(f"{name} of {domain} was added, {rank.word}", unchanged=True)
            raise errors.ConflictError(f"there is {name} in {domain} already", hint="tiercast admin list")
        if len(await people.known(at.store, domain)) >= limits.PEOPLE_PER_DOMAIN:
            raise errors.NoSpaceError(
                f"{domain} has as many people as are kept (have {limits.PEOPLE_PER_DOMAIN})"
            )
        made = people.PersonRecord(
            domain, name, rank, stored, note, at.clock.wall(), caller.name, caller.request
        )
        await commit(at, caller, puts(made), f"{name} of {domain} added, {rank.word}")
    return requests_people.Done(f"{name} of {domain} was added, {rank.word}")


async def remove(
    at: desk.Desk, caller: desk.Caller, asked: requests_people.RemovePerson
) -> requests_people.Done:
    """With all their tokens. Raises `NotFoundError`, `RefusedError` for the last administrator, `NotAllowedError`."""
    domain = domain_kept(at, caller, asked.domain)
    async with at.turn:
        at.may_change()
        person = await found(at, domain, asked.name)
        check_reach(caller, person.rank)
        await last_administrator.not_the_last(at, person, None)
        tokens = await people.tokens_of(at.store, domain, person.name)
        await commit(at, caller, drops((person, *tokens)), f"{person.name} of {domain} removed")
    return requests_people.Done(
        f"{person.name} of {domain} was removed, and {counted(len(tokens), 'token')} with them"
    )


async def set_role(
    at: desk.Desk, caller: desk.Caller, asked: requests_people.SetRole
) -> requests_people.Done:
    """In force at once, for every token. Raises as `remove`, and `UsageError`."""
    domain, rank = domain_meant(at, caller, asked.domain), people.rank(asked.role)
    async with at.turn:
        at.may_change()
        person = await found(at, domain, asked.name)
        check_reach(caller, rank, person.rank)
        told = f"{person.name} of {domain} is {rank.word}"
        if person.rank is rank:
            return requests_people.Done(told, unchanged=True)
        after = msgspec.structs.replace(person, rank=rank)
        await last_administrator.not_the_last(at, person, after)
        operations = puts(after) + await followed(at, domain, [after])
        await commit(at, caller, operations, f"{told}, was {person.rank.word}")
    return requests_people.Done(told)


async def set_password(
    at: desk.Desk, caller: desk.Caller, asked: requests_people.SetPassword
) -> requests_people.Done:
    """Of oneself by the present one, of others as an administrator; every other login of theirs ends.

    Raises `UsageError`, `NotAllowedError`, `NotFoundError`, `UnauthenticatedError`, `CrowdedError`.
    """
    domain, name = domain_meant(at, caller, asked.domain), asked.name or caller.person.name
    own = (domain, name) == (caller.person.domain, caller.person.name)
    if not own and caller.person.rank < people.Rank.ADMINISTRATOR:
        raise errors.NotAllowedError(
            f"the password of another is set by an administrator (got {caller.person.rank.word})"
        )
    at.may_change()
    person = await found(at, domain, name)
    if own and not person.password and caller.person.rank < people.Rank.ADMINISTRATOR:
        raise errors.NotAllowedError(
            f"{name} has no password, and a token makes none", hint="an administrator sets it"
        )
    if not (own and person.password):
        check_reach(caller, person.rank)
    plain = passwords.checked(asked.password, name)
    if own and person.password:
        await proven(at, caller, person, asked.present)
    stored = await at.gate.hashed(plain)
    async with at.turn:
        now = await found(at, domain, name)
        if not own:
            check_reach(caller, now.rank)
        elif now.password != person.password:  # whoever set another one meanwhile had a reason
            raise errors.UnauthenticatedError(f"wrong name or password (for {account(name, domain)!r})")
        ended = [
            one
            for one in await people.tokens_of(at.store, domain, name)
            if one.kind is people.Kind.LOGIN and one.id != caller.person.token
        ]
        after = msgspec.structs.replace(now, password=stored)
        await commit(at, caller, puts(after) + drops(ended), f"password of {name} of {domain} set")
    return requests_people.Done(
        f"the password of {name} of {domain} was set; {len(ended)} other logins ended"
    )


async def proven(
    at: desk.Desk, caller: desk.Caller, person: people.PersonRecord | None, password: str, tried: str = ""
) -> None:
    """That it is this person's password, tried no oftener than is allowed; of nobody (None) it takes as long.

    Raises `UnauthenticatedError`, `CrowdedError`.
    """
    if person is not None:
        tried = account(person.name, person.domain)
    wait_s = at.gate.tries.take(tried, caller.source, at.clock.monotonic())
    if wait_s > 0:
        raise gate.CrowdedError(
            f"too many tries from {caller.source or 'there'} (for {tried!r})",
            hint=f"try again in {durations.written(wait_s)}",
        )
    if not await at.gate.matches(password, "" if person is None else person.password):
        raise errors.UnauthenticatedError(
            f"wrong name or password (for {tried!r})",
            hint="forgotten: an administrator sets another, `tiercast admin passwd NAME`",
        )
    at.gate.tries.entered(tried, caller.source, at.clock.monotonic())


def counted(number: int, thing: str) -> str:
    """`1 token`, `2 tokens`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
