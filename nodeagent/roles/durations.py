"""Spans of time as people write them in a document: `500ms`, `1s`, `5m`, `2h`."""

import re

UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
PATTERN = r"^[0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h)$(?!\n)"
_FORM = re.compile(PATTERN)


def seconds(text: str) -> float:
    """Raises ValueError where it is not a number with a unit."""
    if _FORM.match(text) is None:
        raise ValueError(f"not a duration such as 500ms, 1s or 5m (got {text!r})")
    number = text.rstrip("msh")
    return float(number) * UNITS_S[text[len(number) :]]
