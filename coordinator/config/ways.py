"""Ways in for those who administer: where the administration API answers, and what a change would leave of them.

Pure. A way is a place, address and port: whatever the role there is called, whoever knows the place comes in. Law (D12):
of the ways that lead in now one stays, and the one that the request came through; a new one counts once it is there.
"""

from collections.abc import Iterable

import msgspec

from coordinator import limits, names
from coordinator.config import expansion, kinds, pair, topology

NAMED = 3


class Way(msgspec.Struct, frozen=True):
    """One ws with the administration API."""

    role: names.RoleName
    server: names.ServerName
    address: str
    port: int

    @property
    def place(self) -> tuple[str, int]:
        return self.address, self.port

    @property
    def url(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"https://{host}:{self.port}"


class Lost(msgspec.Struct, frozen=True):
    """What a change takes away, and how it can be made all the same."""

    message: str
    steps: tuple[str, ...]


def ways(expanded: expansion.Expanded) -> tuple[Way, ...]:
    """In the order of their roles: those on the master site, and elsewhere those that say `admin: true`."""
    master = pair.master_site(expanded)
    found = []
    for placed in topology.instances(expanded, kinds.WS):
        port = placed.params.get("port", limits.PORT_WS)
        if placed.server is None or not (placed.site == master or placed.params.get("admin") is True):
            continue
        found.append(
            Way(placed.name, placed.server, placed.address, port if isinstance(port, int) else limits.PORT_WS)
        )
    return tuple(found)


def lost(between: pair.Pair) -> Lost | None:
    """What stands against the change; None where a way that leads in now still does."""
    entry, old, new = between.entry, ways(between.old), ways(between.new)
    if entry is None or not old:
        return None
    through = () if entry.through is None else tuple(one for one in old if _carried(one, entry.through))
    there = {one.server for one in old} - between.away | {one.server for one in through}
    answering = tuple(one for one in old if one.server in there) or old
    after = {one.place for one in new}
    if not new:
        return _none_left(old)
    if not any(one.place in after for one in answering):
        return _all_other(answering, new)
    if through and not any(one.place in after for one in through):
        return _own(through[0], tuple(one for one in answering if one.place in after))
    return None


def _carried(one: Way, through: pair.Through) -> bool:
    return (one.server, one.role) == (through.server, through.role)


def _none_left(old: tuple[Way, ...]) -> Lost:
    return Lost(
        f"no ws with the administration API would be left (now {_listed(old)}); nobody could come in by HTTP any more",
        (
            "keep an enabled ws on the master site, or one elsewhere with `admin: true`",
            "or override D12 with a reason; the machine of the active mic is the only way in then: tiercast server rollback --local",
        ),
    )


def _all_other(answering: tuple[Way, ...], new: tuple[Way, ...]) -> Lost:
    return Lost(
        f"every way in that answers now would go: {_listed(answering)}; {_listed(new)} would have to work at the first try",
        (
            f"keep {answering[0].role} as it is, place a second ws beside it (another port of {answering[0].server}, or another server), and apply",
            "see that the new one answers: tiercast status --server https://ADDRESS:PORT",
            f"then change or remove {answering[0].role}, asking there: tiercast apply --server https://ADDRESS:PORT",
        ),
    )


def _own(through: Way, staying: tuple[Way, ...]) -> Lost:
    return Lost(
        f"this request came through {_listed((through,))}, which would go; what comes of it could not be followed there",
        (f"ask through another one, which shows that it works: --server {staying[0].url}",),
    )


def _listed(some: Iterable[Way]) -> str:
    told = [f"{one.role} at {one.url}" for one in some]
    return ", ".join(told[:NAMED]) + (f" and {len(told) - NAMED} more" if len(told) > NAMED else "")
