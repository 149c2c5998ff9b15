"""Law: there is always somebody who can enter as an administrator of the master domain.

Who has a password can; the one-time secret of `server init` counts while it is there, other tokens do not, for they end.
"""

from collections.abc import Sequence

from coordinator import errors
from coordinator.domains import people
from coordinator.tiers import desk


async def not_the_last(at: desk.Desk, person: people.PersonRecord, after: people.PersonRecord | None) -> None:
    """Raises `RefusedError` where nobody could enter as an administrator of the master domain afterwards."""
    if not _enters(at, person) or (after is not None and _enters(at, after)):
        return
    others = [one for one in await people.known(at.store, person.domain) if one.name != person.name]
    if any(_enters(at, one) for one in others) or await firsts(at):
        return
    raise errors.RefusedError(
        f"{person.name} is the last administrator of {person.domain} who can log in",
        hint="first add another one: tiercast admin add NAME --role administrator",
    )


def _enters(at: desk.Desk, person: people.PersonRecord) -> bool:
    """By a password: tokens alone end one day."""
    administrates = person.rank is people.Rank.ADMINISTRATOR and person.domain == at.master_domain
    return administrates and bool(person.password)


async def still_enters(at: desk.Desk, domain: str, new: Sequence[people.PersonRecord]) -> None:
    """After these have been put in place. Raises `RefusedError`."""
    after = {one.name: one for one in (*await people.known(at.store, domain), *new)}
    if (
        domain == at.master_domain
        and not any(_enters(at, one) for one in after.values())
        and not await firsts(at)
    ):
        raise errors.RefusedError(f"nobody could log in as an administrator of {domain} afterwards")


async def somebody_enters(at: desk.Desk) -> None:
    """Raises `RefusedError` where no administrator of the master domain has a password."""
    if not any(_enters(at, one) for one in await people.known(at.store, at.master_domain)):
        raise errors.RefusedError(
            "nobody else can enter as an administrator of the master domain",
            hint="`tiercast login` makes a person of the one-time secret, and ends it",
        )


async def firsts(at: desk.Desk) -> tuple[people.TokenRecord, ...]:
    """The one-time secret of `server init`, while nobody has logged in."""
    return tuple(one for one in await people.tokens_of(at.store) if one.kind is people.Kind.FIRST)
