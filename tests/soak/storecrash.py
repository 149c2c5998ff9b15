"""Every act of a hand-over is once the last one; each seed plays all of them."""

import pathlib
import subprocess
import sys
import time

from tests.soak import rounds


def play(seed: int, base: pathlib.Path) -> rounds.Round:
    begun = time.monotonic()
    counts: dict[str, float] = {"lost": 0}
    violations: list[str] = []
    for what in ("members", "join"):
        place = base / what
        place.mkdir()
        argv = [sys.executable, "-m", "tests.storecrash", str(place), what, "1", "1"]
        ran = subprocess.run(argv, capture_output=True, text=True, check=False)
        lines = ran.stdout.splitlines()
        violations += [f"{what}: {line}" for line in lines if line.startswith("violation")]
        if ran.returncode or not lines or not lines[-1].startswith("done "):
            violations.append(f"{what}: ended with {ran.returncode}")
        else:
            counts[f"crash points of {what}"] = int(lines[-1].removeprefix("done "))
    return rounds.Round(seed, round(time.monotonic() - begun, 1), counts, tuple(violations))


SUITE = rounds.Suite("`store members --set` and `store join`, killed at every write, sync and rename", play)
