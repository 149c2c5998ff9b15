"""Servers that no revision names: who they are, and by which link they are here.

Law: whoever has a link is shown with it, whether that leads to MIC itself or to an IC; whoever has none is shown without.
"""

from coordinator import names
from coordinator.config import topology
from coordinator.propagation import convergence, messages, objects
from coordinator.tiers import asking, desk, requests

DIRECTLY = "linked to MIC itself"


def admissions(at: desk.Desk) -> tuple[objects.Admission, ...]:
    """By name; a server of which an older revision still runs is none of them."""
    asked = at.master.convergence.asked
    parked = [
        one.content
        for server, one in at.past.content.admissions.items()
        if server not in asked and one.content.state is not objects.AdmissionState.EXPELLED
    ]
    return tuple(sorted(parked, key=lambda one: one.name))


def views(at: desk.Desk) -> tuple[requests.ServerView, ...]:
    """All of them."""
    return tuple(view(at, one) for one in admissions(at))


def view(at: desk.Desk, admission: objects.Admission) -> requests.ServerView:
    """One, as `status` and `describe` show it."""
    server = admission.server_id
    link = place(at, server)
    why = "it waits for a name" if asking.is_unnamed(admission.name) else "no revision names it"
    parts = [_remark(at, server), why, link]
    return requests.ServerView(
        server=admission.name,
        site="",
        sync=str(convergence.Sync.PARKED),
        level="none",
        revision="",
        linked=bool(link),
        reason="; ".join(part for part in parts if part),
        since_s=None if link else away_s(at, server),
        id=server,
    )


def place(at: desk.Desk, server: names.ServerId) -> str:
    """Where its link ends, for people; empty where it has none."""
    facts = at.master.convergence.facts.get(server)
    if facts is not None and facts.links:
        through = next(reversed(facts.links))
    elif (way := at.master.sightings.way(server)) is not None:
        through = way
    else:
        return ""
    child = at.master.publisher.children.get(through)
    if child is None or child.hello.kind is not messages.ChildKind.IC:
        return DIRECTLY
    site = topology.site_of_ic(at.past.expanded, child.admit.server)
    return f"linked through {child.hello.name} of {site}"


def away_s(at: desk.Desk, server: names.ServerId) -> float | None:
    """For how long it has had no link; None where this MIC has never seen one."""
    facts = at.master.convergence.facts.get(server)
    if facts is None or facts.links or facts.ack is None:
        return None
    return max(0.0, at.clock.monotonic() - facts.since)


def ack(at: desk.Desk, server: names.ServerId) -> messages.AckState | None:
    """What it says that it holds: to MIC itself where it is linked there, else to its IC."""
    facts = at.master.convergence.facts.get(server)
    own = None if facts is None else facts.ack
    if facts is not None and facts.links:
        return own
    return at.master.sightings.ack(server) or own


def _remark(at: desk.Desk, server: names.ServerId) -> str:
    if server in at.master.convergence.facts and (own := at.master.convergence.remark(server)):
        return own
    return at.master.sightings.remark(server)
