"""Where each value of a text stands, so that every finding can name file, line and column.

Law: a path that the text does not hold is shown at its nearest part that the text does hold.
"""

import msgspec

from coordinator.config import findings


class Mark(msgspec.Struct, frozen=True):
    """The place of one value, of its key if it has one, and of what is below it. Lines and columns start at 1."""

    file: str
    line: int
    column: int
    key_line: int = 0
    key_column: int = 0
    below: "dict[str, Mark] | list[Mark] | None" = None


class Place(msgspec.Struct, frozen=True, order=True):
    """A character in a file."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


def at_key(mark: Mark) -> Place:
    """Where the key stands, or the value if it has none."""
    if mark.key_line:
        return Place(mark.file, mark.key_line, mark.key_column)
    return Place(mark.file, mark.line, mark.column)


def locate(root: Mark | None, path: findings.Path, *, key: bool = False) -> Place:
    """The place of a path: of its value where that is a scalar and `key` is not asked for, else of its key."""
    if root is None:
        return Place("")
    mark, found = root, True
    for part in path:
        below = _below(mark, part)
        if below is None:
            found = False
            break
        mark = below
    if mark is root:
        return Place(mark.file)
    if found and not key and mark.below is None:
        return Place(mark.file, mark.line, mark.column)
    return at_key(mark)


def _below(mark: Mark, part: str | int) -> Mark | None:
    if isinstance(part, str):
        return mark.below.get(part) if isinstance(mark.below, dict) else None
    return mark.below[part] if isinstance(mark.below, list) and part < len(mark.below) else None
