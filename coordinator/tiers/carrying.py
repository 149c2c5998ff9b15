"""The people and entities of one domain as a file, and back: to another system, or as a copy in a safe place.

Password hashes are in it, tokens are not. Laws: a file whose digest does not hold is not looked at; whoever is here
already and different there is a conflict and is named, and nothing is imported unless they are to be replaced.
"""

import hashlib

import msgspec

from coordinator import errors, limits, names
from coordinator.domains import people
from coordinator.tiers import desk, last_administrator, requests_people
from coordinator.tiers import people as keeping
from coordinator.trust import passwords

FORMAT = "tiercast-domain/1"
NAMED = 20  # conflicts told in one sentence


def digest(file: requests_people.Carried) -> str:
    """Of everything but the digest itself: sha256 of its JSON with sorted keys."""
    plain = msgspec.structs.replace(file, digest="")
    return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()


async def export(
    at: desk.Desk, caller: desk.Caller, asked: requests_people.ExportDomain
) -> requests_people.Carried:
    """Raises `NotAllowedError`, and what a commit raises: taking hashes away is audited."""
    domain = keeping.domain_kept(at, caller, asked.domain)
    async with at.turn:
        at.may_change()
        held, entities = await people.known(at.store, domain), await people.entities(at.store, domain)
        keeping.check_reach(caller, *(one.rank for one in held))  # their hashes may be guessed at leisure
        await keeping.commit(at, caller, (), f"{domain} exported, {len(held)} people")
    file = requests_people.Carried(
        format=FORMAT,
        domain=domain,
        cluster=at.means.cluster,
        exported=at.clock.wall(),
        people=tuple(
            requests_people.CarriedPerson(one.name, one.rank.word, one.password, one.note) for one in held
        ),
        entities=tuple(requests_people.CarriedEntity(one.name, one.role, one.note) for one in entities),
        digest="",
    )
    return msgspec.structs.replace(file, digest=digest(file))


async def take(
    at: desk.Desk, caller: desk.Caller, asked: requests_people.ImportDomain
) -> requests_people.Imported:
    """Raises `UsageError` on a file that cannot be used, `ConflictError` on conflicts, `NotAllowedError`."""
    domain = keeping.domain_meant(at, caller, asked.domain or asked.file.domain)
    new = _read(asked.file, domain, at.clock.wall(), caller.name)
    async with at.turn:
        at.may_change()
        judged = await _judged(at, domain, new)
        if judged.conflicts and not asked.replace and not asked.dry_run:
            shown = ", ".join(judged.conflicts[:NAMED])
            raise errors.ConflictError(
                f"in {domain} already, and different: {shown}", hint="--replace takes them from the file"
            )
        if asked.dry_run:
            return msgspec.structs.replace(judged, dry_run=True)
        wanted = [one for one in new if _called(one) in {*judged.added, *judged.conflicts}]
        changed = [one for one in wanted if isinstance(one, people.PersonRecord)]
        before = {one.name: one.rank for one in await people.known(at.store, domain)}
        keeping.check_reach(
            caller, *(one.rank for one in changed), *(before.get(one.name, one.rank) for one in changed)
        )
        await last_administrator.still_enters(at, domain, changed)
        operations = keeping.puts(*wanted) + await keeping.followed(at, domain, changed)
        if operations:
            told = f"{domain} imported, {len(judged.added)} added, {len(judged.conflicts)} replaced"
            await keeping.commit(at, caller, operations, told)
        return msgspec.structs.replace(judged, replaced=judged.conflicts, conflicts=())


_Record = people.PersonRecord | people.EntityRecord


def _read(file: requests_people.Carried, domain: str, wall: float, by: str) -> list[_Record]:
    """Raises `UsageError`."""
    if file.format != FORMAT:
        raise errors.UsageError(f"the file is of another kind (got {file.format[:40]!r}, have {FORMAT})")
    if digest(file) != file.digest:
        raise errors.UsageError(
            "the file was changed, or is damaged: its digest does not hold",
            hint="export it again; it is not edited by hand",
        )
    if max(len(file.people), len(file.entities)) > limits.PEOPLE_PER_DOMAIN:
        raise errors.UsageError(f"too many people or entities in it (have {limits.PEOPLE_PER_DOMAIN})")
    found: list[_Record] = []
    for one in file.people:
        if one.password and not passwords.usable(one.password):
            raise errors.UsageError(f"the password hash of {one.name[:64]!r} is not one of ours")
        name, note = keeping.name_meant(one.name), keeping.note_meant(one.note)
        found.append(people.PersonRecord(domain, name, people.rank(one.role), one.password, note, wall, by))
    for thing in file.entities:
        name, role = keeping.name_meant(thing.name, "an entity"), keeping.name_meant(thing.role, "a role")
        found.append(people.EntityRecord(domain, name, role, keeping.note_meant(thing.note), wall, by))
    if len({_called(one) for one in found}) < len(found):
        raise errors.UsageError("a name stands in it twice")
    return found


async def _judged(at: desk.Desk, domain: str, new: list[_Record]) -> requests_people.Imported:
    """Raises `NoSpaceError`, `NotFoundError` on a role that is not here."""
    here: dict[str, _Record] = {_called(one): one for one in await people.known(at.store, domain)}
    here |= {_called(one): one for one in await people.entities(at.store, domain)}
    added = [one for one in new if _called(one) not in here]
    different = [one for one in new if _called(one) in here and not _same(one, here[_called(one)])]
    for one in (*added, *different):
        if isinstance(one, people.EntityRecord) and names.RoleName(one.role) not in at.past.expanded.roles:
            raise errors.NotFoundError(
                f"{one.name} is attached to the role {one.role}, which is not here",
                hint="add that role first",
            )
    if len(here) + len(added) > 2 * limits.PEOPLE_PER_DOMAIN:
        raise errors.NoSpaceError(
            f"{domain} would have more people than are kept (have {limits.PEOPLE_PER_DOMAIN})"
        )
    return requests_people.Imported(
        domain=domain,
        added=tuple(_called(one) for one in added),
        replaced=(),
        unchanged=len(new) - len(added) - len(different),
        conflicts=tuple(_called(one) for one in different),
    )


def _called(one: _Record) -> str:
    return one.name if isinstance(one, people.PersonRecord) else f"entity {one.name}"


def _same(one: _Record, other: _Record) -> bool:
    """But for when and by whom it was made."""
    plain = {"made": 0.0, "by": ""} | ({"request": ""} if isinstance(one, people.PersonRecord) else {})
    return bool(msgspec.structs.replace(one, **plain) == msgspec.structs.replace(other, **plain))
