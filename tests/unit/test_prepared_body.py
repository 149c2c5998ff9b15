"""The body of a prepared revision at one tier: what counts as held is here, on the disk too, whatever crosses it."""

import random

import msgspec

from coordinator import limits, names
from coordinator.propagation import bodies, events, holding, intake, messages, objects
from tests.security import cluster

PARENT = names.LinkId(1)
MADE = cluster.Cluster()


def body(text: str) -> bytes:
    """More than one piece."""
    return random.Random(text).randbytes(limits.CHUNK_BYTES + 1)


class Tier:
    """Takes offers, and answers its own pulls by what its parent has; `disk` is what a ledger keeps that keeps no more than it is told."""

    def __init__(self) -> None:
        shelf = bodies.Shelf()
        shelf.add(MADE.digest, MADE.body)
        self.disk = {MADE.digest}
        self.room = True
        self.stores: list[events.Store] = []
        self.judging: list[events.Judge] | None = None
        """Where a test wants to answer itself."""
        self.parent = bodies.Shelf()
        self.intake = intake.Intake(MADE.content, shelf, cluster.CLUSTER, lambda _body: None)
        self.intake.hold()
        assert MADE.content.target is not None
        self.target = MADE.content.target.content

    def moves(self, **changed: object) -> messages.Offer:
        """The next target."""
        self.target = msgspec.structs.replace(self.target, seq=self.target.seq + 1, **changed)
        return self.offer(MADE.sign(objects.Kind.TARGET, self.target))

    def offer(self, *raws: bytes) -> messages.Offer:
        assert self.intake.content.record is not None
        return messages.Offer((self.intake.content.record.raw, *raws), None)

    def pointer(self, text: str, revision: int) -> objects.Pointer:
        data = body(text)
        self.parent.add(bodies.digest_of(data), data)
        return objects.Pointer(revision, bodies.digest_of(data), len(data))

    def activates(self, pointer: objects.Pointer) -> messages.Offer:
        record = objects.Record(1, pointer.revision, "", pointer.digest, pointer.size_bytes, "a", "", 0.0)
        self.target = msgspec.structs.replace(
            self.target, seq=self.target.seq + 1, active=pointer, prepared=None
        )
        signed = MADE.sign(objects.Kind.RECORD, record), MADE.sign(objects.Kind.TARGET, self.target)
        return messages.Offer(signed, None)

    def settle(self, outputs: tuple[intake.Output, ...]) -> None:
        """Everything that follows, until nothing does."""
        todo = list(outputs)
        while todo:
            match todo.pop(0):
                case events.Store(ticket, spare=True) as store if not self.room:
                    self.stores.append(store)
                    todo += self.intake.stored(ticket, "no space left")
                case events.Judge() as judge if self.judging is not None:
                    self.judging.append(judge)
                case events.Judge(digest, found, check):
                    todo += self.intake.judged(digest, check(found))
                case events.Store(ticket, _raws, stored, keep) as store:
                    self.stores.append(store)
                    self.disk = {one for one in self.disk if one in keep}
                    self.disk |= set() if stored is None else {stored[0]}
                    todo += self.intake.stored(ticket)
                case events.Send(_links, messages.Pull() as pull):
                    chunk = self.parent.chunk(names.Digest(pull.digest), "", pull.offset)
                    todo += () if chunk is None else self.intake.piece(PARENT, chunk)
                case _:
                    pass

    def takes(self, offer: messages.Offer) -> None:
        self.settle(self.intake.offered(PARENT, offer))


def test_a_body_that_comes_when_another_is_prepared_already_is_not_taken_for_that() -> None:
    tier = Tier()
    first, second = tier.pointer("first", 2), tier.pointer("second", 3)
    outputs = tier.intake.offered(PARENT, tier.moves(prepared=first))
    (store,) = [one for one in outputs if isinstance(one, events.Store)]
    outputs = tier.intake.stored(store.ticket)
    assert [type(one.frame) for one in outputs if isinstance(one, events.Send)] == [messages.Pull]
    outputs = tier.intake.offered(PARENT, tier.moves(prepared=second))
    for offset in (0, limits.CHUNK_BYTES):
        chunk = tier.parent.chunk(first.digest, "", offset)
        assert chunk is not None
        tier.intake.piece(PARENT, chunk)
    tier.settle(outputs)
    assert (tier.intake.holding.digest, tier.intake.holding.stage) == (second.digest, holding.Stage.HELD)
    assert second.digest in tier.intake.shelf
    assert second.digest in tier.disk


def test_a_body_that_is_on_the_shelf_is_on_the_disk() -> None:
    tier = Tier()
    first = tier.pointer("first", 2)
    tier.takes(tier.moves(prepared=first))
    tier.takes(tier.activates(first))
    tier.takes(tier.moves(rollout=names.RolloutId("again")))
    tier.takes(tier.activates(objects.Pointer(3, MADE.digest, len(MADE.body))))
    assert tier.intake.content.digest == MADE.digest
    assert MADE.digest in tier.disk


