"""How a tier takes signed objects and bodies, from its parent or from a child that is ahead: one machine for both.

Rules of a hop: newer -> take; same and equal -> accept again; same number, other bytes -> refuse loudly; older ->
refuse. Never by clocks. An object is taken only verified; a target only together with its record and its body, after
the size, the digest and the tier's own check. Everything is durable before it counts: one `Store` at a time, and what
is taken meanwhile waits for the next.
Law: the accepted version never decreases (I3); no body is pulled twice in a row after a failure.

A revision passes through here once in every child of the tree, so whatever seldom has anything to do is asked by a
look at one attribute, and called only where that says so.
"""

from collections.abc import Callable, Sequence

import msgspec

from coordinator import errors, limits, names
from coordinator.propagation import bodies, coming, complaints, events, holding, messages, mirror, objects
from coordinator.trust import signing

Refusal = holding.Refusal


class Refused(msgspec.Struct, frozen=True):
    """Output: this version is not taken; the ack says so."""

    version: names.Version
    digest: names.Digest
    refusal: Refusal


class Changed(msgspec.Struct, frozen=True):
    """Output: `content` and `shelf` hold something newer now, durably."""


_CHANGED = Changed()

Output = events.Send | events.Store | events.Judge | events.Accepted | events.Note | Refused | Changed

Check = Callable[[bytes], Refusal | None]
"""The tier's own look at a body, with the same limits as at upload; pure."""

_NO_FRAME = (names.Digest(""), "", b"")
_OUTDATED = "target older than accepted"
AT_ONCE_BYTES = (
    limits.CHUNK_BYTES
)  # a larger body that is not to run yet is judged aside: to expand 32 MiB takes seconds


def _always() -> bool:
    return True


