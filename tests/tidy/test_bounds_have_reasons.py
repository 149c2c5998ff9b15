"""Every constant of `coordinator.limits` says why: beside it, or at the head of its group."""

import re

from coordinator import limits
from tests.tidy import tree

LIMITS = tree.ROOT / "coordinator" / "limits.py"
CONSTANT = re.compile(r"^([A-Z][A-Z0-9_]*)\b.*=")


def test_every_bound_has_a_reason() -> None:
    bare = []
    for group in LIMITS.read_text(encoding="utf-8").split("\n\n"):
        lines = group.strip().splitlines()
        if lines and not lines[0].startswith("#"):
            bare += [line for line in lines if CONSTANT.match(line) and "  # " not in line]
    assert not bare


def test_every_bound_is_a_positive_number() -> None:
    bounds = {name: value for name, value in vars(limits).items() if CONSTANT.match(f"{name} =")}
    assert bounds
    assert {
        name: value for name, value in bounds.items() if not isinstance(value, int | float) or value <= 0
    } == {}
