"""Lock, logs, settings, metrics and clock of a process."""

import io
import json
import logging
import os
import pathlib
from collections.abc import Iterator

import pytest

from coordinator import errors, limits
from coordinator.host import clock, lock, logs, metrics, settings


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root, ours = logging.getLogger(), logging.getLogger(logs.ROOT)
    before = (list(root.handlers), root.level, ours.level)
    stream = io.StringIO()
    yield stream
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


def test_a_directory_is_held_once_and_the_holder_is_named(tmp_path: pathlib.Path) -> None:
    with lock.DirectoryLock(tmp_path):
        with pytest.raises(errors.InUseError, match=f"process {os.getpid()}"):
            lock.DirectoryLock(tmp_path)
        assert (tmp_path / lock.FILE).stat().st_mode & 0o777 == 0o600
    again = lock.DirectoryLock(tmp_path)
    again.release()
    again.release()


def test_a_line_is_a_phrase_and_its_facts(lines: io.StringIO) -> None:
    logs.configure(lines, facts={"server": "n1"})
    logs.Log("hop.link").bound(node="w").warning("link closed", revision=7, reason=ValueError("why"))
    line = json.loads(lines.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "log": "hop.link",
        "event": "link closed",
        "server": "n1",
        "node": "w",
        "revision": 7,
        "reason": "why",
    }


def test_secrets_and_bytes_do_not_show(lines: io.StringIO) -> None:
    for form in ("json", "text"):
        logs.configure(lines, form=form)
        logs.Log("x").info("said", admin_token="tca_1_2", body=b"abc", join_secret=b"s")
    assert "tca_1_2" not in lines.getvalue()
    assert lines.getvalue().count("[3 bytes]") == 2
    assert lines.getvalue().count("[hidden]") == 4


def test_text_is_one_line_and_an_exception_follows(lines: io.StringIO) -> None:
    logs.configure(lines, form="text", level="debug")
    logs.Log("x").debug("tried", count=3)
    try:
        int("bad")
    except ValueError:
        logs.Log("x").crashed("broke", role="r")
    first, second, *rest = lines.getvalue().splitlines()
    assert first.endswith("debug   tried count=3")
    assert second.endswith("error   broke role=r")
    assert rest[-1].startswith("ValueError")


def test_a_level_below_the_configured_one_writes_nothing(lines: io.StringIO) -> None:
    logs.configure(lines, level="warning")
    logs.Log("x").info("quiet")
    assert not lines.getvalue()


def test_flags_win_over_variables_and_those_over_defaults() -> None:
    environment = {"TIERCAST_DIR": "/a", "TIERCAST_LOG_FORM": "json", "TIERCAST_SERVER": "elsewhere"}
    found = settings.read(environment, {"dir": "/b", "log_level": None})
    assert found == settings.Settings(dir="/b", log_form=settings.LogForm.JSON)
    with pytest.raises(errors.UsageError):
        settings.read({"TIERCAST_LOG_LEVEL": "shouting"})


def test_a_socket_path_is_bounded(tmp_path: pathlib.Path) -> None:
    layout = settings.Layout("/srv/t")
    assert layout.socket("shell") == "/srv/t/run/shell.sock"
    long = layout.socket("n" * 120)
    assert len(long) <= limits.UNIX_PATH_BYTES
    assert long != layout.socket("m" * 120)
    with pytest.raises(errors.UsageError):
        settings.Layout("/" + "d" * 120).socket("x")


def test_metrics_have_a_registry_of_their_own() -> None:
    one, other = metrics.Metrics(), metrics.Metrics()
    for each in (one, other):
        each.gauge("target_revision", "the revision").set(42)
    one.counter("frames", "all of them", ["way"]).labels("in").inc()
    one.histogram("apply_duration_seconds", "how long", buckets=[1, 2]).observe(1.5)
    assert b"tiercast_target_revision 42.0" in other.text()
    assert b'tiercast_frames_total{way="in"} 1.0' in one.text()
    assert b"frames" not in other.text()


def test_the_clock_runs_and_ids_differ() -> None:
    system, random = clock.SystemClock(), clock.SystemRandom()
    assert system.monotonic() <= system.monotonic()
    assert system.wall() > 1_700_000_000
    assert len({random.token(16) for _ in range(10)}) == 10
    assert all(1 <= random.uniform(1, 2) <= 2 for _ in range(10))
