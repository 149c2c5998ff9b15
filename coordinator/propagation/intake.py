"""How a tier takes signed objects and bodies, from its parent or from a child that is ahead: one machine for both.

Rules of a hop: newer -> take; same and equal -> accept again; same number, other bytes -> refuse loudly; older ->
refuse. Never by clocks. An object is taken only verified; a target only together with its record and its body, after
the size, the digest and the tier's own check. Everything is durable before it counts: one `Store` at a time, and what
is taken meanwhile waits for the next.
Law: the accepted version never decreases (I3); no body is pulled twice in a row after a failure.
"""

import itertools
from collections.abc import Callable, Mapping

import msgspec

from coordinator import errors, limits, names
from coordinator.propagation import bodies, events, holding, messages, mirror
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


def _always() -> bool:
    return True


AT_ONCE_BYTES = (
    limits.CHUNK_BYTES
)  # a larger body that is not to run yet is judged aside: to expand 32 MiB takes seconds
_COMPLAINTS = 8  # of one link; a parent that invents reasons costs no more


class _Wanted(msgspec.Struct):
    """A verified target on its way in, waiting for record or body."""

    link: names.LinkId
    target: mirror.SignedTarget
    record: mirror.SignedRecord | None = None
    assembly: bodies.Assembly | None = None
    full: bool = False
    """A delta failed once: pull without base, once."""
    asked: int | None = None
    """Offset of the piece asked for last."""
    nudged: int | None = None
    """Offset still missing at the last heartbeat."""


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
        self._frame = (names.Digest(""), b"")
        """Of the body that came last, where it came as one zstd frame."""
        self._storing: tuple[mirror.AnySigned, ...] | None = None
        self._ticket = 0
        self._wanted: _Wanted | None = None
        self._refused: names.Serial | None = None
        self._distrusted: dict[names.LinkId, dict[str, None]] = {}

    def hold(self, entitled: Callable[[], bool] = _always) -> None:
        """From here on the body of a prepared revision is pulled too, while this tier is `entitled` to one."""
        self._holds, self._entitled = True, entitled
        self._prepare(self.content)

    @property
    def distrust(self) -> str:
        """Why objects that came over a link that stands were refused; empty where none were."""
        return next((why for told in self._distrusted.values() for why in reversed(told)), "")

    @property
    def busy(self) -> bool:
        """Whether something taken is not durable yet or still on its way."""
        return self._storing is not None or bool(self._staged) or self._wanted is not None

    def offered(
        self, link: names.LinkId, offer: messages.Offer, *, below: bool = False
    ) -> tuple[Output, ...]:
        """Objects came in over `link`, from a parent or (`below`) from a child that is ahead.

        An admission is taken from a parent only, which sends all of them in rising order: one that a child slips in
        between would look like all those before it.
        """
        if link and not below:
            self._parent = link
        outputs: list[Output] = []
        records: dict[names.Version, mirror.SignedRecord] = {}
        missing = offer.after > names.NO_SERIAL and offer.after > self._admitted()
        for raw in offer.objects:
            try:
                signed = mirror.verify(raw, self.keyring)
            except errors.SignatureError as problem:
                outputs += self._complain("object refused", link, problem.message)
                continue
            if isinstance(signed, mirror.SignedAdmission) and (below or missing):
                continue
            if isinstance(signed, mirror.SignedRecord):
                record = signed.content
                records[names.Version(record.generation, record.revision)] = signed
            else:
                outputs += self._consider(link, signed)
        outputs += self._match(link, records)
        if offer.body is not None:
            outputs += self._piece(link, offer.body)
        return (*outputs, *self._pull(), *self._flush(), *self._pull_held())

    def _complain(self, phrase: str, link: names.LinkId, detail: str) -> list[Output]:
        """Told once per link and reason, however often it is offered; remembered as long as the link stands."""
        told, why = self._distrusted.setdefault(link, {}), f"{phrase}: {detail}"
        if why in told:
            return []
        if len(told) >= _COMPLAINTS:
            del told[next(iter(told))]
        told[why] = None
        return [_warning(phrase, link, detail)]

    def _admitted(self) -> names.Serial:
        """The greatest admission that was taken, durable or not yet."""
        taken = [one for group in self._staged.values() for one in group] + list(self._storing or ())
        serials = [one.content.serial for one in taken if isinstance(one, mirror.SignedAdmission)]
        return max([*serials, self.content.numbers.admission])

    def _consider(self, link: names.LinkId, signed: mirror.AnySigned) -> list[Output]:
        match signed:
            case mirror.SignedTrust():
                held, new = self.content.trust, signed.content.serial
                if new == held.content.serial and held.raw and signed.raw != held.raw:
                    return self._complain("two trusts of one number", link, f"seq {new.seq}")
                if new > held.content.serial:
                    self.keyring = signing.Keyring(self.keyring.cluster, signed.content)
                    self._stage(signed)
            case mirror.SignedAdmission():
                return self._consider_admission(link, signed)
            case mirror.SignedTarget():
                return self._consider_target(link, signed)
            case mirror.SignedRecord():
                pass
        return []

    def _consider_admission(self, link: names.LinkId, signed: mirror.SignedAdmission) -> list[Output]:
        if self._own is not None and signed.content.server_id != self._own:
            return []
        held = self.content.admissions.get(signed.content.server_id)
        if held is not None and held.content.serial == signed.content.serial and held.raw != signed.raw:
            return self._complain("two admissions of one number", link, signed.content.server_id)
        if held is None or signed.content.serial > held.content.serial:
            self._stage(signed)
        return []

    def _consider_target(self, link: names.LinkId, signed: mirror.SignedTarget) -> list[Output]:
        if self._wanted is not None and self._stuck(link, signed):
            self._wanted = None
        new, held = signed.content, self._newest_target()
        version, serial = new.version, new.serial
        if version < self._floor:
            return self._complain("target older than accepted", link, f"got {version}, have {self._floor}")
        if held is not None:
            old = held.content
            before, known = old.version, old.serial
            if serial == known and signed.raw != held.raw:
                return self._complain("two targets of one number", link, f"seq {new.seq}")
            if serial <= known:
                return []
            if version < before:
                return self._complain("target older than accepted", link, f"got {version}, have {before}")
            if version == before and new.active.digest != old.active.digest:
                return self._complain("two digests of one revision", link, str(version))
        if serial != self._refused:
            self._wanted = _Wanted(link, signed)
        return []

    def _stuck(self, link: names.LinkId, signed: mirror.SignedTarget) -> bool:
        """Whether the body of this very target is awaited from another link, which has been asked and stays silent."""
        wanted = self._wanted
        if wanted is None or wanted.assembly is None or wanted.link == link:
            return False
        return wanted.target.raw == signed.raw and wanted.nudged == wanted.assembly.offset

    def _newest_target(self) -> mirror.SignedTarget | None:
        if self._wanted is not None:
            return self._wanted.target
        if self._staged or self._storing:
            for batch in (self._staged.get(mirror.TARGET_KEY, ()), self._storing or ()):
                for signed in batch:
                    if isinstance(signed, mirror.SignedTarget):
                        return signed
        return self.content.target

    def _match(
        self, link: names.LinkId, records: Mapping[names.Version, mirror.SignedRecord]
    ) -> list[Output]:
        """Give the wanted target its record, and ask for its body."""
        wanted = self._wanted
        if wanted is None or wanted.link != link or wanted.record is not None:
            return []
        target = wanted.target.content
        version, digest = target.version, target.active.digest
        record = records.get(version)
        if record is None and self.content.version == version:
            record = self.content.record
        if record is None or record.content.digest != digest:
            self._wanted = None
            return self._complain("target without its record", link, str(version))
        if record.content.size_bytes > limits.DOCUMENT_BYTES:
            return self._refuse(Refusal("too_large", f"body of {record.content.size_bytes} bytes"))
        wanted.record = record
        body = self.shelf.get(digest)
        if body is not None:
            return self._take(body)
        wanted.assembly = bodies.Assembly(digest, record.content.size_bytes)
        return []

    def piece(self, link: names.LinkId, chunk: messages.Chunk) -> tuple[Output, ...]:
        """A piece of a body came in; what nobody waits for is dropped."""
        judge = self._hold(chunk)
        return (*judge, *self._piece(link, chunk), *self._pull(), *self._flush(), *self._pull_held())

    def _hold(self, chunk: messages.Chunk) -> tuple[Output, ...]:
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
        return self._flush()

    def _judged(self, refusal: Refusal | None) -> None:
        body, self._judging = self._judging, None
        if refusal is None:
            self._staged_held = body
        else:
            self.holding.refused(refusal)

    def _pull_held(self) -> tuple[Output, ...]:
        if self.holding.stage is not holding.Stage.COMING or not self._entitled():
            return ()
        pull = (
            None
            if self._parent is None or self._wanted is not None
            else self.holding.next_pull(self.content.digest)
        )
        return () if pull is None or self._parent is None else (events.Send((self._parent,), pull),)

    def nudge(self, parent: names.LinkId) -> tuple[Output, ...]:
        """Called every heartbeat to the parent: ask again for what was asked for at the last one and has not come."""
        self._parent = parent
        self.holding.nudge()
        return (*self._nudged(), *self._pull_held())

    def _nudged(self) -> tuple[Output, ...]:
        wanted = self._wanted
        if wanted is None or wanted.assembly is None:
            return ()
        if wanted.nudged != wanted.assembly.offset:
            wanted.nudged = wanted.assembly.offset
            return ()
        wanted.asked = None
        return self._pull()

    def _pull(self) -> tuple[Output, ...]:
        wanted = self._wanted
        if wanted is None or wanted.assembly is None or wanted.asked == wanted.assembly.offset:
            return ()
        wanted.asked = wanted.assembly.offset
        base = "" if wanted.full else self.content.digest
        pull = messages.Pull(wanted.assembly.digest, base, wanted.assembly.offset)
        return (events.Send((wanted.link,), pull),)

    def _piece(self, link: names.LinkId, chunk: messages.Chunk) -> tuple[Output, ...]:
        wanted = self._wanted
        if wanted is None or wanted.assembly is None or wanted.link != link:
            return ()
        if chunk.digest != wanted.assembly.digest:
            return ()
        try:
            body = wanted.assembly.add(chunk, self.shelf.get(chunk.base) if chunk.base else None)
        except errors.ProtocolError as problem:
            return self._start_again(wanted, problem.message)
        if body is None:
            return ()
        if self.relays and not wanted.full:
            self.shelf.learn(wanted.assembly, self.content.digest)
        self._frame = (wanted.assembly.digest, wanted.assembly.frame)
        return tuple(self._take(body))

    def _start_again(self, wanted: _Wanted, why: str) -> tuple[Output, ...]:
        note = _warning("body refused", wanted.link, why)
        assert wanted.assembly is not None
        if wanted.full:
            self._wanted = None
            return (note,)
        assert wanted.record is not None
        wanted.full, wanted.asked = True, None
        wanted.assembly = bodies.Assembly(wanted.assembly.digest, wanted.record.content.size_bytes)
        return (note,)

    def _take(self, body: bytes) -> list[Output]:
        wanted = self._wanted
        assert wanted is not None
        assert wanted.record is not None
        digest = wanted.target.content.active.digest
        if self.content.digest != digest:
            refusal = self._check(body)
            if refusal is not None:
                return self._refuse(refusal)
        self._wanted = None
        self._staged_body = None if digest in self.shelf else (digest, body)
        self._staged[mirror.TARGET_KEY] = (wanted.target, wanted.record)
        return []

    def _refuse(self, refusal: Refusal) -> list[Output]:
        wanted, self._wanted = self._wanted, None
        assert wanted is not None
        target = wanted.target.content
        self._refused = target.serial
        return [Refused(target.version, target.active.digest, refusal)]

    def _stage(self, signed: mirror.AnySigned) -> None:
        self._staged[mirror.ledger_key(signed)] = (signed,)

    def _flush(self) -> tuple[Output, ...]:
        if self._storing is not None or not (self._staged or self._staged_held):
            return ()
        batch = tuple(itertools.chain.from_iterable(self._staged.values()))
        body, self._staged_body, self._staged = self._staged_body, None, {}
        self._storing = batch
        self._ticket += 1
        alone = not batch  # what is to run does not depend on there being room for what is not yet
        if alone:
            body = self._storing_held = self._staged_held
            self._staged_held, self._frame = None, self.holding.frame
        elif body is not None:
            self.shelf.add(*body)
        raws = {mirror.ledger_key(signed): signed.raw for signed in batch}
        new = [one.content.active.digest for one in batch if isinstance(one, mirror.SignedTarget)]
        prepared = [one.content.prepared for one in batch if isinstance(one, mirror.SignedTarget)]
        held = [one.digest for one in (*prepared, self.holding.pointer) if one is not None]
        # What is on the shelf is not stored again, so it stays on the disk too.
        keep = tuple(dict.fromkeys((*new, *held, *self.shelf.digests)))
        frame = self._frame[1] if body is not None and body[0] == self._frame[0] else b""
        self._frame = (names.Digest(""), b"")
        return (events.Store(self._ticket, raws, body, keep, frame, spare=alone),)

    def stored(self, ticket: int, problem: str = "") -> tuple[Output, ...]:
        """The ledger has it: from here on it counts. Or it has no room for what is not to run yet, which is a `problem`."""
        if self._storing is None or ticket != self._ticket:
            return ()
        batch, self._storing = self._storing, None
        before = self.content
        after = self.content = before.take_all(batch)
        if self._storing_held is not None:
            self._stored_held(*self._storing_held, problem)
        accepted: tuple[Output, ...] = ()
        if after.version != before.version:
            body = self.shelf.get(after.digest)
            assert body is not None
            accepted = (events.Accepted(after.version, after.digest, body),)
        self._prepare(after)
        kept = {before.digest, after.digest, self.holding.digest}
        if accepted or self.holding.stage is not holding.Stage.NOTHING:
            self.shelf.keep(frozenset(kept))
        return (_CHANGED, *accepted, *self._flush(), *self._pull_held())

    def _stored_held(self, digest: names.Digest, body: bytes, problem: str) -> None:
        self._storing_held = None
        if problem:
            self.holding.refused(Refusal(holding.NO_ROOM, problem))
        else:
            self.shelf.add(digest, body)
            self.holding.stored()

    def _prepare(self, content: mirror.Content) -> None:
        """What the target now prepares is wanted beside what is active."""
        if not self._holds or content.target is None:
            return
        pointer = content.target.content.prepared
        self.holding.want(pointer, held=pointer is not None and pointer.digest in self.shelf)
        if self._staged_held is not None and self._staged_held[0] != self.holding.digest:
            self._staged_held = None  # of the one prepared before

    def refusing(self, serial: names.Serial) -> bool:
        """Whether this target was refused here, so that asking for it again leads nowhere."""
        return self._refused == serial

    def gone(self, link: names.LinkId) -> None:
        """What was on its way over `link` will not come."""
        self._distrusted.pop(link, None)
        if self._wanted is not None and self._wanted.link == link:
            self._wanted = None
        if link == self._parent:
            self._parent = None
            self.holding.gone()

    def again(self) -> None:
        """Take a refused target, or a prepared body, another time (`retry`, or the world changed)."""
        self._refused = None
        self.holding.again()


def _warning(phrase: str, link: names.LinkId, detail: str) -> events.Note:
    return events.Note(events.Severity.WARNING, phrase, {"link": link, "detail": detail})
