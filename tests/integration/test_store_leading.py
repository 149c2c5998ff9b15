"""Who leads a group of three: the member that everything comes from."""

import pathlib

import pytest

from coordinator.store.backends.raft import forwarding
from tests import storegroup

pytestmark = [pytest.mark.integration, pytest.mark.anyio]


async def test_the_member_that_all_commands_come_from_leads_after_a_while(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "LEAD_COMMANDS", 10)
    monkeypatch.setattr(forwarding, "LEAD_S", 0.0)
    group = storegroup.Group(tmp_path)
    await group.make()
    try:
        await group.open()
        leader = await group.leader()
        busy = next(name for name in group.members if name != leader)
        written = 0

        async def leads() -> bool:
            nonlocal written
            written += 1
            await group.put(busy, f"/{written}")
            return group.stores[busy]._member.core.lead is not None

        await storegroup.until(leads)
        found = await group.stores[leader].scan(b"/")
        assert len(found.items) == written, "each was done once"
    finally:
        await group.close()
