"""The child's side of a hop: find a parent, greet it, mirror it, keep telling it the own state.

States of the one link: none, dialling, greeting, linked; beside it at most one *candidate*, a better parent that is
tried while the link to a worse one goes on (a parent is changed make-before-break, so a change is not an absence).

Rules: attempts never stop and never delay anything else; a parent behind us is offered our newer objects; a parent
that stays silent for `limits.SILENT_S` is left; one that shows no rising sign of life of MIC for `limits.STALE_S` is
kept, shown as stale, and another one is tried.
"""

import enum

import msgspec

from coordinator import errors, limits, names
from coordinator.propagation import events, freshness, intake, messages, mirror, objects, wire

REASON_CHARACTERS = 200  # of a parent that is not trusted yet
DIALLING_S = limits.BACKOFF_CLAMP_MIN_S + limits.DIAL_TIMEOUT_S + limits.SILENT_S
"""The longest wait before a dial, the dial, and a margin: an attempt that has no answer by then never gets one."""


class Me(msgspec.Struct, frozen=True):
    """Who is subscribing."""

    cluster: names.ClusterId
    kind: messages.ChildKind
    name: str
    server_id: names.ServerId


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


class _Phase(enum.Enum):
    DIALLING = "dialling"
    GREETING = "greeting"
    LINKED = "linked"


class _Try(msgspec.Struct):
    """One attempt at one parent, up to being its link."""

    parent: events.Parent
    phase: _Phase
    dial: int
    since: float
    link: names.LinkId = names.LinkId(0)
    peer: names.ServerId = names.ServerId("")
    heard: float = 0.0
    behind: int = 0
    """Heartbeats in a row that spoke of more than we hold."""
    ahead: int = 0
    """Heartbeats in a row that spoke of less."""
    shown: messages.AckState | None = None
    """The ack that our hello carried."""
    proof: events.Proof = events.NO_PROOF


