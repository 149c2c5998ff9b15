"""The event loop of a process that serves: uvloop's where it is installed (`tiercast[speed]`), asyncio's otherwise.

Law: whatever runs on it runs the same on both; only the cost of a frame differs.
"""

import asyncio
import gc
from collections.abc import Awaitable, Callable

import anyio

COLLECT_AFTER = 20_000
"""Objects made and not freed until the collector looks at them. A roll-up of a large site makes thousands at once that
all stay: at Python's 700 half of its decoding was the collector's, which finds nothing there."""


def factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the loop."""
    try:
        import uvloop  # noqa: PLC0415 it may be missing
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def tune() -> None:
    """How often this process collects garbage."""
    gc.set_threshold(COLLECT_AFTER, 20, 20)


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Until `main` returns; raises what it raises."""
    tune()
    anyio.run(main, backend_options={"loop_factory": factory()})
