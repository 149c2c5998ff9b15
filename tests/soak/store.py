"""Members of the store as processes that are killed, frozen, parted, slowed and broken while clients write and read."""

import asyncio  # noqa: TID251 the store is asyncio's
import os
import pathlib
import time

from coordinator import errors
from tests import storefaults
from tests.soak import rounds

SIZES = (3, 5, 3)
FAULTS_S = 60.0
CUTS = 20
ROOT = os.geteuid() == 0
"""Without it there are no partitions and no power cuts."""


def play(seed: int, base: pathlib.Path) -> rounds.Round:
    return _lived(base, storefaults.Life(seed, SIZES[seed % len(SIZES)], FAULTS_S, network=ROOT, power=ROOT))


def play_cuts(seed: int, base: pathlib.Path) -> rounds.Round:
    """Needs root."""
    return _lived(base, storefaults.Life(seed, 3, 0.0, power=True, faults=("power cut",) * CUTS))


def _lived(base: pathlib.Path, life: storefaults.Life) -> rounds.Round:
    seed, members = life.seed, life.members
    begun = time.monotonic()
    try:
        result = asyncio.run(storefaults.lived(base, life))
    except (errors.TiercastError, OSError, AssertionError) as problem:
        told = (f"{members} members: {problem!r}",)
        return rounds.Round(seed, round(time.monotonic() - begun, 1), {}, told)
    counts = {
        f"lives of {members}": 1,
        "operations": result.operations,
        "acknowledged writes": result.acknowledged,
        "lost": result.lost,
        "done though refused": result.risen,
        "in doubt, resolved": result.resolved,
        "elections": result.elections,
        **result.faults,
        rounds.WORST + "gap s": result.gap_s,
    }
    violations = [*result.violations]
    if result.lost or result.risen:
        violations.append(f"{result.lost} acknowledged writes lost, {result.risen} refused ones done")
    return rounds.Round(seed, result.seconds, counts, tuple(violations))


SUITE = rounds.Suite(
    "the store's members: kills, freezes, partitions, slow and broken disks; linearizability", play
)
CUT_SUITE = rounds.Suite("three members on one ext4 whose power is cut, 20 times a round", play_cuts)
