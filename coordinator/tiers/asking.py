"""Of whom MIC asks what, and which admissions follow from a document: read off documents and admissions, pure.

A server named by the document and not enrolled yet is asked too, under a placeholder id, so that it shows as `unknown`
until it comes. One that older documents placed and the active one does not is `leaving` until it has acked `released`;
only then is it parked, so an admission that says placed IS the memory that something may still run there.
"""

from collections.abc import Mapping

import msgspec

from coordinator import names
from coordinator.config import expansion, topology
from coordinator.propagation import convergence, mirror, objects
from coordinator.tiers import seed

_PLACEHOLDER = "name:"
_UNNAMED = "unnamed:"
NOT_ENROLLED = "not enrolled"


def placeholder(server: names.ServerName) -> names.ServerId:
    """In place of the id of a server that has none yet."""
    return names.ServerId(_PLACEHOLDER + server)


def unnamed(server: names.ServerId) -> names.ServerName:
    """In place of the name of a server that joined without one; no document can name it so."""
    return names.ServerName(_UNNAMED + server)


def is_unnamed(server: names.ServerName) -> bool:
    return server.startswith(_UNNAMED)


def enrolled(server: names.ServerId) -> bool:
    return not server.startswith(_PLACEHOLDER)


def by_name(content: mirror.Content) -> Mapping[names.ServerName, objects.Admission]:
    """Every admission that is not expelled; of one name there is one."""
    live = [one.content for one in content.admissions.values()]
    return {one.name: one for one in live if one.state is not objects.AdmissionState.EXPELLED}


def asked(content: mirror.Content, expanded: expansion.Expanded) -> dict[names.ServerId, convergence.Asked]:
    """Everybody from whom something is wanted under this configuration."""
    places, live = topology.places(expanded.document), by_name(content)
    found = {
        live[server].server_id if server in live else placeholder(server): convergence.Asked(server, site)
        for server, site in places.items()
    }
    for admission in live.values():
        if admission.state is objects.AdmissionState.PLACED and admission.name not in places:
            found[admission.server_id] = convergence.Asked(admission.name, admission.site, leaving=True)
    return found


def seated(content: mirror.Content, expanded: expansion.Expanded) -> tuple[objects.Admission, ...]:
    """Admissions that this document changes, numbered on: servers it places, and where the parked ones find MIC."""
    places = topology.places(expanded.document)
    parents = seed.coordinator_addresses(expanded)
    changed = []
    for held in by_name(content).values():
        wanted = held
        if held.name in places:
            placed = objects.AdmissionState.PLACED
            wanted = msgspec.structs.replace(held, state=placed, site=places[held.name])
        if wanted.state is not held.state or held.state is objects.AdmissionState.PARKED:
            wanted = msgspec.structs.replace(wanted, parents=parents)
        if wanted != held:
            changed.append(wanted)
    return numbered(content, tuple(changed))


def parked(content: mirror.Content, server: names.ServerId) -> tuple[objects.Admission, ...]:
    """The admission of a server of which nothing runs any more."""
    held = content.admissions[server].content
    state, nowhere = objects.AdmissionState.PARKED, names.SiteName("")
    return numbered(content, (msgspec.structs.replace(held, state=state, site=nowhere),))


def numbered(
    content: mirror.Content, admissions: tuple[objects.Admission, ...]
) -> tuple[objects.Admission, ...]:
    """With the next numbers of the counter that all admissions share."""
    last = content.numbers.admission
    generation = max(last.generation, content.version.generation, 1)
    first = last.seq + 1 if last.generation == generation else 1
    return tuple(
        msgspec.structs.replace(one, generation=generation, seq=first + number)
        for number, one in enumerate(admissions)
    )
