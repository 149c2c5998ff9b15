"""What MIC answers those who look: status, rollouts, one server. Reads of the picture in memory, bounded by the document.

Law: whoever is absent or not there yet is named, never shown as good.
"""

import collections
import heapq
from collections.abc import Iterator

import msgspec

from coordinator import errors, names
from coordinator.config import expansion, findings, topology
from coordinator.propagation import convergence, objects
from coordinator.tiers import asking, desk, entries, parking, requests, rolling, waiting

NAMED = 50  # blocking and absent servers told in one answer
EXPELLED_SHOWN = 20
DETAILED = 1_000  # servers by name in one roll-up, and parked ones; all of them by page
RANK = {sync: number for number, sync in enumerate(convergence.WORST_FIRST)}


class _ShellStatus(msgspec.Struct, frozen=True):
    """What a ServerShell says of itself."""

    accepted: str = ""
    parent: str = ""
    boot: int = 0
    nodes: tuple[requests.NodeView, ...] = ()


# --- rollouts -------------------------------------------------------------------------------------------------------


async def rollout(at: desk.Desk, _caller: desk.Caller, asked: requests.WaitRollout) -> requests.RolloutView:
    """Once its index is above the one given, or after `wait_s`. Raises `NotFoundError`."""
    if rolling.is_active(at, _known(at, asked.rollout)):  # of the others there are no news
        await waiting.until_above(at, asked.index, asked.wait_s)
    held = _known(at, asked.rollout)
    shown = view(at, held)
    if not asked.by_site or not rolling.is_active(at, held):
        return shown
    return msgspec.structs.replace(shown, by_site=tuple(_progress(at)))


def _known(at: desk.Desk, rollout_id: str) -> entries.Rollout:
    held = at.past.rollouts.get(names.RolloutId(rollout_id))
    if held is None:
        raise errors.NotFoundError(
            f"there is no rollout {rollout_id[:64]}, or it is not kept any more",
            hint=findings.near(rollout_id[:64], list(at.past.rollouts), "tiercast history"),
        )
    return held


def _progress(at: desk.Desk) -> Iterator[requests.SiteProgress]:
    picture = at.master.convergence
    for site, servers in sorted(by_site(at).items()):
        facts = [picture.facts[server] for server in servers]
        worst = min((one.sync for one in facts), key=RANK.__getitem__, default=convergence.Sync.CONVERGED)
        ready = sum(one.sync is convergence.Sync.CONVERGED for one in facts)
        yield requests.SiteProgress(
            site, str(worst), ready, sum(one.reachable for one in facts), asked=len(facts)
        )


def by_site(at: desk.Desk) -> dict[names.SiteName, list[names.ServerId]]:
    """Everybody asked, by site; sites without servers too."""
    sites: dict[names.SiteName, list[names.ServerId]] = {site: [] for site in at.past.document.structure}
    for server, one in at.master.convergence.asked.items():
        sites.setdefault(one.site, []).append(server)
    return sites


def view(at: desk.Desk, held: entries.Rollout) -> requests.RolloutView:
    """A rollout as it is now."""
    now = rolling.now(at, held)
    blocking, absent = _missing(at) if rolling.is_active(at, held) else ((), ())
    return requests.RolloutView(
        id=now.id,
        version=now.version,
        digest=now.digest,
        state=str(now.state),
        ready=now.ready,
        reachable=now.reachable,
        asked=now.asked,
        elapsed_s=rolling.elapsed_s(at, held),
        converged_after_ms=now.converged_ms,
        roles=now.roles,
        sites=now.sites,
        blocking=blocking,
        absent=absent,
        index=waiting.index(at),
    )


def _missing(at: desk.Desk) -> tuple[tuple[requests.Blocking, ...], tuple[requests.Blocking, ...]]:
    """Reachable servers that are not ready, and those that are not reachable; the worst first."""
    picture = at.master.convergence
    here: dict[convergence.Sync, list[names.ServerId]] = {}
    away: dict[convergence.Sync, list[names.ServerId]] = {}
    for server in picture.asked:
        facts = picture.facts[server]
        if facts.sync is not convergence.Sync.CONVERGED:
            (here if facts.reachable else away).setdefault(facts.sync, []).append(server)
    return _named(at, here), _named(at, away)


