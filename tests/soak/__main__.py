"""`make soak SOAK="SUITE SECONDS"`: plays seeds of a suite for so long and appends what it ran to docs/soak.md.

What has been played stands in build/soak/SUITE.jsonl, a line a round: a run that was interrupted is gone on with, by
the next seed and for the seconds that are left. Law: what stands on the page was played, to its end, as often as it says.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import msgspec

from coordinator.host import clock
from tests.soak import rounds, table

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLAYED = ROOT / "build" / "soak"
PAGE = ROOT / "docs" / "soak.md"
SHOWN = 5  # violations in one line of the page


def main(words: Sequence[str]) -> int:
    if len(words) != 2 or words[0] not in table.SUITES:
        print('make soak SOAK="SUITE SECONDS"; the suites:')
        for name in table.SUITES:
            print(f"  {name:<12} {table.load(name).what}")
        return 64
    name, seconds = words[0], float(words[1])
    suite = table.load(name)
    PLAYED.mkdir(parents=True, exist_ok=True)
    while True:
        done, seed = _played(name)
        left = seconds - sum(one.seconds for one in done)
        if left <= 0:
            break
        one = _round(suite, name, seed)
        print(f"seed {one.seed}: {one.seconds:.0f} s, {left - one.seconds:.0f} s left; {_words(one.counts)}")
        for sentence in one.violations:
            print(f"  VIOLATION {sentence}", file=sys.stderr)
        sys.stdout.flush()
    row = _row(name, done)
    with PAGE.open("a", encoding="utf-8") as page:
        page.write(row + "\n")
    _note(name, b'"reported"')
    print(row)
    return 1 if any(one.violations for one in done) else 0


def _round(suite: rounds.Suite, name: str, seed: int) -> rounds.Round:
    base = PLAYED / f"{name}-{seed}"
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir()
    begun = time.monotonic()
    one = suite.play(seed, base)
    one = msgspec.structs.replace(one, seconds=round(time.monotonic() - begun, 1))
    _note(name, msgspec.json.encode(one))
    if not one.violations:
        shutil.rmtree(base)
    return one


def _played(name: str) -> tuple[list[rounds.Round], int]:
    """Rounds since the last report, and the next seed."""
    done: list[rounds.Round] = []
    seed = 1
    file = PLAYED / f"{name}.jsonl"
    for line in file.read_bytes().splitlines() if file.exists() else ():
        if line == b'"reported"':
            done = []
            continue
        one = msgspec.json.decode(line, type=rounds.Round)
        done.append(one)
        seed = one.seed + 1
    return done, seed


def _note(name: str, line: bytes) -> None:
    with (PLAYED / f"{name}.jsonl").open("ab") as file:
        file.write(line + b"\n")


def _row(name: str, done: Sequence[rounds.Round]) -> str:
    day = time.strftime("%Y-%m-%d %H:%M", time.gmtime(clock.SystemClock().wall()))
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    state = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "?"
    seeds = f"{done[0].seed} to {done[-1].seed}"
    wrong = [f"seed {one.seed}: {sentence}" for one in done for sentence in one.violations]
    told = "0" if not wrong else f"**{len(wrong)}**: " + "; ".join(wrong[:SHOWN])
    ran = sum(one.seconds for one in done)
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[2]:.1f}"
    counts = _words(rounds.total(done))
    return f"| {day} | {state} | {name} | {ran:.0f} s | {seeds} | {counts} | {told} | {machine} |"


def _words(counts: Mapping[str, float]) -> str:
    return ", ".join(
        f"{name}: {count:,g}" if count < 1000 else f"{name}: {count:,.0f}" for name, count in counts.items()
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