def test_a_piece_that_never_fits_is_asked_for_by_the_heartbeat_and_not_at_once() -> None:
    tier = Tier()
    first = tier.pointer("first", 2)
    outputs = tier.intake.offered(PARENT, tier.moves(prepared=first))
    (store,) = [one for one in outputs if isinstance(one, events.Store)]
    tier.intake.stored(store.ticket)
    bad = messages.Chunk(first.digest, "", 0, 10, first.size_bytes + 1, b"0123456789")
    pulls = [len(tier.intake.piece(PARENT, bad)) for _ in range(5)]
    assert pulls == [1, 0, 0, 0, 0]
    assert tier.intake.nudge(PARENT) == ()
    tier.settle(tier.intake.nudge(PARENT))
    assert tier.intake.holding.stage is holding.Stage.HELD


def told(tier: Tier) -> tuple[str, list[str]]:
    said = tier.intake.holding.told()
    return said.stage, [trouble.code for trouble in said.troubles]


def beats(tier: Tier, count: int) -> None:
    for _ in range(count):
        tier.settle(tier.intake.nudge(PARENT))


def test_a_body_that_the_disk_has_no_room_for_is_refused_by_name_and_taken_once_there_is() -> None:
    tier = Tier()
    first = tier.pointer("first", 2)
    tier.room = False
    tier.takes(tier.moves(prepared=first))
    assert told(tier) == ("refused", [holding.NO_ROOM])
    assert first.digest not in tier.intake.shelf, "what is on the shelf is on the disk"
    assert [(bool(one.objects), one.spare) for one in tier.stores] == [(True, False), (False, True)]
    beats(tier, holding.AGAIN_BEATS)
    assert told(tier) == ("refused", [holding.NO_ROOM])
    tier.room = True
    beats(tier, holding.AGAIN_BEATS - 2)
    assert len(tier.stores) == 3, "not asked for with every heartbeat"
    beats(tier, 4)
    assert told(tier) == ("held", [])
    assert first.digest in tier.intake.shelf


def test_what_there_was_no_room_for_is_pulled_again_where_it_becomes_active_meanwhile() -> None:
    tier = Tier()
    first = tier.pointer("first", 2)
    tier.room = False
    tier.takes(tier.moves(prepared=first))
    tier.takes(tier.activates(first))
    assert tier.intake.content.digest == first.digest
    assert first.digest in tier.disk


def test_a_large_body_is_judged_aside_and_a_verdict_that_comes_too_late_counts_for_nothing() -> None:
    tier = Tier()
    tier.judging = []
    first, second = tier.pointer("first", 2), tier.pointer("second", 3)
    tier.takes(tier.moves(prepared=first))
    assert (told(tier), len(tier.judging)) == (("coming", []), 1)
    tier.takes(tier.moves(prepared=second))
    tier.settle(tier.intake.judged(first.digest, holding.Refusal("invalid_document", "not here")))
    assert told(tier) == ("coming", [])
    tier.settle(tier.intake.judged(second.digest, None))
    assert told(tier) == ("held", [])
    tier.settle(tier.intake.judged(second.digest, holding.Refusal("invalid_document", "said twice")))
    assert told(tier) == ("held", [])


def test_what_the_tier_does_not_like_is_taken_when_somebody_says_retry() -> None:
    tier = Tier()
    tier.judging = []
    first = tier.pointer("first", 2)
    tier.takes(tier.moves(prepared=first))
    tier.settle(tier.intake.judged(first.digest, holding.Refusal("invalid_document", "not here")))
    beats(tier, 2 * holding.AGAIN_BEATS)
    assert told(tier) == ("refused", ["invalid_document"])
    tier.intake.again()
    beats(tier, 2)
    tier.settle(tier.intake.judged(first.digest, None))
    assert told(tier) == ("held", [])


def test_a_body_over_the_bound_and_one_that_differs_are_told() -> None:
    tier = Tier()
    tier.takes(tier.moves(prepared=objects.Pointer(2, names.Digest("a" * 64), limits.DOCUMENT_BYTES + 1)))
    assert told(tier) == ("refused", ["too_large"])
    tier.intake.again()
    assert told(tier) == ("refused", ["too_large"])
    first = tier.pointer("first", 3)
    outputs = tier.intake.offered(PARENT, tier.moves(prepared=first))
    (store,) = [one for one in outputs if isinstance(one, events.Store)]
    tier.intake.stored(store.ticket)
    bad = messages.Chunk(first.digest, "", 0, 10, first.size_bytes + 1, b"0123456789")
    tier.intake.piece(PARENT, bad)
    assert told(tier) == ("coming", [])
    tier.intake.piece(PARENT, bad)
    assert told(tier) == ("coming", [holding.DIFFERS])
    beats(tier, 2)
    assert told(tier) == ("held", [])
