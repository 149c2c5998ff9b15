"""An IC (Site Infrastructure Configurator) as one machine: mirrors MIC, serves the servers of its site, rolls up acks.

It composes the two sides of a hop and adds three things: the table of acks, the relaying of asks by server, and
draining. What it may not do: invent or alter anything signed, or say anything of a server whose link it never held.
"""

from collections.abc import Iterable

import msgspec

from coordinator import names
from coordinator.propagation import (
    acks,
    asks,
    bodies,
    drain,
    events,
    gates,
    intake,
    messages,
    mirror,
    publisher,
    subscriber,
)


class Drained(msgspec.Struct, frozen=True):
    """Output: every linked child has accepted the newest configuration, or the time is over."""


Output = (
    events.Dial
    | events.Send
    | events.Authenticated
    | events.Close
    | events.Store
    | events.Judge
    | events.Accepted
    | events.Note
    | asks.Asked
    | asks.Answered
    | Drained
)
_Inner = subscriber.Output | publisher.Output | asks.Output


_OUTWARD = (
    events.Dial,
    events.Send,
    events.Authenticated,
    events.Close,
    events.Store,
    events.Judge,
    events.Accepted,
    events.Note,
)


class Relay:
    """See the module."""

    def __init__(
        self,
        me: subscriber.Me,
        content: mirror.Content,
        shelf: bodies.Shelf,
        check: intake.Check,
        floor: names.Version = names.NO_VERSION,
    ) -> None:
        """`floor`: accepted before, where its body is lost; nothing older is taken."""
        self.intake = intake.Intake(content, shelf, me.cluster, check, floor=floor)
        self.intake.relays = True
        self.intake.hold()
        self.subscriber = subscriber.Subscriber(me, self.intake, boot=0)
        self.publisher = publisher.Publisher(me.cluster, me.server_id, content, shelf, self._gate)
        self.asks = asks.Asks()
        self.table = acks.Table()
        self._unanswered: dict[names.ServerId, None] = {}
        self._drain = drain.Drain()

    @property
    def content(self) -> mirror.Content:
        """What is mirrored, durably."""
        return self.intake.content

    def _gate(self, peer: names.ServerId, hello: messages.Hello, proof: events.Proof) -> gates.Verdict:
        content = self.intake.content
        own = content.admissions.get(self.subscriber.me.server_id)
        site = None if own is None else own.content.site
        # No row of an IC's table asks the document, and to expand it here would hold up everybody below.
        situation = gates.Situation(content, self.intake.keyring, None, site)
        return gates.judge(gates.IC, situation, peer, hello, proof)

    @property
    def deadline(self) -> float:
        """When `Tick` is due."""
        due = min(self.subscriber.deadline, self.publisher.deadline)
        flush, drain = self.table.deadline, self._drain.deadline
        if flush is not None and flush < due:
            due = flush
        if drain is not None and drain < due:
            due = drain
        asked = self.asks.deadline
        return asked if asked is not None and asked < due else due

    def handle(self, event: events.Input, now: float) -> tuple[Output, ...]:
        """One input of either side."""
        if isinstance(event, events.Heard):
            return self._heard(event, now)
        outputs: list[Output] = []
        match event:
            case events.Tick():
                outputs += self._through(self.asks.tick(now), now)
                outputs += self._through(self.subscriber.handle(event, now), now)
                outputs += self._through(self.publisher.handle(event, now), now)
            case events.Gone(link):
                outputs += self._through(self.asks.gone(link), now)
                outputs += self._through(self._side(link).handle(event, now), now)
            case events.Arrived():
                outputs += self._through(self.publisher.handle(event, now), now)
            case _:
                outputs += self._through(self.subscriber.handle(event, now), now)
        return (*outputs, *self._flush(now))

    def _heard(self, event: events.Heard, now: float) -> tuple[Output, ...]:
        child = self.publisher.children.get(event.link)
        if child is None:
            return (*self._through(self._heard_of_other(event, now), now), *self._flush(now))
        if isinstance(event.frame, messages.Ack):
            state = self.publisher.acked(child, event.frame.state, now)
            if state is not None:  # one of every server and revision: straight from its link into the table
                self._child_ack(child, state, now)
            return self._flush(now)
        return (*self._through(self._heard_of_child(event, now), now), *self._flush(now))

    def _heard_of_child(self, event: events.Heard, now: float) -> tuple[_Inner, ...]:
        link, frame = event.link, event.frame
        if isinstance(frame, messages.Ask):
            barred = not self.publisher.may_ask(link, frame.verb)
            return (asks.refusal(link, frame),) if barred else self.asks.asked(link, frame)
        if isinstance(frame, messages.Answer):
            return self.asks.answered(link, frame)
        return self.publisher.handle(event, now)

    def _heard_of_other(self, event: events.Heard, now: float) -> tuple[_Inner, ...]:
        """The parent, or whoever has not greeted yet and may ask nothing before."""
        link, frame = event.link, event.frame
        if link == self.subscriber.link:
            if isinstance(frame, messages.Ask):
                return self.asks.asked(link, frame)
            if isinstance(frame, messages.Answer):
                return self.asks.answered(link, frame)
        return self._side(link).handle(event, now)

    def follow(self, parents: tuple[events.Parent, ...], now: float) -> tuple[Output, ...]:
        """Where MIC is now."""
        return tuple(self._through(self.subscriber.follow(parents, now), now))

    def redial(self, now: float) -> tuple[Output, ...]:
        """As `Subscriber.redial`."""
        return tuple(self._through(self.subscriber.redial(now), now))

    def answer(
        self, link: names.LinkId, ask_id: int, code: str, data: bytes, now: float
    ) -> tuple[Output, ...]:
        """Answer an `Asked`."""
        return tuple(self._through(self.asks.answer(link, ask_id, code, data), now))

    def ask(self, number: int, verb: str, data: bytes, now: float) -> tuple[Output, ...]:
        """Ask MIC in this tier's own name; ends in `Answered(number, ...)`."""
        owner = asks.Owner(None, number)
        return tuple(self._through(self.asks.ask(owner, self.subscriber.link, verb, "", data, now), now))

    def drained(self, link: names.LinkId, now: float) -> tuple[Output, ...]:
        """All that was written to that link has left."""
        return tuple(self._through(self.publisher.drained(link, now), now))

    def drain(self, now: float) -> tuple[Output, ...]:
        """About to stop: serve on until every linked child has accepted the newest, at most `limits.DRAIN_S`."""
        self._drain.start(now)
        return self._flush(now)

    def _side(self, link: names.LinkId) -> subscriber.Subscriber | publisher.Publisher:
        return self.publisher if self.publisher.owns(link) else self.subscriber

    def _through(self, inner: Iterable[_Inner], now: float) -> list[Output]:
        """Act on what concerns the other side, pass on what concerns the world."""
        if not inner:
            return []
        outputs: list[Output] = []
        for one in inner:
            if isinstance(one, _OUTWARD):
                outputs.append(one)
            elif isinstance(one, asks.Asked):
                outputs += self._relayed(one, now)
            elif isinstance(one, asks.Answered):
                outputs.append(one)
            else:
                outputs += self._through(self._across(one, now), now)
        return outputs

    def _across(self, one: _Inner, now: float) -> tuple[_Inner, ...]:
        match one:
            case intake.Changed():
                before, content = self.publisher.content, self.content
                if content.version != before.version:
                    self._unanswered = {
                        child.peer: None for child in self.publisher.children.values() if _acks(child)
                    }
                return self.publisher.publish(content, same_rights=_is_same_to_the_gate(before, content))
            case subscriber.Freshened(raw):
                self.publisher.freshen(raw)
            case subscriber.Up() | subscriber.TellAgain():
                self.table.tell_all(now)
            case publisher.ChildUp() | publisher.ChildDown():
                self._child(one, now)
            case publisher.ChildRemarked(link):
                child = self.publisher.children[link]
                self.table.remarked(child.peer, child.remark, now)
            case publisher.UpwardOffer(link, offer):
                return self.intake.offered(link, offer, below=True)
            case publisher.UpwardChunk(link, chunk):
                return self.intake.piece(link, chunk)
            case intake.Refused(version, digest, refusal):
                facts = {
                    "version": str(version),
                    "digest": digest,
                    "code": refusal.code,
                    "detail": refusal.detail,
                }
                return (events.Note(events.Severity.WARNING, "revision refused", facts),)
            case _:
                pass
        return ()

    # --- acks -----------------------------------------------------------------------------------------------------

    def _child(self, one: publisher.ChildUp | publisher.ChildDown, now: float) -> None:
        match one:
            case publisher.ChildUp(link):
                self._child_up(self.publisher.children[link], now)
            case publisher.ChildDown(child):
                self.intake.gone(child.link)  # it may have been giving us something newer
                self._unanswered.pop(child.peer, None)
                self.table.unlinked(child.peer, now)

    def _child_up(self, child: publisher.Child, now: float) -> None:
        self.table.linked(child.peer, child.ack, now, child.remark)
        if child.ack is None or not _settled(child.ack, self.content.version):
            self._unanswered[child.peer] = None

    def _child_ack(self, child: publisher.Child, state: messages.AckState, now: float) -> None:
        self.table.acked(child.peer, state, now)
        if _settled(state, self.content.version):
            self._unanswered.pop(child.peer, None)

    def _flush(self, now: float) -> tuple[Output, ...]:
        if self._drain.deadline is None and not self.table.is_due(now, answered=not self._unanswered):
            return ()
        outputs: list[Output] = []
        link = self.subscriber.link
        if link is not None:
            for rollup in self.table.flush(now, answered=not self._unanswered):
                self.subscriber.told = rollup.seq
                outputs.append(events.Send((link,), rollup))
        elif self.table.deadline is not None and self.table.deadline <= now:
            self.table.wait()
        if self._drain.over(self.publisher.children.values(), self.content.version, now):
            outputs.append(Drained())
        return tuple(outputs)

    # --- asks -----------------------------------------------------------------------------------------------------

    def _relayed(self, asked: asks.Asked, now: float) -> list[Output]:
        """Down to the server it names, up to MIC where the verb may go up, else to this IC itself."""
        owner = asks.Owner(asked.link, asked.id)
        if self.publisher.owns(asked.link):
            if asked.verb not in asks.UPWARD_VERBS:
                return self._through(self.asks.answer(asked.link, asked.id, "not_allowed", b""), now)
            up = self.subscriber.link
            return self._through(self.asks.ask(owner, up, asked.verb, "", asked.data, now), now)
        if not asked.server and asked.verb == asks.CHECK:
            told = msgspec.json.encode(self.intake.holding.told())
            return self._through(self.asks.answer(asked.link, asked.id, "", told), now)
        if not asked.server:
            return [asked]
        child = self.publisher.by_peer(names.ServerId(asked.server), messages.ChildKind.SHELL)
        down = None if child is None else child.link
        return self._through(self.asks.ask(owner, down, asked.verb, asked.server, asked.data, now), now)


def _is_same_to_the_gate(before: mirror.Content, after: mirror.Content) -> bool:
    """Whether all that `_gate` looks at is what it was; a new revision alone moves only the target."""
    first = before.target is None and after.target is not None
    return not first and before.admissions is after.admissions and before.trust is after.trust


def _settled(ack: messages.AckState, version: names.Version) -> bool:
    """Whether nothing more is to be expected of this server for this version."""
    done = ack.level >= messages.Level.READY or ack.outcome is not messages.Outcome.OK
    return ack.version == version and done


def _acks(child: publisher.Child) -> bool:
    """Whether it says for itself how far it is."""
    return child.admit.scope is publisher.Scope.SERVER
