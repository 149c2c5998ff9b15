"""Where a leader's commands come from: what counts towards letting another lead."""

import asyncio  # noqa: TID251 the backends are asyncio's
from typing import cast

import pytest

from coordinator.store import commands
from coordinator.store.backends.raft import forwarding, log, member, messages, pending
from tests import storedisk

pytestmark = pytest.mark.anyio
PUT = commands.encode(commands.Txn(success=(commands.put(b"/k", b"v"),)))
ENOUGH = 5


class Leading:
    """A member that leads, accepts everything at once, and notes to whom it would hand the lead."""

    def __init__(self) -> None:
        self.core = self
        self.lead = object()
        self.handed: list[str] = []
        self._index = 0

    async def propose(self, data: bytes) -> pending.Proposal:
        self._index += 1
        loop = asyncio.get_running_loop()
        proposal = pending.Proposal(data, loop.create_future(), loop.create_future())
        proposal.accepted.set_result(log.Position(self._index, 1))
        return proposal

    async def applied_to(self, _index: int) -> None: ...

    def hand_to(self, other: str) -> None:
        self.handed.append(other)


async def served(route: forwarding.Forwarding, sender: str, count: int) -> None:
    for ticket in range(count):
        route.received(sender, messages.Forward(ticket, PUT))
    async with asyncio.timeout(50):
        await asyncio.gather(*route._tasks)


@pytest.fixture
def leading(monkeypatch: pytest.MonkeyPatch) -> tuple[Leading, forwarding.Forwarding]:
    monkeypatch.setattr(forwarding, "LEAD_COMMANDS", ENOUGH)
    monkeypatch.setattr(forwarding, "LEAD_S", 0.0)
    one = Leading()
    return one, forwarding.Forwarding(cast("member.Member", one), storedisk.SeededRandom(1))


async def test_only_commands_of_one_member_and_of_nobody_else_let_it_lead(
    leading: tuple[Leading, forwarding.Forwarding],
) -> None:
    one, route = leading
    await served(route, "a", ENOUGH - 1)
    await served(route, "b", 1)
    await served(route, "a", ENOUGH - 1)
    assert one.handed == []
    await served(route, "a", 1)
    assert one.handed == ["a"]


async def test_what_came_before_another_led_counts_no_more(
    leading: tuple[Leading, forwarding.Forwarding],
) -> None:
    one, route = leading
    await served(route, "a", ENOUGH)
    assert one.handed == ["a"]
    route.led_anew()  # `a` leads, and then this member again: `a` cannot hold on to it
    await served(route, "a", ENOUGH - 1)
    assert one.handed == ["a"]
    await served(route, "a", 1)
    assert one.handed == ["a", "a"]
