"""A child that sends more than any child needs to is read later, over real links; whoever stands beside it notices nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from coordinator import limits, names
from coordinator.hop import credentials, dial, link, serve
from coordinator.host import clock
from coordinator.propagation import messages, objects, wire
from coordinator.trust import authority

pytestmark = pytest.mark.anyio
ADDRESS = "127.0.9.7"
CLUSTER = names.ClusterId("c1")
CLOCK = clock.SystemClock()
KEYS = authority.create_authority(CLUSTER, CLOCK.wall())
BEAT = messages.Heartbeat(b"", objects.Numbers(), 7)
WINDOW_S = 1.0


class Counting:
    """Frames by link."""

    def __init__(self) -> None:
        self.frames: dict[names.LinkId, int] = {}
        self.closed_: list[str] = []

    def opened(self, made: link.Link) -> None:
        made.authenticated(documents=False)
        self.frames[made.id] = 0

    def received(self, made: link.Link, _frame: messages.AnyFrame) -> None:
        self.frames[made.id] += 1

    def closed(self, _made: link.Link, reason: str) -> None:
        self.closed_.append(reason)


def own(name: str) -> credentials.Credentials:
    return credentials.Credentials(authority.enrolled(KEYS, names.ServerId(name), CLOCK.wall()), CLOCK)


@contextlib.asynccontextmanager
async def stage() -> AsyncIterator[tuple[Counting, link.Link, link.Link]]:
    """A parent, a good child and a bad one."""
    parent = Counting()
    server = await serve.serve(ADDRESS, 0, own("parent"), parent)
    good = await dial.dial(ADDRESS, server.port, own("good"), Counting())
    bad = await dial.dial(ADDRESS, server.port, own("bad"), Counting())
    async with asyncio.timeout(60):
        while len(parent.frames) < 2:  # noqa: ASYNC110 a count at the other end, which has no event of its own
            await asyncio.sleep(0.005)
    try:
        yield parent, good, bad
    finally:
        for one in (good, bad):
            one.drop("over")
        await server.close("over")


async def test_a_flood_of_frames_is_taken_at_a_pace_and_the_next_child_is_heard_meanwhile() -> None:
    made = CLOCK.monotonic()  # a link earns room from its beginning on
    async with stage() as (parent, good, bad):
        flood = wire.encode(BEAT) * (20 * limits.FRAMES_AT_ONCE)
        begun = CLOCK.monotonic()
        bad._transport.write(flood)
        heard = 0
        while CLOCK.monotonic() - begun < WINDOW_S:
            good.send(BEAT)
            await asyncio.sleep(0.01)
            heard += 1
        took = CLOCK.monotonic() - made
        first, second = sorted(parent.frames.values())
        assert first >= heard - 20
        assert limits.FRAMES_AT_ONCE <= second <= limits.FRAMES_AT_ONCE + took * limits.FRAMES_PER_S + 1
        assert parent.closed_ == []


async def test_what_was_sent_too_fast_is_late_and_not_lost() -> None:
    async with stage() as (parent, good, bad):
        sent = limits.FRAMES_AT_ONCE + 300
        for _ in range(sent):
            bad.send(BEAT)
        async with asyncio.timeout(60):
            while max(parent.frames.values()) < sent:  # noqa: ASYNC110 as above
                await asyncio.sleep(0.005)
        assert good.open
        assert bad.open
