"""Plain scalars by the YAML 1.2 core schema: `no` is text, `1:30` is text, `0o17` is fifteen.

Whole numbers are those of 64 bits, others finite: what JSON and every reader of the canonical form can carry.
"""

import math
import re

_STARTS = frozenset("~nNtTfF+-.0123456789")
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE = frozenset(("true", "True", "TRUE"))
_FALSE = frozenset(("false", "False", "FALSE"))
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_DIGITS = 24  # more than any number of 64 bits in octal has; int() is quadratic in longer ones

INT_MIN, INT_MAX = -(2**63), 2**63 - 1

Scalar = str | int | float | bool | None


class ScalarError(ValueError):
    """A number that cannot be carried."""


def resolve(text: str) -> Scalar:
    """The value of a plain scalar. Raises `ScalarError`."""
    if not text or text in _NULL:
        return None
    if text[0] not in _STARTS:
        return text
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if _INT.fullmatch(text):
        return integer(text)
    if _FLOAT.fullmatch(text):
        return floating(text)
    if _NOT_FINITE.fullmatch(text):
        raise ScalarError(f"{text} is not a finite number")
    return text


def integer(text: str) -> int:
    """A whole number of 64 bits, decimal, octal (`0o`) or hexadecimal (`0x`). Raises `ScalarError`."""
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    value = int(text, base) if len(text) <= _DIGITS else INT_MAX + 1
    if not INT_MIN <= value <= INT_MAX:
        raise ScalarError(f"the number {text[:_DIGITS]} does not fit 64 bits")
    return value


def floating(text: str) -> float:
    """A finite number. Raises `ScalarError`."""
    value = float(text)
    if not math.isfinite(value):
        raise ScalarError(f"the number {text[:_DIGITS]} is too large")
    return value