class Intake:
    """See the module."""

    def __init__(
        self,
        content: mirror.Content,
        shelf: bodies.Shelf,
        cluster: names.ClusterId,
        check: Check,
        *,
        floor: names.Version = names.NO_VERSION,
        own: names.ServerId | None = None,
    ) -> None:
        """`floor`: accepted once, and its body lost since (a damaged disk); nothing older is taken. `own`: of whom
        admissions are taken; None: of everybody.
        """
        self.relays = False
        """Whether bodies are passed on, best in the encoding in which they came."""
        self._floor = floor
        self._own = own
        self.content = content
        self.shelf = shelf
        self.keyring = signing.Keyring(cluster, content.trust.content)
        self._check = check
        self.holding = holding.Holding()
        self._holds = False
        self._entitled: Callable[[], bool] = _always
        self._staged_held: tuple[names.Digest, bytes] | None = None
        self._judging: tuple[names.Digest, bytes] | None = None
        self._storing_held: tuple[names.Digest, bytes] | None = None
        self._parent: names.LinkId | None = None
        """Over whose link pieces of a prepared body are asked for."""
        self._staged: dict[str, tuple[mirror.AnySigned, ...]] = {}
        self._staged_body: tuple[names.Digest, bytes] | None = None
        self._frame = _NO_FRAME
        """Of the body that came last, as `Assembly.came` tells."""
        self._storing: tuple[mirror.AnySigned, ...] | None = None
        self._ticket = 0
        self._wanted: coming.Wanted | None = None
        self._refused: names.Serial | None = None
        self._complaints = complaints.Complaints()

    def hold(self, entitled: Callable[[], bool] = _always) -> None:
        """From here on the body of a prepared revision is pulled too, while this tier is `entitled` to one."""
        self._holds, self._entitled = True, entitled
        self._prepare(self.content)

    @property
    def distrust(self) -> str:
        """Why objects that came over a link that stands were refused; empty where none were."""
        return self._complaints.last

    @property
    def busy(self) -> bool:
        """Whether something taken is not durable yet or still on its way."""
        return self._storing is not None or bool(self._staged) or self._wanted is not None

    # --- objects --------------------------------------------------------------------------------------------------

    def offered(
        self, link: names.LinkId, offer: messages.Offer, *, below: bool = False
    ) -> tuple[Output, ...]:
        """Objects came in over `link`, from a parent or (`below`) from a child that is ahead.

        An admission is taken from a parent only, which sends all of them in rising order: one that a child slips in
        between would look like all those before it.
        """
        if link and not below:
            self._parent = link
        outputs, records = self._considered(link, offer, below=below)
        if self._wanted is not None and self._wanted.link == link:
            outputs += self._match(self._wanted, records)
            if offer.body is not None:
                outputs += self._piece(link, offer.body)
        return (*outputs, *self._onwards())

    def _considered(
        self, link: names.LinkId, offer: messages.Offer, *, below: bool
    ) -> tuple[list[Output], list[mirror.SignedRecord]]:
        """Of its objects all but the records, which say nothing without a target."""
        outputs: list[Output] = []
        records: list[mirror.SignedRecord] = []
        admissions: list[mirror.SignedAdmission] = []
        for raw in offer.objects:
            try:
                signed = mirror.verify(raw, self.keyring)
            except errors.SignatureError as problem:
                outputs += self._complaints.add("object refused", link, problem.message)
                continue
            match signed:
                case mirror.SignedTarget():
                    outputs += self._consider_target(link, signed)
                case mirror.SignedRecord():
                    records.append(signed)
                case mirror.SignedAdmission():
                    admissions.append(signed)
                case mirror.SignedTrust():
                    outputs += self._consider_trust(link, signed)
        if admissions and not below and offer.after <= self._admitted():
            for admission in admissions:
                outputs += self._consider_admission(link, admission)
        return outputs, records

    def _onwards(self) -> list[Output]:
        """Whatever can be asked for or made durable now."""
        outputs: list[Output] = []
        if self._wanted is not None:
            pull = self._wanted.next_pull(self.content.digest)
            if pull is not None:
                outputs.append(events.Send((self._wanted.link,), pull))
        if self._storing is None and (self._staged or self._staged_held is not None):
            outputs.append(self._flush())
        if self.holding.stage is holding.Stage.COMING:
            outputs += self._pull_held()
        return outputs

    def _admitted(self) -> names.Serial:
        """The greatest admission that was taken, durable or not yet."""
        taken = [one for group in self._staged.values() for one in group] + list(self._storing or ())
        serials = [one.content.serial for one in taken if isinstance(one, mirror.SignedAdmission)]
        return max([*serials, self.content.numbers.admission])

    def _consider_trust(self, link: names.LinkId, signed: mirror.SignedTrust) -> Sequence[Output]:
        held, new = self.content.trust, signed.content.serial
        if new == held.content.serial and held.raw and signed.raw != held.raw:
            return self._complaints.add("two trusts of one number", link, f"seq {new.seq}")
        if new > held.content.serial:
            self.keyring = signing.Keyring(self.keyring.cluster, signed.content)
            self._stage(signed)
        return ()

    def _consider_admission(self, link: names.LinkId, signed: mirror.SignedAdmission) -> Sequence[Output]:
        if self._own is not None and signed.content.server_id != self._own:
            return ()
        held = self.content.admissions.get(signed.content.server_id)
        if held is not None and held.content.serial == signed.content.serial and held.raw != signed.raw:
            return self._complaints.add("two admissions of one number", link, signed.content.server_id)
        if held is None or signed.content.serial > held.content.serial:
            self._stage(signed)
        return ()

    def _consider_target(self, link: names.LinkId, signed: mirror.SignedTarget) -> Sequence[Output]:
        if self._wanted is not None and self._wanted.is_stuck(link, signed.raw):
            self._wanted = None
        new, held = signed.content, self._newest_target()
        if self._floor is not names.NO_VERSION and new.version < self._floor:
            return self._complaints.add(_OUTDATED, link, f"got {new.version}, have {self._floor}")
        if held is not None and not new.follows(held.content):
            complaint = _out_of_order(signed, held)
            if complaint is not None:
                phrase, detail = complaint
                return self._complaints.add(phrase, link, detail) if phrase else ()
        if self._refused is None or new.serial != self._refused:
            self._wanted = coming.Wanted(link, signed)
        return ()

    def _newest_target(self) -> mirror.SignedTarget | None:
        if self._wanted is not None:
            return self._wanted.target
        if self._staged or self._storing:
            for batch in (self._staged.get(mirror.TARGET_KEY, ()), self._storing or ()):
                for signed in batch:
                    if isinstance(signed, mirror.SignedTarget):
                        return signed
        return self.content.target

    # --- the body of the target -----------------------------------------------------------------------------------

    def _match(self, wanted: coming.Wanted, records: Sequence[mirror.SignedRecord]) -> Sequence[Output]:
        """Give the wanted target its record, and say which body it is."""
        if wanted.record is not None:
            return ()
        target, digest = wanted.target.content, wanted.target.content.active.digest
        record, held = _record_of(target, records), self.content.record
        if record is None and held is not None:
            record = _record_of(target, (held,))
        if record is None or record.content.digest != digest:
            self._wanted = None
            return self._complaints.add("target without its record", wanted.link, str(target.version))
        if record.content.size_bytes > limits.DOCUMENT_BYTES:
            return self._refuse(wanted, Refusal("too_large", f"body of {record.content.size_bytes} bytes"))
        wanted.awaits(record)
        body = self.shelf.get(digest)
        return () if body is None else self._take(wanted, record, body)

    def piece(self, link: names.LinkId, chunk: messages.Chunk) -> tuple[Output, ...]:
        """A piece of a body came in; what nobody waits for is dropped."""
        judge = self._hold(chunk) if self.holding.stage is holding.Stage.COMING else ()
        return (*judge, *self._piece(link, chunk), *self._onwards())

    def _piece(self, link: names.LinkId, chunk: messages.Chunk) -> Sequence[Output]:
        wanted = self._wanted
        if wanted is None or wanted.assembly is None or wanted.link != link:
            return ()
        assembly = wanted.assembly
        if chunk.digest != assembly.digest:
            return ()
        try:
            body = self.shelf.put_together(assembly, chunk)
        except errors.ProtocolError as problem:
            if not wanted.start_again():
                self._wanted = None
            return (complaints.warning("body refused", link, problem.message),)
        if body is None:
            return ()
        if self.relays and not wanted.full:
            self.shelf.learn(assembly, self.content.digest)
        self._frame = assembly.came
        assert wanted.record is not None
        return self._take(wanted, wanted.record, body)

    def _take(self, wanted: coming.Wanted, record: mirror.SignedRecord, body: bytes) -> Sequence[Output]:
        digest = record.content.digest
        if self.content.digest != digest:
            refusal = self._check(body)
            if refusal is not None:
                return self._refuse(wanted, refusal)
        self._wanted = None
        self._staged_body = None if digest in self.shelf else (digest, body)
        self._staged[mirror.TARGET_KEY] = (wanted.target, record)
        return ()

    def _refuse(self, wanted: coming.Wanted, refusal: Refusal) -> Sequence[Output]:
        self._wanted, target = None, wanted.target.content
        self._refused = target.serial
        return (Refused(target.version, target.active.digest, refusal),)

    def nudge(self, parent: names.LinkId) -> tuple[Output, ...]:
        """Called every heartbeat to the parent: ask again for what was asked for at the last one and has not come."""
        self._parent = parent
        self.holding.nudge()
        if self._wanted is not None:
            self._wanted.nudge()
        return tuple(self._onwards())

    # --- the body of a prepared revision --------------------------------------------------------------------------

    def _hold(self, chunk: messages.Chunk) -> Sequence[Output]:
        body = self.holding.piece(chunk, self.shelf.get(chunk.base) if chunk.base else None)
        if body is None:
            return ()
        if self.relays:
            self.holding.teach(self.shelf, self.content.digest)
        self._judging = (self.holding.digest, body)
        if len(body) > AT_ONCE_BYTES:
            return (events.Judge(self.holding.digest, body, self._check),)
        self._judged(self._check(body))
        return ()

    def judged(self, digest: names.Digest, refusal: Refusal | None) -> tuple[Output, ...]:
        """What the tier's own look at a large body has found; one that is not prepared any more counts for nothing."""
        if self._judging is None or self._judging[0] != digest or digest != self.holding.digest:
            return ()
        self._judged(refusal)
        return tuple(self._onwards())

    def _judged(self, refusal: Refusal | None) -> None:
        body, self._judging = self._judging, None
        if refusal is None:
            self._staged_held = body
        else:
            self.holding.refused(refusal)

    def _pull_held(self) -> Sequence[Output]:
        if self._parent is None or self._wanted is not None or not self._entitled():
            return ()
        pull = self.holding.next_pull(self.content.digest)
        return () if pull is None else (events.Send((self._parent,), pull),)

    def _prepare(self, content: mirror.Content) -> None:
        """What the target now prepares is wanted beside what is active."""
        if content.target is None:
            return
        pointer = content.target.content.prepared
        self.holding.want(pointer, held=pointer is not None and pointer.digest in self.shelf)
        if self._staged_held is not None and self._staged_held[0] != self.holding.digest:
            self._staged_held = None  # of the one prepared before

    # --- durable --------------------------------------------------------------------------------------------------

    def _stage(self, signed: mirror.AnySigned) -> None:
        self._staged[mirror.ledger_key(signed)] = (signed,)

    def _flush(self) -> events.Store:
        """All that is staged, as one."""
        batch: list[mirror.AnySigned] = []
        for group in self._staged.values():
            batch += group
        body, self._staged_body, self._staged = self._staged_body, None, {}
        self._storing = tuple(batch)
        self._ticket += 1
        frame, self._frame = self._frame, _NO_FRAME
        alone = not batch  # what is to run does not depend on there being room for what is not yet
        if alone:
            body = self._storing_held = self._staged_held
            self._staged_held, frame = None, (self.holding.frame[0], "", self.holding.frame[1])
        elif body is not None:
            self.shelf.add(*body)
        keep = self.shelf.digests  # what is here is not stored again, so it stays on the disk too
        if self.holding.pointer is not None:
            keep += (self.holding.pointer.digest,)
        raws: dict[str, bytes] = {}
        for signed in batch:
            raws[mirror.ledger_key(signed)] = signed.raw
            if isinstance(signed, mirror.SignedTarget) and signed.content.prepared is not None:
                keep += (signed.content.prepared.digest,)
        _, base, packed = frame if body is not None and body[0] == frame[0] else _NO_FRAME
        return events.Store(self._ticket, raws, body, keep, packed, base, alone)

    def stored(self, ticket: int, problem: str = "") -> tuple[Output, ...]:
        """The ledger has it: from here on it counts. Or it has no room for what is not to run yet, which is a `problem`."""
        if self._storing is None or ticket != self._ticket:
            return ()
        batch, self._storing = self._storing, None
        before = self.content
        after = self.content = before.take_all(batch)
        if self._storing_held is not None:
            self._stored_held(*self._storing_held, problem)
        old, new = before.target, after.target
        version = names.NO_VERSION if new is None else new.content.version
        moved = new is not old and (old is None or version != old.content.version)
        if self._holds and new is not old:
            self._prepare(after)
        digest = after.digest
        if moved or self.holding.stage is not holding.Stage.NOTHING:
            self._tidy(before.digest, digest)
        if not moved:
            return (_CHANGED, *self._onwards())
        body = self.shelf.get(digest)
        assert body is not None
        return (_CHANGED, events.Accepted(version, digest, body), *self._onwards())

    def _stored_held(self, digest: names.Digest, body: bytes, problem: str) -> None:
        self._storing_held = None
        if problem:
            self.holding.refused(Refusal(holding.NO_ROOM, problem))
        else:
            self.shelf.add(digest, body)
            self.holding.stored()

    def _tidy(self, before: names.Digest, after: names.Digest) -> None:
        """Only the bodies that somebody may still need stay in memory: the one before as the base of a delta."""
        self.shelf.keep(frozenset((before, after, self.holding.digest)))

    def refusing(self, serial: names.Serial) -> bool:
        """Whether this target was refused here, so that asking for it again leads nowhere."""
        return self._refused == serial

    def gone(self, link: names.LinkId) -> None:
        """What was on its way over `link` will not come."""
        self._complaints.gone(link)
        if self._wanted is not None and self._wanted.link == link:
            self._wanted = None
        if link == self._parent:
            self._parent = None
            self.holding.gone()

    def again(self) -> None:
        """Take a refused target, or a prepared body, another time (`retry`, or the world changed)."""
        self._refused = None
        self.holding.again()


def _record_of(target: objects.Target, records: Sequence[mirror.SignedRecord]) -> mirror.SignedRecord | None:
    for record in records:
        if record.content.is_of(target):
            return record
    return None


def _out_of_order(new: mirror.SignedTarget, held: mirror.SignedTarget) -> tuple[str, str] | None:
    """Why a target is not taken, as phrase and detail: nothing to say of one that is merely known. None: it is newer."""
    serial, known = new.content.serial, held.content.serial
    if serial <= known:
        conflict = serial == known and new.raw != held.raw
        return ("two targets of one number", f"seq {serial.seq}") if conflict else ("", "")
    version, before = new.content.version, held.content.version
    if version < before:
        return _OUTDATED, f"got {version}, have {before}"
    if version == before and new.content.active.digest != held.content.active.digest:
        return "two digests of one revision", str(version)
    return None
