"""How people write a time span: `90s`, `5m`, `500ms`, `2h`, `1d`, `1h30m`; a bare number is seconds."""

import re

from coordinator import errors

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PAIRS = (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1))
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h|d)", re.ASCII)
_WHOLE = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_BARE = re.compile(r"\d{1,9}(?:\.\d{1,6})?", re.ASCII)


def seconds(text: str) -> float:
    """Of a written time span. Raises `UsageError`."""
    if _BARE.fullmatch(text):
        return float(text)
    if not _WHOLE.fullmatch(text):
        raise errors.UsageError(f"not a duration (got {text[:40]!r})", hint="write 90s, 5m, 500ms or 1h30m")
    return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))


def written(span_s: float) -> str:
    """For people, rounded to what matters: `480 ms`, `12.3 s`, `5 m 20 s`, `3 h 10 m`, `2 d 4 h`."""
    if span_s < 1:
        return f"{span_s * 1000:.0f} ms"
    if span_s < 60:
        return f"{span_s:.1f} s"
    whole = int(span_s)
    for big, big_s, small, small_s in _PAIRS:
        if whole >= big_s:
            rest = whole % big_s // small_s
            return f"{whole // big_s} {big} {rest} {small}" if rest else f"{whole // big_s} {big}"
    raise AssertionError(span_s)
