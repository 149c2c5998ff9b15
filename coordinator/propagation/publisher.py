"""The parent's side of a hop: who is linked, what each has been offered, what each has said.

One small `Child` per link. The tier decides by its `Gate` who may see what; the gate is asked again whenever the
content changes, so that a server that a revision places or removes is told so over the link it has.

Rules: an offer holds only what is newer than the child's numbers, and is encoded once for all children that need the
same; a target that a child refused is not sent to it again; at most `limits.SENDS_UNDER_WAY` pieces of bodies are under
way; a child that is silent for `limits.SILENT_S` is closed; a slow child costs only itself.
"""

from coordinator import limits, names
from coordinator.propagation import (
    asks,
    bodies,
    children,
    claims,
    events,
    messages,
    mirror,
    objects,
    offering,
    pieces,
    scopes,
    twins,
)

Scope = scopes.Scope
Admit = children.Admit
Refuse = children.Refuse
Gate = children.Gate
Child = children.Child
ChildUp = children.ChildUp
ChildRemarked = children.ChildRemarked
ChildDown = children.ChildDown
ChildAck = children.ChildAck
ChildRollup = children.ChildRollup
UpwardOffer = children.UpwardOffer
UpwardChunk = children.UpwardChunk

Output = (
    events.Send
    | events.Authenticated
    | events.Close
    | events.Note
    | ChildUp
    | ChildRemarked
    | ChildDown
    | ChildAck
    | ChildRollup
    | UpwardOffer
    | UpwardChunk
)


