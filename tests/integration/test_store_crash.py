"""A hand-over that is ended at any of its acts leaves the old group or the new one, never none and never two.

Some of the points here, each run others; all of them: `make soak SOAK="store-crash 1"`.
"""

import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration
STEP = 12


@pytest.mark.parametrize("what", ["members", "join"])
def test_a_hand_over_that_is_killed_is_whole_or_not_begun_and_may_be_said_again(
    tmp_path: pathlib.Path, what: str, seed: int
) -> None:
    words = [str(tmp_path), what, str(1 + seed % STEP), str(STEP)]
    argv = [sys.executable, "-m", "tests.storecrash", *words]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)
    lines = ran.stdout.splitlines()
    assert ran.returncode == 0, ran
    assert not [line for line in lines if "violation" in line], ran
    points = int(lines[0].removeprefix("points "))
    assert points > 25, "every act is counted"
    assert lines[-1] == f"done {len(range(1 + seed % STEP, points + 1, STEP))}"
