"""The active MIC's side of the tree as one machine: serves ICs and ServerShells, judges convergence, asks downwards.

What to serve comes from the store, through `serve`, and from nowhere else: MIC never takes an object from below. A child
that shows a verified target newer than the store's makes it say `NeedsRecovery`, once.
"""

from collections.abc import Iterable, Mapping

import msgspec

from coordinator import errors, limits, names
from coordinator.config import expansion, topology
from coordinator.propagation import (
    asks,
    bodies,
    convergence,
    drain,
    events,
    gates,
    messages,
    mirror,
    objects,
    publisher,
    sightings,
)
from coordinator.trust import signing


class Released(msgspec.Struct, frozen=True):
    """Output: nothing of the revision's predecessors runs on this server any more; it may be parked."""

    server: names.ServerId


class NeedsRecovery(msgspec.Struct, frozen=True):
    """Output: the field knows more than the store."""

    version: names.Version
    reason: str


class Drained(msgspec.Struct, frozen=True):
    """Output: every linked server has accepted the newest configuration, or the time is over."""


class Served(msgspec.Struct, frozen=True):
    """What MIC serves, and of whom it asks it."""

    content: mirror.Content
    expanded: expansion.Expanded
    rollout: names.RolloutId
    asked: dict[names.ServerId, convergence.Asked]


class Relay(msgspec.Struct, frozen=True):
    """An IC that is linked."""

    link: names.LinkId
    role: str
    server: names.ServerName
    site: names.SiteName


Output = (
    events.Send
    | events.Authenticated
    | events.Close
    | events.Note
    | asks.Asked
    | asks.Answered
    | Released
    | NeedsRecovery
    | Drained
)
_Inner = publisher.Output | asks.Output


class _Standing(msgspec.Struct, frozen=True):
    """Who counts: nobody speaks for a server that is expelled or revoked, whatever its acks say.

    Every row of a roll-up asks; admissions and revocations stay the same from revision to revision.
    """

    admissions: Mapping[names.ServerId, mirror.SignedAdmission]
    revoked: frozenset[names.ServerId]
    sites: Mapping[names.ServerId, names.SiteName]
    parked: frozenset[names.ServerId]

    @classmethod
    def of(
        cls, admissions: Mapping[names.ServerId, mirror.SignedAdmission], revoked: frozenset[names.ServerId]
    ) -> "_Standing":
        """By the admissions that are in force and the identities that are revoked."""
        expelled, parked = objects.AdmissionState.EXPELLED, objects.AdmissionState.PARKED
        there = {server: one.content for server, one in admissions.items() if server not in revoked}
        sites = {server: one.site for server, one in there.items() if one.state is not expelled}
        waiting = frozenset(server for server, one in there.items() if one.state is parked)
        return cls(admissions, revoked, sites, waiting)


