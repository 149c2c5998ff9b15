"""The inside of a program of the bench: it reads one JSON object a line, answers each with one, and ends with its stdin.

So whoever started it needs no name of it to end it, and a bench that is killed leaves nothing behind.
Law: every question is answered once, in order; an exception ends the program and is the last thing it says.
"""

import asyncio
import cProfile
import gc
import importlib.util
import os
import pathlib
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from coordinator import errors
from coordinator.host import logs, loop

PROFILE = "TIERCAST_BENCH_PROFILE"
"""A directory: every program writes its profile there when it ends."""
LOOP = "TIERCAST_BENCH_LOOP"
LOOPS = ("uvloop", "asyncio")
LINE_BYTES = 1024 * 1024

Question = dict[str, Any]


class Line:
    """stdin and stdout of this program."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def next(self) -> Question | None:
        """The next question; None where there will be none."""
        line = await self._reader.readline()
        if not line:
            return None
        question: Question = msgspec.json.decode(line)
        return question

    def say(self, **answer: Any) -> None:  # noqa: ANN401 what JSON can carry
        sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
        sys.stdout.flush()


def run(work: Callable[[Line], Awaitable[None]]) -> None:
    """Until `work` returns, on the loop of the product's processes."""
    logs.configure(level="warning")
    profile = cProfile.Profile() if os.environ.get(PROFILE) else None
    loop.tune()
    with asyncio.Runner(loop_factory=_loop()) as runner:
        if profile is not None:
            profile.enable()
        try:
            runner.run(_worked(work))
        finally:
            if profile is not None:
                profile.disable()
                _save(profile)


def _loop() -> Callable[[], asyncio.AbstractEventLoop]:
    return asyncio.new_event_loop if os.environ.get(LOOP) == "asyncio" else loop.factory()


def best_loop() -> str:
    """That can be had here."""
    return LOOPS[importlib.util.find_spec("uvloop") is None]


def check_loops(wanted: Iterable[str]) -> None:
    """Raises `UsageError` where uvloop is asked for and missing."""
    if "uvloop" in wanted and importlib.util.find_spec("uvloop") is None:
        raise errors.UsageError(
            "uvloop is not installed", hint="install tiercast[speed], or take --loop asyncio"
        )


def settle() -> None:
    """What exists by now stays: the collector need not look at it again. For crowded clients only, never for a tier."""
    gc.collect()
    gc.freeze()


async def _worked(work: Callable[[Line], Awaitable[None]]) -> None:
    reader = asyncio.StreamReader(LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    line = Line(reader)
    try:
        await work(line)
    except Exception as problem:
        line.say(failed=f"{type(problem).__name__}: {problem}")
        raise


def _save(profile: cProfile.Profile) -> None:
    name = f"{pathlib.Path(sys.argv[0]).stem}-{os.getpid()}.pstats"
    profile.dump_stats(pathlib.Path(os.environ[PROFILE]) / name)
