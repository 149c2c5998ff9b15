"""Results of a bench as they are saved, shown and compared; nothing is started."""

import pathlib
import re
import xml.dom.minidom
from typing import Any

import msgspec
from click import testing

from bench import commands, machine, measures
from bench import saved as saving
from bench.propagation import curves, lag, pages, results, slopes, stand
from coordinator import errors


def result(system: str = "tiercast", **changes: object) -> results.Result:
    given: dict[str, object] = {
        "system": system, "mode": "propagation", "change": "full", "revision": 1, "round": 1, "sites": 2, "agents": 10,
        "acks": 10, "document_bytes": 1024, "transport": "plain", "loop": "uvloop", "publish_ms": 1.0, "payload_ms": 2.0,
        "convergence_ms": 3.0, "server_cpu_s": 0.001, "foreign": 0.0, "loaded": False,
        "processes": (stand.Process("publisher", "mic", 0.001, 1), stand.Process("agents", "agents0", 0.002, 1)),
        "hops": {"ic-agent": stand.Flow(10, 10_000, 10, 500)},
    }  # fmt: skip
    return results.Result(**{**given, **changes})  # type: ignore[arg-type]


def saved(path: pathlib.Path, *found: results.Result) -> pathlib.Path:
    path.write_text("".join(results.line(one) + "\n" for one in found))
    return path


def run(*words: str, stdin: str = "") -> testing.Result:
    return testing.CliRunner().invoke(commands.bench, list(words), input=stdin, standalone_mode=False)


def test_modes_transports_and_sizes_never_share_a_row() -> None:
    different = [
        result(),
        result(mode="full"),
        result(transport="tls"),
        result(document_bytes=65536),
        result(agents=20),
        result(change="small"),
    ]
    assert len(results.rows([*different, *different])) == len(different)


def test_a_page_shows_every_row_and_what_the_machine_was() -> None:
    where = machine.Machine(
        machine="an <old> one", cores=2, memory_bytes=2**30, kernel="6", python="3.11", fsync_ms=0.4, versions={}
    )  # fmt: skip
    rows = results.rows([result(), result("tree-c", convergence_ms=1.0), result(foreign=0.5, mode="full")])
    away = [results.Missing(system="nats", missing="not installed")]
    made = pages.page(pages.Told(rows=rows, missing=away, lacks={"tree-c": "no names"}, where=where))
    assert "an &lt;old&gt; one" in made
    assert "not installed" in made
    assert "no names" in made
    assert "3.0 ms (loaded)" in made
    drawings = re.findall(r"<svg.*?</svg>", made, re.DOTALL)
    assert len(drawings) == 4  # latency and CPU, of each mode
    for drawing in drawings:
        xml.dom.minidom.parseString(drawing)


def test_compare_ends_with_1_where_a_figure_is_worse_than_the_margin(tmp_path: pathlib.Path) -> None:
    was = saved(tmp_path / "was", result())
    assert (
        run("compare", str(was), str(saved(tmp_path / "same", result(convergence_ms=3.3)))).return_value == 0
    )
    worse = saved(tmp_path / "worse", result(convergence_ms=4.5))
    assert run("compare", str(was), str(worse)).return_value == 1
    assert run("compare", str(was), str(worse), "--margin", "0.6").return_value == 0
    assert run("compare", str(was), stdin=worse.read_text()).return_value == 1


def test_milliseconds_of_a_loaded_machine_are_not_judged_but_cpu_is(tmp_path: pathlib.Path) -> None:
    was = saved(tmp_path / "was", result())
    slow = saved(tmp_path / "slow", result(convergence_ms=30.0, foreign=0.5))
    dear = saved(tmp_path / "dear", result(server_cpu_s=0.01, foreign=0.5))
    assert run("compare", str(was), str(slow)).return_value == 0
    assert run("compare", str(was), str(dear)).return_value == 1


