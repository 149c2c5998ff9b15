"""What a child lacks, and the frames that bring it: an offer holds only what is newer than the child's numbers. Pure.

Law: the frames for a child, taken in order, bring it from its numbers to `due`; no admission is skipped on the way.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from coordinator import names
from coordinator.propagation import children, messages, mirror, objects, pieces, scopes

Scope = scopes.Scope
_NOTHING = names.Digest("")


def sent_at_first(content: mirror.Content, hello: messages.Hello) -> objects.Numbers:
    """What it says it holds, and the target it refused, if that is still ours."""
    numbers, ack, target = hello.numbers, hello.ack, content.target
    refused = (
        ack is not None
        and target is not None
        and ack.outcome is messages.Outcome.REFUSED
        and ack.version == target.content.version
    )
    return numbers if not refused else msgspec.structs.replace(numbers, target=content.numbers.target)


class Lack(msgspec.Struct, frozen=True):
    """What a frame has to bring."""

    raws: tuple[bytes, ...]
    wants: names.Digest
    """The body, where it is wanted."""
    base: str
    after: names.Serial


def grouped(
    content: mirror.Content, below: Iterable[children.Child]
) -> Mapping[Lack, Sequence[names.LinkId]]:
    """Who lacks what; from here on it counts as sent. Servers that have their own admission differ in little else."""
    groups: dict[Lack, list[names.LinkId]] = {}
    alike: dict[tuple[names.Serial, names.Serial, str, bool], tuple[objects.Numbers, Lack | None]] = {}
    admissions = content.admissions
    for child in below:
        sent, own = child.sent, admissions.get(child.peer)
        if child.admit.scope is not Scope.SERVER or own is None or own.content.serial > sent.admission:
            wanted, lack = _lack(content, child)
        else:
            kind = (sent.target, sent.trust, child.holds, child.pulled == content.digest)
            known = alike.get(kind)
            if known is None:
                known = alike[kind] = _lack(content, child)
            wanted, lack = known
            wanted = objects.Numbers(wanted.target, wanted.trust, sent.admission)
        if lack is not None:
            child.sent = wanted
            groups.setdefault(lack, []).append(child.link)
    return groups


def _lack(content: mirror.Content, child: children.Child) -> tuple[objects.Numbers, Lack | None]:
    """How far it will be, and what it lacks until then, if anything."""
    wanted, sent = due(content, child), child.sent
    raws = lacking(content, child, wanted)
    if not raws:
        return sent, None
    after = sent.admission if child.admit.scope is Scope.EVERYTHING else names.NO_SERIAL
    new = wanted.target > sent.target and content.digest not in {child.holds, child.pulled}
    lack = Lack(raws, content.digest, child.holds, after) if new else Lack(raws, _NOTHING, "", after)
    return furthest(wanted, sent), lack


def due(content: mirror.Content, child: children.Child) -> objects.Numbers:
    """How far this child should be, by its scope."""
    scope = child.admit.scope
    if scope is Scope.EVERYTHING:
        return content.numbers
    if scope is Scope.NOTHING:
        return objects.Numbers()
    own = None if scope is Scope.NODE else content.admissions.get(child.peer)
    target = None if scope is Scope.PARKED else content.target
    return objects.Numbers(
        target=names.NO_SERIAL if target is None else target.content.serial,
        trust=content.trust.content.serial,
        admission=names.NO_SERIAL if own is None else own.content.serial,
    )


def lacking(content: mirror.Content, child: children.Child, wanted: objects.Numbers) -> tuple[bytes, ...]:
    """The objects themselves, in the order in which they are to be taken."""
    raws: list[bytes] = []
    if wanted.trust > child.sent.trust and content.trust.raw:
        raws.append(content.trust.raw)
    if wanted.admission > child.sent.admission:
        raws += _admissions(content, child)
    if wanted.target > child.sent.target:
        assert content.target is not None
        assert content.record is not None
        raws += [content.record.raw, content.target.raw]
    return tuple(raws)


def _admissions(content: mirror.Content, child: children.Child) -> list[bytes]:
    if child.admit.scope is not Scope.EVERYTHING:
        own = content.admissions.get(child.peer)
        return [] if own is None else [own.raw]
    newer = [a for a in content.admissions.values() if a.content.serial > child.sent.admission]
    return [a.raw for a in sorted(newer, key=lambda a: a.content.serial)]


def frames(
    content: mirror.Content, raws: tuple[bytes, ...], body: messages.Chunk | None, after: names.Serial
) -> list[messages.Offer]:
    """One offer, or several where one frame would be too small; the body comes with the last."""
    *before, last = pieces.parts(raws)
    made = []
    serials = {a.raw: a.content.serial for a in content.admissions.values()} if before else {}
    for piece in before:
        made.append(messages.Offer(piece, None, after))
        after = max((serials[raw] for raw in piece if raw in serials), default=after)
    return [*made, messages.Offer(last, body, after)]


def furthest(one: objects.Numbers, other: objects.Numbers) -> objects.Numbers:
    """The greater of each kind."""
    return objects.Numbers(
        max(one.target, other.target), max(one.trust, other.trust), max(one.admission, other.admission)
    )
