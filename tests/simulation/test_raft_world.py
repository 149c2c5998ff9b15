"""The Raft core, its journal and its snapshots in a world that crashes, loses, repeats, reorders, parts and tears."""

import pytest

from coordinator.store.backends.raft import journal
from tests import raftworld

FAULTS_S = 25.0
QUIET_S = 10.0
SEGMENT_BYTES = 6000  # a journal goes on in a new file every second or so, whatever it holds then


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room is promised in small steps here: the made-up disk copies a file whenever it is synced."""
    monkeypatch.setattr(journal, "RESERVE_BYTES", 4096)
    monkeypatch.setattr(journal, "MARGIN_BYTES", 1024)


def lived(seed: int) -> raftworld.World:
    world = raftworld.World(seed, size=(3, 3, 5)[seed % 3])
    world.clients(FAULTS_S)
    world.after(1.0, lambda: world.faults(FAULTS_S))
    world.run(FAULTS_S)
    world.heal()
    world.run(FAULTS_S + QUIET_S / 2)
    before = len(world.done)
    world.clients(FAULTS_S + QUIET_S - 2)
    world.run(FAULTS_S + QUIET_S)
    assert len(world.done) > before, "once the faults are over, it works again"
    world.check_end()
    return world


@pytest.mark.parametrize("seed", range(50))
def test_nothing_acknowledged_is_lost_and_every_property_of_raft_holds(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed % 2:
        monkeypatch.setattr(journal, "SEGMENT_BYTES", SEGMENT_BYTES)
    lived(seed)


def test_seeds_that_failed_once_with_small_files_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SEGMENT_BYTES", SEGMENT_BYTES)
    lived(
        6067
    )  # a journal went on in a new file with a tail that was cut there, and a snapshot took the files before


@pytest.mark.parametrize(
    "seed",
    [
        1010,  # a snapshot arrived whose tail stood in a file of the journal that went later
        1346,  # a member woke up as the leader of a term that was long over
    ],
)
def test_seeds_that_failed_once_hold(seed: int) -> None:
    lived(seed)


def test_a_seed_gives_the_same_life_twice() -> None:
    one, other = lived(7), lived(7)
    assert one.log == other.log
    assert one.done == other.done
    assert one.leaders == other.leaders
