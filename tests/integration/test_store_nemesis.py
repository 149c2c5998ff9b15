"""Members as processes that are killed, frozen, parted, slowed and broken while clients write and read through all.

Long runs of the same stand in docs/soak.md: `make soak SOAK="store 3600"`.
"""

import pathlib

import pytest

from tests import storefaults

pytestmark = [pytest.mark.integration, pytest.mark.anyio]
TRIES = 5


def life(
    seed: int, members: int, *faults: str, network: bool = False, power: bool = False
) -> storefaults.Life:
    return storefaults.Life(seed, members, 0.0, network, power, faults, pause_s=0.002)


async def lived(base: pathlib.Path, wanted: storefaults.Life) -> storefaults.Result:
    result = await storefaults.lived(base, wanted)
    print(result)
    return result


async def test_kills_freezes_and_broken_disks_leave_one_order_of_everything_and_lose_nothing(
    tmp_path: pathlib.Path, seed: int
) -> None:
    faults = ("kill leader", "slow disk", "freeze leader", "failing disk", "clocks jump")
    result = await lived(tmp_path, life(seed, 3, *faults))
    assert result.sound
    assert result.operations > 300


@pytest.mark.root
async def test_five_members_that_are_parted_and_killed_lose_nothing(
    tmp_path: pathlib.Path, seed: int
) -> None:
    faults = ("part minority", "kill some")
    result = await lived(tmp_path, life(seed, 5, *faults, network=True))
    assert result.sound
    assert result.operations > 150


@pytest.mark.root
async def test_power_that_goes_for_all_members_at_once_loses_nothing(
    tmp_path: pathlib.Path, seed: int
) -> None:
    result = await lived(tmp_path, life(seed, 3, "power cut", "power cut", power=True))
    assert result.sound
    assert result.acknowledged > 50


async def test_the_judges_find_a_store_that_reads_without_asking_a_majority(
    tmp_path: pathlib.Path, seed: int
) -> None:
    found: list[str] = []
    for number in range(TRIES):  # on a busy machine a life may see too few reads for one to be stale
        base = tmp_path / f"{number}"
        base.mkdir()
        result = await lived(base, life(seed + number, 3, "read carelessly"))
        assert result.lost == 0
        found += result.violations
        if found:
            break
    assert found
