"""What a command is given of its surroundings: streams, variables, clock, and the system that is asked.

Law: stdout is data, stderr is talk; nothing that came from elsewhere is written with its control characters.
"""

import os
import pathlib
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, TextIO

import click
import msgspec

from coordinator import effects, errors, role
from coordinator.cli import client
from coordinator.host import clock as clocks
from coordinator.host import contexts, durations

SERVER, CA, TOKEN = "TIERCAST_SERVER", "TIERCAST_CA", "TIERCAST_TOKEN"
_SECONDS = re.compile(r"\d{1,12}(?:\.\d{1,6})?", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_COLOURS = {
    "converged": "32", "ready": "32", "healthy": "32", "active": "32",
    "applying": "33", "held": "33", "leaving": "33", "pending": "33", "unknown": "33", "running": "33", "reached": "33",
    "stale": "31", "failed": "31", "lost": "31", "stranded": "31",
}  # fmt: skip


_BRANCHES = str.maketrans({"├": "|", "└": "`", "─": "-", "│": "|"})


class Session:
    """One run of a command."""

    def __init__(  # noqa: PLR0913 the edge: everything that the world gives a command, each by name
        self,
        *,
        environment: Mapping[str, str],
        stdin: BinaryIO,
        out: TextIO,
        talk: TextIO,
        terminal: bool,
        clock: effects.Clock,
        random: effects.Random,
        sleep: Callable[[float], None],
        connect: Callable[[contexts.Context], client.Client],
        catalogue: Callable[[Callable[[str], None]], role.Catalogue],
    ) -> None:
        self.environment = environment
        self.stdin = stdin
        self.clock = clock
        self.random = random
        self.sleep = sleep
        self.terminal = terminal
        """A person sits there and can answer."""
        self.server = ""
        self.context = ""
        self._out = out
        self._talk = talk
        self._connect = connect
        self._catalogue = catalogue
        self._line = 0

    @property
    def colour(self) -> bool:
        """NO_COLOR, whatever its value, forbids it."""
        wanted = "NO_COLOR" not in self.environment and self.environment.get("TERM") != "dumb"
        return wanted and self._out.isatty()

    def say(self, text: str) -> None:
        """Data."""
        self._clear()
        self._out.write(clean(text).rstrip("\n") + "\n")
        self._out.flush()

    def raw(self, text: str) -> None:
        """Data that must leave as it is, such as a document; only a terminal is spared its control characters."""
        self._out.write(clean(text) if self._out.isatty() else text)
        self._out.flush()

    def data(self, value: bytes) -> None:
        """Bytes as they are, with a newline; a terminal is spared what is no text."""
        stream = getattr(self._out, "buffer", None)
        if stream is None or self._out.isatty():
            self._out.write(clean(value.decode("utf-8", "backslashreplace")).removesuffix("\n") + "\n")
        else:
            stream.write(value if value.endswith(b"\n") else value + b"\n")
        self._out.flush()

    def tell(self, text: str) -> None:
        """Talk."""
        self._clear()
        self._talk.write(clean(text).rstrip("\n") + "\n")
        self._talk.flush()

    def progress(self, text: str) -> None:
        """Talk that the next progress replaces, on a terminal."""
        if not self._talk.isatty():
            self.tell(text)
            return
        line = clean(text).replace("\n", " ")[: _columns(self.environment) - 1]
        self._talk.write(f"\r{line.ljust(self._line)}")
        self._talk.flush()
        self._line = len(line)

    def _clear(self) -> None:
        if self._line:
            self._talk.write("\r" + " " * self._line + "\r")
            self._talk.flush()
            self._line = 0

    def coloured(self, word: str) -> str:
        """A word of state; its colour only repeats it."""
        code = _COLOURS.get(word.strip())
        return f"\x1b[{code}m{word}\x1b[0m" if code and self.colour else word

    def say_coloured(self, lines: list[str]) -> None:
        """Lines made by us with `coloured` words, already clean."""
        self._clear()
        text = "".join(f"{line.rstrip()}\n" for line in lines)
        self._out.write(text if _draws(self._out) else text.translate(_BRANCHES))
        self._out.flush()

    def ask(self, question: str) -> None:
        """Talk that waits for what is typed after it."""
        self._clear()
        self._talk.write(clean(question))
        self._talk.flush()

    def confirmed(self, question: str) -> bool:
        """Ask the person. Raises `UsageError` where there is none: it never hangs."""
        if not self.terminal:
            raise errors.UsageError(
                "this changes the system, and there is no terminal to ask on", hint="say --yes if you mean it"
            )
        self._talk.write(f"{clean(question)} [y/N] ")
        self._talk.flush()
        return self.stdin.readline(64).strip().lower() in {b"y", b"yes"}

    def catalogue(self) -> role.Catalogue:
        """Role types known on this machine."""
        return self._catalogue(self.tell)

    def client(self) -> client.Client:
        """Of the system named by flag, variable or context. Raises `UsageError`."""
        return _Noting(self._connect(self.system()), self.tell)

    def system(self) -> contexts.Context:
        """Address by flag, variable or context; CA and token by variable or context."""
        server = self.server or self.environment.get(SERVER, "")
        found = self._chosen(needed=not (server and CA in self.environment))
        ca = self.environment.get(CA, "")
        return contexts.Context(
            tuple(server.split(",")) if "," in server else server or found.server,
            _file(ca) if ca else found.ca,
            self.environment.get(TOKEN, "") or found.token,
        )

    def _chosen(self, *, needed: bool) -> contexts.Context:
        if not needed and not self.context:
            return contexts.Context("")
        place = contexts.path(self.environment)
        known = contexts.read(place, parsed)
        name = self.context or known.current
        if name in known.contexts:
            return known.contexts[name]
        if not known.contexts:
            raise errors.UsageError(
                f"no system is known here (nothing in {place})",
                hint="`tiercast server init` writes a context; or copy that file from the machine where it ran",
            )
        raise errors.UsageError(
            f"no such context (got {name!r}, have {', '.join(sorted(known.contexts))})",
            hint="tiercast context use NAME",
        )


class _Noting:
    """Tells once where an answer is not of now."""

    def __init__(self, asked: client.Client, tell: Callable[[str], None]) -> None:
        self._asked = asked
        self._tell = tell
        self._told = False

    @property
    def place(self) -> str:
        return self._asked.place

    def call(self, ask: client.Ask) -> client.Answer:
        answer = self._asked.call(ask)
        if answer.as_of and not self._told:
            self._told = True
            version, _, age = answer.as_of.partition(", ")
            revision = version.partition(".")[2] or "unknown"
            ago = durations.written(float(age)) if _SECONDS.fullmatch(age) else "some time"
            self._tell(f"no coordinator (MIC) answers now: this is as of revision {revision}, {ago} ago")
        return answer

    def follow(self, ask: client.Ask) -> Iterator[bytes]:
        return self._asked.follow(ask)


def parsed(data: bytes) -> object:
    """Contexts as people may write them. Raises `ValueError`."""
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        import yaml  # noqa: PLC0415 30 ms, and only for a file that a person has written

        try:
            return yaml.safe_load(data)
        except yaml.YAMLError as wrong:
            raise ValueError(str(wrong)) from wrong


def clean(text: str) -> str:
    """Without what would move a terminal's cursor or turn its text around."""
    return _CONTROL.sub("\ufffd", text)


def current() -> Session:
    """Of the running command."""
    session = click.get_current_context().find_object(Session)
    assert session is not None
    return session


def _https(context: contexts.Context) -> client.Client:
    from coordinator.cli import https  # noqa: PLC0415 30 ms that only a command that asks needs

    return https.HttpsClient(context)


def _installed(tell: Callable[[str], None]) -> role.Catalogue:
    from coordinator.cli import catalogue  # noqa: PLC0415 25 ms that only a command that reads documents needs

    return catalogue.loaded(tell)


def here() -> Session:
    """Of this process."""
    return Session(
        environment=os.environ,
        stdin=sys.stdin.buffer,
        out=sys.stdout,
        talk=sys.stderr,
        terminal=sys.stdin.isatty() and sys.stderr.isatty(),
        clock=clocks.SystemClock(),
        random=clocks.SystemRandom(),
        sleep=time.sleep,
        connect=_https,
        catalogue=_installed,
    )


def _draws(stream: TextIO) -> bool:
    """A stream that has the characters of a tree."""
    try:
        "├".encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _file(path: str) -> str:
    try:
        return pathlib.Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as wrong:
        why = (getattr(wrong, "strerror", None) or "it is no PEM").lower()
        raise errors.UsageError(f"cannot read {path}: {why}", hint=f"{CA} names a PEM file") from wrong


def _columns(environment: Mapping[str, str]) -> int:
    given = environment.get("COLUMNS", "")
    if given.isdecimal() and int(given) > 1:
        return int(given)
    try:
        return os.get_terminal_size(2).columns or 80
    except OSError:
        return 80
