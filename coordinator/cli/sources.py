"""What a command is to work on: files (one, several, a folder, stdin), a draft, or a revision."""

import pathlib
import re
from collections.abc import Sequence

import msgspec

from coordinator import errors
from coordinator.cli import findings as shown
from coordinator.cli import session
from coordinator.config import reading

_DRAFT = re.compile(r"d-[0-9a-z]+", re.ASCII)
_REVISION = re.compile(r"r?([1-9]\d{0,14})", re.ASCII)


class File(msgspec.Struct, frozen=True):
    name: str
    text: str


class Named(msgspec.Struct, frozen=True, omit_defaults=True):
    """As the API reads it: exactly one of these is given."""

    files: tuple[File, ...] = ()
    draft: str = ""
    revision: int = 0

    @property
    def texts(self) -> dict[str, str]:
        """By file name, to show findings with."""
        return {file.name: file.text for file in self.files}


def named(words: Sequence[str], draft: str = "") -> Named:
    """From the words of the command line. A word that is a file is a file. Raises `UsageError`, `InvalidError`."""
    if bool(words) == bool(draft):
        raise errors.UsageError(
            "name files, a draft or a revision", hint="for instance system.yaml, d-7f3a or 42"
        )
    if draft:
        return Named(draft=draft)
    if len(words) == 1 and not pathlib.Path(words[0]).exists():
        if _DRAFT.fullmatch(words[0]):
            return Named(draft=words[0])
        if match := _REVISION.fullmatch(words[0]):
            return Named(revision=int(match[1]))
    return Named(files=files(words))


def files(words: Sequence[str]) -> tuple[File, ...]:
    """Their texts. Raises `UsageError`, `InvalidError` where one is not UTF-8."""
    found = read(words)
    try:
        return tuple(File(source.name, source.data.decode("utf-8")) for source in found)
    except UnicodeDecodeError:
        judged = reading.read(found)
        raise shown.InvalidError(judged.findings, judged.texts) from None


def read(words: Sequence[str]) -> list[reading.Source]:
    """Their bytes. Raises `UsageError`."""
    if not words:
        raise errors.UsageError("name at least one file", hint="a file, several, a folder, or - for stdin")
    return reading.files(words, session.current().stdin.read)
