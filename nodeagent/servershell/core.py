"""ServerShell, the root process of a server, as one machine: follows a parent, keeps the nodes that the accepted
document wants, passes the configuration on to them, and says the truth about all of it.

Order of an apply: durable in the ledger, then `accepted` is told, then nodes that are no longer needed stop, then
the needed ones start and those that stay get their parameters. Attempts to reach a parent delay none of it.
Law: `applied <= accepted`; what runs is always of the accepted version or of a node's last good one; no node stops
because a parent is away.
"""

from collections.abc import Iterable

import msgspec

from coordinator import limits, names
from coordinator.config import expansion
from coordinator.propagation import (
    asks,
    bodies,
    gates,
    holding,
    intake,
    messages,
    mirror,
    objects,
    publisher,
    subscriber,
)
from coordinator.propagation import events as hop
from nodeagent.servershell import acks, crew, events, node, places, status, verbs

Input = hop.Input | events.NodeInput
Output = (
    hop.Dial
    | hop.Send
    | hop.Authenticated
    | hop.Close
    | hop.Store
    | hop.Judge
    | hop.Note
    | asks.Asked
    | asks.Answered
    | events.SpawnNode
    | events.SignalNode
    | events.NodeGone
    | events.RaiseBoot
    | events.Renew
    | events.AllStopped
)
_Inner = subscriber.Output | publisher.Output | asks.Output

_OUTWARD = (
    hop.Dial,
    hop.Send,
    hop.Authenticated,
    hop.Close,
    hop.Store,
    hop.Judge,
    hop.Note,
    asks.Answered,
)
_BOOT_DIGITS = 18  # of a counter that fits the wire's 64 bits
_OWN = asks.Owner(None, 0)
_NO_LINK = names.LinkId(0)
UNIX_PEER = "process "
"""How the peer of a Unix socket is called; no server id looks like it."""


