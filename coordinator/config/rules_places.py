"""Static rules about sites, servers and what runs where: S04, S07, S09, S10, S11, S12, S14, S16, S17."""

import ipaddress
from collections.abc import Collection, Iterator, Mapping

from coordinator import names
from coordinator.config import findings, kinds, model, scope

_MIC_COUNTS = (1, 3, 5)
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def masters(document: model.Document) -> list[names.SiteName]:
    """Sites that say they are the master site, sorted."""
    return sorted(name for name, site in document.sites.items() if site.type != "communication")


def one_master(judged: scope.Scope, found: findings.Findings) -> None:
    """S04: exactly one master site."""
    have = masters(judged.document)
    if not have:
        found.error("S04", ("sites",), "no site is the master site", "give one the type master_communication")
    for name in have[1:]:
        path = ("sites", name, "type")
        found.error("S04", path, f"{have[0]} is the master site already", "there is exactly one")


def interfaces(judged: scope.Scope, found: findings.Findings) -> None:
    """S07: interfaces that are named exist on their server."""
    for name, server in judged.document.servers.items():
        have = ", ".join(sorted(server.interfaces))
        if not server.interfaces:
            found.error("S07", ("servers", name, "interfaces"), f"the server {name} has no interface")
        elif server.control is None and len(server.interfaces) > 1:
            hint = f"add control: {min(server.interfaces)}"
            found.error("S07", ("servers", name), f"which interface is its control? (have {have})", hint)
        elif server.control is not None and server.control not in server.interfaces:
            hint = found.near(server.control, server.interfaces, f"it has {have}")
            found.error(
                "S07", ("servers", name, "control"), f"no interface is called {server.control!r}", hint
            )
        for alias in server.former.keys() - server.interfaces.keys():
            hint = found.near(alias, server.interfaces)
            found.error("S07", ("servers", name, "former", alias), f"no interface is called {alias!r}", hint)
    for placed in scope.enabled(judged):
        known = judged.document.servers.get(placed.server) if placed.server else None
        if (
            known
            and known.interfaces
            and placed.interface not in known.interfaces
            and placed.interface != known.control
        ):
            hint = found.near(
                placed.interface, known.interfaces, f"it has {', '.join(sorted(known.interfaces))}"
            )
            path = scope.written_at(judged, placed, "interface")
            found.error(
                "S07", path, f"the server {placed.server} has no interface {placed.interface!r}", hint
            )


def mics(judged: scope.Scope, found: findings.Findings) -> None:
    """S09: mic on the master site alone, so many of them that a majority means something."""
    allowed = masters(judged.document)[:1]
    have = judged.expanded.by_type.get(kinds.MIC, ())
    for placed in have:
        if allowed and placed.site not in allowed:
            hint = f"place it on {allowed[0]}"
            found.error(
                "S09", _spot(judged, placed.name), f"{placed.name} is a mic away from the master site", hint
            )
    if len(have) not in _MIC_COUNTS:
        hint = "an even number of them survives no more than one less" if have else "add a role of type mic"
        path = ("roles", max(placed.name for placed in have)) if have else ("roles",)
        found.error("S09", path, f"mic runs as 1, 3 or 5 instances (got {len(have)})", hint)


def ics(judged: scope.Scope, found: findings.Findings) -> None:
    """S10: an ic on every site, unless mic is all there is."""
    sites = judged.document.sites
    if len(sites) == 1 and all(site.type == "master" for site in sites.values()):
        return
    with_ic = {placed.site for placed in judged.expanded.by_type.get(kinds.IC, ())}
    for name in sites.keys() - with_ic:
        hint = "add a role of type ic and place it on one of its servers"
        found.error("S10", ("sites", name), f"the site {name} has no ic", hint)


def dcs(judged: scope.Scope, found: findings.Findings) -> None:
    """S11: a dc on the master site."""
    for name in masters(judged.document)[:1]:
        if not scope.of_type(judged, kinds.DC, name):
            found.error("S11", ("sites", name), f"the master site {name} has no dc", "add a role of type dc")


