"""What has happened, as events: the difference between what was seen last and what is seen now, numbered, the last ones kept.

Pure. Nothing is written while nobody asks: an event says what has changed since the one before, steps in between may be
missing. Laws: numbers rise by one within a term; a reader is either given every event after its own, or told to begin
anew; one look makes at most `SERVERS_AT_ONCE` events of servers, more are counted by site.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping

import msgspec

from coordinator import limits, names
from coordinator.propagation import convergence
from coordinator.tiers import requests_looking

KEPT = 2_048  # above what one look can make: every site, and the servers
SERVERS_AT_ONCE = 200
_LOOK_EVENTS = limits.SITES + SERVERS_AT_ONCE + 2
assert _LOOK_EVENTS <= KEPT


class Server(msgspec.Struct, frozen=True):
    """One server at a look."""

    name: names.ServerName
    site: names.SiteName
    sync: str


class Look(msgspec.Struct, frozen=True):
    """What is there to be seen."""

    wall: float
    version: names.Version
    author: str
    message: str
    rollout: names.RolloutId
    state: str
    numbers: tuple[int, int, int]
    """Ready, reachable, asked."""
    servers: Mapping[names.ServerId, Server]


class Journal:
    """See the module."""

    def __init__(self, term: int) -> None:
        self._term = term
        self._number = 0
        self._last: Look | None = None
        self._kept: deque[requests_looking.Event] = deque(maxlen=KEPT)

    @property
    def last(self) -> str:
        """Id of the newest event."""
        return f"{self._term}.{self._number}"

    def look(self, now: Look, reasons: Mapping[names.ServerId, str]) -> None:
        """Write down what differs from the look before; the first one is where it begins."""
        before, self._last = self._last, now
        if before is not None:
            for event in _differences(before, now, reasons):
                self._number += 1
                self._kept.append(msgspec.structs.replace(event, id=self.last))

    def after(self, last: str) -> tuple[requests_looking.Event, ...] | None:
        """Every event after that one; None where it is not known any more."""
        term, _, number = last.partition(".")
        if term != str(self._term) or not number.isdecimal() or len(number) > 15:
            return None
        seen = int(number)
        first = self._number - len(self._kept)
        if not first <= seen <= self._number:
            return None
        return tuple(self._kept)[seen - first :]


class Book:
    """The journal of one MIC, and when it was written last."""

    def __init__(self) -> None:
        self.journal: Journal | None = None
        self.seen = -1
        """Index of the picture at the last look."""
        self.looked = 0.0
        """Monotonic second of it."""


def _differences(
    before: Look, now: Look, reasons: Mapping[names.ServerId, str]
) -> Iterator[requests_looking.Event]:
    if now.version != before.version:
        yield requests_looking.Event(
            "", "revision", now.wall, now.version, rollout=now.rollout, author=now.author, message=now.message
        )
    yield from _servers(before, now, reasons)
    if (now.rollout, now.state, now.numbers) != (before.rollout, before.state, before.numbers):
        ready, reachable, asked = now.numbers
        was = before.state if before.rollout == now.rollout else ""
        yield requests_looking.Event(
            "", "rollout", now.wall, now.version, before=was, now=now.state, rollout=now.rollout,
            ready=ready, reachable=reachable, asked=asked,
        )  # fmt: skip


def _servers(
    before: Look, now: Look, reasons: Mapping[names.ServerId, str]
) -> Iterator[requests_looking.Event]:
    moved = [
        server
        for server in now.servers.keys() | before.servers.keys()
        if now.servers.get(server) != before.servers.get(server)
    ]
    if len(moved) > SERVERS_AT_ONCE:
        yield from _sites(before, now, moved)
        return
    for server in sorted(moved):
        was, new = before.servers.get(server), now.servers.get(server)
        one = new or was
        assert one is not None
        yield requests_looking.Event(
            "", "server", now.wall, now.version, site=one.site, server=one.name,
            before="" if was is None else was.sync,
            now=str(convergence.Sync.PARKED) if new is None else new.sync,
            reason=reasons.get(server, ""),
        )  # fmt: skip


def _sites(before: Look, now: Look, moved: list[names.ServerId]) -> Iterator[requests_looking.Event]:
    """So many at once that nobody would read them: the counts of each site that is concerned."""
    concerned = {one.site for look in (before, now) for server in moved if (one := look.servers.get(server))}
    counts: dict[names.SiteName, Counter[str]] = {site: Counter() for site in concerned}
    for one in now.servers.values():
        if one.site in counts:
            counts[one.site][one.sync] += 1
    for site in sorted(concerned):
        yield requests_looking.Event("", "site", now.wall, now.version, site=site, counts=dict(counts[site]))
