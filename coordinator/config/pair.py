"""Two documents side by side, a live one and the target, with what is known of the world between them.

Pure questions that the rules of change ask: what moved, what keeps state, where mic is, which site is only renamed.
"""

from collections.abc import Iterator, Mapping

import msgspec

from coordinator import names, role
from coordinator.config import expansion, kinds, topology

Places = Mapping[names.ServerName, names.SiteName]


class Through(msgspec.Struct, frozen=True):
    """The ws that carried a request."""

    server: names.ServerName
    role: names.RoleName


class Entry(msgspec.Struct, frozen=True):
    """How whoever asks for a change has come in, for D12."""

    through: Through | None = None
    """None where that is not known."""
    local: bool = False
    """On the machine of MIC itself, where no ws is needed."""


class Pair(msgspec.Struct, frozen=True):
    """One live document and the target, with what is known of the world."""

    old: expansion.Expanded
    new: expansion.Expanded
    old_places: Places
    new_places: Places
    renamed: Mapping[names.SiteName, names.SiteName]
    """Sites that go under another name."""
    catalogue: role.Catalogue
    silent: frozenset[names.ServerName]
    """Servers that may still run the old document and are not there to say otherwise."""
    members: frozenset[names.ServerName] | None
    attached: Mapping[names.RoleName, tuple[str, ...]]
    inhabited: Mapping[str, str]
    """By domain who and what is kept in it, in words."""
    entry: Entry | None = None
    """None where `old` is not the active document: nobody comes in by an older one."""
    away: frozenset[names.ServerName] = frozenset()
    """Servers without a link."""


def renamed_sites(
    old: expansion.Expanded, new: expansion.Expanded, old_places: Places, new_places: Places
) -> Mapping[names.SiteName, names.SiteName]:
    """Old name to new name: the new site says so by `former`, or holds most of the servers of one that is gone."""
    found: dict[names.SiteName, names.SiteName] = {}
    came = new.document.sites.keys() - old.document.sites.keys()
    said = {former: name for name in sorted(came) for former in new.document.sites[name].former}
    for gone in sorted(old.document.sites.keys() - new.document.sites.keys()):
        kept = [
            new_places[server] for server in servers_on(old_places, gone) if new_places.get(server) in came
        ]
        most = max(sorted(set(kept)), key=kept.count, default=None)
        if gone in said:
            found[gone] = said[gone]
        elif most is not None and 2 * kept.count(most) > len(servers_on(old_places, gone)):
            found[gone] = most
    return found


def moved(pair: Pair) -> Iterator[tuple[expansion.PlacedRole, expansion.PlacedRole]]:
    """Roles that run on another server than before, old and new."""
    for name in sorted(pair.old.roles.keys() & pair.new.roles.keys()):
        old, new = pair.old.roles[name], pair.new.roles[name]
        if old.running and new.running and old.server != new.server:
            yield old, new


def stateful(pair: Pair, placed: expansion.PlacedRole) -> bool:
    """Whether a role leaves something behind when it goes; in doubt it does."""
    if placed.type in kinds.STATEFUL:
        return True
    known = pair.catalogue.get(placed.type)
    if known is None:
        return placed.params.get("stateful") is True
    try:
        return known.stateful(msgspec.convert(placed.params, known.params))
    except msgspec.ValidationError:
        return True


def servers_of_mic(expanded: expansion.Expanded) -> tuple[names.ServerName, ...]:
    """Where mic runs, sorted, each server as often as it has an instance."""
    found = (placed.server for placed in topology.instances(expanded, kinds.MIC))
    return tuple(sorted(server for server in found if server is not None))


def master_site(expanded: expansion.Expanded) -> names.SiteName | None:
    """The one site that is not merely a communication site."""
    sites = expanded.document.sites
    return next((name for name in sorted(sites) if sites[name].type != "communication"), None)


def master_moved(pair: Pair) -> bool:
    """Whether the master site is another one, and not only called otherwise."""
    old, new = master_site(pair.old), master_site(pair.new)
    return old is not None and new is not None and pair.renamed.get(old, old) != new


def sites_with_ic(expanded: expansion.Expanded) -> frozenset[names.SiteName]:
    """Sites that an ic serves."""
    return frozenset(
        placed.site for placed in topology.instances(expanded, kinds.IC) if placed.site is not None
    )


def servers_on(places: Places, site: names.SiteName) -> list[names.ServerName]:
    """Servers of a site, sorted."""
    return sorted(server for server, other in places.items() if other == site)
