"""Findings as a person wants them: all at once, each with its place, its line and a hint."""

from collections.abc import Mapping, Sequence

from coordinator import errors
from coordinator.cli import answers, printing
from coordinator.config import findings as faults
from coordinator.config import rendering


class InvalidError(errors.TiercastError):
    """The document has errors; they are shown instead of a sentence."""

    code = "invalid"

    def __init__(self, found: Sequence[faults.Finding], texts: Mapping[str, str]) -> None:
        super().__init__(self._summary(found))
        self.found = tuple(found)
        self.texts = dict(texts)

    def _summary(self, found: Sequence[faults.Finding]) -> str:
        return summary(found)


class ForbiddenError(InvalidError):
    """The document is right, and a rule of change forbids it now; its findings are the rules with the steps by hand."""

    code = "refused"

    def _summary(self, found: Sequence[faults.Finding]) -> str:
        return f"refused by {', '.join(dict.fromkeys(one.rule for one in found))}; nothing was changed"


def lines(found: Sequence[faults.Finding], texts: Mapping[str, str]) -> str:
    """Every finding, with the line it stands in where its text is known here, or was sent along."""
    return "\n".join(_rendered(one, texts.get(one.file, "")) for one in found)


def _rendered(one: faults.Finding, text: str) -> str:
    if not text and isinstance(one, answers.Fault):
        return rendering.render_pointed(one, one.text, one.caret)
    return rendering.render_finding(one, text)


def summary(found: Sequence[faults.Finding]) -> str:
    """`invalid: 2 errors, 1 warning`."""
    bad = sum(one.severity == "error" for one in found)
    return f"invalid: {printing.count(bad, 'error')}, {printing.count(len(found) - bad, 'warning')}"
