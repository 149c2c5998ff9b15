"""Seeds of a real etcd of three members under kills and freezes, as our backend and its clients live through them."""

import asyncio  # noqa: TID251 the backend is asyncio's
import pathlib
import time

from tests import etcdcluster, etcdlife
from tests.soak import rounds

FAULTS = 20


def play(seed: int, base: pathlib.Path) -> rounds.Round:
    begun = time.monotonic()
    with etcdcluster.running(base / "c", 3) as cluster:
        counts, wrong = asyncio.run(etcdlife.life(cluster, seed, FAULTS))
    counted = {
        "faults": FAULTS,
        "acknowledged writes": len(counts.acknowledged),
        "attempts without an outcome": counts.doubts,
        "of these resolved by the request id": counts.resolved,
    }
    return rounds.Round(seed, round(time.monotonic() - begun, 1), counted, tuple(wrong))


SUITE = rounds.Suite(f"a real etcd of three members, {FAULTS} kills and freezes a round", play)
