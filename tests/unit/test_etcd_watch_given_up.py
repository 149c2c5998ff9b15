"""A wait for changes in etcd that is given up in the very moment in which they come."""

import asyncio  # noqa: TID251 the backends are asyncio's
import itertools
from typing import Any

import pytest

from coordinator.store import port
from coordinator.store.backends.etcd import watching

pytestmark = pytest.mark.anyio


async def test_what_came_in_the_moment_of_giving_up_is_handed_out_next() -> None:
    owner: Any = None
    watch, came, revisions = watching.EtcdWatch(owner, b"/w/", 1), asyncio.Event(), itertools.count(7)

    async def advance() -> port.Batch:
        await came.wait()
        return port.Batch(next(revisions))

    watch._advance = advance  # type: ignore[method-assign]
    waiting = asyncio.ensure_future(watch.next())
    await asyncio.sleep(0.01)
    came.set()
    while watch._waiting is not None and not watch._waiting.done():  # noqa: ASYNC110 turn by turn
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await watch.next()).revision == 7