def _named(
    at: desk.Desk, waited: dict[convergence.Sync, list[names.ServerId]]
) -> tuple[requests.Blocking, ...]:
    """The first by name of the worst; sorting all of them would take longer than everything else."""
    asked = at.master.convergence.asked
    found: list[names.ServerId] = []
    for sync in convergence.WORST_FIRST:
        room = NAMED - len(found)
        if room and sync in waited:
            found += heapq.nsmallest(room, waited[sync], key=lambda server: asked[server].name)
    return tuple(_blocking(at, server) for server in found)


def since_s(at: desk.Desk, server: names.ServerId) -> float:
    """How long it has been as it is, or away, under this revision."""
    picture = at.master.convergence
    facts = picture.facts[server]
    since = max(facts.since, picture.activated) if facts.links else facts.since
    return max(0.0, at.clock.monotonic() - since)


def _blocking(at: desk.Desk, server: names.ServerId) -> requests.Blocking:
    picture = at.master.convergence
    facts, asked = picture.facts[server], picture.asked[server]
    return requests.Blocking(asked.name, asked.site, str(facts.sync), reason(at, server), since_s(at, server))


def reason(at: desk.Desk, server: names.ServerId) -> str:
    if not asking.enrolled(server):
        return asking.NOT_ENROLLED
    return at.master.convergence.reason(server)


# --- the whole system -----------------------------------------------------------------------------------------------


async def status(
    at: desk.Desk,
    _caller: desk.Caller,
    asked: requests.Status,
    *,
    only: frozenset[names.SiteName] | None = None,
) -> requests.StatusView:
    """Everything, rolled up, once its index is above the one given; of `only` these sites, if that is said.

    Raises `NotFoundError` on an unknown site.
    """
    await waiting.until_above(at, asked.index, asked.wait_s)
    past, sites = at.past, by_site(at)
    if only is not None:
        sites = {site: servers for site, servers in sites.items() if site in only}
    if asked.site and asked.site not in sites:
        hint = findings.near(asked.site[:64], list(sites), "tiercast sites")
        raise errors.NotFoundError(f"there is no site {asked.site[:64]}", hint=hint)
    wanted = [asked.site] if asked.site else sorted(sites)
    held = past.rollouts.get(past.rollout)
    room = _Room(DETAILED if asked.details or asked.not_converged else 0)
    shown = tuple(_site(at, names.SiteName(site), sites, (asked, room)) for site in wanted)
    parked = () if asked.site or only is not None else parking.views(at)
    expelled = () if asked.site or only is not None else _expelled(at)
    remarked = _remarked(at, frozenset(wanted))
    return requests.StatusView(
        version=past.version,
        digest=past.content.digest,
        rollout=None if held is None else view(at, held),
        sites=shown,
        parked=parked[:DETAILED],
        coordinator=coordinator(at),
        index=waiting.index(at),
        left_out=room.left_out + len(parked[DETAILED:]),
        expelled=tuple(_expelled_view(one) for one in expelled[:EXPELLED_SHOWN]),
        expelled_count=len(expelled),
        remarked=tuple(server_view(at, server) for server in remarked[:NAMED]),
        remarked_count=len(remarked),
    )


def _remarked(at: desk.Desk, sites: frozenset[str]) -> list[names.ServerId]:
    """Converged servers of these sites of which something is remarked, by name; nobody else tells of them."""
    picture = at.master.convergence
    found = [
        server
        for server in picture.remarked()
        if picture.facts[server].sync is convergence.Sync.CONVERGED and picture.asked[server].site in sites
    ]
    return sorted(found, key=lambda server: picture.asked[server].name)


def coordinator(at: desk.Desk) -> str:
    return "needs recovery" if at.recovery else "active"


