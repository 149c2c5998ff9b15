"""Logs: one JSON object a line, or text on a terminal; the standard library's logging underneath.

A line is a constant phrase and its facts, so that it can be counted and searched. Usual keys: `site server node role
revision rollout`. Law: no secret is written; a fact whose key sounds like one is hidden, bytes show as their number. What
a stranger says fills neither the disk (`Flood`) nor steers a terminal.
"""

import logging
import sys
import time
from collections.abc import Mapping
from typing import TextIO

import msgspec

ROOT = "tiercast"
VALUE_CHARACTERS = 1_000
FLOOD_LINES = 100  # of one phrase in a window; a herd of children says more, and nobody reads it
FLOOD_WINDOW_S = 10.0
_SECRET_WORDS = ("secret", "token", "password", "private", "authorization")
_FACTS = "facts"

Fact = object
"""Anything with a readable `str`; numbers, booleans and None stay what they are."""


class Log:
    """Writes under one name, with facts of its own in every line."""

    def __init__(self, name: str, facts: Mapping[str, Fact] | None = None) -> None:
        self._logger = logging.getLogger(f"{ROOT}.{name}")
        self._facts = dict(facts or {})

    def bound(self, **facts: Fact) -> "Log":
        """The same log with more facts in every line."""
        bound = Log.__new__(Log)
        bound._logger = self._logger  # noqa: SLF001 the class's own field
        bound._facts = self._facts | facts  # noqa: SLF001 the class's own field
        return bound

    def debug(self, phrase: str, **facts: Fact) -> None:
        self._write(logging.DEBUG, phrase, facts)

    def info(self, phrase: str, **facts: Fact) -> None:
        self._write(logging.INFO, phrase, facts)

    def warning(self, phrase: str, **facts: Fact) -> None:
        self._write(logging.WARNING, phrase, facts)

    def error(self, phrase: str, **facts: Fact) -> None:
        self._write(logging.ERROR, phrase, facts)

    def crashed(self, phrase: str, **facts: Fact) -> None:
        """An error with the exception being handled."""
        self._write(logging.ERROR, phrase, facts, exception=True)

    def _write(self, level: int, phrase: str, facts: dict[str, Fact], *, exception: bool = False) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", phrase, extra={_FACTS: self._facts | facts}, exc_info=exception)


class Flood(logging.Filter):
    """Lets so many lines of one phrase through in a window, and counts the others into the next one."""

    def __init__(self) -> None:
        super().__init__()
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Only of our own logs, whose phrases are constant and few."""
        if not record.name.startswith(ROOT):
            return True
        key = (record.name, record.getMessage())
        began, count = self._windows.get(key, (record.created, 0))
        if not 0 <= record.created - began < FLOOD_WINDOW_S:
            unsaid = max(0, count - FLOOD_LINES)
            began, count = record.created, 0
            if unsaid:
                setattr(record, _FACTS, {**_facts(record), "unsaid": unsaid})
        self._windows[key] = (began, count + 1)
        return count < FLOOD_LINES


class JsonFormatter(logging.Formatter):
    """One object a line; keys in a fixed order, then the facts."""

    def __init__(self, facts: Mapping[str, Fact]) -> None:
        super().__init__()
        self._facts = facts

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Fact] = {
            "time": _time(record, "%Y-%m-%dT%H:%M:%S") + "Z",
            "level": record.levelname.lower(),
            "log": record.name.removeprefix(f"{ROOT}."),
            "event": record.getMessage(),
        }
        line |= {key: _shown(key, value) for key, value in (*self._facts.items(), *_facts(record).items())}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


class TextFormatter(logging.Formatter):
    """For people at a terminal; facts common to the whole process are left out."""

    def format(self, record: logging.LogRecord) -> str:
        facts = "".join(f" {key}={_harmless(_shown(key, value))}" for key, value in _facts(record).items())
        line = f"{_time(record, '%H:%M:%S')} {record.levelname.lower():7} {record.getMessage()}{facts}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(
    stream: TextIO | None = None,
    *,
    form: str = "auto",
    level: str = "info",
    facts: Mapping[str, Fact] | None = None,
) -> None:
    """Send all logs to `stream` (stderr), `form` json, text or auto; `facts` stand in every JSON line.

    Replaces what was configured before.
    """
    stream = sys.stderr if stream is None else stream
    text = form == "text" or (form == "auto" and stream.isatty())
    outlet = logging.StreamHandler(stream)
    outlet.addFilter(Flood())
    outlet.setFormatter(TextFormatter() if text else JsonFormatter(dict(facts or {})))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(outlet)
    root.setLevel(logging.WARNING)  # of libraries
    logging.getLogger(ROOT).setLevel(level.upper())


def _facts(record: logging.LogRecord) -> Mapping[str, Fact]:
    facts: Mapping[str, Fact] = getattr(record, _FACTS, {})
    return facts


def _shown(key: str, value: Fact) -> Fact:
    if any(word in key.lower() for word in _SECRET_WORDS):
        return "[hidden]"
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    return str(value)[:VALUE_CHARACTERS]


def _harmless(value: Fact) -> str:
    """On one line, and without what a terminal would obey."""
    text = str(value)
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def _time(record: logging.LogRecord, form: str) -> str:
    return f"{time.strftime(form, time.gmtime(record.created))}.{int(record.msecs):03d}"