def test_results_of_other_cases_are_not_compared(tmp_path: pathlib.Path) -> None:
    was, other = saved(tmp_path / "was", result()), saved(tmp_path / "other", result(mode="full"))
    assert isinstance(run("compare", str(was), str(other)).exception, errors.UsageError)
    junk = tmp_path / "junk"
    junk.write_text("no json\n")
    assert isinstance(run("compare", str(was), str(junk)).exception, errors.UsageError)


def test_a_saved_file_is_shown_again_with_its_page(tmp_path: pathlib.Path) -> None:
    was, page = saved(tmp_path / "was", result(), result("redis")), tmp_path / "page.html"
    shown = run("report", str(was), "--html", str(page))
    assert "10 agents, 2 sites, mode propagation" in shown.output
    assert "nothing is durable" in shown.output
    assert page.read_text().startswith("<!doctype html>")


def test_documents_are_measured_by_what_is_done_to_them() -> None:
    lines = run("documents", "--servers", "20", "--rounds", "1", "-o", "json").output.splitlines()
    found = {one.figure: one for one in saving.of(lines, "documents").figures}
    assert {"read_json_ms", "validate_ms", "difference_ms", "plan_ms"} <= set(found)
    assert all(one.value > 0 for one in found.values())
    assert isinstance(run("documents", "--servers", "many").exception, errors.UsageError)


def grown(*agents: int, **changes: Any) -> list[results.Result]:
    return [
        result(agents=one, convergence_ms=float(one), publish_ms=0.5, server_cpu_s=one * 1e-4, commits=2,
               after_cpu_s=0.001, **changes)
        for one in agents
    ]  # fmt: skip


def test_a_line_is_shown_where_one_thing_alone_grows_over_three_points(tmp_path: pathlib.Path) -> None:
    was = saved(tmp_path / "was", *grown(100, 10, 1000), *grown(100, sites=5), result("etcd", agents=50))
    shown = run("report", str(was)).output
    assert shown.count("growth with") == 1
    assert "growth with servers: 2 sites, 1 KiB, full change, mode propagation, plain" in shown
    assert "servers x100: converged x1e+02, MIC's CPU x1, commits x1, CPU of all servers x1e+02" in shown


def test_a_point_of_a_line_has_its_bar_too_where_peers_did_the_same_work() -> None:
    rows = results.rows([*grown(10, 100, 1000), result("etcd", agents=1000)])
    bars = curves.beside(curves.found(rows), rows)
    assert {(row.kind.system, row.kind.agents) for row in bars} == {("tiercast", 1000), ("etcd", 1000)}


def test_two_points_are_no_line() -> None:
    assert not curves.found(results.rows(grown(10, 100)))
    other = grown(10, 100) + grown(1000, document_bytes=4096)
    assert not curves.found(results.rows(other))


def test_the_drawing_of_a_line_is_whole_and_marks_what_is_loaded() -> None:
    (one,) = curves.found(results.rows([*grown(10, 100), *grown(1000, foreign=0.5)]))
    drawing = slopes.drawn(one)
    xml.dom.minidom.parseString(drawing.removeprefix("<figure>").removesuffix("</figure>"))
    assert "1,000*" in drawing
    assert "* loaded" in drawing
    assert drawing.count("<polyline") == 3
    assert one.sentence.endswith("(loaded)")


def test_what_is_partial_says_so_wherever_it_is_shown(tmp_path: pathlib.Path) -> None:
    cut = results.Partial(partial="interrupted", have=1, wanted=40)
    was, page = tmp_path / "was", tmp_path / "page.html"
    was.write_text(results.line(result()) + "\n" + msgspec.json.encode(cut).decode() + "\n")
    words = "partial: interrupted after 1 of 40 figures"
    assert words in run("report", str(was), "--html", str(page)).output
    assert words in page.read_text()
    compared = run("compare", str(was), str(saved(tmp_path / "whole", result())))
    assert compared.return_value == 0
    assert words in compared.stderr