class _Room:
    """Servers that may still be named."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.left_out = 0

    def of(self, servers: list[names.ServerId]) -> list[names.ServerId]:
        taken = servers[: self._count]
        self._count -= len(taken)
        self.left_out += len(servers) - len(taken)
        return taken


def _site(
    at: desk.Desk,
    site: names.SiteName,
    sites: dict[names.SiteName, list[names.ServerId]],
    wanted: tuple[requests.Status, _Room],
) -> requests.SiteView:
    asked, room = wanted
    picture, servers = at.master.convergence, sites[site]
    counted = collections.Counter(picture.facts[server].sync for server in servers)
    worst = min(counted, key=RANK.__getitem__, default=convergence.Sync.CONVERGED)
    counts = {str(sync): number for sync, number in counted.items()}
    shown: list[names.ServerId] = []
    if asked.details or asked.not_converged:
        waited = [s for s in servers if not (asked.not_converged and good(at, s))]
        waited.sort(key=lambda s: (RANK[picture.facts[s].sync], picture.asked[s].name))
        shown = room.of(waited)
    return requests.SiteView(site, str(worst), counts, tuple(server_view(at, s) for s in shown))


def good(at: desk.Desk, server: names.ServerId) -> bool:
    """It runs what it should, and nothing is remarked of its identity."""
    picture = at.master.convergence
    return picture.facts[server].sync is convergence.Sync.CONVERGED and not picture.remark(server)


def _expelled(at: desk.Desk) -> tuple[objects.Admission, ...]:
    """Those that were taken out for ever, the last one first."""
    admissions = [one.content for one in at.past.content.admissions.values()]
    out = [one for one in admissions if one.state is objects.AdmissionState.EXPELLED]
    return tuple(sorted(out, key=lambda one: one.serial, reverse=True))


def _expelled_view(one: objects.Admission) -> requests.ServerView:
    return requests.ServerView(
        one.name, "", "expelled", "none", "", False, "its identity is revoked", None, id=one.server_id
    )


def server_view(at: desk.Desk, server: names.ServerId) -> requests.ServerView:
    """One server that is asked."""
    picture = at.master.convergence
    facts, asked = picture.facts[server], picture.asked[server]
    ack, linked = facts.ack, bool(facts.links)
    roles = at.past.expanded.by_server.get(asked.name, ())
    return requests.ServerView(
        server=asked.name,
        site=asked.site,
        sync=str(facts.sync),
        level="none" if ack is None else ack.level.word,
        revision="" if ack is None else str(ack.version),
        linked=linked,
        reason=reason(at, server),
        since_s=None if linked and facts.sync is convergence.Sync.CONVERGED else since_s(at, server),
        roles=tuple(sorted(one.name for one in roles if one.enabled)),
    )


# --- one server -----------------------------------------------------------------------------------------------------


async def describe(at: desk.Desk, _caller: desk.Caller, asked: requests.Describe) -> requests.Described:
    """What the server says itself, asked over its link. Raises `NotFoundError`."""
    name = names.ServerName(asked.server)
    shown, server = _find(at, name)
    code, data = await at.ask(server, "status") if asking.enrolled(server) else ("unreachable", b"")
    said, reason = _ShellStatus(), code and f"it could not be asked: {code}"
    if not code:
        try:
            said = msgspec.json.decode(data, type=_ShellStatus)
        except (msgspec.DecodeError, UnicodeDecodeError):
            reason = "its answer cannot be read"
    return requests.Described(
        server=shown,
        address=_address(at, name),
        boot=said.boot,
        accepted=said.accepted,
        parent=said.parent,
        nodes=said.nodes,
        reason=reason,
    )


def _near(at: desk.Desk, name: str) -> str:
    """What was meant, perhaps: a role by its name, a server by nearly its own."""
    role = at.past.expanded.roles.get(names.RoleName(name))
    if role is not None and role.server is not None:
        return f"{name} is a role on {role.server}: tiercast describe {role.server}"
    known = [one.name for one in at.master.convergence.asked.values()]
    return findings.near(name, known, "tiercast servers")


def _find(at: desk.Desk, name: names.ServerName) -> tuple[requests.ServerView, names.ServerId]:
    picture = at.master.convergence
    for server, asked in picture.asked.items():
        if asked.name == name:
            return server_view(at, server), server
    admission = asking.by_name(at.past.content).get(name)
    if admission is None:
        raise errors.NotFoundError(f"there is no server {name[:64]}", hint=_near(at, name[:64]))
    return parking.view(at, admission), admission.server_id


def _address(at: desk.Desk, name: names.ServerName) -> str:
    known = at.past.document.servers.get(name)
    placed = known is not None and topology.place(at.past.document, name) is not None
    return expansion.control_address(known) if known is not None and placed else ""
