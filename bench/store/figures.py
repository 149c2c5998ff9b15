"""What was found out about stores, in the one format of results; of each figure less is better."""

import statistics
from collections.abc import Mapping

import msgspec

from bench import measures
from bench.store import failover, load, weight
from coordinator.cli import printing


def of(row: msgspec.Struct, foreign: float) -> list[measures.Measure]:
    """All of one row."""
    case, found = _named(row)
    return [
        measures.Measure(bench="store", case=case, figure=name, value=round(value, 3), foreign=foreign)
        for name, value in found.items()
    ]


def _named(row: msgspec.Struct) -> tuple[str, Mapping[str, float]]:
    match row:
        case load.Row():
            size, members = printing.size(row.size_bytes), printing.count(row.members, "member")
            return f"{row.system}, {members}, {printing.count(row.clients, 'client')}, {size}", {
                "per_put_ms": 1000 / row.puts_per_s,
                "p50_ms": row.p50_ms,
                "p99_ms": row.p99_ms,
                "syncs_per_put": row.syncs_per_put,
                "cpu_ms_per_put": row.cpu_ms_per_put,
            }
        case failover.Row():
            return f"{row.system}, {printing.count(row.kills, 'kill')} of leaders", {
                "p50_s": row.p50_s,
                "p99_s": row.p99_s,
                "worst_s": row.worst_s,
                "lost_writes": float(row.lost),
            }
        case weight.Pause():
            return f"snapshot of {row.size_mib} MiB", {
                "worst_stall_ms": max(row.stalls_ms),
                "median_took_s": statistics.median(row.took_s),
            }
        case weight.Memory():
            return f"{row.system}, {printing.count(row.members, 'member')}, memory", {
                "empty_most_bytes": float(max(row.empty_mib) << 20),
                "full_most_bytes": float(max(row.full_mib) << 20),
            }
        case _:
            raise AssertionError(f"no figures of {row!r}")
