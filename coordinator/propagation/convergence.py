"""Who runs what: MIC's picture of all servers against one target, from the rows that relays tell.

A server is *asked* if the target's document names it, or an older one does and it has not acked `released`. It is
*reachable* while it has a live link, and, once it had one since the activation, until it has done what was asked (a
link lost before that is `lost`, after `limits.SILENT_S` of grace, in which a child changes its parent). It is *ready* if
its greatest ack is what a live link of it tells now, and names this very version and digest at the level wanted. Absent
servers never block.

Laws: an ack for another version or digest never counts; `ready <= reachable <= asked`; rows and link losses in any order
that keeps each link's own order end in the same picture.
Sync words are those of REFERENCE section 7; counts are kept as rows come in, so that a row costs the same at ten
servers and at ten thousand.
"""

import enum
from collections.abc import Iterable, Mapping

import msgspec

from coordinator import limits, names
from coordinator.propagation import children, messages

TWOFOLD_S = 3 * limits.SILENT_S
"""A child that changes its parent has two links for as long as the one before takes to notice; beyond this there are two."""


class Sync(enum.StrEnum):
    """Of one server; in this order from worst to best, `parked` counted apart."""

    STRANDED = "stranded"
    LOST = "lost"
    FAILED = "failed"
    STALE = "stale"
    UNKNOWN = "unknown"
    PENDING = "pending"
    HELD = "held"
    LEAVING = "leaving"
    APPLYING = "applying"
    CONVERGED = "converged"
    PARKED = "parked"


WORST_FIRST = tuple(Sync)
_BAD = frozenset({Sync.LOST, Sync.FAILED, Sync.STALE})
_MOVING = frozenset({Sync.APPLYING, Sync.LEAVING, Sync.HELD})


class RolloutState(enum.StrEnum):
    """Of the rollout of the target."""

    RUNNING = "running"
    REACHED = "reached"
    CONVERGED = "converged"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    ABORTED = "aborted"


class Asked(msgspec.Struct, frozen=True):
    """What is asked of one server."""

    name: names.ServerName
    site: names.SiteName
    leaving: bool = False
    """Not in the document any more: `released` is wanted."""


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """What is committed of one server, so that a new MIC knows since when it is absent."""

    ack: messages.AckState | None
    last: float
    """Wall seconds of the last sign of its link."""
    owes: names.RolloutId = names.RolloutId("")
    """The rollout under which it had a link and has not done what was asked: it is reachable or lost, not absent."""
    oldest: names.Version = names.NO_VERSION
    """As in `Facts`."""


class Facts(msgspec.Struct):
    """Everything known of one server."""

    links: dict[names.LinkId, names.Epoch | None]
    """Each with what was last told over it; an ack counts as long as it is what a live link tells."""
    ack: messages.AckState | None = None
    since: float = 0.0
    """Monotonic second at which `sync` became what it is, or at which its last link was lost."""
    latched: bool = False
    """It had a link since the activation."""
    done: bool = False
    """It was there, once, under this target."""
    oldest: names.Version = names.NO_VERSION
    """The last that it is known to have accepted, or the one that placed it: what it has now is this or a later one.

    `NO_VERSION` where that is not known, and where it has let go of everything.
    """
    sync: Sync = Sync.UNKNOWN
    reachable: bool = False
    """As counted."""
    remark: str = ""
    """What its parent notes about its link, while there is one."""


class Summary(msgspec.Struct, frozen=True):
    """A rollout in numbers."""

    state: RolloutState
    ready: int
    reachable: int
    asked: int


