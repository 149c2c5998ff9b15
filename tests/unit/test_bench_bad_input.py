"""What a bench says before it starts anything, and what it shows when it does not come to its end; nothing is started."""

import os
import pathlib
import resource
import signal
from collections.abc import AsyncGenerator, Iterator
from typing import cast

import anyio
import pytest
from click import testing

from bench import commands, measures, showing, signals
from bench.peers import crowd, systems
from bench.propagation import checks, programs, results, run, stand
from coordinator import errors

NEED = checks.Need(agents=100, links_of_one=100, document_bytes=1024, programs=3)
ONE = measures.Measure(bench="herd", case="ten", figure="all_back_ms", value=3.0)


def refused(*words: str) -> errors.UsageError:
    found = testing.CliRunner().invoke(commands.bench, list(words), standalone_mode=False).exception
    assert isinstance(found, errors.UsageError)
    return found


def limited(monkeypatch: pytest.MonkeyPatch, descriptors: int) -> None:
    """No more can be had, whatever is asked for."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)


def saved(path: pathlib.Path, text: str) -> pathlib.Path:
    path.write_text(text)
    return path


def test_too_few_descriptors_are_said_with_the_command_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 300)
    with pytest.raises(
        errors.UsageError, match=r"too few descriptors \(got 300, need 356 in one process\)"
    ) as told:
        checks.check(NEED)
    assert told.value.hint.startswith("`ulimit -n 356`")
    assert "descriptors" in refused("propagation", "--servers", "1000", "--sites", "2").message
    assert "descriptors" in refused("herd", "--servers", "1000").message
    assert "descriptors" in refused("growth", "--servers", "10,1000").message


def test_a_peer_without_tiers_needs_a_descriptor_for_every_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 900)
    monkeypatch.setattr(systems.Etcd, "missing", lambda _: "")
    wide = (
        "propagation",
        "--servers",
        "1000",
        "--sites",
        "10",
        "--processes",
        "10",
        "--document-size",
        "1KiB",
    )
    assert "got 900, need 1256" in refused(*wide, "--peers", "etcd").message


def test_too_little_memory_is_said_also_where_only_a_container_has_too_little(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "MEMORY", saved(tmp_path / "meminfo", "MemAvailable: 104857600 kB\n"))
    monkeypatch.setattr(checks, "CGROUP", tmp_path / "none")
    checks.check(NEED)
    monkeypatch.setattr(checks, "CGROUP", tmp_path)
    saved(tmp_path / "memory.max", "104857600\n")
    saved(tmp_path / "memory.current", "52428800\n")
    with pytest.raises(errors.UsageError, match=r"too little memory \(got 50 MiB, need about 222 MiB\)"):
        checks.check(NEED)
    saved(tmp_path / "memory.max", "max\n")
    checks.check(NEED)


def test_ports_that_others_hold_are_not_free(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = "0: 0100007F:{port:04X} 00000000:0000 {state} 0\n"
    rows = "".join(row.format(port=40_000 + n, state="01") for n in range(30))
    rows += "".join(
        row.format(port=40_050 + n, state="06") for n in range(30)
    )  # only waiting to be forgotten
    monkeypatch.setattr(checks, "PORT_RANGE", saved(tmp_path / "range", "40000 40109\n"))
    monkeypatch.setattr(checks, "SOCKETS", (saved(tmp_path / "tcp", "head\n" + rows), tmp_path / "none"))
    with pytest.raises(
        errors.UsageError, match=r"too few free ports .*\(got 80 of 40000\.\.40109, need 100\)"
    ):
        checks.check(NEED)


def test_a_free_port_is_had_even_where_the_usual_ones_are_taken() -> None:
    held = {crowd.free_port() for _ in range(50)}
    assert all(0 < port < 65536 for port in held)


def test_a_page_that_cannot_be_written_is_said_before_the_run(tmp_path: pathlib.Path) -> None:
    page = str(tmp_path / "none" / "page.html")
    assert "cannot be written" in refused("propagation", "--html", page).message
    assert "cannot be written" in refused("growth", "--html", page).message


def test_growth_of_nothing_and_sites_without_servers_are_refused() -> None:
    nothing = ("growth", "--servers", "none", "--sites", "none", "--document-sizes", "none")
    assert refused(*nothing).message == "nothing is to grow"
    assert "a site without a server" in refused("growth", "--servers", "5,100", "--sites", "none").message


async def cut(after: int, problem: BaseException | None) -> AsyncGenerator[measures.Measure, None]:
    for _ in range(after):
        yield ONE
    if problem is not None:
        raise problem
    os.kill(os.getpid(), signal.SIGINT)
    await anyio.sleep_forever()


def partials(text: str) -> list[str]:
    return [line for line in text.splitlines() if '"partial"' in line]


def test_an_interrupted_run_ends_with_a_line_that_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert showing.run(showing.Showing("json", None, wanted=9), cut(2, None)) == showing.INTERRUPTED
    said = capsys.readouterr()
    (line,) = partials(said.out)
    assert said.out.splitlines()[-1] == line
    assert '"have":2,"wanted":9' in line
    assert "everything that was started is gone" in said.err


def test_a_run_that_fails_shows_what_it_had_and_why_it_has_no_more(
    capsys: pytest.CaptureFixture[str],
) -> None:
    problem = programs.FailedError("mic did not answer within 120 s", hint="its log")
    assert showing.run(showing.Showing("table", None, wanted=9), cut(2, problem)) == showing.FAILED
    said = capsys.readouterr()
    assert "all_back_ms" in said.out
    assert "partial: failed: mic did not answer within 120 s after 2 of 9 figures" in said.out
    assert "its log" in said.err


def test_nothing_found_is_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert showing.run(showing.Showing("table", None), cut(0, programs.FailedError("no"))) == showing.FAILED
    said = capsys.readouterr()
    assert not said.out
    assert "failed: no before the first figure" in said.err


def test_figures_without_a_loop_are_marked_likewise(capsys: pytest.CaptureFixture[str]) -> None:
    def found() -> Iterator[measures.Measure]:
        yield ONE
        raise KeyboardInterrupt

    assert showing.drain(showing.Showing("json", None), found()) == showing.INTERRUPTED
    assert partials(capsys.readouterr().out)


def test_what_is_ignored_stays_ignored_and_what_ends_us_is_an_interrupt() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signals.ending() == [signal.SIGTERM]
        with signals.as_interrupts():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.getsignal(signal.SIGTERM) is not signal.default_int_handler


def test_a_figure_is_marked_from_a_tenth_of_the_machine_on() -> None:
    assert not measures.Measure(bench="b", case="c", figure="f_ms", value=1.0, foreign=results.LOADED).loaded
    assert measures.Measure(bench="b", case="c", figure="f_ms", value=1.0, foreign=0.11).loaded


class Gone:
    """A server that has ended before anybody asked."""

    name = "redis-server"

    async def ended(self) -> None:
        return

    def tail(self) -> str:
        return "address already in use"


@pytest.mark.anyio
async def test_a_server_that_has_ended_is_not_waited_for() -> None:
    made = stand.Stand()
    made.servers.append(cast("programs.Program", Gone()))
    with pytest.raises(programs.FailedError, match="redis-server has ended") as told:
        await made.served(anyio.sleep_forever())
    assert told.value.hint == "address already in use"


class Broken:
    """A peer that never stands."""

    name = "redis"
    flat = True
    lacks = ""

    def missing(self) -> str:
        return ""

    async def start(self, order: stand.Order, made: stand.Stand) -> None:
        assert order.agents
        assert not made.programs
        raise programs.FailedError("redis-server has ended", hint="address already in use")


@pytest.mark.anyio
async def test_a_peer_that_fails_is_said_once_and_left_out_of_the_other_rounds(
    tmp_path: pathlib.Path,
) -> None:
    wish = run.Wish(
        sites=1, agents=1, document_bytes=4096, changes=("full",), revisions=4, mode="propagation", tls=False,
        processes=1, directory=tmp_path,
    )  # fmt: skip
    found = [one async for one in run.run(wish, (Broken(),), lambda _: None)]
    said = "failed in round 1: redis-server has ended address already in use"
    assert found == [results.Missing(system="redis", missing=said)]
    assert [one async for one in anyio.Path(tmp_path).iterdir()] == []
