"""What a suite of `make soak` is: a function that plays one seed and says what it counted and what was wrong.

Law: a round is whole or was not played; whole numbers of all rounds add up, of names that begin with `worst` the largest
counts.
"""

import pathlib
from collections.abc import Callable, Iterable, Mapping

import msgspec

WORST = "worst "


class Round(msgspec.Struct, frozen=True):
    """One seed, played to its end."""

    seed: int
    seconds: float
    counts: Mapping[str, float]
    violations: tuple[str, ...] = ()


class Suite(msgspec.Struct, frozen=True):
    """`play` gets a seed and an empty directory on a real disk, which is kept where something was wrong."""

    what: str
    play: Callable[[int, pathlib.Path], Round]


def total(rounds: Iterable[Round]) -> dict[str, float]:
    """Of all rounds together."""
    found: dict[str, float] = {}
    for one in rounds:
        for name, count in one.counts.items():
            before = found.get(name, 0)
            found[name] = max(before, count) if name.startswith(WORST) else before + count
    return found