class Convergence:
    """See the module."""

    def __init__(self) -> None:
        self.facts: dict[names.ServerId, Facts] = {}
        self.asked: dict[names.ServerId, Asked] = {}
        self.version = names.NO_VERSION
        self.digest = names.Digest("")
        self.rollout = names.RolloutId("")
        self.activated = 0.0
        self.converged_at: float | None = None
        self.index = 0
        """Rises with every change that a viewer could see."""
        self._counts: dict[Sync, int] = dict.fromkeys(Sync, 0)
        self._reachable = 0
        self._grace: dict[names.ServerId, float] = {}
        self._twofold: dict[names.ServerId, float] = {}
        """Servers with more than one link, and since when."""
        self._twins: set[names.ServerId] = set()
        """Those of them that are two machines, or one of whose relays tells of a link that it has not."""
        self._by_link: dict[names.LinkId, dict[names.ServerId, None]] = {}

    # --- what is asked --------------------------------------------------------------------------------------------

    def activate(
        self,
        rollout: names.RolloutId,
        version: names.Version,
        digest: names.Digest,
        asked: Mapping[names.ServerId, Asked],
        now: float,
    ) -> None:
        """Another target (or the same again, after a restart): everybody is judged anew."""
        same = (version, digest) == (self.version, self.digest)
        placing = names.NO_VERSION if self.version == names.NO_VERSION else version
        self.rollout, self.version, self.digest = rollout, version, digest
        if not same:
            self.activated, self.converged_at = now, None
            for facts in self.facts.values():
                facts.latched, facts.done = bool(facts.links), False
            self._grace.clear()
        self._ask(asked, placing)
        self._recount(now)

    def _ask(self, asked: Mapping[names.ServerId, Asked], placing: names.Version) -> None:
        """`placing` is what a server that is asked from now on can have at the oldest, where that is known."""
        if asked == self.asked:
            return
        for server, one in asked.items():
            facts, before = self.facts.setdefault(server, Facts({})), self.asked.get(server)
            released = facts.ack is not None and facts.ack.level is messages.Level.RELEASED
            placed = not one.leaving and (before is None or (before.leaving and released))
            if placed and facts.oldest == names.NO_VERSION:
                facts.oldest = placing
        self.asked = dict(asked)

    def seen(self, seen: Mapping[names.ServerId, Seen], now: float, wall: float) -> None:
        """What an earlier MIC committed: the past, never a live link. Who owed it something may still be on the way here."""
        for server, one in seen.items():
            facts = self.facts.setdefault(server, Facts({}))
            if facts.ack is None and not facts.links:
                facts.ack, facts.since = one.ack, now - max(0.0, wall - one.last)
                facts.oldest = one.oldest
                if one.owes and one.owes == self.rollout:
                    facts.latched = True
                    self._grace[server] = now + limits.SILENT_S
        self._recount(now, keep_since=True)

    def remember(self, server: names.ServerId, ack: messages.AckState | None, last: float) -> Seen:
        """What is to be committed of a server, with `ack` as the form in which its last word is kept."""
        facts = self.facts[server]
        owes = server in self.asked and facts.latched and not facts.done
        return Seen(ack, last, self.rollout if owes else names.RolloutId(""), facts.oldest)

    # --- what is told ---------------------------------------------------------------------------------------------

    def row(self, link: names.LinkId, row: messages.Row, now: float) -> None:
        """One server, as the relay behind `link` knows it (a ServerShell linked directly: its own link)."""
        server, ack = row.server, row.ack
        facts = self.facts.get(server)
        if facts is None:
            facts = self.facts[server] = Facts({})
        if ack is not None and (facts.ack is None or ack.epoch > facts.ack.epoch):
            facts.ack, facts.oldest = ack, _oldest(ack, facts.oldest)
        if row.linked:
            if link not in facts.links:
                self._by_link.setdefault(link, {})[server] = None
                if facts.links:
                    self._twofold.setdefault(server, now)
            facts.links[link] = None if ack is None else ack.epoch
        else:
            facts.links.pop(link, None)
            self._by_link.get(link, {}).pop(server, None)
            self._untwin(server, facts)
        facts.remark = row.remark if row.linked else ""
        self._judge(server, facts, now)

    def rows(self, link: names.LinkId, full: bool, rows: Iterable[messages.Row], now: float) -> None:
        """A roll-up; a full one replaces every link that this relay held."""
        listed = tuple(rows)
        if full:
            kept = {row.server for row in listed}
            for server in [s for s in self._by_link.get(link, {}) if s not in kept]:
                self._unlink(link, server, now)
        for row in listed:
            self.row(link, row, now)

    def link_down(self, link: names.LinkId, now: float) -> None:
        """A relay or a directly linked server is gone, and with it every link that it held."""
        for server in list(self._by_link.get(link, {})):
            self._unlink(link, server, now)
        self._by_link.pop(link, None)

    def _unlink(self, link: names.LinkId, server: names.ServerId, now: float) -> None:
        facts = self.facts[server]
        facts.links.pop(link, None)
        self._by_link[link].pop(server, None)
        self._untwin(server, facts)
        self._judge(server, facts, now)

    def _untwin(self, server: names.ServerId, facts: Facts) -> None:
        if len(facts.links) < 2:
            self._twofold.pop(server, None)
            self._twins.discard(server)

    def tick(self, now: float) -> None:
        """Grace periods end, and whoever has had two links for too long is two."""
        for server, since in self._twofold.items():
            if now - since > TWOFOLD_S and server not in self._twins:
                self._twins.add(server)
                self.index += 1
        for server in [s for s, until in self._grace.items() if until <= now]:
            self._judge(server, self.facts[server], now)

    @property
    def deadline(self) -> float | None:
        """When the next grace period ends."""
        return min(self._grace.values()) if self._grace else None

    # --- the judgement --------------------------------------------------------------------------------------------

    def _recount(self, now: float, *, keep_since: bool = False) -> None:
        counts, reachable, asked = dict.fromkeys(Sync, 0), 0, self.asked
        for server, facts in self.facts.items():
            before, wanted = facts.sync, asked.get(server)
            sync = facts.sync = Sync.PARKED if wanted is None else self._sync(server, facts, wanted, now)
            if not keep_since and (sync is not before or facts.since == 0.0):
                facts.since = now
            facts.reachable = wanted is not None and self._is_reachable(facts)
            if wanted is not None:
                counts[sync] += 1
                reachable += facts.reachable
        self._counts, self._reachable = counts, reachable
        self._touched(now)

    def _judge(self, server: names.ServerId, facts: Facts, now: float) -> None:
        """One server anew; the counts follow."""
        before, was = facts.sync, facts.reachable
        if facts.links:
            facts.latched = True
        elif facts.latched and not facts.done and server not in self._grace and before is not Sync.LOST:
            self._grace[server] = now + limits.SILENT_S
        asked = self.asked.get(server)
        sync = facts.sync = Sync.PARKED if asked is None else self._sync(server, facts, asked, now)
        if self._grace and (facts.links or sync not in _MOVING):
            self._grace.pop(server, None)
        if sync is not before:
            facts.since = now
        facts.reachable = asked is not None and self._is_reachable(facts)
        if asked is not None:
            if sync is not before:
                self._counts[before] -= 1
                self._counts[sync] += 1
            self._reachable += facts.reachable - was
        self._touched(now)

    def _sync(self, server: names.ServerId, facts: Facts, asked: Asked, now: float) -> Sync:
        reached = self._reached(facts.ack, leaving=asked.leaving)
        if facts.links:
            if facts.ack is None or facts.ack.epoch not in facts.links.values():
                return (
                    Sync.LEAVING if asked.leaving else Sync.APPLYING
                )  # back, and has not said yet what it runs
            facts.done = facts.done or reached is Sync.CONVERGED
            return reached
        if reached is Sync.CONVERGED:
            facts.done = True  # its last word before the link went
        if facts.latched and not facts.done:
            until = self._grace.get(server)
            if until is not None and until > now:
                return Sync.LEAVING if asked.leaving else Sync.APPLYING
            self._grace.pop(server, None)
            return Sync.LOST
        return Sync.UNKNOWN if facts.ack is None else Sync.PENDING

    def _reached(self, ack: messages.AckState | None, *, leaving: bool) -> Sync:
        """How far a linked server is."""
        moving = Sync.LEAVING if leaving else Sync.APPLYING
        if ack is None or ack.version != self.version or ack.digest != self.digest:
            return Sync.STALE if ack is not None and ack.code == messages.STALE else moving
        if ack.outcome is messages.Outcome.REFUSED:
            return Sync.STALE
        if ack.outcome is messages.Outcome.FAILED:
            return Sync.FAILED
        wanted = messages.Level.RELEASED if leaving else messages.Level.READY
        if ack.level is wanted:
            return Sync.CONVERGED
        return Sync.HELD if ack.level is messages.Level.HELD else moving

    @staticmethod
    def _is_reachable(facts: Facts) -> bool:
        return bool(facts.links) or (facts.latched and not facts.done)

    def _touched(self, now: float) -> None:
        self.index += 1
        if self.converged_at is None and self.asked and self._counts[Sync.CONVERGED] == len(self.asked):
            self.converged_at = now

    # --- the picture ----------------------------------------------------------------------------------------------

    @property
    def summary(self) -> Summary:
        """The rollout now; costs the same for any number of servers."""
        ready = self._counts[Sync.CONVERGED]
        if any(self._counts[sync] for sync in _MOVING):
            state = RolloutState.RUNNING
        elif any(self._counts[sync] for sync in _BAD):
            state = RolloutState.FAILED
        elif self.asked and ready == len(self.asked):
            state = RolloutState.CONVERGED
        else:
            state = RolloutState.REACHED if ready else RolloutState.RUNNING
        return Summary(state, ready, self._reachable, len(self.asked))

    def reason(self, server: names.ServerId) -> str:
        """Why a server is not there, as a sentence part; what its parent remarks of it, and it of itself, comes first."""
        parts = (self.remark(server), self._why(server))
        return "; ".join(part for part in parts if part)

    def remark(self, server: names.ServerId) -> str:
        """What is wrong with its identity or its trust, whatever it runs; empty where nothing is, or it has no link."""
        facts = self.facts[server]
        if not facts.links:
            return ""
        said = facts.ack.detail if facts.ack is not None and _remarks(facts.ack) else ""
        twins = children.TWINS if server in self._twins else ""
        parts = (facts.remark, "" if twins in facts.remark else twins, said)
        return "; ".join(dict.fromkeys(part for part in parts if part))

    def remarked(self) -> list[names.ServerId]:
        """Who is asked and has a remark; of 10,000 without one it looks at three fields each."""
        return [
            server
            for server in self.asked
            if (
                (facts := self.facts[server]).remark
                or server in self._twins
                or (facts.ack and facts.ack.detail)
            )
            and self.remark(server)
        ]

    def _why(self, server: names.ServerId) -> str:
        facts = self.facts[server]
        ack = facts.ack
        match facts.sync:
            case Sync.CONVERGED | Sync.PARKED:
                return ""
            case Sync.LOST:
                return "link lost during apply"
            case Sync.UNKNOWN:
                return "nothing heard of it yet"
            case Sync.PENDING:
                return "no link"
            case _ if (
                ack is not None
                and ack.version == self.version
                and (ack.code or ack.detail)
                and not _remarks(ack)
            ):
                return f"{ack.code}: {ack.detail}" if ack.detail else ack.code
            case _ if ack is None or ack.version != self.version:
                return "no link, expected back" if not facts.links else "has not taken it yet"
            case _:
                return f"{ack.level.word}, not {'released' if facts.sync is Sync.LEAVING else 'ready'} yet"


def _remarks(ack: messages.AckState) -> bool:
    """Whether code and detail say something beside how far it is."""
    return ack.outcome is messages.Outcome.OK and bool(ack.code)


def _oldest(ack: messages.AckState, before: names.Version) -> names.Version:
    """What a server has at the oldest once it has said this."""
    if ack.level is messages.Level.RELEASED:
        return names.NO_VERSION
    taken = ack.outcome is messages.Outcome.FAILED or ack.level >= messages.Level.ACCEPTED
    return ack.version if taken and ack.outcome is not messages.Outcome.REFUSED else before
