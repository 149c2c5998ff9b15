"""Strict YAML (and so JSON) to plain data with marks, read event by event: nothing is built before it was judged.

Anchors, aliases, tags, merge keys, duplicate keys, keys that are not text and a second document are findings;
so no text grows while it is read. Law: memory and time are linear in the text, depth is bounded.
"""

from collections.abc import Iterator
from typing import Any

import yaml

from coordinator import limits
from coordinator.config import findings
from coordinator.config.reading import marks, scalars

_Event = Any  # one of PyYAML's, whose stubs have no common base with anchor, tag and style

_TEMPLATES = "what roles share stands in `templates`, and a role says `like: NAME`"


class Text:
    """One text and where its findings go."""

    def __init__(self, file: str, text: str, found: findings.Findings) -> None:
        self.file = file
        self.text = text
        self._found = found

    def wrong(self, mark: Any, message: str, hint: str = "", *, path: findings.Path = ()) -> None:  # noqa: ANN401
        """Add an S00 at a mark of PyYAML's, which counts from 0."""
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        self._found.add(findings.Finding("S00", "error", path, message, hint, self.file, line, column))


class _StopError(Exception):
    """There is no use in reading on; the finding has been made."""


def parse(text: Text) -> tuple[Any, marks.Mark] | None:
    """The one document of a text with its marks, or None where nothing can be made of it."""
    try:
        return _Composer(text).document()
    except _StopError:
        return None
    except yaml.reader.ReaderError as error:
        before = text.text[: error.position]
        place = _At(before.count("\n"), len(before) - before.rfind("\n") - 1)
        text.wrong(place, f"a character that may not stand in a document ({error.reason})")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        context = getattr(error, "context", None)
        text.wrong(mark, f"syntax: {problem}" + (f" ({context})" if context else ""), _syntax_hint(problem))
    return None


class _At:
    def __init__(self, line: int, column: int) -> None:
        self.line = line
        self.column = column


def _syntax_hint(problem: str) -> str:
    if "\\t" in problem or "tab character" in problem or "cannot start any token" in problem:
        return "indent with spaces; put text in quotes that starts with @ ` % or holds ': '"
    if "mapping values are not allowed" in problem:
        return "put text that holds ': ' in quotes, and check the indentation"
    return ""


class _Composer:
    """Builds values from the events of one text, by descent; the depth is bounded."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._events: Iterator[Any] = iter(yaml.parse(text.text, Loader=yaml.CSafeLoader))

    def document(self) -> tuple[Any, marks.Mark] | None:
        result = None
        for event in self._events:
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            if result is not None:
                self._text.wrong(
                    event.start_mark, "a second document starts here", "one file is one document: remove ---"
                )
                break
            result = self._value(next(self._events), (), ())
        if result is None:
            self._text.wrong(None, "the document is empty", "see examples/small.yaml for one to start from")
        return result

    def _value(
        self, event: _Event, path: findings.Path, key: tuple[int, int] | tuple[()]
    ) -> tuple[Any, marks.Mark]:
        place = (event.start_mark.line + 1, event.start_mark.column + 1)
        if event.anchor is not None:
            self._refuse(event, path)
        if isinstance(event, yaml.AliasEvent):
            return None, marks.Mark(self._text.file, *place, *key)
        if event.tag is not None:
            self._text.wrong(
                event.start_mark, f"YAML tags ({event.tag}) are not read", "remove it", path=path
            )
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path), marks.Mark(self._text.file, *place, *key)
        if len(path) >= limits.NESTING:
            self._text.wrong(
                event.start_mark, f"nested too deeply (have {limits.NESTING} levels)", path=path[:4]
            )
            raise _StopError
        value, below = (
            self._mapping(path) if isinstance(event, yaml.MappingStartEvent) else self._sequence(path)
        )
        return value, marks.Mark(self._text.file, *place, *(key or (0, 0)), below)

    def _refuse(self, event: _Event, path: findings.Path) -> None:
        what = "aliases" if isinstance(event, yaml.AliasEvent) else "anchors"
        self._text.wrong(event.start_mark, f"YAML {what} are not read", _TEMPLATES, path=path)

    def _scalar(self, event: _Event, path: findings.Path) -> scalars.Scalar:
        if event.style:
            return str(event.value)
        try:
            return scalars.resolve(event.value)
        except scalars.ScalarError as error:
            self._text.wrong(event.start_mark, str(error), "text is written in quotes", path=path)
            return 0

    def _mapping(self, path: findings.Path) -> tuple[dict[str, Any], dict[str, marks.Mark]]:
        values: dict[str, Any] = {}
        below: dict[str, marks.Mark] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._key(event, path)
            at = (event.start_mark.line + 1, event.start_mark.column + 1)
            value, mark = self._value(next(self._events), (*path, key or "?"), at)
            if key is None:
                continue
            if key in values:
                first = marks.at_key(below[key])
                message = f"the key {key!r} stands here a second time (first in line {first.line})"
                self._text.wrong(event.start_mark, message, "a key stands once in a map", path=(*path, key))
                continue
            values[key], below[key] = value, mark
        return values, below

    def _key(self, event: _Event, path: findings.Path) -> str | None:
        """A key's text; None where it cannot be one, and its value is then read and left out."""
        value, _ = self._value(event, (*path, "?"), ())
        if isinstance(event, yaml.ScalarEvent) and not event.style and event.value == "<<":
            self._text.wrong(event.start_mark, "YAML merge keys are not read", _TEMPLATES, path=path)
            return None
        if isinstance(value, str):
            return value
        hint = "write it in quotes" if isinstance(event, yaml.ScalarEvent) else ""
        self._text.wrong(event.start_mark, "a key must be text", hint, path=path)
        return None

    def _sequence(self, path: findings.Path) -> tuple[list[Any], list[marks.Mark]]:
        values: list[Any] = []
        below: list[marks.Mark] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            value, mark = self._value(event, (*path, len(values)), ())
            values.append(value)
            below.append(mark)
        return values, below