def orders(judged: scope.Scope, found: findings.Findings) -> None:
    """S12: who comes first is never a tie."""
    owner: dict[tuple[str, str, str, int], str] = {}
    for placed in scope.enabled(judged):
        if placed.order is None or placed.site is None:
            continue
        key = (placed.site, placed.type, placed.group or "", placed.order)
        if owner.setdefault(key, placed.name) != placed.name:
            message = f"order {placed.order} is that of {owner[key]} already ({placed.type} on {placed.site})"
            found.error("S12", ("roles", placed.name, "order"), message)


def addresses(judged: scope.Scope, found: findings.Findings) -> None:
    """S14: addresses are valid, one server's alone, and loopback only where all are."""
    owner: dict[_Address, str] = {}
    valid = list(_addresses(judged.document, found))
    mixed = 0 < sum(address.is_loopback for _, address in valid) < len(valid)
    for path, address in valid:
        where = f"{path[1]} ({path[3]})"
        if owner.setdefault(address, where) != where:
            found.error("S14", path, f"the address {address} belongs to {owner[address]} already")
        if mixed and address.is_loopback:
            hint = "loopback is for trying out, and then for every server"
            found.error("S14", path, f"{address} is loopback and others are not", hint)
        elif address.is_unspecified or address.is_multicast:
            found.error("S14", path, f"{address} is no address of one server")


def _addresses(
    document: model.Document, found: findings.Findings
) -> Iterator[tuple[findings.Path, _Address]]:
    for name, server in document.servers.items():
        for alias, text in server.interfaces.items():
            path = ("servers", name, "interfaces", alias)
            if (address := _address(text, path, found)) is not None:
                yield path, address
        for alias, texts in server.former.items():
            for index, text in enumerate(texts):
                _address(text, ("servers", name, "former", alias, index), found)


def _address(text: str, path: findings.Path, found: findings.Findings) -> _Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        found.error(
            "S14", path, f"{text[:80]!r} is not an address", "write it as numbers: 10.1.0.11 or fd00::11"
        )
        return None


def domains(judged: scope.Scope, found: findings.Findings) -> None:
    """S16: sites serve domains that exist, every domain is served, the master domain by the master site alone."""
    document = judged.document
    known, master_sites = document.domains, masters(document)[:1]
    master = known.get(document.general.master_domain)
    above_master = set(_upwards(master.fqdn)) if master else set()
    served = set()
    for site, described in document.sites.items():
        for index, domain in enumerate(described.domains):
            path = ("sites", site, "domains", index)
            if domain not in known:
                hint = found.near(domain, known, "add it to `domains`")
                found.error("S16", path, f"no domain is called {domain!r}", hint)
                continue
            served.add(known[domain].fqdn.lower())
            if site not in master_sites and known[domain].fqdn.lower() in above_master:
                found.error(
                    "S16", path, f"{domain} holds the master domain, which the master site serves alone"
                )
    _served(known, served, found)


def _served(known: Mapping[str, model.Domain], served: Collection[str], found: findings.Findings) -> None:
    owner: dict[str, str] = {}
    for name, domain in known.items():
        fqdn = domain.fqdn.lower()
        if not any(above in served for above in _upwards(fqdn)):
            hint = "list it in a site's `domains`"
            found.error("S16", ("domains", name), f"no site serves the domain {name}", hint)
        if owner.setdefault(fqdn, name) != name:
            found.error("S16", ("domains", name, "fqdn"), f"{fqdn} is the domain {owner[fqdn]} already")


def _upwards(fqdn: str) -> Iterator[str]:
    """The name and every name above it: a site that serves one serves all below."""
    labels = fqdn.lower().split(".")
    return (".".join(labels[start:]) for start in range(len(labels)))


def requirements(judged: scope.Scope, found: findings.Findings) -> None:
    """S17: communication sites have the role types that the document requires."""
    for name, site in judged.document.sites.items():
        for kind in judged.document.requirements.every_communication_site:
            if site.type != "master" and not scope.of_type(judged, kind, name):
                found.error(
                    "S17", ("sites", name), f"the site {name} has no {kind}, which every one must have"
                )


def _spot(judged: scope.Scope, name: names.RoleName) -> findings.Path:
    placed = judged.expanded.roles[name]
    assert placed.site is not None
    assert placed.server is not None
    listed = judged.document.structure[placed.site][placed.server]
    return ("structure", placed.site, placed.server, listed.index(name))
