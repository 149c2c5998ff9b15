"""The persistent tree is a sorted dict whose every past version stays as it was."""

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.store import tree

KEYS = st.binary(min_size=0, max_size=3)
STEPS = st.lists(st.tuples(st.booleans(), KEYS, st.integers()), max_size=300)


def follow(steps: Iterable[tuple[bool, bytes, int]]) -> list[tuple[tree.Tree[int], dict[bytes, int]]]:
    versions: list[tuple[tree.Tree[int], dict[bytes, int]]] = [(tree.Tree(), {})]
    for putting, key, value in steps:
        before, model = versions[-1]
        after = before.put(key, value) if putting else before.remove(key)
        changed = {**model, key: value} if putting else {k: v for k, v in model.items() if k != key}
        versions.append((after, changed))
    return versions


@given(STEPS, KEYS, KEYS)
def test_every_version_equals_its_dict_for_ever(
    steps: list[tuple[bool, bytes, int]], start: bytes, end: bytes
) -> None:
    for version, model in follow(steps):
        assert list(version.pairs()) == sorted(model.items())
        assert len(version) == len(model)
        assert list(version.pairs(start, end)) == [p for p in sorted(model.items()) if start <= p[0] < end]
        assert version.get(start) == model.get(start)


@pytest.mark.parametrize("rising", [True, False])
def test_a_large_tree_holds_what_a_dict_holds(rising: bool) -> None:
    source = random.Random(5)
    numbers = list(range(5000))
    if not rising:
        source.shuffle(numbers)
    whole: tree.Tree[int] = tree.Tree()
    for number in numbers:
        whole = whole.put(b"%06d" % number, number)
    assert [value for _key, value in whole.pairs()] == list(range(5000))
    assert [v for _k, v in whole.pairs(b"000100", b"000105")] == [100, 101, 102, 103, 104]
    source.shuffle(numbers)
    rest = whole
    for number in numbers[:4990]:
        rest = rest.remove(b"%06d" % number)
    assert [value for _key, value in rest.pairs()] == sorted(numbers[4990:])
    assert len(whole) == 5000


@given(st.lists(KEYS, unique=True, max_size=200))
def test_a_tree_built_at_once_equals_one_built_by_puts(keys: list[bytes]) -> None:
    pairs = [(key, at) for at, key in enumerate(sorted(keys))]
    built = tree.build(pairs)
    assert list(built.pairs()) == pairs
    assert len(built) == len(pairs)
    assert all(built.get(key) == at for key, at in pairs)
    assert list(built.put(b"\xff" * 4, 1).pairs()) == [*pairs, (b"\xff" * 4, 1)]


def test_pairs_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="order"):
        tree.build([(b"b", 1), (b"a", 2)])
    with pytest.raises(ValueError, match="order"):
        tree.build([(b"%03d" % at, 1) for at in range(tree.FAN_OUT)] + [(b"000", 1)])
