"""The child's side of a hop: find a parent, greet it, mirror it, keep telling it the own state.

Whom to dial is decided by `seeking`, whom to believe by `greeting`, what to take by `intake`. A better parent is tried
while the link to a worse one goes on (a parent is changed make-before-break, so a change is not an absence).

Rules: a parent behind us is offered our newer objects; a parent that stays silent for `limits.SILENT_S` is left; one
that shows no rising sign of life of MIC for `limits.STALE_S` is kept, shown as stale, and another one is tried.
"""

import msgspec

from coordinator import errors, limits, names
from coordinator.propagation import (
    events,
    freshness,
    greeting,
    intake,
    messages,
    objects,
    seeking,
)

REASON_CHARACTERS = 200  # of a parent that is not trusted yet

Me = greeting.Me
_Phase = seeking.Phase
_Attempt = seeking.Attempt


class Up(msgspec.Struct, frozen=True):
    """Output: linked; the parent knows our numbers and our last ack."""

    link: names.LinkId
    parent: events.Parent


class Down(msgspec.Struct, frozen=True):
    """Output: the link is gone."""

    reason: str


class RaiseBoot(msgspec.Struct, frozen=True):
    """Output: the field remembers a greater boot counter of ours: raise it above `known`, durably, and tell again."""

    known: int


class TellAgain(msgspec.Struct, frozen=True):
    """Output: the parent misses something we told."""


class Freshened(msgspec.Struct, frozen=True):
    """Output: a newer sign of life of MIC."""

    raw: bytes


Output = (
    intake.Output
    | events.Dial
    | events.Authenticated
    | events.Close
    | Up
    | Down
    | RaiseBoot
    | TellAgain
    | Freshened
)


