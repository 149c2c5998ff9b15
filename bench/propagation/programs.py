"""Programs of the bench as the conductor sees them: started, asked, weighed and ended.

Law: nothing that was started here outlives the conductor, whatever ends it: each program ends with its stdin, and the
kernel ends those that do not read theirs.
"""

import asyncio
import contextlib
import ctypes
import os
import pathlib
import signal
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bench.propagation import program
from coordinator import errors

END_S = 5.0
ANSWER_S = 120.0
_PR_SET_PDEATHSIG = 1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_LIBC = ctypes.CDLL(None, use_errno=True)


class FailedError(errors.TiercastError):
    """A program of the bench did not do what it was asked."""

    code = "failed"


class Program:
    """One process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: pathlib.Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ended(self) -> None:
        """Wait until it has."""
        await self._process.wait()

    async def hear(self, timeout_s: float = ANSWER_S) -> dict[str, Any]:
        """Its next line. Raises `FailedError`."""
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), timeout_s)
        except TimeoutError:
            raise FailedError(
                f"{self.name} did not answer within {timeout_s:.0f} s", hint=self.tail()
            ) from None
        if not line:
            raise FailedError(f"{self.name} ended before it answered", hint=self.tail())
        answer: dict[str, Any] = msgspec.json.decode(line)
        if "failed" in answer:
            raise FailedError(f"{self.name}: {answer['failed']}", hint=self.tail())
        return answer

    async def ask(self, question: dict[str, Any], timeout_s: float = ANSWER_S) -> dict[str, Any]:
        """One question and its answer. Raises `FailedError`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.json.encode(question) + b"\n")
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise FailedError(f"{self.name} has ended", hint=self.tail()) from None
        return await self.hear(timeout_s)

    async def end(self) -> None:
        """Let it end by itself, then end it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        for stop in (None, signal.SIGTERM, signal.SIGKILL):
            if stop is not None and self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.send_signal(stop)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), END_S)
                return

    def stop(self) -> None:
        """Ask a server that does not read its stdin to end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def weight(self) -> "Weight":
        """CPU seconds and memory so far; zero once it has ended."""
        cpu_ns = 0
        root = pathlib.Path(f"/proc/{self.pid}")
        try:
            for task in (root / "task").iterdir():
                cpu_ns += int((task / "schedstat").read_text().split()[0])
            pages = int((root / "statm").read_text().split()[1])
        except (OSError, IndexError):
            return Weight(0.0, 0)
        return Weight(cpu_ns / 1e9, pages * _PAGE_BYTES)

    def tail(self) -> str:
        """The last that it said of what is wrong."""
        with contextlib.suppress(OSError):
            return self._log.read_text(errors="replace")[-600:].strip()
        return ""


class Weight(msgspec.Struct, frozen=True):
    """What a process has used."""

    cpu_s: float
    rss_bytes: int


async def start(
    name: str, argv: Sequence[str], directory: pathlib.Path, environment: Mapping[str, str] | None = None
) -> Program:
    """Start it, its stderr in a file of `directory`. Raises `FailedError` where there is no such program."""
    log = directory / f"{name}.log"
    with log.open("ab") as errors_file:
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors_file,
                env={**os.environ, **(environment or {})},
                limit=program.LINE_BYTES,
                start_new_session=True,  # Ctrl-C is the conductor's, who ends them in order
                preexec_fn=_end_with_parent,
            )
        except OSError as problem:
            raise FailedError(f"{name} cannot be started: {problem}") from problem
    return Program(name, process, log)


def _end_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