def test_a_file_that_breaks_off_within_a_line_is_refused_by_name(tmp_path: pathlib.Path) -> None:
    was = saved(tmp_path / "half.jsonl", result())
    was.write_text(was.read_text()[:-30])
    problem = run("report", str(was)).exception
    assert isinstance(problem, errors.UsageError)
    assert "half.jsonl" in problem.message


def test_a_peer_that_nobody_knows_is_refused_with_those_that_are_known() -> None:
    problem = run("propagation", "--peers", "memcached").exception
    assert isinstance(problem, errors.UsageError)
    assert "zookeeper" in problem.message


def test_figures_of_every_bench_are_shown_with_their_unit(tmp_path: pathlib.Path) -> None:
    was = tmp_path / "was"
    found = [
        measures.Measure(bench="herd", case="ten", figure="rss_bytes", value=3 << 20),
        measures.Measure(bench="herd", case="ten", figure="back_ms", value=1234.5, foreign=0.9),
    ]
    was.write_text("".join(measures.line(one) + "\n" for one in found))
    shown = run("report", str(was)).output
    assert "3.0 MiB" in shown
    assert re.search(r"back_ms +1,234 +loaded", shown)
    assert "loaded: others used" in shown


def test_a_page_of_markdown_is_made_of_the_files_alone(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "some-machine"
    folder.mkdir()
    figure = measures.Measure(bench="herd", case="ten", figure="rss_bytes", value=3 << 20)
    was = saved(folder / "was", result(), result("tree-c", convergence_ms=1.5), *grown(100, 1000))
    was.write_text(was.read_text() + measures.line(figure) + "\n")
    text = folder / "README.md"
    assert run("report", str(was), "--markdown", str(text)).exit_code == 0
    made = text.read_text().splitlines()
    assert made[0] == "# some-machine"
    assert "| tiercast | 3.0 | 3.0 | 2.0 | 100 | 200 | 1,000 | quiet |" in made
    assert "## Growth with servers: 2 sites, 1 KiB, full change, mode propagation, plain" in made
    assert "| ten | rss_bytes | 3.0 MiB | quiet |" in made
    widths = [line.count("|") for line in made if line.startswith("|")]
    assert all(widths)


def test_a_loop_that_stands_still_is_late_for_all_that_was_due_meanwhile() -> None:
    assert lag.waits(-0.001) == [0.0]
    assert lag.waits(0.004) == [0.004]
    assert [round(one, 3) for one in lag.waits(0.035)] == [0.035, 0.025, 0.015, 0.005]


def test_what_was_nothing_and_is_something_is_worse(tmp_path: pathlib.Path) -> None:
    lost = measures.Measure(bench="store", case="ours", figure="lost_writes", value=0.0)
    was, now = tmp_path / "was", tmp_path / "now"
    was.write_text(measures.line(lost) + "\n")
    now.write_text(measures.line(msgspec.structs.replace(lost, value=3.0)) + "\n")
    assert run("compare", str(was), str(was)).return_value == 0
    assert run("compare", str(was), str(now)).return_value == 1


def test_figures_of_different_machines_are_compared_with_a_word(tmp_path: pathlib.Path) -> None:
    where = machine.Machine(
        machine="here", cores=2, memory_bytes=2**30, kernel="6", python="3.11", fsync_ms=0.4, versions={}
    )  # fmt: skip
    was, now = saved(tmp_path / "was", result()), saved(tmp_path / "now", result())
    for path, cores in ((was, 2), (now, 64)):
        described = msgspec.json.encode(msgspec.structs.replace(where, cores=cores)).decode()
        path.write_text(described + "\n" + path.read_text())
    assert "of different machines: here, 2 cores" in run("compare", str(was), str(now)).stderr
    assert "different" not in run("compare", str(was), str(was)).stderr
