"""A persistent ordered map from bytes: every change gives a new root and leaves the old one as it was.

Pure. A copy-on-write B+ tree of tuples: keeping a root is keeping a snapshot, at no cost to whoever goes on writing.
Laws: `put` and `remove` touch one path of nodes; iteration is in byte order; a tree never changes under an iterator.
"""

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Final, Generic, NamedTuple, TypeVar

V = TypeVar("V")

FAN_OUT: Final = 32  # copying two tuples of 32 pointers costs about as much as one more level


class _Leaf(NamedTuple, Generic[V]):
    keys: tuple[bytes, ...]
    values: tuple[V, ...]


class _Branch(NamedTuple, Generic[V]):
    """`bounds[i]` is not above any key of `children[i + 1]` and above every key of `children[i]`."""

    bounds: tuple[bytes, ...]
    children: tuple["_Leaf[V] | _Branch[V]", ...]


_Node = _Leaf[V] | _Branch[V]


class Tree(Generic[V]):
    """An immutable map; `len` is kept, not counted."""

    __slots__ = ("_root", "_size")

    def __init__(self, root: _Node[V] | None = None, size: int = 0) -> None:
        self._root: _Node[V] = _Leaf((), ()) if root is None else root
        self._size = size

    def __len__(self) -> int:
        return self._size

    def get(self, key: bytes) -> V | None:
        node = self._root
        while isinstance(node, _Branch):
            node = node.children[bisect_right(node.bounds, key)]
        at = bisect_left(node.keys, key)
        return node.values[at] if at < len(node.keys) and node.keys[at] == key else None

    def put(self, key: bytes, value: V) -> "Tree[V]":
        grown, parts = _put(self._root, key, value)
        root = parts[0] if len(parts) == 1 else _Branch((_first(parts[1]),), parts)
        return Tree(root, self._size + grown)

    def remove(self, key: bytes) -> "Tree[V]":
        """The tree without the key; itself if the key is absent."""
        if self.get(key) is None:
            return self
        root = _remove(self._root, key)
        while isinstance(root, _Branch) and len(root.children) == 1:
            root = root.children[0]
        return Tree(root, self._size - 1)

    def pairs(self, start: bytes = b"", end: bytes | None = None) -> Iterator[tuple[bytes, V]]:
        """Pairs with start <= key < end, in order; no end is the end of the map."""
        for leaf, first in _leaves(self._root, start):
            last = len(leaf.keys) if end is None else bisect_left(leaf.keys, end)
            for at in range(first, last):
                yield leaf.keys[at], leaf.values[at]
            if last < len(leaf.keys):
                return


def build(pairs: Iterable[tuple[bytes, V]]) -> Tree[V]:
    """A tree of pairs that come in strictly rising order of their keys; raises ValueError if they do not."""
    source = iter(pairs)
    level: list[_Node[V]] = []
    last = b""
    size = 0
    while chunk := tuple(itertools.islice(source, FAN_OUT)):
        keys = tuple(key for key, _value in chunk)
        if any(a >= b for a, b in itertools.pairwise(keys)) or (level and keys[0] <= last):
            raise ValueError("keys are not in order")
        last, size = keys[-1], size + len(keys)
        level.append(_Leaf(keys, tuple(value for _key, value in chunk)))
    while len(level) > 1:
        groups = [level[at : at + FAN_OUT] for at in range(0, len(level), FAN_OUT)]
        level = [_Branch(tuple(_first(child) for child in group[1:]), tuple(group)) for group in groups]
    return Tree(level[0], size) if level else Tree()


def _first(node: _Node[V]) -> bytes:
    while isinstance(node, _Branch):
        node = node.children[0]
    return node.keys[0]


def _put(node: _Node[V], key: bytes, value: V) -> tuple[int, tuple[_Node[V], ...]]:
    """Whether a key came to be, and the one or two nodes that replace this one."""
    if isinstance(node, _Leaf):
        return _put_leaf(node, key, value)
    at = bisect_right(node.bounds, key)
    grown, parts = _put(node.children[at], key, value)
    children = (*node.children[:at], *parts, *node.children[at + 1 :])
    if len(parts) == 1:
        return grown, (_Branch(node.bounds, children),)
    bounds = (*node.bounds[:at], _first(parts[1]), *node.bounds[at:])
    if len(children) <= FAN_OUT:
        return grown, (_Branch(bounds, children),)
    half = len(children) // 2
    return grown, (
        _Branch(bounds[: half - 1], children[:half]),
        _Branch(bounds[half:], children[half:]),
    )


def _put_leaf(leaf: _Leaf[V], key: bytes, value: V) -> tuple[int, tuple[_Node[V], ...]]:
    at = bisect_left(leaf.keys, key)
    if at < len(leaf.keys) and leaf.keys[at] == key:
        return 0, (_Leaf(leaf.keys, (*leaf.values[:at], value, *leaf.values[at + 1 :])),)
    keys = (*leaf.keys[:at], key, *leaf.keys[at:])
    values = (*leaf.values[:at], value, *leaf.values[at:])
    if len(keys) <= FAN_OUT:
        return 1, (_Leaf(keys, values),)
    # Keys that only ever rise (numbered records) would leave half-empty leaves behind an even split.
    half = FAN_OUT if at == FAN_OUT else FAN_OUT // 2
    return 1, (_Leaf(keys[:half], values[:half]), _Leaf(keys[half:], values[half:]))


def _remove(node: _Node[V], key: bytes) -> _Node[V] | None:
    """The node without the key, or None when nothing is left of it; thin nodes stay, empty ones go."""
    if isinstance(node, _Leaf):
        at = bisect_left(node.keys, key)
        keys = (*node.keys[:at], *node.keys[at + 1 :])
        return _Leaf(keys, (*node.values[:at], *node.values[at + 1 :])) if keys else None
    at = bisect_right(node.bounds, key)
    child = _remove(node.children[at], key)
    if child is not None:
        return _Branch(node.bounds, (*node.children[:at], child, *node.children[at + 1 :]))
    children = (*node.children[:at], *node.children[at + 1 :])
    cut = max(at - 1, 0)
    return _Branch((*node.bounds[:cut], *node.bounds[cut + 1 :]), children) if children else None


def _leaves(node: _Node[V], start: bytes) -> Iterator[tuple[_Leaf[V], int]]:
    """Leaves from the one that may hold `start`, each with the place to begin at."""
    if isinstance(node, _Leaf):
        yield node, bisect_left(node.keys, start)
        return
    at = bisect_right(node.bounds, start)
    yield from _leaves(node.children[at], start)
    for child in node.children[at + 1 :]:
        yield from _leaves(child, b"")
