"""What is wrong with a document, as data: one finding per fault, all of them at once.

Law: a finding names its rule, its path and, once text is known, file, line and column; the list is bounded by
`limits.FINDINGS`, errors first, and its order depends on the document alone.
"""

import difflib
from collections.abc import Collection, Iterable
from typing import Literal

import msgspec

from coordinator import limits

Path = tuple[str | int, ...]
Severity = Literal["error", "warning"]

_CANDIDATES = (
    300  # near misses are looked for among so many names; comparing all of 100,000 would take minutes
)


class Finding(msgspec.Struct, frozen=True):
    """One fault, for a person to mend."""

    rule: str
    severity: Severity
    path: Path
    message: str
    hint: str = ""
    file: str = ""
    line: int = 1
    column: int = 1


class Findings:
    """Collects findings within the bound."""

    def __init__(self) -> None:
        self._errors: list[Finding] = []
        self._warnings: list[Finding] = []
        self._seen: set[tuple[str, Path, str]] = set()
        self._searches = 0

    def error(self, rule: str, path: Path, message: str, hint: str = "") -> None:
        self.add(Finding(rule, "error", path, message, hint))

    def warn(self, rule: str, path: Path, message: str, hint: str = "") -> None:
        self.add(Finding(rule, "warning", path, message, hint))

    def add(self, finding: Finding) -> None:
        """Take it, unless the same is there (a template's fault shows at each of its roles) or there are enough."""
        kept = self._errors if finding.severity == "error" else self._warnings
        same = (finding.rule, finding.path, finding.message)
        if len(kept) < limits.FINDINGS and same not in self._seen:
            self._seen.add(same)
            kept.append(finding)

    def near(self, name: str, known: Collection[str], otherwise: str = "") -> str:
        """As the function `near`, for as many names as findings are kept: a search among 100,000 takes its time."""
        self._searches += 1
        return near(name, known, otherwise) if self._searches <= limits.FINDINGS else otherwise

    def result(self) -> tuple[Finding, ...]:
        """Errors before warnings, each by rule and path."""
        ordered = sorted(self._errors, key=_by_rule) + sorted(self._warnings, key=_by_rule)
        return tuple(ordered[: limits.FINDINGS])


def _by_rule(finding: Finding) -> tuple[str, tuple[str, ...], str]:
    return (
        finding.rule,
        tuple(f"{part:09}" if isinstance(part, int) else part for part in finding.path),
        finding.message,
    )


def invalid(findings: Iterable[Finding]) -> bool:
    """Whether any of them is an error."""
    return any(finding.severity == "error" for finding in findings)


def near(name: str, known: Collection[str], otherwise: str = "") -> str:
    """A hint that names the nearest known name, or `otherwise`."""
    candidates = list(known)
    if len(candidates) > _CANDIDATES:
        candidates = [other for other in candidates if other[:2] == name[:2]][:_CANDIDATES]
    found = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    return f"did you mean {found[0]!r}?" if found else otherwise


def dotted(path: Path) -> str:
    """`structure.north.n1[2]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