class Master:
    """See the module."""

    def __init__(
        self, cluster: names.ClusterId, server_id: names.ServerId, served: Served, shelf: bodies.Shelf
    ) -> None:
        self.served = served
        self.shelf = shelf
        self.convergence = convergence.Convergence()
        self.sightings = sightings.Sightings()
        self.asks = asks.Asks()
        self.publisher = publisher.Publisher(cluster, server_id, served.content, shelf, self._gate)
        self._cluster = cluster
        self._drain = drain.Drain()
        self._recovering = False
        self._deaf: dict[names.ServerId, int] = {}
        """Servers that speak under numbers used up (lost or restored disks), and the boot counter they must pass."""
        self._raising: dict[int, names.ServerId] = {}
        self._raises = 0
        self._keyring = signing.Keyring(cluster, served.content.trust.content)
        self._stood = _Standing.of({}, frozenset())

    def _gate(self, peer: names.ServerId, hello: messages.Hello, proof: events.Proof) -> gates.Verdict:
        situation = gates.Situation(self.served.content, self._keyring, self.served.expanded)
        return gates.judge(gates.MIC, situation, peer, hello, proof)

    @property
    def deadline(self) -> float:
        """When `Tick` is due."""
        others = (self.asks.deadline, self.convergence.deadline, self._drain.deadline)
        return min((self.publisher.deadline, *(d for d in others if d is not None)))

    def serve(self, served: Served, now: float) -> tuple[Output, ...]:
        """The store has committed something newer (or it is the first time)."""
        content = served.content
        if content.trust.raw != self.served.content.trust.raw:
            self._keyring = signing.Keyring(self._cluster, content.trust.content)
        moved = content.admissions is not self.served.content.admissions
        self.served = served
        if moved:
            self.sightings.keep(self._standing.parked)
        self.convergence.activate(served.rollout, content.version, content.digest, served.asked, now)
        return self._through(self.publisher.publish(content), now)

    def freshen(self, raw: bytes) -> None:
        """Another sign of life, signed; it goes out with the next heartbeat."""
        self.publisher.freshen(raw)

    def handle(self, event: events.Input, now: float) -> tuple[Output, ...]:
        """Inputs of the children's links, and time."""
        outputs: list[Output] = []
        match event:
            case events.Heard(link, messages.Ask() as ask) if self._barred(link, ask):
                outputs.append(asks.refusal(link, ask))
            case events.Heard(link, messages.Ask() as ask) if link in self.publisher.children:
                outputs += self._through(self.asks.asked(link, ask, most_bytes=self._most(link)), now)
            case events.Heard(link, messages.Answer() as answer) if link in self.publisher.children:
                outputs += self._through(self.asks.answered(link, answer), now)
            case events.Tick():
                self.convergence.tick(now)
                outputs += self._through(self.asks.tick(now), now)
                outputs += self._through(self.publisher.handle(event, now), now)
                outputs += self._raise_boots(now)
            case events.Gone(link):
                outputs += self._through(self.asks.gone(link), now)
                outputs += self._through(self.publisher.handle(event, now), now)
            case _:
                outputs += self._through(self.publisher.handle(event, now), now)
        if self._drain.over(self.publisher.children.values(), self.served.content.version, now):
            outputs.append(Drained())
        return tuple(outputs)

    def _barred(self, link: names.LinkId, ask: messages.Ask) -> bool:
        return link in self.publisher.children and not self.publisher.may_ask(link, ask.verb)

    def answer(
        self, link: names.LinkId, ask_id: int, code: str, data: bytes, now: float
    ) -> tuple[Output, ...]:
        """Answer an `Asked`."""
        return self._through(self.asks.answer(link, ask_id, code, data), now)

    def ask(
        self, number: int, server: names.ServerId, verb: str, data: bytes, now: float
    ) -> tuple[Output, ...]:
        """Ask a server, over its own link or its IC's; ends in `Answered(number, ...)`."""
        return self._through(
            self.asks.ask(asks.Owner(None, number), self._way(server), verb, server, data, now), now
        )

    def ask_relay(self, number: int, link: names.LinkId, verb: str, now: float) -> tuple[Output, ...]:
        """Ask an IC itself, over its link; ends as `ask` does."""
        way = link if link in self.publisher.children else None
        return self._through(self.asks.ask(asks.Owner(None, number), way, verb, "", b"", now), now)

    @property
    def relays(self) -> tuple[Relay, ...]:
        """Every IC that is linked, and is believed about its site."""
        found = []
        for child in self.publisher.children.values():
            if child.hello.kind is messages.ChildKind.IC:
                site = topology.site_of_ic(self.served.expanded, child.admit.server)
                if site is not None:
                    found.append(Relay(child.link, child.hello.name, child.admit.server, site))
        return tuple(found)

    def drained(self, link: names.LinkId, now: float) -> tuple[Output, ...]:
        """All that was written to that link has left."""
        return self._through(self.publisher.drained(link, now), now)

    def drain(self, now: float) -> tuple[Output, ...]:
        """About to stop."""
        self._drain.start(now)
        return self.handle(events.Tick(), now)

    def _most(self, link: names.LinkId) -> int:
        """Only WS and DC, who speak for people, ask anything large."""
        return (
            limits.ASK_BYTES
            if self.publisher.children[link].hello.kind in messages.PEOPLE
            else asks.DOWNWARD_BYTES
        )

    def _way(self, server: names.ServerId) -> names.LinkId | None:
        facts = self.convergence.facts.get(server)
        if facts is not None and facts.links:
            return next(reversed(facts.links))
        return self.sightings.way(server)

    def _through(self, inner: tuple[_Inner, ...], now: float) -> tuple[Output, ...]:
        outputs: list[Output] = []
        for one in inner:
            match one:
                case publisher.ChildUp(link) | publisher.ChildAck(link) | publisher.ChildRemarked(link):
                    child = self.publisher.children[link]
                    if child.hello.kind is messages.ChildKind.SHELL:  # nobody else speaks for a server
                        row = messages.Row(child.peer, True, child.ack, child.remark)
                        outputs += self._told(link, row, now)
                case publisher.ChildDown(child):
                    self.convergence.link_down(child.link, now)
                    self.sightings.link_down(child.link)
                case publisher.ChildRollup(link, rollup):
                    outputs += self._rolled(link, rollup, now)
                case publisher.UpwardOffer(link, offer):
                    outputs += self._offered(offer)
                case publisher.UpwardChunk():
                    pass  # never asked for
                case asks.Answered(number) if number in self._raising:
                    del self._raising[number]
                case _:
                    outputs.append(one)
        return tuple(outputs)

    def _rolled(self, link: names.LinkId, rollup: messages.Rollup, now: float) -> list[Output]:
        """An IC is believed about the servers of its own site and about nothing else (I11)."""
        child = self.publisher.children[link]
        site = topology.site_of_ic(self.served.expanded, child.admit.server)
        if site is None:
            return []
        waiting = self._standing.parked
        parked = [row for row in rollup.rows if row.server in waiting] if waiting else []
        self.sightings.rows(link, parked, full=rollup.full)
        rows = self._believed(rollup.rows, site)
        self.convergence.rows(link, rollup.full, rows, now)
        return [output for row in rows for output in self._noted(row)]

    def _believed(self, rows: Iterable[messages.Row], site: names.SiteName) -> list[messages.Row]:
        """Its own site's servers; of others only that a link has ended (a server that was parked meanwhile)."""
        believed: list[messages.Row] = []
        sites = self._standing.sites
        for row in rows:
            if sites.get(row.server) == site:
                believed.append(row)
            elif not row.linked and row.server in self.convergence.facts:
                believed.append(messages.Row(row.server, False, None))
        return believed

    @property
    def _standing(self) -> _Standing:
        admissions, revoked = self.served.content.admissions, self._keyring.revoked
        if self._stood.admissions is not admissions or self._stood.revoked is not revoked:
            self._stood = _Standing.of(admissions, revoked)
        return self._stood

    def _told(self, link: names.LinkId, row: messages.Row, now: float) -> tuple[Output, ...]:
        self.convergence.row(link, row, now)
        return self._noted(row)

    def _noted(self, row: messages.Row) -> tuple[Output, ...]:
        """What else follows of a row that is in the picture."""
        asked = self.convergence.asked.get(row.server)
        if row.ack is not None:
            self._mind(row.server, row.ack, linked=row.linked)
        if asked is None or not asked.leaving:
            return ()
        released = self.convergence.facts[row.server].sync is convergence.Sync.CONVERGED
        return (Released(row.server),) if released else ()

    def _mind(self, server: names.ServerId, ack: messages.AckState, *, linked: bool) -> None:
        """Keep in mind who is not believed, since we have heard it under a greater number before."""
        known = self.convergence.facts[server].ack
        if known is not None and known is not ack and ack.epoch < known.epoch:
            if linked:
                self._deaf[server] = known.epoch.boot
            return
        self.publisher.remember(server, ack.epoch)
        if linked and self._deaf:  # what a relay remembers of a link that has ended says nothing of today
            self._deaf.pop(server, None)

    def _raise_boots(self, now: float) -> tuple[Output, ...]:
        """Ask them to raise their counters; its IC cannot know what it said at another site, or before the IC began."""
        outputs: list[Output] = []
        for server, boot in self._deaf.items():
            if server in self._raising.values() or self._way(server) is None:
                continue
            self._raises -= 1  # the tier's own numbers are positive
            self._raising[self._raises] = server
            outputs += self.ask(self._raises, server, asks.RAISE_BOOT, str(boot).encode(), now)
        return tuple(outputs)

    def _offered(self, offer: messages.Offer) -> list[Output]:
        """A child is ahead: never taken, but a verified newer target means that our history is not the newest."""
        content = self.served.content
        keyring = self._keyring
        for raw in offer.objects:
            try:
                signed = mirror.verify(raw, keyring)
            except errors.SignatureError:
                continue
            if isinstance(signed, mirror.SignedTrust):
                keyring = signing.Keyring(self._cluster, signed.content)
            if (
                isinstance(signed, mirror.SignedTarget)
                and self._is_newer(signed.content)
                and not self._recovering
            ):
                self._recovering = True
                reason = f"a server has {signed.content.version}, the store {content.version}"
                return [NeedsRecovery(signed.content.version, reason)]
        return []

    def _is_newer(self, target: objects.Target) -> bool:
        return target.serial > self.served.content.numbers.target
