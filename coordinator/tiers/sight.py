"""What people of other domains see of the system: the sites that serve their domain, and nothing else.

A site serves a domain that it lists; one that no site lists is served by those that list the nearest domain above it
(rule S16). Of those sites they see what everyone sees; of the rest neither names nor counts, hence no rollout, whose
counts are of all sites, and no parked server.
Law: whatever is shown to them is on a site that serves their domain; what is not shown is answered as if it were not there.
"""

import msgspec

from coordinator import errors, names
from coordinator.config import model, topology
from coordinator.domains import people
from coordinator.tiers import desk, requests, views


def sites(at: desk.Desk, person: people.Person) -> frozenset[names.SiteName] | None:
    """Those that this person sees; None: all of them."""
    if person.domain == at.master_domain or person == people.NOBODY:
        return None
    return serving(at.past.document, person.domain)


def serving(document: model.Document, domain: str) -> frozenset[names.SiteName]:
    """Sites that serve a domain."""
    known = document.domains.get(domain)
    by_fqdn = {one.fqdn.lower(): name for name, one in document.domains.items()}
    fqdn = "" if known is None else known.fqdn.lower()
    while fqdn:
        near = by_fqdn.get(fqdn)
        found = frozenset(name for name, site in document.sites.items() if near in site.domains)
        if found:
            return found
        fqdn = fqdn.partition(".")[2]
    return frozenset()


async def status(at: desk.Desk, caller: desk.Caller, asked: requests.Status) -> requests.StatusView:
    """Raises `NotFoundError`."""
    seen = sites(at, caller.person)
    if seen is None:
        return await views.status(at, caller, asked)
    if asked.site and asked.site not in seen:
        raise errors.NotFoundError(f"there is no site {asked.site[:64]}")
    whole = await views.status(at, caller, asked, only=seen)
    return msgspec.structs.replace(whole, rollout=None, parked=(), expelled=(), expelled_count=0)


async def describe(at: desk.Desk, caller: desk.Caller, asked: requests.Describe) -> requests.Described:
    """Raises `NotFoundError`."""
    seen = sites(at, caller.person)
    name = names.ServerName(asked.server)
    if seen is not None and topology.places(at.past.document).get(name) not in seen:
        raise errors.NotFoundError(f"there is no server {name[:64]}")
    return await views.describe(at, caller, asked)
