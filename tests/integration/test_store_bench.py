"""The measurements of the store run, and what they say of themselves is so; how fast it is, is not judged here."""

import pathlib

import pytest

from bench.store import failover, load, ours, weight

pytestmark = [pytest.mark.integration, pytest.mark.anyio]


async def test_a_killed_leader_is_followed_and_what_writers_were_told_is_kept(tmp_path: pathlib.Path) -> None:
    system = failover.Ours(tmp_path)
    try:
        row = await failover.measure(system, kills=1)
    finally:
        system.close()
    assert row.lost == 0
    assert 0 < row.p50_s == row.worst_s < failover.LIMIT_S


async def test_puts_are_counted_with_their_syncs(tmp_path: pathlib.Path) -> None:
    store = ours.Ours(tmp_path, 1)
    await store.start()
    try:
        row = await load.measure(store, ("tiercast", 1), clients=4, size_bytes=100, seconds=0.2)
    finally:
        await store.close()
    assert row.puts > 0
    assert row.p50_ms <= row.p99_ms


async def test_a_pause_is_measured_in_every_snapshot(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight, "KEYS", 1024)
    found = await weight.pause(tmp_path)
    assert found.size_mib == 1
    assert len(found.stalls_ms) == weight.SNAPSHOTS
