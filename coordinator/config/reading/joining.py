"""Several texts as one document: same top-level keys, their maps joined; a key in two files is a finding.

Law: the result does not depend on the order of the files, but for which of two places is named first.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from coordinator.config import findings
from coordinator.config.reading import marks


class Part(msgspec.Struct, frozen=True):
    """What one text said."""

    value: dict[str, Any]
    mark: marks.Mark


def joined(parts: Sequence[Part], found: findings.Findings) -> Part:
    """One part of all."""
    if len(parts) == 1:
        return parts[0]
    value: dict[str, Any] = {}
    below: dict[str, marks.Mark] = {}
    for part in parts:
        children = part.mark.below
        assert isinstance(children, dict)
        for key, item in part.value.items():
            _join((key,), item, children[key], (value, below), found)
    return Part(value, msgspec.structs.replace(parts[0].mark, below=below))


def _join(
    path: findings.Path,
    item: Any,  # noqa: ANN401 plain data of any shape
    mark: marks.Mark,
    into: tuple[dict[str, Any], dict[str, marks.Mark]],
    found: findings.Findings,
) -> None:
    key, (value, below) = str(path[-1]), into
    if key not in value:
        value[key] = dict(item) if isinstance(item, dict) else item
        below[key] = _own(mark)
    elif len(path) == 1 and isinstance(item, dict) and isinstance(value[key], dict):
        theirs, ours = mark.below, below[key].below
        assert isinstance(theirs, dict)
        assert isinstance(ours, dict)
        for name, one in item.items():
            _join((key, name), one, theirs[name], (value[key], ours), found)
    elif path != ("schema",) or item != value[key]:
        here, first = marks.at_key(mark), marks.at_key(below[key])
        message = f"{findings.dotted(path)} stands here and in {first}"
        hint = "a key stands in one file"
        found.add(findings.Finding("S00", "error", path, message, hint, here.file, here.line, here.column))


def _own(mark: marks.Mark) -> marks.Mark:
    """A mark whose children may be added to without changing its part's."""
    return msgspec.structs.replace(mark, below=dict(mark.below)) if isinstance(mark.below, dict) else mark
