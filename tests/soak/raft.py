"""Seeds of the simulated world of the Raft core, its journal and its snapshots."""

import pathlib
import time

from coordinator.store.backends.raft import journal
from tests import raftworld
from tests.simulation import test_raft_world as world
from tests.soak import rounds

SEEDS = 20  # of the world, in one round
FIRST = 50  # those before it are in `make test`


def play(seed: int, base: pathlib.Path) -> rounds.Round:
    # As the suite of `make test` has them: the made-up disk copies a file whenever it is synced.
    journal.RESERVE_BYTES, journal.MARGIN_BYTES = 4096, 1024  # type: ignore[misc]
    begun = time.monotonic()
    worlds: list[raftworld.World] = []
    violations = []
    for number in range(FIRST + seed * SEEDS, FIRST + (seed + 1) * SEEDS):
        try:
            worlds.append(world.lived(number))
        except AssertionError as wrong:
            violations.append(f"world {number}: {wrong}")
    counts = {
        "worlds": len(worlds),
        "acknowledged writes": sum(len(one.done) for one in worlds),
        "commits": sum(one.commits for one in worlds),
        "terms with a leader": sum(len(one.leaders) for one in worlds),
        "snapshots installed": sum(one.installs for one in worlds),
        "simulated s": sum(round(one.now) for one in worlds),
    }
    return rounds.Round(seed, round(time.monotonic() - begun, 1), counts, tuple(violations))


SUITE = rounds.Suite("the Raft core in a simulated world of faults, 20 worlds a round", play)
