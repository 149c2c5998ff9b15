"""Coming in and going out: login by a password, the first login by the secret of `server init`, logout, and the way back
in on the master's machine for those who have lost every password.

Laws: an unknown name and a wrong password get the same answer after the same time; the one-time secret ends with the
first login of an administrator of the master domain, in the same transaction.
"""

import msgspec

from coordinator import errors, limits
from coordinator.domains import people
from coordinator.tiers import desk, last_administrator, passes, requests_people
from coordinator.tiers import people as keeping
from coordinator.trust import passwords


async def login(at: desk.Desk, caller: desk.Caller, asked: requests_people.Login) -> requests_people.Issued:
    """Raises `UnauthenticatedError`, `CrowdedError`, `UsageError`, and what a commit raises."""
    at.may_change()
    ttl_s = passes.ttl(asked.ttl_s, limits.LOGIN_TTL_MAX_S)
    domain = asked.domain or at.master_domain
    account = keeping.account(asked.name, domain)
    person = await people.find(at.store, domain, asked.name)
    if person is not None and domain not in at.past.document.domains:
        person = None
    await keeping.proven(at, caller, person, asked.password, account)
    assert person is not None
    async with at.turn:
        now = await people.find(at.store, domain, asked.name)
        if now is None or now.password != person.password:
            raise errors.UnauthenticatedError(f"wrong name or password (for {account!r})")
        named = _as(at, caller, now)
        made, token, operations = await passes.made(at, named, passes.Wanted(now, people.Kind.LOGIN, ttl_s))
        operations += keeping.drops(await _over(at, now))
        await keeping.commit(at, named, operations, f"{account} logged in")
    return passes.issued(made, token)


def _as(at: desk.Desk, caller: desk.Caller, person: people.PersonRecord) -> desk.Caller:
    """The caller, now that it is known who that is."""
    found = people.Person(person.name, person.rank, "", person.domain)
    return msgspec.structs.replace(caller, name=found.called(at.master_domain), person=found)


async def _over(at: desk.Desk, person: people.PersonRecord) -> tuple[people.TokenRecord, ...]:
    """Of the one-time secret, what a login of this person ends."""
    if person.domain != at.master_domain or person.rank is not people.Rank.ADMINISTRATOR:
        return ()
    return await last_administrator.firsts(at)


async def claim(at: desk.Desk, caller: desk.Caller, asked: requests_people.Claim) -> requests_people.Issued:
    """The one-time secret becomes a person, and ends. Raises `NotAllowedError`, `ConflictError`, `UsageError`."""
    if not caller.person.first:
        raise errors.NotAllowedError(
            "only the one-time secret of `server init` becomes a person", hint="log in by name and password"
        )
    name, ttl_s = keeping.name_meant(asked.name), passes.ttl(asked.ttl_s, limits.LOGIN_TTL_MAX_S)
    plain = passwords.checked(asked.password, name)
    at.may_change()
    stored = await at.gate.hashed(plain)
    domain = at.master_domain
    async with at.turn:
        if await people.find(at.store, domain, name) is not None:
            raise errors.ConflictError(
                f"there is {name} in {domain} already",
                hint=f"choose another name; if that is you: tiercast login {name}@{domain}",
            )
        if not await last_administrator.firsts(at):
            raise errors.NotAllowedError(
                "somebody has logged in meanwhile", hint="log in by name and password"
            )
        wall = at.clock.wall()
        person = people.PersonRecord(
            domain, name, people.Rank.ADMINISTRATOR, stored, "from the secret of init", wall, caller.name
        )
        named = _as(at, caller, person)
        made, token, operations = await passes.made(
            at, named, passes.Wanted(person, people.Kind.LOGIN, ttl_s)
        )
        operations += [*keeping.puts(person), *keeping.drops(await last_administrator.firsts(at))]
        await keeping.commit(at, named, operations, f"the one-time secret of init became {name} of {domain}")
    return passes.issued(made, token)


async def logout(at: desk.Desk, caller: desk.Caller, _asked: requests_people.Logout) -> requests_people.Done:
    """End the token that asks. Raises `RefusedError` for the one-time secret."""
    if caller.person.first:
        raise errors.RefusedError(
            "the one-time secret of init would be lost", hint="`tiercast login` makes a person of it"
        )
    async with at.turn:
        at.may_change()
        held = await people.tokens_of(at.store, caller.person.domain, caller.person.name)
        own = [one for one in held if one.id == caller.person.token]
        await keeping.commit(at, caller, keeping.drops(own), f"{caller.name} logged out")
    return requests_people.Done(f"{caller.name} is logged out")


async def reset_administrator(at: desk.Desk, name: str, password: str) -> requests_people.Done:
    """For root on the master's machine: this person exists, administrates the master domain and has this password.

    Every token of theirs ends, and the one-time secret. Raises `UsageError`, `NeedsRecoveryError`, and what a commit raises.
    """
    keeping.name_meant(name)
    plain = passwords.checked(password, name)
    at.may_change()
    stored = await at.gate.hashed(plain)
    caller = desk.Caller("root", "this machine", "server.reset-admin", "")
    domain = at.master_domain
    async with at.turn:
        there = await people.find(at.store, domain, name)
        person = there or people.PersonRecord(
            domain, name, people.Rank.ADMINISTRATOR, "", "", at.clock.wall(), "root"
        )
        after = msgspec.structs.replace(person, rank=people.Rank.ADMINISTRATOR, password=stored)
        ended = (*await people.tokens_of(at.store, domain, name), *await last_administrator.firsts(at))
        operations = keeping.puts(after) + keeping.drops({one.id: one for one in ended}.values())
        told = f"{name} of {domain} is an administrator with a new password"
        await keeping.commit(at, caller, operations, told)
    return requests_people.Done(f"{told}; {keeping.counted(len(ended), 'token')} ended")
