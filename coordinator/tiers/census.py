"""The domains of the document with what the store keeps for them: how many people, and what is attached to which role.

An *entity* is something of a domain that lives in a role: its users in a directory, its printers in a spooler. Saying so
keeps that role where it is (rule D7) until the entity has been attached elsewhere; nothing else follows from it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from coordinator import errors, limits, names
from coordinator.config import findings
from coordinator.domains import people
from coordinator.store import commands
from coordinator.tiers import desk, kv_names, requests_people, sight
from coordinator.tiers import people as keeping


async def listed(
    at: desk.Desk, caller: desk.Caller, _asked: requests_people.ListDomains
) -> requests_people.DomainsView:
    """Every domain for people of the master domain, for others their own."""
    own, master, document = caller.person.domain, at.master_domain, at.past.document
    everybody, entities = await people.known(at.store), await people.entities(at.store)
    kept = {one.domain for one in everybody} | {one.domain for one in entities}
    shown = sorted({*document.domains, *kept}) if own == master else [own]
    return requests_people.DomainsView(
        tuple(
            requests_people.DomainView(
                domain=domain,
                fqdn=document.domains[domain].fqdn if domain in document.domains else "",
                master=domain == master,
                sites=tuple(sorted(sight.serving(document, domain))),
                people=sum(one.domain == domain for one in everybody),
                administrators=sum(
                    one.domain == domain and one.rank is people.Rank.ADMINISTRATOR for one in everybody
                ),
                entities=tuple(_shown(at, one) for one in entities if one.domain == domain),
                configured=domain in document.domains,
            )
            for domain in shown
        )
    )


def _shown(at: desk.Desk, one: people.EntityRecord) -> requests_people.EntityView:
    placed = at.past.expanded.roles.get(names.RoleName(one.role))
    server = placed.server if placed is not None and placed.running else None
    return requests_people.EntityView(one.name, one.role, server or "", one.note, one.made, one.by)


async def attach(at: desk.Desk, caller: desk.Caller, asked: requests_people.Attach) -> requests_people.Done:
    """Say where an entity lives. Raises `NotFoundError`, `UsageError`, `NotAllowedError`, `NoSpaceError`."""
    domain = keeping.domain_meant(at, caller, asked.domain)
    name, note = keeping.name_meant(asked.name, "an entity"), keeping.note_meant(asked.note)
    async with at.turn:
        at.may_change()
        _running(at, caller, asked.role)
        held = {one.name: one for one in await people.entities(at.store, domain)}
        before = held.get(name)
        told = f"{name} of {domain} is attached to {asked.role}"
        if before is not None and (before.role, before.note) == (asked.role, note):
            return requests_people.Done(told, unchanged=True)
        if before is None and len(held) >= limits.ENTITIES_PER_DOMAIN:
            raise errors.NoSpaceError(
                f"{domain} has as many entities as are kept (have {limits.ENTITIES_PER_DOMAIN})"
            )
        made = people.EntityRecord(domain, name, asked.role, note, at.clock.wall(), caller.name)
        was = f", was attached to {before.role}" if before is not None else ""
        await keeping.commit(at, caller, keeping.puts(made), told + was)
    return requests_people.Done(told + was)


def _running(at: desk.Desk, caller: desk.Caller, role: str) -> None:
    """Raises `NotFoundError` where the caller sees no such role that runs."""
    placed = at.past.expanded.roles.get(names.RoleName(role))
    seen = sight.sites(at, caller.person)
    there = placed is not None and (seen is None or placed.site in seen)
    if placed is None or not there:
        known = [one for one, held in at.past.expanded.roles.items() if seen is None or held.site in seen]
        raise errors.NotFoundError(
            f"there is no role {role[:64]!r}", hint=findings.near(role[:64], known, "tiercast roles")
        )
    if not placed.running:
        raise errors.NotFoundError(f"the role {role} runs nowhere", hint="attach it to one that does")


async def detach(at: desk.Desk, caller: desk.Caller, asked: requests_people.Detach) -> requests_people.Done:
    """Forget that it lives anywhere. Raises `NotFoundError`, `NotAllowedError`."""
    domain = keeping.domain_kept(at, caller, asked.domain)
    async with at.turn:
        at.may_change()
        held = {one.name: one for one in await people.entities(at.store, domain)}
        if asked.name not in held:
            raise errors.NotFoundError(
                f"there is no entity {asked.name[:64]!r} of {domain}", hint="tiercast domains list"
            )
        told = f"{asked.name} of {domain} is detached from {held[asked.name].role}"
        await keeping.commit(at, caller, [commands.delete(held[asked.name].key)], told)
    return requests_people.Done(told)


# --- what the rules of change read --------------------------------------------------------------------------------------


class Kept(msgspec.Struct, frozen=True):
    """What stands in the way of a change."""

    attached: Mapping[names.RoleName, tuple[str, ...]]
    """Entities by role, for D7."""
    inhabited: Mapping[str, str]
    """By domain who and what is in it, in words, for D11."""


async def kept(at: desk.Desk, leaving: Iterable[str] = ()) -> Kept:
    """As of now; `turn` is held where it decides anything. Of the domains that are `leaving` users' keys count as well."""
    entities, everybody = await people.entities(at.store), await people.known(at.store)
    master, attached = at.master_domain, dict[names.RoleName, tuple[str, ...]]()
    for one in entities:
        role = names.RoleName(one.role)
        attached[role] = (*attached.get(role, ()), people.called(one.name, one.domain, master))
    living, things = Counter(one.domain for one in everybody), Counter(one.domain for one in entities)
    inhabited = {
        domain: " and ".join(
            _counted(number, *words) for number, *words in _both(living[domain], things[domain])
        )
        for domain in {*living, *things}
    }
    for domain in leaving:
        if (await at.store.scan(kv_names.of_domain(domain), limit=1)).items:
            told = f"keys below {kv_names.of_domain(domain).decode()}"
            inhabited[domain] = f"{inhabited[domain]} and {told}" if domain in inhabited else told
    return Kept(attached, inhabited)


def _both(living: int, things: int) -> tuple[tuple[int, str, str], ...]:
    both = ((living, "person", "people"), (things, "entity", "entities"))
    return tuple(one for one in both if one[0])


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
