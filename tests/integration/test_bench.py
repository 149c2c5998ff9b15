"""The harness of `tiercast bench propagation`: counts, digests, every agent acked, nothing left. Not its speed."""

import ast
import asyncio
import os
import pathlib
import signal
import subprocess
import sys
import time

import msgspec
import pytest

from bench import links, measures
from bench import saved as saving
from bench.propagation import load, program, results, run, stand, workload
from coordinator import errors
from tests.tidy import tree

COMMAND = "import sys; from bench.commands import bench; sys.exit(bench(standalone_mode=False))"
SITES, AGENTS, REVISIONS = 2, 12, 2
ONCE = ("--revisions", "1")  # one round: everything stands up once


def argv(*more: str) -> list[str]:
    sizes = ("--sites", str(SITES), "--servers", str(AGENTS), "--processes", "2", "--document-size", "4KiB")
    return [sys.executable, "-c", COMMAND, "propagation", *sizes, "--revisions", str(REVISIONS), *more]


def left(directory: pathlib.Path) -> list[str]:
    """Processes that were started for a run below this directory."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"{directory}/tiercast-bench-" in line:
            found.append(line)
    return found


def read(tmp_path: pathlib.Path, *more: str) -> tuple[list[results.Result], list[results.Missing]]:
    saved = tmp_path / "results.jsonl"
    with saved.open("wb") as file:
        done = subprocess.run(
            argv("--dir", str(tmp_path), "-o", "json", *more),
            stdout=file,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    found = saving.read([saved])
    return list(found.revisions), list(found.missing)


def test_every_agent_of_a_short_run_gets_every_document_and_is_counted_by_its_ack(
    tmp_path: pathlib.Path,
) -> None:
    found, _ = read(tmp_path, "--change", "both", "--peers", "tree-python")
    ours = [one for one in found if one.system == "tiercast"]
    assert len(ours) == 2 * REVISIONS
    for one in ours:
        assert (one.acks, one.agents, one.mode) == (AGENTS, AGENTS, "propagation")
        assert 0 < one.publish_ms < one.payload_ms <= one.convergence_ms
        assert {p.role for p in one.processes} == {"publisher", "ic", "agents"}
        assert sum(p.role == "ic" for p in one.processes) == SITES
        assert all(p.rss_bytes > 0 for p in one.processes)
        assert one.hops["mic-ic"].messages_down >= SITES
        assert one.hops["ic-agent"].messages_down >= AGENTS
        assert one.hops["ic-agent"].messages_up >= AGENTS
    assert {one.acks for one in found if one.system == "tree-python"} == {AGENTS}
    assert not left(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["results.jsonl"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> list[results.Result]:
    """A run whose agents verify and keep, of both changes."""
    return read(tmp_path_factory.mktemp("kept"), "--mode", "full", "--change", "both", *ONCE)[0]


def test_a_small_change_crosses_the_last_hop_as_a_delta(kept: list[results.Result]) -> None:
    moved = {
        change: min(one.hops["ic-agent"].bytes_down for one in kept if one.change == change)
        for change in workload.CHANGES
    }
    assert moved["small"] < moved["full"] / 2


def test_our_own_hops_can_be_measured_over_mutual_tls(tmp_path: pathlib.Path) -> None:
    found, _ = read(tmp_path, "--tls", *ONCE)
    assert {one.transport for one in found} == {"tls"}
    assert {one.acks for one in found} == {AGENTS}


def test_agents_that_verify_and_keep_ack_every_document(kept: list[results.Result]) -> None:
    assert {(one.system, one.mode, one.acks) for one in kept} == {("tiercast", "full", AGENTS)}
    assert {one.change for one in kept} == set(workload.CHANGES)


def test_a_peer_does_not_stand_beside_agents_that_verify_and_keep(tmp_path: pathlib.Path) -> None:
    done = subprocess.run(argv("--mode", "full", "--peers", "redis"), capture_output=True, check=False)
    assert b"peers do the work of mode propagation alone" in done.stderr + done.stdout
    assert done.returncode != 0


def test_a_herd_is_measured_until_everybody_is_back() -> None:
    tree = links.Tree(sites=1, servers=AGENTS, tls=False, directory=None, loop=program.best_loop())
    found = {one.figure: one.value for one in asyncio.run(herded(tree))}
    assert tuple(found) == links.FIGURES
    assert 0 < found["back_p50_ms"] <= found["back_p99_ms"] <= found["all_back_ms"]
    assert 0 <= found["ic_lag_p99_ms"] <= found["ic_lag_max_ms"]
    assert found["ic_rss_peak_bytes"] > 1 << 20


async def herded(tree: links.Tree) -> list[measures.Measure]:
    return [one async for one in links._herds((tree,), 1)]


def test_a_peer_that_is_not_here_is_a_row_that_says_so() -> None:
    one = results.Missing(system="nats", missing="not installed")
    assert msgspec.json.decode(results.line(one)) == {"system": "nats", "missing": "not installed"}


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_process_and_no_file(
    tmp_path: pathlib.Path, signal_number: signal.Signals
) -> None:
    started = subprocess.Popen(
        argv("--dir", str(tmp_path), "--peers", "none"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not left(tmp_path):
        assert time.monotonic() < deadline
        assert started.poll() is None
        os.sched_yield()
    started.send_signal(signal_number)
    _, said = started.communicate(timeout=120)
    assert started.returncode == 130, said.decode()
    assert not left(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_that_cannot_end_well_does_not_begin() -> None:
    from bench.propagation import checks  # noqa: PLC0415 it raises the limits of this process

    with pytest.raises(errors.UsageError, match="memory"):
        checks.check(checks.Need(agents=10_000, links_of_one=1, document_bytes=1 << 30, programs=3))


def test_no_setting_of_the_product_reaches_the_plain_transport() -> None:
    """The product imports nothing of the bench, and opens no listener and no dial of a network without TLS."""
    for path in tree.python_files("coordinator", "nodeagent"):
        for node in ast.walk(tree.syntax(path)):
            if isinstance(node, ast.Import):
                assert not any(alias.name.split(".")[0] == "bench" for alias in node.names), path
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] != "bench", path
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert "PlainDriver" not in node.value, path


def test_the_share_of_others_is_what_neither_the_bench_nor_its_programs_used() -> None:
    watch = load.Watch().begin(stand.Stand())
    sum(number * number for number in range(300_000))
    assert 0.0 <= watch.foreign(stand.Stand()) <= 1.0


def test_documents_have_the_size_asked_for_and_differ() -> None:
    for change in workload.CHANGES:
        endless = workload.bodies(workload.Shape(4096, 2, 100), change)
        made = [next(endless) for _ in range(5)]
        assert {len(body) for body in made} == {4096}
        assert len(set(made)) == len(made)


def test_the_rounds_hold_all_revisions() -> None:
    wish = run.Wish(
        sites=1, agents=1, document_bytes=4096, changes=("full",), revisions=5, mode="propagation", tls=False,
        processes=1, directory=None,
    )  # fmt: skip
    assert sum(wish.counted(turn) for turn in range(wish.rounds)) == 5


def test_the_bench_of_the_api_measures_what_it_says() -> None:
    sizes = ("--servers", "20", "--sites", "3", "--document", "10", "--viewers", "3", "--runs", "2")
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "api", *sizes, "-o", "json"],
        capture_output=True,
        check=True,
        timeout=120,
    )
    found = saving.of(done.stdout.decode().splitlines(), "api").figures
    assert len(found) == 13 * 3
    assert all(one.value > 0 for one in found)
