"""Ids of members say where they are, and a list of members is read strictly."""

import anyio
import pytest

from coordinator import errors, names
from coordinator.store import membership, port
from coordinator.tiers import planning
from tests import micworld


def test_an_id_says_its_server_and_address() -> None:
    for address in ("10.1.0.11", "fd00::1"):
        made = membership.Seat("12ab", names.ServerId("id-c1"), address)
        assert membership.seat(made.member) == made
    assert membership.seat("12ab") is None
    with pytest.raises(errors.DamagedError):
        membership.seats(("a/b/10.0.0.1", "12ab"))


@pytest.mark.parametrize(
    "text", ["", "c1", "c1=", "=10.0.0.1", "c1=host", "c1=10.0.0.1,c1=10.0.0.2", "c1=10.0.0.1,c2=10.0.0.2"]
)
def test_a_list_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(errors.UsageError):
        membership.wanted(text)


def test_a_list_of_three_is_read() -> None:
    assert membership.wanted("c1=10.0.0.1, c2=10.0.0.2,c3=fd00::1") == {
        "c1": "10.0.0.1",
        "c2": "10.0.0.2",
        "c3": "fd00::1",
    }


class Handed(micworld.Store):
    """Shows the members that a test wants."""

    shown: tuple[str, ...] = ()

    async def status(self) -> port.StoreStatus:
        members = tuple(port.MemberStatus(name) for name in self.shown)
        return port.StoreStatus("memory", members, None, 0, 0, 0, 0)


def test_the_plan_knows_the_members_by_the_names_of_their_servers() -> None:
    async def main() -> None:
        world = micworld.World()
        store = Handed(world.clock)
        store.shown, world.store = ("memory",), store
        served, _tree = await world.open()
        second = await world.enroll(served, "c2")
        assert await planning.members(served.at) == {"c1"}
        store.shown = (f"a/{micworld.FIRST}/10.1.0.11", f"b/{second}/10.1.0.12", "c/nobody/10.1.0.13")
        assert await planning.members(served.at) == {"c1", "c2", "nobody"}

    anyio.run(main)
