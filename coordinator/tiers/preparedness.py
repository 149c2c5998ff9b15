"""How far a prepared revision has come: every server and every IC with a link is asked, and what they say is told by name.

Law: nothing is remembered beyond this MIC; whoever is not asked or does not answer is named, never counted as holding it;
and whoever waits in vain, because its IC cannot hold the body, is not told to be on its way.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import anyio
import msgspec

from coordinator import names
from coordinator.propagation import asks, master
from coordinator.tiers import asking, desk, history, looks, requests_preparing

AT_ONCE = 64  # asks over the links at a time; each is answered within `desk.ASK_S`
LOOK_S = 1.0  # how old an answer may be that is told without asking again
NAMED = 200  # servers in one view, those with trouble first

_Whom = TypeVar("_Whom")


async def ask(at: desk.Desk, prepared: history.Prepared) -> None:
    """Everybody who is linked and has not said that all is well; at most once in `LOOK_S`."""
    known, digest = at.looks, prepared.record.digest
    async with known.turn:
        known.of(digest)
        now = at.clock.monotonic()
        if now - known.at < LOOK_S:
            return
        known.at = now
        links = [one.link for one in at.master.relays]
        known.relays = {link: known.relays.get(link, "not asked yet") for link in links}
        slots = anyio.CapacityLimiter(AT_ONCE)
        with anyio.move_on_after(desk.ASK_S):
            async with anyio.create_task_group() as tasks:
                for link in links:
                    if _state(known.relays[link], digest) != "held":
                        tasks.start_soon(_ask, at.ask_relay, link, known.relays, slots)
                for server in _linked(at):
                    if _state(known.said.get(server), digest) != "held":
                        tasks.start_soon(_ask, at.ask, server, known.said, slots)
        known.at = (
            at.clock.monotonic()
        )  # whoever waited for the turn meanwhile need not ask the silent ones again


async def _ask(
    send: Callable[[_Whom, str], Awaitable[tuple[str, bytes]]],
    whom: _Whom,
    said: dict[_Whom, looks.Answer | str],
    slots: anyio.CapacityLimiter,
) -> None:
    async with slots:
        if not isinstance(said.get(whom), looks.Answer):
            said[whom] = "no answer yet"  # unlike those whose turn has not come
        code, data = await send(whom, asks.CHECK)
    try:
        said[whom] = code or msgspec.json.decode(data, type=looks.Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said[whom] = "its answer cannot be read"


def _everybody(at: desk.Desk) -> list[names.ServerId]:
    return [server for server in at.master.convergence.asked if asking.enrolled(server)]


def _linked(at: desk.Desk) -> list[names.ServerId]:
    facts = at.master.convergence.facts
    return [server for server in _everybody(at) if facts[server].links]


def _state(said: looks.Answer | str | None, digest: str) -> str:
    """`silent`, `refused`, `held`, or `coming`: what was prepared before may not have been taken back there yet."""
    if not isinstance(said, looks.Answer):
        return "silent"
    if said.digest != digest:
        return "coming"
    return "refused" if said.troubles else "held" if said.stage == "held" else "coming"


# --- what is told -----------------------------------------------------------------------------------------------------


def view(at: desk.Desk, prepared: history.Prepared) -> requests_preparing.PreparedView:
    """Of what was answered so far, the worst first."""
    digest, record = prepared.record.digest, prepared.record
    refusing = _refusing(at, digest)
    servers = [_server(at, server, digest, refusing) for server in _everybody(at)]
    counts: Mapping[str, int] = {
        state: sum(one.state == state for one in servers) for state in requests_preparing.STATES
    }
    worst = sorted(servers, key=lambda one: (requests_preparing.STATES.index(one.state), one.server))
    return requests_preparing.PreparedView(
        version=names.Version(record.generation, record.revision),
        digest=digest,
        base=at.past.version,
        counts=counts,
        servers=tuple(worst[:NAMED]),
        left_out=max(0, len(worst) - NAMED),
        relays=tuple(_relays(at, digest)[:NAMED]),
    )


def _refusing(at: desk.Desk, digest: str) -> Mapping[names.LinkId, master.Relay]:
    """ICs that cannot hold it, by their link."""
    relays, said = at.master.relays, at.looks.relays
    return {one.link: one for one in relays if _state(said.get(one.link), digest) == "refused"}


def _relays(at: desk.Desk, digest: str) -> list[requests_preparing.Relayed]:
    """Those that do not hold it."""
    found = []
    for one in at.master.relays:
        said = at.looks.relays.get(one.link, "not asked yet")
        state, reason = _state(said, digest), said if isinstance(said, str) else ""
        if isinstance(said, looks.Answer) and state == "refused":
            reason = "; ".join(trouble.message for trouble in said.troubles)
        if state != "held":
            found.append(requests_preparing.Relayed(one.role, one.server, one.site, state, reason))
    states = requests_preparing.STATES
    return sorted(found, key=lambda one: (states.index(one.state), one.site, one.role))


def _server(
    at: desk.Desk, server: names.ServerId, digest: str, refusing: Mapping[names.LinkId, master.Relay]
) -> requests_preparing.Checked:
    own, links = at.master.convergence.asked[server], at.master.convergence.facts[server].links
    if not links:
        return requests_preparing.Checked(own.name, own.site, "absent")
    said = at.looks.said.get(server)
    state = _state(said, digest)
    if not isinstance(said, looks.Answer):
        return requests_preparing.Checked(own.name, own.site, state, reason=said or "not asked yet")
    if state == "coming" and all(link in refusing for link in links):
        relay = refusing[next(reversed(links))]
        reason = f"its IC {relay.role} on {relay.server} cannot hold it"
        return requests_preparing.Checked(own.name, own.site, "blocked", reason=reason)
    troubles = said.troubles if state == "refused" else ()
    return requests_preparing.Checked(own.name, own.site, state, troubles)