class Shell:
    """See the module. `boot` is the durable counter of this start."""

    def __init__(
        self,
        me: subscriber.Me,
        content: mirror.Content,
        shelf: bodies.Shelf,
        boot: int,
        joined: tuple[hop.Parent, ...],
        floor: names.Version = names.NO_VERSION,
    ) -> None:
        """`joined` are the connection points of the identity, tried last and by servers without a place; `floor` is
        what was accepted before, where its body is lost.
        """
        self.me = me
        self.crew = crew.Crew()
        self.reader = gates.Reader()
        self.intake = intake.Intake(content, shelf, me.cluster, self._check, floor=floor, own=me.server_id)
        self.intake.hold(lambda: self._state is objects.AdmissionState.PLACED)
        self.subscriber = subscriber.Subscriber(me, self.intake, boot)
        self.peers = publisher.Publisher(me.cluster, me.server_id, content, shelf, self._gate_peer)
        nothing_yet = mirror.Content(content.trust)  # nodes get the accepted copy once nothing unwanted runs
        self.below = publisher.Publisher(me.cluster, me.server_id, nothing_yet, shelf, self._gate_local)
        self.asks = asks.Asks()
        self._joined = joined
        self._epoch = names.Epoch(boot, 0)
        self._refused: tuple[names.Version, names.Digest, intake.Refusal] | None = None
        self._said: acks.Verdict | None = None
        self._papers = status.Papers()
        self._now = 0.0

    # --- what is known --------------------------------------------------------------------------------------------

    @property
    def nodes(self) -> dict[names.NodeName, node.Node]:
        return self.crew.nodes

    @property
    def content(self) -> mirror.Content:
        return self.intake.content

    @property
    def admission(self) -> objects.Admission | None:
        """The own one."""
        own = self.content.admissions.get(self.me.server_id)
        return None if own is None else own.content

    @property
    def expanded(self) -> expansion.Expanded | None:
        """The accepted document."""
        return self.reader.read(self.content.digest, self.intake.shelf.get(self.content.digest))

    @property
    def placed(self) -> bool:
        """Whether the accepted document names this server."""
        return places.is_placed(self.admission, self.expanded)

    @property
    def deadline(self) -> float:
        """When `Tick` is due."""
        asked = self.asks.deadline
        known = [*self.crew.deadlines, *([] if asked is None else [asked])]
        return min(self.subscriber.deadline, self.peers.deadline, self.below.deadline, *known)

    @staticmethod
    def _check(body: bytes) -> intake.Refusal | None:
        """The own look at a document before it is accepted: it must at least be readable here."""
        try:
            gates.Reader().read(bodies.digest_of(body), body)
        except (msgspec.MsgspecError, ValueError) as problem:
            return intake.Refusal("invalid_document", str(problem))
        return None

    # --- gates ----------------------------------------------------------------------------------------------------

    def _gate_peer(self, peer: names.ServerId, hello: messages.Hello, proof: hop.Proof) -> gates.Verdict:
        situation = gates.Situation(self.content, self.intake.keyring, None)
        return gates.judge(gates.SHELL, situation, peer, hello, proof)

    def _gate_local(self, peer: names.ServerId, hello: messages.Hello, _proof: hop.Proof) -> gates.Verdict:
        if not peer.startswith(UNIX_PEER):
            return publisher.Refuse("only over the local socket")
        own = self.admission
        server = names.ServerName("") if own is None else own.name
        if hello.kind is messages.ChildKind.LOCAL:
            return publisher.Admit(publisher.Scope.NOTHING, server)
        if hello.kind is messages.ChildKind.NODE and hello.name in self.nodes:
            return publisher.Admit(publisher.Scope.NODE, server)
        return publisher.Refuse(f"no node of this server (got {hello.name[:64]})")

    # --- inputs ---------------------------------------------------------------------------------------------------

    def handle(self, event: Input, now: float) -> tuple[Output, ...]:
        """One input; see `propagation` for the order of acts."""
        self._now = now
        outputs: list[Output] = []
        if isinstance(event, events.NodeInput):
            outputs += self._node_input(event, now)
        else:
            outputs += self._hop_input(event, now)
        outputs += self._say()  # accepted is said before any process is touched
        outputs += self._steer(now)
        return (*outputs, *self._say())

    def booted(self, boot: int) -> tuple[Output, ...]:
        """The boot counter was raised: everything is told again under it."""
        self.subscriber.boot = boot
        self._epoch = names.Epoch(boot, self._epoch.seq)
        self._said = None
        return self._say()

    def shows(self, papers: status.Papers, now: float) -> tuple[Output, ...]:
        """The certificate in use is this one now, or has run out."""
        self._papers, self._now = papers, now
        return self._say()

    def redial(self, now: float) -> tuple[Output, ...]:
        """As `Subscriber.redial`."""
        return tuple(self._through(self.subscriber.redial(now), now))

    def takes(self, objects_: tuple[bytes, ...], now: float) -> tuple[Output, ...]:
        """Signed objects that MIC sent along with an answer; taken like those of an offer."""
        return tuple(self._through(self.intake.offered(_NO_LINK, messages.Offer(objects_, None)), now))

    def answer(
        self, link: names.LinkId, ask_id: int, code: str, data: bytes, now: float
    ) -> tuple[Output, ...]:
        """Answer an `Asked`."""
        return tuple(self._through(self.asks.answer(link, ask_id, code, data), now))

    def ask(self, number: int, verb: str, data: bytes, now: float) -> tuple[Output, ...]:
        """Ask MIC in this server's own name, under a number above 0; ends in `Answered(number, ...)`."""
        owner = asks.Owner(None, number)
        return tuple(self._through(self.asks.ask(owner, self.subscriber.link, verb, "", data, now), now))

    @property
    def _state(self) -> objects.AdmissionState | None:
        own = self.admission
        return None if own is None else own.state

    @property
    def prepared(self) -> bytes | None:
        """The document of the prepared revision, where it is held."""
        held = self.intake.holding
        return self.intake.shelf.get(held.digest) if held.stage is holding.Stage.HELD else None

    def drained(self, link: names.LinkId, now: float) -> tuple[Output, ...]:
        """All that was written to that link has left."""
        side = self.below if self.below.owns(link) else self.peers
        return tuple(self._through(side.drained(link, now), now))

    def _hop_input(self, event: hop.Input, now: float) -> list[Output]:
        match event:
            case hop.Heard(link, messages.Ask() as ask) if (
                link in self.peers.children and not self.peers.may_ask(link, ask.verb)
            ):
                return [asks.refusal(link, ask)]
            case hop.Heard(link, messages.Ask() as ask) if self._known(link):
                return self._through(self.asks.asked(link, ask), now)
            case hop.Heard(link, messages.Answer() as answer) if self._known(link):
                return self._through(self.asks.answered(link, answer), now)
            case hop.Tick():
                outputs = self._through(self.asks.tick(now), now)
                for part in (self.subscriber, self.peers, self.below):
                    outputs += self._through(part.handle(event, now), now)
                return [*outputs, *self.crew.look(now)]
            case hop.Arrived(peer=peer):
                side = self.below if peer.startswith(UNIX_PEER) else self.peers
                return self._through(side.handle(event, now), now)
            case hop.Gone(link):
                outputs = self._through(self.asks.gone(link), now)
                return outputs + self._through(self._side(link).handle(event, now), now)
            case hop.Heard(link):
                return self._through(self._side(link).handle(event, now), now)
            case _:
                return self._through(self.subscriber.handle(event, now), now)

    def _known(self, link: names.LinkId) -> bool:
        """Whether both ends have greeted each other; before that nothing is asked."""
        return link in self.below.children or link in self.peers.children or link == self.subscriber.link

    def _side(self, link: names.LinkId) -> subscriber.Subscriber | publisher.Publisher:
        if self.below.owns(link):
            return self.below
        return self.peers if self.peers.owns(link) else self.subscriber

    def _through(self, inner: Iterable[_Inner], now: float) -> list[Output]:
        outputs: list[Output] = []
        for one in inner:
            if isinstance(one, _OUTWARD):
                outputs.append(one)
            elif isinstance(one, asks.Asked):
                outputs += self._asked(one, now)
            else:
                outputs += self._inside(one, now)
        return outputs

    def _inside(self, one: _Inner, now: float) -> list[Output]:
        match one:
            case intake.Changed():
                return self._changed(now)
            case intake.Refused(version, digest, refusal):
                self._refused = (version, digest, refusal)
            case subscriber.Freshened(raw):
                self.peers.freshen(raw)
                self.below.freshen(raw)
            case subscriber.TellAgain():
                self._said = None
            case subscriber.RaiseBoot(known):
                return self._raise_boot(known)
            case publisher.UpwardOffer(link, offer):
                return self._through(self.intake.offered(link, offer, below=True), now)
            case publisher.UpwardChunk(link, chunk):
                return self._through(self.intake.piece(link, chunk), now)
            case publisher.ChildUp() | publisher.ChildAck() | publisher.ChildDown():
                self._child(one)
            case _:
                pass
        return []

    def _child(self, event: publisher.ChildUp | publisher.ChildAck | publisher.ChildDown) -> None:
        match event:
            case publisher.ChildUp(link):
                child = self.below.children.get(link)
                one = self._node_of(child)
                if child is not None and one is not None:
                    one.linked(link, child.ack)
            case publisher.ChildAck(link, state):
                one = self._node_of(self.below.children.get(link))
                if one is not None and one.link == link:
                    one.ack = state
            case publisher.ChildDown(child):
                self.intake.gone(child.link)
                one = self._node_of(child)
                if one is not None and one.link == child.link:
                    one.link, one.ack = None, None

    def _node_of(self, child: publisher.Child | None) -> node.Node | None:
        """A node's ack lives as long as its newest link: a node that cannot be heard is not ready."""
        if child is None or child.hello.kind is not messages.ChildKind.NODE:
            return None
        return self.nodes.get(names.NodeName(child.hello.name))

    # --- configuration --------------------------------------------------------------------------------------------

    def _changed(self, now: float) -> list[Output]:
        """Something newer is durable: another target, trust, or the own admission."""
        if self._refused is not None and self._refused[0] <= self.content.version:
            self._refused = None
        self.crew.trust = self.content.trust.raw
        own, expanded = self.admission, self.expanded
        self.crew.plan(places.nodes(own, expanded))
        outputs = self._through(self.peers.publish(self.content), now)
        parents = places.parents(own, expanded, self._joined)
        return outputs + self._through(self.subscriber.follow(parents, now), now)

    # --- nodes ----------------------------------------------------------------------------------------------------

    def _node_input(self, event: events.NodeInput, now: float) -> list[Output]:
        match event:
            case events.Begin():
                self.crew.began = True
                return self._changed(now)
            case events.Retry():
                return self._retry(now)
            case events.StopNodes():
                self.crew.stop()
                return []
            case events.Rest():
                self.crew.rest(on=True)
                return []
            case _:
                return list(self.crew.heard(event, now))

    def _retry(self, now: float) -> list[Output]:
        """Here, and in every node that can be heard: what was refused there is remembered there."""
        self.intake.again()
        self.crew.rest(on=False)
        self._refused = None
        outputs: list[Output] = []
        for one in self.nodes.values():
            one.configured()
            if one.link is not None:
                outputs += self._through(self.asks.ask(_OWN, one.link, asks.RETRY, "", b"", now), now)
        return outputs

    def _steer(self, now: float) -> list[Output]:
        """One step; once nothing unwanted runs, what is wanted gets the configuration."""
        step = self.crew.steer(now)
        outputs: list[Output] = list(step.outputs)
        if step.settled and self.below.content is not self.content:
            outputs += self._through(self.below.publish(self.content), now)
        return outputs

    # --- asks -----------------------------------------------------------------------------------------------------

    def _asked(self, asked: asks.Asked, now: float) -> list[Output]:
        match verbs.judge(asked, self._asker(asked.link)):
            case verbs.Fate.STATUS:
                return self._answered(asked, "", msgspec.json.encode(self.status(now)), now)
            case verbs.Fate.RAISE_BOOT:
                return self._answered(asked, "", b"", now) + self._overtake(asked.data)
            case verbs.Fate.LOOK:
                return [asked]  # looks at the machine, so the shell answers
            case verbs.Fate.UPWARDS:
                owner, up = asks.Owner(asked.link, asked.id), self.subscriber.link
                return self._through(self.asks.ask(owner, up, asked.verb, "", asked.data, now), now)
            case verbs.Fate.ACT:
                return self._answered(asked, "", b"", now) + self._node_input(verbs.LOCAL[asked.verb], now)
            case verbs.Fate.RENEW:
                renew = events.Renew(new_key=asked.data == b"new key")
                return [*self._answered(asked, "", b"", now), renew]
            case verbs.Fate.REFUSE:
                return self._answered(asked, "not_allowed", b"", now)

    def _asker(self, link: names.LinkId) -> verbs.Asker:
        if link == self.subscriber.link:
            return verbs.Asker.PARENT
        if link in self.peers.children:
            return verbs.Asker.PEER
        child = self.below.children.get(link)
        is_local = child is not None and child.hello.kind is messages.ChildKind.LOCAL
        return verbs.Asker.LOCAL if is_local else verbs.Asker.OTHER

    def _answered(self, asked: asks.Asked, code: str, data: bytes, now: float) -> list[Output]:
        return self._through(self.asks.answer(asked.link, asked.id, code, data), now)

    def _overtake(self, data: bytes) -> list[Output]:
        """The field has heard us under a greater number: what we say now would not be believed."""
        if not data.isdigit() or len(data) > _BOOT_DIGITS or int(data) < self._epoch.boot:
            return []
        return self._raise_boot(int(data))

    def _raise_boot(self, known: int) -> list[Output]:
        """Not without bound: a parent that lies must not use up a counter that never falls."""
        known = min(known, self._epoch.boot + limits.BOOTS_AT_ONCE)
        return [events.RaiseBoot(known)] if known < limits.BOOTS else []

    def status(self, now: float) -> status.Status:
        """What this server says of itself."""
        own, said, parent = self.admission, self._said or self._verdict(), self.subscriber.parent
        stale = self.subscriber.stale_since(now)
        state = "unknown" if own is None else own.state.value
        return status.Status(
            server="" if own is None else own.name,
            site="" if own is None else own.site,
            state="leaving" if state == "placed" and not self.placed else state,
            accepted=str(self.content.version),
            digest=self.content.digest,
            level=said.level.word,
            outcome=said.outcome.value,
            detail=f"{said.code}: {said.detail}" if said.code else said.detail,
            boot=self._epoch.boot,
            parent="" if parent is None else f"{parent.server} {parent.address}:{parent.port}".strip(),
            turned_away="" if parent is not None else self.subscriber.turned_away,
            stale_since_s=None if stale is None else now - stale,
            nodes=tuple(status.of_node(one) for _name, one in sorted(self.nodes.items())),
            certificate_until=self._papers.until,
            certificate_expired=self._papers.expired,
            public_key=self._papers.public_key,
        )

    # --- the own ack ----------------------------------------------------------------------------------------------

    def _verdict(self) -> acks.Verdict:
        content = self.content
        if self._refused is not None:
            found = acks.refused(*self._refused)
        elif content.target is None:
            found = acks.WAITS
        else:
            found = acks.roll_up(content.version, content.digest, self.nodes, placed=self.placed)
        placed = self._state is objects.AdmissionState.PLACED  # others are not shown what MIC speaks of
        since = (
            self.subscriber.stale_since(self._now) if placed and self.subscriber.link is not None else None
        )
        remark = acks.remark(self.intake.distrust, self._papers, stale=since is not None)
        code, detail = (found.code, found.detail) if found.code else remark
        return msgspec.structs.replace(
            found, code=code, detail=detail, holds=content.numbers, issuer=self._papers.issuer
        )

    def _say(self) -> tuple[Output, ...]:
        """Tell the parent as soon as the truth has changed."""
        waits = self._state is objects.AdmissionState.PARKED
        if not self.crew.began or (self.content.target is None and not waits):
            return ()
        verdict = self._verdict()
        if verdict == self._said:
            return ()
        self._said = verdict
        self._epoch = names.Epoch(self._epoch.boot, self._epoch.seq + 1)
        told = self.subscriber.tell(verdict.state(self._epoch))
        facts = {
            "revision": str(verdict.version),
            "reached": verdict.level.word,
            "outcome": verdict.outcome.value,
        }
        note = hop.Note(hop.Severity.INFO, "server acks", facts)
        return (note, *(one for one in told if isinstance(one, _OUTWARD)))