class Publisher:
    """See the module. The tier sets `content` by `publish` only."""

    def __init__(
        self,
        cluster: names.ClusterId,
        server_id: names.ServerId,
        content: mirror.Content,
        shelf: bodies.Shelf,
        gate: Gate,
    ) -> None:
        self.children: dict[names.LinkId, Child] = {}
        self.content = content
        self._cluster = cluster
        self._server_id = server_id
        self._shelf = shelf
        self._gate = gate
        self._epochs: dict[names.ServerId, names.Epoch] = {}
        """The greatest that each server has spoken under."""
        self._waiting: dict[names.LinkId, float] = {}
        self._peers: dict[names.LinkId, events.Arrived] = {}
        self._bodies = pieces.Pieces(shelf)
        self._twins = twins.Twins()
        self.deadline = 0.0
        """When `Tick` is due."""
        self._beat_at = 0.0
        self.fresh = b""

    # --- what the tier asks ---------------------------------------------------------------------------------------

    def publish(self, content: mirror.Content, *, same_rights: bool = False) -> tuple[Output, ...]:
        """The content has changed: ask the gate again, then offer to whoever is behind.

        `same_rights`: nothing that the gate looks at has changed, so that it need not be asked.
        """
        self.content = content
        outputs: list[Output] = []
        for child in () if same_rights else list(self.children.values()):
            outputs += self._regate(child)
        return (*outputs, *self._offer(tuple(self.children.values())))

    def remember(self, server: names.ServerId, epoch: names.Epoch) -> None:
        """The server spoke under this, perhaps to somebody else."""
        known = self._epochs.get(server)
        if known is None or epoch > known:
            self._epochs[server] = epoch

    def _known_boot(self, peer: names.ServerId, hello: messages.Hello) -> int:
        """For the welcome: greater than the child's own if it speaks under a number that it has used up before.

        That is so after its disk was lost or restored; under such a number nobody would believe it.
        """
        known = self._epochs.get(peer)
        if known is None:
            return 0
        shown = names.Epoch(hello.boot, 0) if hello.ack is None else hello.ack.epoch
        return known.boot + 1 if shown < known and hello.boot == known.boot else known.boot

    def freshen(self, raw: bytes) -> None:
        """A newer sign of life of MIC: it goes out with the next heartbeat."""
        self.fresh = raw

    def by_peer(self, peer: names.ServerId, kind: messages.ChildKind) -> Child | None:
        """The newest link of that server and kind."""
        found = [c for c in self.children.values() if c.peer == peer and c.hello.kind is kind]
        return found[-1] if found else None

    def say_bye(self, reason: str, retry_after_s: float) -> tuple[Output, ...]:
        """Close every link politely."""
        links = tuple(self.children)
        if not links:
            return ()
        closes: list[Output] = []
        for link in links:
            closes += self._drop(link, reason)
        return (events.Send(links, messages.Bye(reason, retry_after_s)), *closes)

    # --- inputs ---------------------------------------------------------------------------------------------------

    def handle(self, event: events.Input, now: float) -> tuple[Output, ...]:
        """Inputs that do not concern children are ignored."""
        match event:
            case events.Heard():
                child = self.children.get(event.link)
                if child is not None:
                    return self._heard(child, event.frame, now)
                return self._greet(event.link, event.frame, now) if event.link in self._waiting else ()
            case events.Tick():
                return self._tick(now)
            case events.Arrived():
                self._waiting[event.link] = now
                self._peers[event.link] = event
                return ()
            case events.Gone():
                return self._gone(event.link, event.reason)
            case _:
                return ()

    def may_ask(self, link: names.LinkId, verb: str) -> bool:
        """Whether that child may ask anything of this kind at all; which verbs there are is each tier's own table."""
        child = self.children.get(link)
        return child is not None and (not child.admit.expired or verb in asks.OF_EXPIRED)

    def owns(self, link: names.LinkId) -> bool:
        """Whether that link came from a child."""
        return link in self.children or link in self._waiting

    def _tick(self, now: float) -> tuple[Output, ...]:
        if now < self.deadline:
            return ()
        self.deadline = now + limits.HEARTBEAT_S / 2
        outputs: list[Output] = []
        for link, since in list(self._waiting.items()):
            if now - since > limits.HELLO_S:
                outputs += self._drop(link, "no hello")
        for child in list(self.children.values()):
            if now - child.heard > limits.SILENT_S:
                outputs += self._drop(child.link, "silent")
            elif child.doubled and not self._twins.doubled(_key(child), now):
                child.doubled = False
                outputs.append(ChildRemarked(child.link))
        if now >= self._beat_at:
            self._beat_at = now + limits.HEARTBEAT_S
            outputs += self._beat()
        return (*outputs, *self._bodies.tick(now))

    def _beat(self) -> list[Output]:
        groups: dict[objects.Numbers, list[names.LinkId]] = {}
        for child in self.children.values():
            groups.setdefault(offering.due(self.content, child), []).append(child.link)
        return [
            events.Send(tuple(links), messages.Heartbeat(self.fresh, numbers, 0))
            for numbers, links in groups.items()
        ]

    # --- greeting -------------------------------------------------------------------------------------------------

    def _greet(self, link: names.LinkId, frame: messages.AnyFrame, now: float) -> tuple[Output, ...]:
        if not isinstance(frame, messages.Hello):
            return self._drop(link, f"{type(frame).__name__.lower()} before hello")
        peer, proof = self._peers[link].peer, self._peers[link].proof
        verdict = self._judge(peer, frame, proof)
        if isinstance(verdict, Refuse):
            bye = messages.Bye(verdict.reason, verdict.retry_after_s)
            facts = {"peer": peer, "kind": frame.kind.value, "reason": verdict.reason}
            note = events.Note(events.Severity.INFO, "child refused", facts)
            return (note, events.Send((link,), bye), *self._drop(link, verdict.reason))
        outputs: list[Output] = []
        for older in [c for c in self.children.values() if _same_child(c, peer, frame)]:
            outputs += self._displaced(older, frame, now)
        del self._waiting[link]
        ack = None if frame.ack is None else _claimed(verdict.scope, frame.ack)
        child = Child(link, peer, frame, verdict, frame.numbers, now, ack, holds=frame.base, proof=proof)
        child.doubled = self._twins.doubled(_key(child), now)
        child.sent = offering.sent_at_first(self.content, frame)
        self.children[link] = child
        own = self.content.admissions.get(self._server_id)
        admission = b"" if own is None or verdict.scope is Scope.NODE else own.raw
        known = 0 if verdict.scope is Scope.NODE else self._known_boot(peer, frame)
        if ack is not None and verdict.scope is not Scope.NODE:
            self.remember(peer, ack.epoch)
        due, trust = offering.due(self.content, child), self.content.trust
        newer = verdict.scope is not Scope.NODE and frame.numbers.trust < trust.content.serial
        shown = trust.raw if newer else b""
        welcome = messages.Welcome(messages.PROTOCOL, self._cluster, known, due, admission, shown)
        known_as = events.Authenticated(link, frame.kind in messages.PEOPLE)
        outputs += [known_as, events.Send((link,), welcome), ChildUp(link)]
        return (*outputs, *self._offer((child,)))

    def _displaced(self, older: Child, hello: messages.Hello, now: float) -> tuple[Output, ...]:
        dropped = self._drop(older.link, "the same child came again")
        if not self._twins.taken_over(_key(older), older.heard, now):
            return dropped
        facts: dict[str, str | int] = {
            "peer": older.peer,
            "server": older.admit.server,
            "kind": hello.kind.value,
        }
        facts |= {"name": hello.name, "boots": f"{older.hello.boot} and {hello.boot}"}
        return (events.Note(events.Severity.WARNING, "two machines with one identity", facts), *dropped)

    def _judge(self, peer: names.ServerId, hello: messages.Hello, proof: events.Proof) -> Admit | Refuse:
        if hello.cluster != self._cluster:
            return Refuse(
                f"another cluster (got {hello.cluster[:32]}, have {self._cluster})",
                limits.BACKOFF_CLAMP_MAX_S,
            )
        if abs(hello.protocol - messages.PROTOCOL) > 1:
            reason = f"protocol too far away (got {hello.protocol}, have {messages.PROTOCOL})"
            return Refuse(reason, limits.BACKOFF_CLAMP_MAX_S)
        return self._gate(peer, hello, proof)

    def _regate(self, child: Child) -> tuple[Output, ...]:
        verdict = self._judge(child.peer, child.hello, child.proof)
        if isinstance(verdict, Admit):
            child.admit = verdict
            return ()
        bye = messages.Bye(verdict.reason, verdict.retry_after_s)
        return (events.Send((child.link,), bye), *self._drop(child.link, verdict.reason))

    # --- offering -------------------------------------------------------------------------------------------------

    def _offer(self, below: tuple[Child, ...]) -> tuple[Output, ...]:
        """What each child lacks, grouped so that each different frame is made and encoded once."""
        outputs: list[Output] = []
        for lack, links in offering.grouped(self.content, below).items():
            body = self._shelf.inline(lack.wants, lack.base) if lack.wants else None
            offers = offering.frames(self.content, lack.raws, body, lack.after)
            outputs += [events.Send(tuple(links), offer) for offer in offers]
        return tuple(outputs)

    # --- frames ---------------------------------------------------------------------------------------------------

    def _heard(self, child: Child, frame: messages.AnyFrame, now: float) -> tuple[Output, ...]:
        match frame:  # what comes most stands first
            case messages.Ack():
                state = self.acked(child, frame.state, now)
                return () if state is None else (ChildAck(child.link, state),)
            case _:
                child.heard = now
        match frame:
            case messages.Heartbeat():
                return self._beaten(child, frame)
            case messages.Pull():
                child.pulled = frame.digest
                may = child.admit.scope in scopes.PULLS
                return self._bodies.pulled(child.link, frame, now) if may else ()
            case messages.Rollup():
                return self._rolled(child, frame)
            case messages.Newest():
                child.sent = frame.numbers
                return self._offer((child,))
            case messages.Offer() | messages.Chunk():
                return self._given(child, frame)
            case messages.Bye():
                return self._drop(child.link, f"bye: {frame.reason}")
            case _:
                return ()

    def _given(self, child: Child, frame: messages.Offer | messages.Chunk) -> tuple[Output, ...]:
        """From a child that is ahead of us."""
        if child.admit.scope not in scopes.OFFERS or child.admit.expired:
            return ()
        if isinstance(frame, messages.Chunk):
            return (UpwardChunk(child.link, frame),)
        if len(frame.objects) > limits.OBJECTS_UPWARD:
            return self._drop(child.link, f"offers too much (got {len(frame.objects)} objects)")
        return (UpwardOffer(child.link, frame),)

    def drained(self, link: names.LinkId, now: float) -> tuple[Output, ...]:
        """All that was written to that link has left: another piece may be sent."""
        return self._bodies.drained(link, now)

    def acked(self, child: Child, told: messages.AckState, now: float) -> messages.AckState | None:
        """The child says how far it is: what counts of it, None where nothing does or it is known already."""
        child.heard = now
        state = _claimed(child.admit.scope, told)
        if state is None or (child.ack is not None and state.epoch <= child.ack.epoch):
            return None  # repeated or out of order
        child.ack = state
        if child.admit.scope is not Scope.NODE:
            self.remember(child.peer, state.epoch)
        if state.level >= messages.Level.ACCEPTED and state.outcome is not messages.Outcome.REFUSED:
            child.holds = state.digest
        return state

    def _rolled(self, child: Child, rollup: messages.Rollup) -> tuple[Output, ...]:
        if child.admit.scope not in scopes.ROLLS_UP or rollup.seq <= child.rollup_seq:
            return ()
        if child.admit.expired:
            return ()  # it speaks of others with a certificate that has run out
        if not rollup.full and rollup.seq != child.rollup_seq + 1:
            return ()  # a gap: the next heartbeats show it, and the whole is asked for
        child.rollup_seq = rollup.seq
        rows = claims.fitting_rows(rollup.rows)
        digest = self.content.digest
        if child.holds != digest and any(row.ack is not None and row.ack.digest == digest for row in rows):
            child.holds = digest  # its servers have it from nobody else; a wrong guess costs a full pull
        return (ChildRollup(child.link, messages.Rollup(rollup.seq, rollup.full, rows)),)

    def _beaten(self, child: Child, beat: messages.Heartbeat) -> tuple[Output, ...]:
        """Two heartbeats in a row that show something lost: offer, or ask, again."""
        if beat.numbers.target == self.content.numbers.target:
            child.holds = self.content.digest  # an IC says so in no ack; without this every delta would miss
        told = child.rollup_seq
        if child.admit.scope is not Scope.EVERYTHING:
            told = 0 if child.ack is None else child.ack.epoch.seq
        lost = beat.numbers.trust < child.sent.trust or beat.numbers.admission < child.sent.admission
        behind = lost or (beat.numbers.target < child.sent.target and not _refuses(child, self.content))
        heeded = child.admit.scope is not Scope.EVERYTHING or not child.admit.expired
        deaf = heeded and beat.told != told
        child.missing = child.missing + 1 if behind or deaf else 0
        if child.missing < 2:
            return ()
        child.missing = 0
        outputs: list[Output] = []
        if deaf:
            outputs.append(events.Send((child.link,), messages.Newest(objects.Numbers())))
        if behind:
            child.sent = beat.numbers
            outputs += self._offer((child,))
        return tuple(outputs)

    # --- leaving --------------------------------------------------------------------------------------------------

    def _drop(self, link: names.LinkId, reason: str) -> tuple[Output, ...]:
        return (events.Close(link, reason), *self._gone(link, reason))

    def _gone(self, link: names.LinkId, reason: str) -> tuple[Output, ...]:
        self._waiting.pop(link, None)
        self._peers.pop(link, None)
        self._bodies.gone(link)
        child = self.children.pop(link, None)
        return () if child is None else (ChildDown(child, reason),)


def _key(child: Child) -> twins.Key:
    return child.peer, child.hello.kind, child.hello.name


def _same_child(child: Child, peer: names.ServerId, hello: messages.Hello) -> bool:
    """A worker node is known by its name alone: its peer is a process, and no two may be one node."""
    same = child.hello.kind is hello.kind and child.hello.name == hello.name
    return same and (child.peer == peer or hello.kind is messages.ChildKind.NODE)


def _claimed(scope: Scope, ack: messages.AckState) -> messages.AckState | None:
    """What counts of an ack, and whether one counts at all."""
    if scope not in scopes.ACKS:
        return None
    return claims.fitting_of_node(ack) if scope is Scope.NODE else claims.fitting(ack)


def _refuses(child: Child, content: mirror.Content) -> bool:
    ack = child.ack
    return ack is not None and ack.outcome is messages.Outcome.REFUSED and ack.version == content.version