class Subscriber:
    """See the module. `boot` and `ack` are set by the tier; both travel in the next hello."""

    def __init__(self, me: Me, taking: intake.Intake, boot: int) -> None:
        self.me = me
        self.intake = taking
        self.boot = boot
        self.ack: messages.AckState | None = None
        self.told = 0
        self.parents: tuple[events.Parent, ...] = ()
        self.turned_away = ""
        """What the last one that was greeted and said no gave as its reason; empty once linked."""
        self.freshness = freshness.Freshness()
        self._false_sign = ""
        self._main: _Try | None = None
        self._candidate: _Try | None = None
        self._candidate_at = 0.0
        self._dials = 0
        self._next = 0
        self._round = 0
        self._not_before = 0.0
        self._look_at = 0.0
        self._beat_at = 0.0
        self._hurry = True

    # --- what the tier asks ---------------------------------------------------------------------------------------

    @property
    def link(self) -> names.LinkId | None:
        """The link in use."""
        main = self._main
        return main.link if main is not None and main.phase is _Phase.LINKED else None

    @property
    def parent(self) -> events.Parent | None:
        main = self._main
        return main.parent if main is not None and main.phase is _Phase.LINKED else None

    def stale_since(self, now: float) -> float | None:
        """As `Freshness.stale_since`."""
        return self.freshness.stale_since(now)

    def follow(self, parents: tuple[events.Parent, ...], now: float) -> tuple[Output, ...]:
        """Another list of parents, best first; the present link stays until a better one is open."""
        if parents == self.parents:
            return ()
        self.parents = parents
        self.freshness.since = now if self.freshness.since is None else self.freshness.since
        self._next, self._round, self._not_before = 0, 0, now
        self._candidate_at = now
        self._hurry = True
        return self._seek(now)

    def redial(self, now: float) -> tuple[Output, ...]:
        """A link keeps the rights with which it was opened: with a certificate that had run out, those were few."""
        main = self._main
        if main is None or main.phase is not _Phase.LINKED:
            return ()
        self._hurry = True
        bye = messages.Bye("comes back with another certificate", 0.0)
        return (
            events.Send((main.link,), bye),
            *self._drop(main, "another certificate", now),
            *self._seek(now),
        )

    def send(self, frame: messages.AnyFrame) -> tuple[Output, ...]:
        """To the parent, if there is one now."""
        return () if self.link is None else (events.Send((self.link,), frame),)

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
                return (*self.intake.stored(event.ticket, event.problem), *self._banish(now))
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
        for attempt in (self._main, self._candidate):
            if attempt is None:
                continue
            if attempt.phase is _Phase.LINKED and now - attempt.heard > limits.SILENT_S:
                outputs += self._drop(attempt, "silent", now)
            elif attempt.phase is _Phase.GREETING and now - attempt.since > limits.HELLO_S:
                outputs += self._drop(attempt, "no welcome", now)
            elif attempt.phase is _Phase.DIALLING and now - attempt.since > DIALLING_S:
                self._forget(attempt, now)
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
        if not revoked:
            return ()
        outputs: list[Output] = []
        for attempt in (self._main, self._candidate):
            if attempt is not None and attempt.phase is not _Phase.DIALLING and attempt.peer in revoked:
                outputs += self._drop(attempt, "the parent's identity is revoked", now)
        return (*outputs, *self._seek(now)) if outputs else ()

    # --- dialling -------------------------------------------------------------------------------------------------

    def _seek(self, now: float) -> tuple[Output, ...]:
        """Dial for a first link, or for a better one."""
        if not self.parents:
            return ()
        if self._main is None:
            if now < self._not_before:
                return ()
            self._main = self._attempt(self.parents[self._next % len(self.parents)], now)
            return (self._dial(self._main),)
        if self._candidate is not None or self._main.phase is not _Phase.LINKED or now < self._candidate_at:
            return ()
        better = self._better(now)
        if not better:
            return ()
        self._candidate_at = now + limits.PREFERRED_PARENT_RETRY_S
        self._candidate = self._attempt(better[self._dials % len(better)], now)
        return (self._dial(self._candidate),)

    def _better(self, now: float) -> tuple[events.Parent, ...]:
        """Parents before the present one; every other one where the present one has gone stale."""
        assert self._main is not None
        present = self._main.parent
        if self.stale_since(now) is not None and now - self._main.since > limits.STALE_S:
            return tuple(p for p in self.parents if p != present)
        rank = self.parents.index(present) if present in self.parents else len(self.parents)
        return self.parents[:rank]

    def _attempt(self, parent: events.Parent, now: float) -> _Try:
        self._dials += 1
        return _Try(parent, _Phase.DIALLING, self._dials, now)

    def _dial(self, attempt: _Try) -> events.Dial:
        delay = min(limits.BACKOFF_CLAMP_MIN_S, limits.BACKOFF_MIN_S * 2**self._round)
        if self._hurry:
            self._hurry, delay = False, 0.0
        return events.Dial(attempt.dial, attempt.parent, delay)

    def _by_dial(self, dial: int) -> _Try | None:
        for attempt in (self._main, self._candidate):
            if attempt is not None and attempt.dial == dial and attempt.phase is _Phase.DIALLING:
                return attempt
        return None

    def _by_link(self, link: names.LinkId) -> _Try | None:
        for attempt in (self._main, self._candidate):
            if attempt is not None and attempt.phase is not _Phase.DIALLING and attempt.link == link:
                return attempt
        return None

    def _opened(self, event: events.Opened, now: float) -> tuple[Output, ...]:
        attempt = self._by_dial(event.dial)
        if attempt is None:
            return (events.Close(event.link, "not wanted any more"),)
        attempt.phase, attempt.link, attempt.peer = _Phase.GREETING, event.link, event.peer
        attempt.proof = event.proof
        attempt.since = now
        hello = self._hello()
        attempt.shown = hello.ack
        # TLS has shown a server of this cluster, and its welcome may carry a `trust` of many keys
        return (events.Authenticated(event.link), events.Send((event.link,), hello))

    def _hello(self) -> messages.Hello:
        content = self.intake.content
        own = content.admissions.get(self.me.server_id)
        admission = b"" if own is None or self.me.kind is messages.ChildKind.NODE else own.raw
        hello = messages.Hello(
            protocol=messages.PROTOCOL,
            cluster=self.me.cluster,
            kind=self.me.kind,
            name=self.me.name,
            boot=self.boot,
            numbers=content.numbers,
            base=content.digest,
            admission=admission,
            ack=self.ack,
        )
        if self.ack is None or len(wire.encode(hello)) <= limits.FRAME_BYTES_UNAUTHENTICATED:
            return hello
        brief = msgspec.structs.replace(self.ack, detail="", roles=())  # the whole of it follows the welcome
        return msgspec.structs.replace(hello, ack=brief)

    def _failed(self, event: events.DialFailed, now: float) -> tuple[Output, ...]:
        attempt = self._by_dial(event.dial)
        if attempt is None:
            return ()
        self._forget(attempt, now)
        return self._seek(now)

    def _forget(self, attempt: _Try, now: float) -> None:
        if attempt is self._candidate:
            self._candidate = None
            return
        self._main = None
        self._next += 1
        if self._next >= len(self.parents):
            self._next, self._round = 0, min(self._round + 1, 8)
            self._not_before = max(self._not_before, now)

    def _drop(self, attempt: _Try, reason: str, now: float) -> tuple[Output, ...]:
        close = events.Close(attempt.link, reason)
        return (close, *self._lost(attempt, reason, now))

    def _gone(self, link: names.LinkId, reason: str, now: float) -> tuple[Output, ...]:
        attempt = self._by_link(link)
        if attempt is None:
            self.intake.gone(link)
            return ()
        return (*self._lost(attempt, reason, now), *self._seek(now))

    def _lost(self, attempt: _Try, reason: str, now: float) -> tuple[Output, ...]:
        self.intake.gone(attempt.link)
        linked = attempt is self._main and attempt.phase is _Phase.LINKED
        if linked:
            self._next, self._round = -1, 0  # the first one again, but with jitter: a herd may have lost it
        self._forget(attempt, now)
        return (Down(reason),) if linked else ()

    # --- frames ---------------------------------------------------------------------------------------------------

    def _heard(self, event: events.Heard, now: float) -> tuple[Output, ...]:
        attempt = self._by_link(event.link)
        if attempt is None:
            return ()
        attempt.heard = now
        frame = event.frame
        if isinstance(frame, messages.Bye):
            return self._bye(attempt, frame, now)
        if attempt.phase is _Phase.GREETING:
            if isinstance(frame, messages.Welcome):
                return self._welcomed(attempt, frame, now)
            return self._drop(attempt, f"{type(frame).__name__.lower()} before welcome", now)
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
            case _:
                return ()

    def _bye(self, attempt: _Try, frame: messages.Bye, now: float) -> tuple[Output, ...]:
        if attempt is not self._candidate:
            wait = min(max(frame.retry_after_s, 0.0), limits.BACKOFF_CLAMP_MAX_S)
            self._not_before = now + (wait if len(self.parents) == 1 else 0.0)
        if attempt.phase is _Phase.GREETING:
            place = f"{attempt.parent.address}:{attempt.parent.port}"
            self.turned_away = f"{place}: {frame.reason[:REASON_CHARACTERS]}"
        return (*self._drop(attempt, f"bye: {frame.reason}", now), *self._seek(now))

    def _welcomed(self, attempt: _Try, frame: messages.Welcome, now: float) -> tuple[Output, ...]:
        wrong = self._mistrust(attempt, frame)
        if wrong:
            note = events.Note(events.Severity.WARNING, "parent refused", {"detail": wrong})
            return (note, *self._drop(attempt, wrong, now), *self._seek(now))
        outputs: list[Output] = []
        if attempt is self._candidate:
            if self._behind(frame.numbers):
                return self._drop(attempt, "behind us", now)  # a better place, but it has to catch up first
            outputs += self._switch(attempt)
        attempt.phase, attempt.since = _Phase.LINKED, now
        self._round, self.turned_away = 0, ""
        self._candidate_at = now + limits.PREFERRED_PARENT_RETRY_S
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

    def _switch(self, attempt: _Try) -> tuple[Output, ...]:
        old, self._main, self._candidate = self._main, attempt, None
        assert old is not None
        self.intake.gone(old.link)
        bye = messages.Bye("moved to a better parent", 0.0)
        return (events.Send((old.link,), bye), events.Close(old.link, "moved"))

    def _mistrust(self, attempt: _Try, frame: messages.Welcome) -> str:
        """Why this is not the parent we dialled; empty if it is."""
        if frame.cluster != self.me.cluster:
            return f"another cluster (got {frame.cluster[:32]}, have {self.me.cluster})"
        if abs(frame.protocol - messages.PROTOCOL) > 1:
            return f"protocol too far away (got {frame.protocol}, have {messages.PROTOCOL})"
        if self.me.kind is messages.ChildKind.NODE:
            return ""
        try:
            keyring = self.intake.keyring
            keyring = keyring.renewed(frame.trust) if frame.trust else keyring
            signed = mirror.verify(frame.admission, keyring)
        except errors.SignatureError as problem:
            return problem.message
        if not isinstance(signed, mirror.SignedAdmission):
            return "no admission"
        admission = signed.content
        if admission.server_id != attempt.peer or admission.server_id in keyring.revoked:
            return f"admission of another server (got {admission.name})"
        if not admission.names_key(attempt.proof.key):
            return f"the parent holds another key than its admission names (got {admission.name})"
        if admission.state is not objects.AdmissionState.PLACED:
            return f"parent is {admission.state} (got {admission.name})"
        if attempt.parent.server and admission.name != attempt.parent.server:
            return f"another server answers (got {admission.name}, have {attempt.parent.server})"
        return ""

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

    def _beaten(self, attempt: _Try, frame: messages.Heartbeat, now: float) -> tuple[Output, ...]:
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
