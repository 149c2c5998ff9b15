"""Tries of passwords over a change of MIC: who has used them up waits at the next one as well."""

import pytest

from coordinator.store import commands
from coordinator.tiers import entries, guessing, inspection, keys, mic
from tests import builders, micworld, peopleworld

pytestmark = pytest.mark.anyio


async def begun(world: peopleworld.World, at: mic.Mic) -> None:
    code, answer = await world.apply(at, builders.document())
    assert code == "", answer
    await world.add(at, "ada", "operator")


async def used_up(world: peopleworld.World, at: mic.Mic) -> None:
    codes = [(await world.login(at, "ada", password="wrong words", source="192.0.2.66"))[0] for _ in range(6)]
    assert codes == ["unauthenticated"] * 5 + ["busy"]


async def test_the_next_mic_goes_on_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guessing, "KEEP_S", 0.005)
    world = peopleworld.World()
    async with world.running() as (at, _tree):
        await begun(world, at)
        await used_up(world, at)
        await micworld.until(lambda: any(_counts(one, 5) for one in world.store.commits))
    async with world.running() as (at, _tree):
        code, problem = await world.login(at, "ada", source="192.0.2.66")
        assert (code, "too many tries" in problem["detail"]) == ("busy", True)
        assert (await world.login(at, "ada", source="198.51.100.7"))[0] == "", "nobody else waits"
        world.clock.now += 31.0
        assert (await world.login(at, "ada", source="192.0.2.66"))[0] == ""
    assert inspection.inspect((await world.store.scan(b"")).items, micworld.CLUSTER).findings == ()


def _counts(txn: commands.Txn, tries: int) -> bool:
    """Whether that many at one account from one place are kept by it."""
    puts = [one for one in txn.success if isinstance(one, commands.Put) and one.key == keys.TRIES]
    spent = [left for put in puts for key, left in entries.TRIED.decode(put.value).spent if key[0] == "here"]
    return any(left >= tries for left in spent)


async def test_a_value_that_cannot_be_read_keeps_nobody_from_office() -> None:
    world = peopleworld.World()
    async with world.running() as (at, _tree):
        await begun(world, at)
    await world.store.commit(commands.Txn((), (commands.put(keys.TRIES, b"junk"),)))
    async with world.running() as (at, _tree):
        assert (await world.login(at, "ada"))[0] == ""
    (found,) = inspection.inspect((await world.store.scan(b"")).items, micworld.CLUSTER).findings
    assert "/private/tries" in found
