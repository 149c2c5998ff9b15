"""What docs/operations.md tells an operator to type, typed: the commands of a block on the page, on servers of a test.

Law: nothing is typed that does not stand there, but for `--dir`, `--yes`, a passphrase and the test's own addresses and files.
"""

import pathlib
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from bench.demo import world
from tests.integration import town as towns

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "operations.md"
_BLOCK = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINE = re.compile(r"^(?:(\w+)\$ | *)(tiercast [^#]+?)\s*(?:#.*)?$")


class Line(msgspec.Struct, frozen=True):
    """One command, and the server on whose machine it is typed ("" : wherever the administrator is)."""

    server: str
    words: tuple[str, ...]


def block(holding: str) -> tuple[Line, ...]:
    """The one block of the page that holds these words."""
    found = [one for one in _BLOCK.findall(PAGE.read_text(encoding="utf-8")) if holding in one]
    assert len(found) == 1, f"{len(found)} blocks hold {holding!r}"
    lines = [_LINE.match(line) for line in found[0].splitlines()]
    assert None not in lines, found[0]
    return tuple(Line(one[1] or "", tuple(one[2].split()[1:])) for one in lines if one is not None)


class Operator:
    """Types a block on the servers of a world."""

    def __init__(self, running: world.World, meanings: Mapping[str, str]) -> None:
        """`meanings`: what stands on the page -> what it is here (addresses, files)."""
        self.world = running
        self._meanings = meanings
        self.said: dict[str, str] = {}
        """Of each command, by its first two words, what it printed last."""
        self._joining: list[subprocess.Popen[str]] = []

    def types(self, lines: Sequence[Line], before_apply: Callable[[], object] = lambda: True) -> None:
        """Every line in order; an apply waits for `before_apply`, as a person would who looks at `status` first."""
        for line in lines:
            words = tuple(self._meant(word) for word in line.words)
            if words[0] == "apply":
                towns.until(before_apply, lambda words=words: f"time for {words}")  # type: ignore[misc]
                ran = self.world.run(*words, "--yes", "--wait", "none")
                assert ran.code == 0, ran
            elif words == ("server", "run"):
                self.world.start(line.server)
            else:
                self._there(line.server or "c1", words)
        for one in self._joining:
            ran = self.world.ended(one, ("store", "join"), time.monotonic())
            assert ran.code == 0, ran
            assert "the store is its own" in ran.out
        self._joining.clear()

    def _there(self, server: str, words: tuple[str, ...]) -> None:
        at = ("--dir", str(self.world.directory(server)))
        if words[:2] == ("store", "join"):
            self._join(server, (*words, *at))
            return
        if words[:2] == ("store", "recover"):
            words = (*words, "--yes")
        if words[1] in {"export-keys", "import-keys"}:
            secret = self.world.root / "passphrase"
            secret.write_text("of a test, and of nobody else\n")
            words = (*words, "--passphrase-file", str(secret))
        ran = self.world.run(*words, *at)
        assert ran.code == 0, ran
        self.said[" ".join(words[:2])] = ran.out
        if words[:2] == ("server", "stop"):
            assert self.world.shells.pop(server).wait(60) == 0

    def _join(self, server: str, words: tuple[str, ...]) -> None:
        """In the foreground where the server does not run, for then it ends by itself; else beside what follows."""
        running = self.world.begin(*words)
        if server in self.world.shells:
            self._joining.append(running)
            return
        ran = self.world.ended(running, words, time.monotonic())
        assert ran.code == 0, ran

    def _meant(self, word: str) -> str:
        for told, here in self._meanings.items():
            word = re.sub(rf"(?<![\w.]){re.escape(told)}(?![\w])", here, word)
        return word
