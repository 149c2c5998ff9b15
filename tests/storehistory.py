"""What clients of a store saw, and whether one order of all operations explains it.

Pure. Two judges that share nothing: `Judge` searches an order for one key from values and times alone; `contradictions`
takes the revisions in the answers at their word and holds them against time and values.
Law: an operation without an end may have taken effect at any time after its start, or never; nothing else is forgiven.
"""

import enum
import itertools
from collections.abc import Iterable, Iterator, Sequence

import msgspec

NEVER = float("inf")
CONFIGURATIONS = 200_000  # of one key at one moment; a history that needs more says nothing either way


class Kind(enum.Enum):
    PUT = "put"
    GET = "get"
    SWAP = "swap"
    """Put `value` if the key holds `expected`, else read it."""


class Operation(msgspec.Struct, frozen=True):
    """One operation on one key; of a transaction over several keys there is one for each."""

    kind: Kind
    key: bytes
    start: float
    end: float = NEVER
    value: bytes | None = None
    """What was written, or was to be; what a GET saw (None: no such key)."""
    expected: bytes | None = None
    succeeded: bool | None = None
    """Of a SWAP; None: nobody knows."""
    revision: int = 0
    """Of the store after a write, of the value that a GET saw; 0 where it was not told."""


class UndecidedError(Exception):
    """Too many operations at once to search all their orders."""


class Judge:
    """Searches an order of the operations on one key, one return after the other (just in time).

    A configuration is what the key could hold now, and which of the operations under way have taken effect by then.
    """

    def __init__(self) -> None:
        self._open: dict[int, Operation] = {}
        self._held: set[tuple[bytes | None, frozenset[int]]] = {(None, frozenset())}

    def judge(self, operations: Sequence[Operation]) -> Operation | None:
        """The first operation whose answer no order explains; None where all is well. Raises `UndecidedError`."""
        starts = [(one.start, 0, at) for at, one in enumerate(operations)]
        ends = [(one.end, 1, at) for at, one in enumerate(operations) if one.end < NEVER]
        # At equal times a start comes before an end: the generous reading.
        for _time, ending, at in sorted([*starts, *ends]):
            if not ending:
                self._open[at] = operations[at]
                continue
            self._held = self._after(at)
            del self._open[at]
            if not self._held:
                return operations[at]
        return None

    def _after(self, ended: int) -> set[tuple[bytes | None, frozenset[int]]]:
        """What is possible once this one has taken effect."""
        kept: set[tuple[bytes | None, frozenset[int]]] = set()
        seen = set(self._held)
        work = list(self._held)
        while work:
            value, done = work.pop()
            if ended in done:
                kept.add((value, done - {ended}))
                continue
            for at, operation in self._open.items():
                if at in done:
                    continue
                for following in _effects(value, operation):
                    next_one = (following, done | {at})
                    if next_one not in seen:
                        seen.add(next_one)
                        work.append(next_one)
            if len(seen) > CONFIGURATIONS:
                raise UndecidedError(f"{len(self._open)} operations at once")
        return kept


def _effects(value: bytes | None, operation: Operation) -> Iterator[bytes | None]:
    """What the key can hold after it; nothing where its answer does not fit."""
    match operation.kind:
        case Kind.PUT:
            yield operation.value
        case Kind.GET:
            if operation.value == value:
                yield value
        case Kind.SWAP:
            fits = value == operation.expected
            if fits and operation.succeeded is not False:
                yield operation.value
            if not fits and operation.succeeded is not True:
                yield value


def unexplained(operations: Iterable[Operation]) -> list[str]:
    """Sentences on every key whose history has no order. Raises `UndecidedError`."""
    found = []
    for key, of_key in sorted(_by_key(operations).items()):
        wrong = Judge().judge(of_key)
        if wrong is not None:
            found.append(f"{key.decode()}: no order explains {wrong}")
    return found


def contradictions(operations: Iterable[Operation]) -> list[str]:
    """Sentences on answers whose revisions disagree with each other, with values or with time."""
    return [
        sentence
        for _key, of_key in sorted(_by_key(operations).items())
        for sentence in _contradictions(of_key)
    ]


def _contradictions(operations: Sequence[Operation]) -> Iterator[str]:
    # The revision of a SWAP that changed nothing is the store's, not this key's.
    told = [one for one in operations if one.end < NEVER and one.revision and one.succeeded is not False]
    writes = [one for one in told if one.kind is not Kind.GET]
    values: dict[int, bytes | None] = {}
    for one in writes:
        if one.revision in values:
            yield f"two writes at revision {one.revision}: {one}"
        values[one.revision] = one.value
    for one in told:
        if one.kind is Kind.GET and values.setdefault(one.revision, one.value) != one.value:
            yield f"another value at that revision: {one}"
    ends = sorted(told, key=lambda one: one.end)
    confirmed, at = 0, 0
    for one in sorted(told, key=lambda one: one.start):
        while at < len(ends) and ends[at].end < one.start:
            confirmed = max(confirmed, ends[at].revision)
            at += 1
        if one.revision < confirmed + (one.kind is not Kind.GET):
            yield f"revision {confirmed} had been confirmed before {one}"


def _by_key(operations: Iterable[Operation]) -> dict[bytes, list[Operation]]:
    ordered = sorted(operations, key=lambda one: one.key)
    return {key: list(group) for key, group in itertools.groupby(ordered, key=lambda one: one.key)}
