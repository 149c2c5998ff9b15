"""Passwords as people give them: typed and not shown, or the first line of stdin. Never an argument, never a variable."""

import getpass
import sys

import click

from coordinator import errors
from coordinator.cli import session

LINE_BYTES = 4096

from_stdin = click.option(
    "--password-stdin", "from_stdin", is_flag=True, help="Read the password from the first line of stdin."
)


def present(shown: session.Session, *, from_stdin: bool, question: str = "password: ") -> str:
    """One that is known. Raises `UsageError` where there is nobody to ask."""
    if from_stdin:
        return _line(shown)
    _somebody(shown)
    return _typed(shown, question)


def chosen(shown: session.Session, *, from_stdin: bool, whose: str) -> str:
    """A new one, typed twice. Raises `UsageError`."""
    if from_stdin:
        return _line(shown)
    _somebody(shown)
    first = _typed(shown, f"new password for {whose}: ")
    if _typed(shown, "again: ") != first:
        raise errors.UsageError("the two are not the same", hint="nothing was changed; try again")
    return first


def asked(shown: session.Session, question: str, otherwise: str = "") -> str:
    """A word that may be seen. Raises `UsageError` where there is nobody to ask."""
    _somebody(shown)
    shown.ask(f"{question} [{otherwise}]: " if otherwise else f"{question}: ")
    return _line(shown) or otherwise


def _somebody(shown: session.Session) -> None:
    if not shown.terminal:
        raise errors.UsageError(
            "there is no terminal to ask for a password on",
            hint="say --password-stdin, and the name as an argument",
        )


def _typed(shown: session.Session, question: str) -> str:
    if shown.stdin is sys.stdin.buffer:
        return getpass.getpass(question, stream=sys.stderr)
    shown.ask(question)
    return _line(shown)


def _line(shown: session.Session) -> str:
    line = shown.stdin.readline(LINE_BYTES).rstrip(b"\r\n")
    try:
        return line.decode()
    except UnicodeDecodeError as wrong:
        raise errors.UsageError("what came is not UTF-8") from wrong
