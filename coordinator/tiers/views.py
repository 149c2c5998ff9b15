"""What MIC answers those who look: status, rollouts, one server. Reads of the picture in memory, bounded by the document.

Law: whoever is absent or not there yet is named, never shown as good.
"""

from collections.abc import Iterator

import anyio
import msgspec

from coordinator import errors, names
from coordinator.config import expansion, topology
from coordinator.propagation import convergence
from coordinator.tiers import asking, desk, entries, requests, rolling

NAMED = 50  # blocking and absent servers told in one answer
WAIT_S = 25.0  # below the 30 s after which an ask over a link is given up
TERM_STEP = 10**9  # more changes of the picture than one term will see
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
    with anyio.move_on_after(min(max(asked.wait_s, 0.0), WAIT_S)):
        while _waits(at, asked):
            await at.news.wait()
    return view(at, _known(at, asked.rollout))


def _known(at: desk.Desk, rollout_id: str) -> entries.Rollout:
    held = at.past.rollouts.get(names.RolloutId(rollout_id))
    if held is None:
        raise errors.NotFoundError(f"there is no rollout {rollout_id[:64]}, or it is not kept any more")
    return held


def _waits(at: desk.Desk, asked: requests.WaitRollout) -> bool:
    held = _known(at, asked.rollout)
    return at.fallen is None and rolling.is_active(at, held) and index(at) <= asked.index


def index(at: desk.Desk) -> int:
    """Rises with every change of the picture, and over every change of MIC too."""
    term = 0 if at.office is None else at.office.term
    return term * TERM_STEP + at.master.convergence.index + at.settled


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
        index=index(at),
    )


def _missing(at: desk.Desk) -> tuple[tuple[requests.Blocking, ...], tuple[requests.Blocking, ...]]:
    """Reachable servers that are not ready, and those that are not reachable; the worst first."""
    picture = at.master.convergence
    waited = [s for s in picture.asked if picture.facts[s].sync is not convergence.Sync.CONVERGED]
    waited.sort(key=lambda s: (RANK[picture.facts[s].sync], picture.asked[s].name))
    here = [s for s in waited if picture.facts[s].reachable]
    away = [s for s in waited if not picture.facts[s].reachable]
    return tuple(_blocking(at, s) for s in here[:NAMED]), tuple(_blocking(at, s) for s in away[:NAMED])


def _blocking(at: desk.Desk, server: names.ServerId) -> requests.Blocking:
    picture = at.master.convergence
    facts, asked = picture.facts[server], picture.asked[server]
    since = max(facts.since, picture.activated) if facts.links else facts.since
    ago = max(0.0, at.clock.monotonic() - since)
    return requests.Blocking(asked.name, asked.site, str(facts.sync), _reason(at, server), ago)


def _reason(at: desk.Desk, server: names.ServerId) -> str:
    if not asking.enrolled(server):
        return asking.NOT_ENROLLED
    return at.master.convergence.reason(server)


# --- the whole system -----------------------------------------------------------------------------------------------


async def status(at: desk.Desk, _caller: desk.Caller, asked: requests.Status) -> requests.StatusView:
    """Everything, rolled up. Raises `NotFoundError` on an unknown site."""
    picture, past = at.master.convergence, at.past
    sites: dict[names.SiteName, list[names.ServerId]] = {site: [] for site in past.document.structure}
    for server, one in picture.asked.items():
        sites.setdefault(one.site, []).append(server)
    if asked.site and asked.site not in sites:
        raise errors.NotFoundError(f"there is no site {asked.site[:64]}")
    held = past.rollouts.get(past.rollout)
    return requests.StatusView(
        version=past.version,
        digest=past.content.digest,
        rollout=None if held is None else view(at, held),
        sites=tuple(
            _site(at, site, sites[site], asked) for site in sorted(sites) if asked.site in {"", site}
        ),
        parked=() if asked.site else tuple(_parked(at)),
        coordinator="needs recovery" if at.recovery else "active",
    )


def _site(
    at: desk.Desk, site: names.SiteName, servers: list[names.ServerId], asked: requests.Status
) -> requests.SiteView:
    picture = at.master.convergence
    counts: dict[str, int] = {}
    for server in servers:
        word = str(picture.facts[server].sync)
        counts[word] = counts.get(word, 0) + 1
    worst = min(
        (picture.facts[s].sync for s in servers), key=RANK.__getitem__, default=convergence.Sync.CONVERGED
    )
    shown: list[names.ServerId] = []
    if asked.details or asked.not_converged:
        shown = [s for s in servers if not (asked.not_converged and _good(at, s))]
        shown.sort(key=lambda s: (RANK[picture.facts[s].sync], picture.asked[s].name))
    return requests.SiteView(site, str(worst), counts, tuple(server_view(at, s) for s in shown))


def _good(at: desk.Desk, server: names.ServerId) -> bool:
    return at.master.convergence.facts[server].sync is convergence.Sync.CONVERGED


def _parked(at: desk.Desk) -> Iterator[requests.ServerView]:
    picture = at.master.convergence
    for name, admission in sorted(asking.by_name(at.past.content).items()):
        if admission.server_id in picture.asked:
            continue
        facts = picture.facts.get(admission.server_id)
        linked = facts is not None and bool(facts.links)
        yield requests.ServerView(
            name, "", str(convergence.Sync.PARKED), "none", "", linked, "no revision names it", None
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
        reason=_reason(at, server),
        since_s=None if linked else max(0.0, at.clock.monotonic() - facts.since),
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


def _find(at: desk.Desk, name: names.ServerName) -> tuple[requests.ServerView, names.ServerId]:
    picture = at.master.convergence
    for server, asked in picture.asked.items():
        if asked.name == name:
            return server_view(at, server), server
    admission = asking.by_name(at.past.content).get(name)
    if admission is None:
        raise errors.NotFoundError(f"there is no server {name[:64]}")
    return next(one for one in _parked(at) if one.server == name), admission.server_id


def _address(at: desk.Desk, name: names.ServerName) -> str:
    known = at.past.document.servers.get(name)
    placed = known is not None and topology.place(at.past.document, name) is not None
    return expansion.control_address(known) if known is not None and placed else ""
