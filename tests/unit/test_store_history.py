"""The judges of histories: they find what is wrong, and nothing where all is well."""

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import storehistory as history

K = b"/k"


def put(start: float, end: float, value: str, revision: int = 0) -> history.Operation:
    return history.Operation(history.Kind.PUT, K, start, end, value.encode(), revision=revision)


def get(start: float, end: float, value: str | None, revision: int = 0) -> history.Operation:
    seen = None if value is None else value.encode()
    return history.Operation(history.Kind.GET, K, start, end, seen, revision=revision)


def swap(start: float, end: float, words: tuple[str, str], succeeded: bool | None) -> history.Operation:
    old, new = words
    return history.Operation(history.Kind.SWAP, K, start, end, new.encode(), old.encode(), succeeded)


NEVER = history.NEVER
GOOD: dict[str, list[history.Operation]] = {
    "a read of what was written": [get(0, 1, None), put(2, 3, "a"), get(4, 5, "a")],
    "a read during a write may see either": [put(0, 9, "a"), get(1, 2, None), get(3, 4, "a")],
    "an unknown write may show late": [put(0, NEVER, "a"), get(1, 2, None), get(3, 4, "a"), get(5, 6, "a")],
    "an unknown write may never show": [put(0, NEVER, "a"), put(1, 2, "b"), get(3, 4, "b")],
    "of two swaps from one value one wins": [
        put(0, 1, "a"),
        swap(2, 5, ("a", "b"), succeeded=True),
        swap(2, 5, ("a", "c"), succeeded=False),
        get(6, 7, "b"),
    ],
    "a swap of unknown outcome": [
        put(0, 1, "a"),
        swap(2, NEVER, ("a", "b"), succeeded=None),
        get(3, 4, "a"),
        get(5, 6, "b"),
    ],
}
BAD: dict[str, list[history.Operation]] = {
    "a stale read": [put(0, 1, "a"), put(2, 3, "b"), get(4, 5, "a")],
    "a lost write": [put(0, 1, "a"), get(2, 3, None)],
    "a value nobody wrote": [put(0, 1, "a"), get(2, 3, "x")],
    "two winners": [
        put(0, 1, "a"),
        swap(2, 5, ("a", "b"), succeeded=True),
        swap(2, 5, ("a", "c"), succeeded=True),
    ],
    "a swap that failed though it fitted": [put(0, 1, "a"), swap(2, 3, ("a", "b"), succeeded=False)],
    "a value that shows, goes and shows again": [
        put(0, 1, "a"),
        put(2, NEVER, "b"),
        get(3, 4, "b"),
        get(5, 6, "a"),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_what_one_order_explains_is_accepted(name: str) -> None:
    assert history.unexplained(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_what_no_order_explains_is_found(name: str) -> None:
    assert history.unexplained(BAD[name]) != []


@pytest.mark.parametrize(
    "operations",
    [
        [put(0, 1, "a", 1), put(2, 3, "b", 2), get(4, 5, "a", 1)],
        [put(0, 1, "a", 1), put(2, 3, "b", 1)],
        [put(0, 1, "a", 2), put(2, 3, "b", 1)],
        [put(0, 1, "a", 1), get(2, 3, "b", 1)],
    ],
    ids=["stale read", "one revision twice", "an order against time", "two values at a revision"],
)
def test_revisions_that_contradict_are_found(operations: list[history.Operation]) -> None:
    assert history.contradictions(operations) != []


def test_revisions_that_agree_are_accepted() -> None:
    assert history.contradictions([put(0, 1, "a", 1), get(2, 9, "a", 1), put(3, 5, "b", 4)]) == []


def explained(operations: Sequence[history.Operation]) -> bool:
    """By trying every order of every choice of the unknown ones."""
    known = [one for one in operations if one.end < NEVER]
    unknown = [one for one in operations if one.end == NEVER]
    for count in range(len(unknown) + 1):
        for chosen in itertools.combinations(unknown, count):
            if any(fits(order) for order in itertools.permutations([*known, *chosen])):
                return True
    return False


def fits(order: Sequence[history.Operation]) -> bool:
    if any(later.end < one.start for one, later in itertools.combinations(order, 2)):
        return False
    held: set[bytes | None] = {None}
    for one in order:
        held = {after for value in held for after in history._effects(value, one)}
    return bool(held)


@given(st.integers(0, 2**32))
def test_the_search_finds_what_trying_everything_finds(seed: int) -> None:
    source = random.Random(seed)
    operations = []
    for _ in range(source.randrange(1, 6)):
        start = source.uniform(0, 4)
        end = source.choice((start + source.uniform(0, 3), start + source.uniform(0, 3), NEVER))
        word, other = source.choice("abc"), source.choice("abc")
        match source.randrange(3):
            case 0:
                operations.append(put(start, end, word))
            case 1 if end < NEVER:
                operations.append(get(start, end, source.choice((word, None))))
            case _:
                outcome = None if end == NEVER else source.random() < 0.5
                operations.append(swap(start, end, (word, other), outcome))
    assert (history.unexplained(operations) == []) == explained(operations)