class Subscriber:
    """See the module. `boot` and `ack` are set by the tier; both travel in the next hello."""

    def __init__(self, me: Me, taking: intake.Intake, boot: int) -> None:
        self.me = me
        self.intake = taking
        self.boot = boot
        self.ack: messages.AckState | None = None
        self.told = 0
        self.turned_away = ""
        """What the last one that was greeted and said no gave as its reason; empty once linked."""
        self.freshness = freshness.Freshness()
        self._false_sign = ""
        self._search = seeking.Search()
        self._look_at = 0.0
        self._beat_at = 0.0

    # --- what the tier asks ---------------------------------------------------------------------------------------

    @property
    def link(self) -> names.LinkId | None:
        """The link in use."""
        main = self._search.main
        return main.link if main is not None and main.phase is _Phase.LINKED else None

    @property
    def parent(self) -> events.Parent | None:
        linked = self._search.linked
        return None if linked is None else linked.parent

    def stale_since(self, now: float) -> float | None:
        """As `Freshness.stale_since`."""
        return self.freshness.stale_since(now)

    def follow(self, parents: tuple[events.Parent, ...], now: float) -> tuple[Output, ...]:
        """Another list of parents, best first; the present link stays until a better one is open."""
        if parents == self._search.parents:
            return ()
        self.freshness.since = now if self.freshness.since is None else self.freshness.since
        self._search.follow(parents, now)
        return self._seek(now)

    def redial(self, now: float) -> tuple[Output, ...]:
        """A link keeps the rights with which it was opened: with a certificate that had run out, those were few."""
        main = self._search.linked
        if main is None:
            return ()
        self._search.hurry = True
        bye = messages.Bye("comes back with another certificate", 0.0)
        return (
            events.Send((main.link,), bye),
            *self._drop(main, "another certificate", now),
            *self._seek(now),
        )

    def send(self, frame: messages.AnyFrame) -> tuple[Output, ...]:
        """To the parent, if there is one now."""
        link = self.link
        return () if link is None else (events.Send((link,), frame),)

    def tell(self, ack: messages.AckState) -> tuple[Output, ...]:
        """The own ack has changed."""
        self.ack, self.told = ack, ack.epoch.seq
        return self.send(messages.Ack(ack))

    # --- inputs ---------------------------------------------------------------------------------------------------

    def handle(self, event: events.Input, now: float) -> tuple[Output, ...]:
        """Inputs that do not concern the parent's links are ignored."""
        match event:
            case events.Heard():
                return self._heard(event, now)
            case events.Stored():
                outputs = self.intake.stored(event.ticket, event.problem)
                return (*outputs, *self._banish(now)) if self.intake.keyring.revoked else outputs
            case events.Judged():
                return self.intake.judged(event.digest, event.refusal)
            case events.Tick():
                return self._tick(now)
            case events.Opened():
                return self._opened(event, now)
            case events.DialFailed():
                return self._failed(event, now)
            case events.Gone():
                return self._gone(event.link, event.reason, now)
            case events.Arrived():
                return ()

    @property
    def deadline(self) -> float:
        """When `Tick` is due."""
        return self._look_at

    def _tick(self, now: float) -> tuple[Output, ...]:
        if now < self._look_at:
            return ()
        self._look_at = now + limits.HEARTBEAT_S / 2
        outputs: list[Output] = []
        for attempt in self._search.attempts:
            if attempt.phase is _Phase.LINKED and now - attempt.heard > limits.SILENT_S:
                outputs += self._drop(attempt, "silent", now)
            elif attempt.phase is _Phase.GREETING and now - attempt.since > limits.HELLO_S:
                outputs += self._drop(attempt, "no welcome", now)
            elif attempt.phase is _Phase.DIALLING and now - attempt.since > seeking.DIALLING_S:
                self._search.forget(attempt, now)
        mine, spoken = self.intake.content.numbers, self.freshness.spoken
        self.freshness.compare(mine, refusing=self.intake.refusing(spoken.target), now=now)
        if self.link is not None and now >= self._beat_at:
            self._beat_at = now + limits.HEARTBEAT_S
            beat = messages.Heartbeat(b"", self.intake.content.numbers, self.told)
            outputs += [*self.send(beat), *self.intake.nudge(self.link)]
        return (*outputs, *self._seek(now))

    def _banish(self, now: float) -> tuple[Output, ...]:
        """Trust has changed: a parent that it revokes is left at once."""
        revoked = self.intake.keyring.revoked
        outputs: list[Output] = []
        for attempt in self._search.attempts:
            if attempt.phase is not _Phase.DIALLING and attempt.peer in revoked:
                outputs += self._drop(attempt, "the parent's identity is revoked", now)
        return (*outputs, *self._seek(now)) if outputs else ()

    # --- dialling -------------------------------------------------------------------------------------------------

    def _seek(self, now: float) -> tuple[Output, ...]:
        return self._search.seek(now, stale=self.stale_since(now) is not None)

    def _opened(self, event: events.Opened, now: float) -> tuple[Output, ...]:
        attempt = self._search.by_dial(event.dial)
        if attempt is None:
            return (events.Close(event.link, "not wanted any more"),)
        attempt.phase, attempt.link, attempt.peer = _Phase.GREETING, event.link, event.peer
        attempt.proof = event.proof
        attempt.since = now
        hello = greeting.hello(self.me, self.boot, self.intake.content, self.ack)
        attempt.shown = hello.ack
        # TLS has shown a server of this cluster, and its welcome may carry a `trust` of many keys
        return (events.Authenticated(event.link), events.Send((event.link,), hello))

    def _failed(self, event: events.DialFailed, now: float) -> tuple[Output, ...]:
        attempt = self._search.by_dial(event.dial)
        if attempt is None:
            return ()
        self._search.forget(attempt, now)
        return self._seek(now)

    def _drop(self, attempt: _Attempt, reason: str, now: float) -> tuple[Output, ...]:
        close = events.Close(attempt.link, reason)
        return (close, *self._lost(attempt, reason, now))

    def _gone(self, link: names.LinkId, reason: str, now: float) -> tuple[Output, ...]:
        attempt = self._search.by_link(link)
        if attempt is None:
            self.intake.gone(link)
            return ()
        return (*self._lost(attempt, reason, now), *self._seek(now))

    def _lost(self, attempt: _Attempt, reason: str, now: float) -> tuple[Output, ...]:
        self.intake.gone(attempt.link)
        return (Down(reason),) if self._search.forget(attempt, now) else ()

    # --- frames ---------------------------------------------------------------------------------------------------

    def _heard(self, event: events.Heard, now: float) -> tuple[Output, ...]:
        attempt = self._search.by_link(event.link)
        if attempt is None:
            return ()
        attempt.heard = now
        frame = event.frame
        if attempt.phase is _Phase.GREETING:
            return self._greeted(attempt, frame, now)
        match frame:
            case messages.Offer():
                return self.intake.offered(event.link, frame)
            case messages.Chunk():
                return self.intake.piece(event.link, frame)
            case messages.Heartbeat():
                return self._beaten(attempt, frame, now)
            case messages.Pull():
                return self._pulled(event.link, frame)
            case messages.Newest():
                return (TellAgain(),)
            case messages.Bye():
                return self._bye(attempt, frame, now)
            case _:
                return ()

    def _greeted(self, attempt: _Attempt, frame: messages.AnyFrame, now: float) -> tuple[Output, ...]:
        match frame:
            case messages.Welcome():
                return self._welcomed(attempt, frame, now)
            case messages.Bye():
                return self._bye(attempt, frame, now)
            case _:
                return self._drop(attempt, f"{type(frame).__name__.lower()} before welcome", now)

    def _bye(self, attempt: _Attempt, frame: messages.Bye, now: float) -> tuple[Output, ...]:
        self._search.turned_away(attempt, frame.retry_after_s, now)
        if attempt.phase is _Phase.GREETING:
            place = f"{attempt.parent.address}:{attempt.parent.port}"
            self.turned_away = f"{place}: {frame.reason[:REASON_CHARACTERS]}"
        return (*self._drop(attempt, f"bye: {frame.reason}", now), *self._seek(now))

    def _welcomed(self, attempt: _Attempt, frame: messages.Welcome, now: float) -> tuple[Output, ...]:
        dialled = greeting.Dialled(attempt.parent, attempt.peer, attempt.proof)
        wrong = greeting.mistrust(self.me, self.intake.keyring, dialled, frame)
        if wrong:
            note = events.Note(events.Severity.WARNING, "parent refused", {"detail": wrong})
            return (note, *self._drop(attempt, wrong, now), *self._seek(now))
        if attempt is self._search.candidate and self._behind(frame.numbers):
            return self._drop(attempt, "behind us", now)  # a better place, but it has to catch up first
        outputs = self._left(self._search.welcomed(attempt, now))
        self.turned_away = ""
        documents = self.me.kind in messages.PEOPLE
        outputs += [events.Authenticated(attempt.link, documents), Up(attempt.link, attempt.parent)]
        if frame.trust:
            outputs += self.intake.offered(attempt.link, messages.Offer((frame.trust,), None))
        if frame.boot > self.boot:
            outputs.append(RaiseBoot(frame.boot))
        if self.ack != attempt.shown:
            outputs.append(TellAgain())  # it changed meanwhile, or was too long for a hello
        if frame.numbers.target < self.intake.content.numbers.target:
            outputs += self._offer_upward(attempt.link)
        return tuple(outputs)

    def _behind(self, theirs: objects.Numbers) -> bool:
        """Whether a parent that serves us a target serves an older one than ours; a parked server is served none."""
        return names.NO_SERIAL < theirs.target < self.intake.content.numbers.target

    def _left(self, old: _Attempt | None) -> list[Output]:
        """The parent that is changed for a better one."""
        if old is None:
            return []
        self.intake.gone(old.link)
        bye = messages.Bye("moved to a better parent", 0.0)
        return [events.Send((old.link,), bye), events.Close(old.link, "moved")]

    def _offer_upward(self, link: names.LinkId) -> tuple[Output, ...]:
        content = self.intake.content
        if content.target is None or content.record is None:
            return ()
        trust = (content.trust.raw,) if content.trust.raw else ()
        offer = messages.Offer((*trust, content.record.raw, content.target.raw), None)
        return (events.Send((link,), offer),)

    def _pulled(self, link: names.LinkId, frame: messages.Pull) -> tuple[Output, ...]:
        chunk = self.intake.shelf.chunk(frame.digest, frame.base, frame.offset)
        return () if chunk is None else (events.Send((link,), chunk),)

    def _beaten(self, attempt: _Attempt, frame: messages.Heartbeat, now: float) -> tuple[Output, ...]:
        outputs: list[Output] = []
        if frame.fresh:
            outputs += self._freshen(frame.fresh, now)
        mine = self.intake.content.numbers
        theirs = frame.numbers
        ahead = theirs.target > mine.target or theirs.trust > mine.trust or theirs.admission > mine.admission
        attempt.behind = attempt.behind + 1 if ahead and not self.intake.busy else 0
        if attempt.behind >= 2 and not self.intake.refusing(theirs.target):
            attempt.behind = 0
            outputs.append(events.Send((attempt.link,), messages.Newest(mine)))
        attempt.ahead = attempt.ahead + 1 if self._behind(theirs) else 0
        if attempt.ahead >= 2:  # our offer was lost, or it has lost what it had
            attempt.ahead = 0
            outputs += self._offer_upward(attempt.link)
        return tuple(outputs)

    def _freshen(self, raw: bytes, now: float) -> tuple[Output, ...]:
        try:
            newer = self.freshness.heard(raw, self.intake.keyring, now)
        except (errors.SignatureError, msgspec.DecodeError, UnicodeDecodeError) as problem:
            told, self._false_sign = self._false_sign, str(problem)
            if told == self._false_sign:
                return ()  # with every heartbeat: once is enough
            note = {"detail": self._false_sign}
            return (events.Note(events.Severity.WARNING, "sign of life refused", note),)
        return (Freshened(raw),) if newer else ()
