"""What a domain centre is told over its own link: the domains, and who is in them; no password, no token.

No person asks for it: the link has proved the server, its gate that the document places this dc role there. Law: nothing
in it lets anybody in; MIC checks every token itself, whoever else knows names.
"""

from coordinator import errors, names
from coordinator.config import kinds
from coordinator.domains import people
from coordinator.propagation import children, messages
from coordinator.tiers import census, desk, requests_people
from coordinator.tiers import people as keeping

OVER = frozenset({messages.ChildKind.DC})
"""Over which links the verb comes; by the link alone it is known who asks."""


async def told(at: desk.Desk, child: children.Child | None) -> requests_people.Roster:
    """Raises `NotAllowedError`, and what the store raises."""
    if child is None or child.hello.kind not in OVER:
        raise errors.NotAllowedError(f"{requests_people.ROSTER} is asked by a dc role alone")
    placed = at.past.expanded.roles.get(names.RoleName(child.hello.name))
    if placed is None or placed.server != child.admit.server or placed.type != kinds.DC:
        raise errors.NotAllowedError(f"the document places no such dc role on {child.admit.server}")
    master = at.master_domain
    centre = people.Person(child.hello.name, people.Rank.VIEWER, "", master)
    caller = desk.Caller(centre.name, child.peer, requests_people.ROSTER, "", centre)
    domains = await census.listed(at, caller, requests_people.ListDomains())
    everybody = await keeping.listed(at, caller, requests_people.ListPeople())
    return requests_people.Roster(at.clock.wall(), at.past.version, domains.domains, everybody.people)
