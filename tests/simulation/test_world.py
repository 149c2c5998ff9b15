"""The tree under faults: nothing untrue at any moment, and everything as it should be once it is left in peace."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests.simulation import planted, runs

ROOT = pathlib.Path(__file__).parents[2]
SEEDS = 50
CHUNK = 5
SEEDS_FOR_A_BUG = 200


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_invariants_hold_under_faults_and_everybody_converges_afterwards(first: int) -> None:
    for seed in range(first, first + CHUNK):
        try:
            runs.run(seed)
        except AssertionError as problem:
            pytest.fail(f"seed {seed}: {problem}")


def test_one_seed_is_one_story_in_any_process() -> None:
    script = "from tests.simulation import runs; print(runs.run(3)[0].engine.digest)"
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": salt, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for salt in ("1", "2")
    }
    assert len(found) == 1
    assert found == {runs.run(3)[0].engine.digest + "\n"}


@pytest.mark.parametrize("bug", planted.BUGS)
def test_a_planted_bug_is_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.BUGS[bug](monkeypatch)
    for seed in range(SEEDS_FOR_A_BUG):
        try:
            runs.run(seed)
        except AssertionError as found:  # the checkers', or one that production code keeps on
            print(f"{bug}: seed {seed}: {str(found)[:200]}")
            return
    pytest.fail(f"{bug} stays unnoticed in {SEEDS_FOR_A_BUG} seeds")
