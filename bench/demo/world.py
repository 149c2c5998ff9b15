"""Servers as processes: ServerShells below one temporary directory, and the real command line to steer them with.

Law: everything that is started here, by itself or by what it started, can be found by the temporary directory in its
environment, command line or working directory; `end` leaves none of it, and then takes the directory away.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Self

import msgspec

from bench.demo import observe, place, sweeping
from coordinator import errors
from coordinator.host import contexts

COMMAND_S = 120.0
_LOUD = (b'"level":"warning"', b'"level":"error"', b"Traceback", b"error: ")
_INTERRUPTING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PREFIX = "tc-"  # short: Unix sockets lie below, and their paths are bounded


class Ran(msgspec.Struct, frozen=True):
    """A command that has ended."""

    words: tuple[str, ...]
    code: int
    out: str
    talk: str
    took_s: float

    @property
    def last(self) -> str:
        """The last line of its data."""
        return (self.out.strip().splitlines() or [""])[-1]


class World:
    """See the module. A context manager: leaving it ends everything, however one leaves."""

    def __init__(self, places: Mapping[str, place.Place] = place.PLACES) -> None:
        """`places` are the servers it may run, by name."""
        self._places = places
        self.root = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX))
        self.context_file = self.root / "contexts.yaml"
        self.shells: dict[str, subprocess.Popen[bytes]] = {}
        self.beside: list[subprocess.Popen[bytes]] = []
        """What runs for the servers and is none of theirs."""
        self._waiting: list[subprocess.Popen[str]] = []
        self._environment = {
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "HOME": str(self.root),
            contexts.VARIABLE: str(self.context_file),
        }
        (self.root / "logs").mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        before = {one: signal.signal(one, signal.SIG_IGN) for one in _INTERRUPTING}
        try:
            self.end()
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    # --- the command line -------------------------------------------------------------------------------------------

    def run(self, *words: str) -> Ran:
        """One command to its end. Raises `UnseenError` where it takes too long."""
        begun = time.monotonic()
        running = self.begin(*words)
        return self.ended(running, words, begun)

    def begin(self, *words: str) -> "subprocess.Popen[str]":
        """One command that goes on beside the demo."""
        running = subprocess.Popen(
            [command(), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment,
            cwd=self.root,
            start_new_session=True,  # Ctrl-C is for the demo, which ends them in its own order
        )
        self._waiting.append(running)
        return running

    def ended(self, running: "subprocess.Popen[str]", words: tuple[str, ...], begun: float) -> Ran:
        """What became of it. Raises `UnseenError`."""
        try:
            out, talk = running.communicate(timeout=COMMAND_S)
        except subprocess.TimeoutExpired:
            raise observe.UnseenError(
                f"`tiercast {' '.join(words)}` has not ended after {COMMAND_S:g} s"
            ) from None
        self._waiting.remove(running)
        return Ran(words, running.returncode, out, talk, time.monotonic() - begun)

    # --- servers ----------------------------------------------------------------------------------------------------

    def directory(self, name: str) -> pathlib.Path:
        """Of a server."""
        return self.root / name

    def log(self, name: str) -> pathlib.Path:
        """What its ServerShell says."""
        return self.root / "logs" / f"{name}.log"

    def start(self, name: str, identity: pathlib.Path | None = None) -> None:
        """Run a server; it has an address of its own, and dials from there."""
        at = self._places[name]
        words = ["server", "run", "--dir", str(self.directory(name)), "--local-address", at.address]
        if identity is not None:
            words += ["--identity", str(identity)]
        with self.log(name).open("ab") as log:
            self.shells[name] = subprocess.Popen(
                [command(), *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self.root,
                start_new_session=True,
            )

    def launch(self, name: str, argv: list[str]) -> None:
        """Run a program beside the servers."""
        with self.log(name).open("ab") as log:
            self.beside.append(
                subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    cwd=self.root,
                    start_new_session=True,
                )
            )

    def end_beside(self) -> list[int]:
        """End what was launched; the exit statuses. Raises `UnseenError` where one does not end."""
        beside, self.beside = self.beside, []
        for running in beside:
            running.terminate()
        try:
            return [running.wait(COMMAND_S) for running in beside]
        except subprocess.TimeoutExpired:
            raise observe.UnseenError("a program beside the servers does not end") from None

    def cut_power(self, names: list[str]) -> int:
        """Kill all that runs on these servers at once, ServerShells first so that none starts anything anew."""
        killed = 0
        for name in names:
            shell = self.shells.pop(name)
            shell.kill()
            shell.wait()
            killed += 1
        for name in names:
            killed += sweeping.sweep(self.directory(name))
        return killed

    def ends(self) -> dict[str, int]:
        """Exit status of every ServerShell, once they have ended. Raises `UnseenError` where one does not."""
        statuses = {}
        for name, shell in self.shells.items():
            try:
                statuses[name] = shell.wait(COMMAND_S)
            except subprocess.TimeoutExpired:
                raise observe.UnseenError(f"the ServerShell of {name} does not end") from None
        self.shells.clear()
        return statuses

    def fallen(self) -> list[str]:
        """Servers whose ServerShell has ended though nobody meant it to."""
        return [name for name, shell in self.shells.items() if shell.poll() is not None]

    def telling_logs(self) -> list[pathlib.Path]:
        """Of all that ran: those that warn of something; if none does, those of the ServerShells."""
        logs = sorted((*self.root.glob("logs/*.log"), *self.root.glob("*/logs/*.log")))
        loud = [log for log in logs if any(word in log.read_bytes() for word in _LOUD)]
        return loud or [self.log(name) for name in self._places]

    # --- the end ----------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Leave nothing: no process, no file. Raises `UnseenError` where something will not go."""
        started: list[subprocess.Popen[str] | subprocess.Popen[bytes]] = [
            *self._waiting,
            *self.shells.values(),
            *self.beside,
        ]
        for running in started:
            with contextlib.suppress(ProcessLookupError):
                running.kill()
            running.wait()
        self._waiting.clear()
        self.shells.clear()
        sweeping.sweep(self.root)
        shutil.rmtree(self.root, ignore_errors=True)
        if self.root.exists():
            raise observe.UnseenError(f"{self.root} cannot be removed")


def command() -> str:
    """The `tiercast` that belongs to this Python. Raises `UsageError`."""
    found = shutil.which("tiercast", path=str(pathlib.Path(sys.executable).parent))
    if found is None:
        raise errors.UsageError(
            f"there is no tiercast beside {sys.executable}", hint="install the package into this Python"
        )
    return found
