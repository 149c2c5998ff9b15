"""What the demo prints: each step by number, what was seen in it, and how long it took."""

import contextlib
import pathlib
import time
from collections.abc import Iterable, Iterator

TAIL_LINES = 12
LINE_CHARACTERS = 220


class Show:
    """Prints at once: whoever watches sees where it stands."""

    def __init__(self) -> None:
        self._number = 0
        self._began = time.monotonic()

    def say(self, line: str = "") -> None:
        """One line."""
        print(line, flush=True)

    def seen(self, *lines: str) -> None:
        """What was seen in this step."""
        for line in lines:
            self.say(f"     {line}")

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step; its seconds stand at its end, also where it failed."""
        self._number += 1
        began = time.monotonic()
        self.say(f"{self._number:>2}. {title}")
        try:
            yield
        finally:
            now = time.monotonic()
            self.say(f"     {now - began:.1f} s  (after {now - self._began:.1f} s)")

    def tails(self, files: Iterable[pathlib.Path]) -> None:
        """The last lines of logs, for whoever has to find out what went wrong."""
        for file in files:
            try:
                lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            except OSError:
                continue
            if lines:
                self.say(f"--- the end of {file}")
                for line in lines[-TAIL_LINES:]:
                    self.say(f"    {line[:LINE_CHARACTERS]}")
