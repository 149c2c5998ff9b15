"""`server check`: what is wrong with a machine is said before it becomes a server, with what to do about it."""

import json
import pathlib
import resource
import socket

import pytest

from coordinator import limits
from nodeagent.main import checking, knocking
from tests import micworld

ADDRESS = "127.0.84.1"


def rows(
    root: pathlib.Path, address: str | None = ADDRESS, wall: float = 1_790_000_000.0
) -> dict[str, checking.Row]:
    clock = micworld.Clock()
    clock.now = wall - 1_700_000_000.0
    return {one.what: one for one in checking.look(checking.Asked(root, address, None), clock)}


def test_a_good_machine_is_good_and_nothing_is_left_of_the_look(tmp_path: pathlib.Path) -> None:
    found = rows(tmp_path / "not" / "there" / "yet")
    assert [
        one.what for one in found.values() if one.state == checking.FAIL and one.what != "file system"
    ] == []
    assert found[f"port {limits.PORT_MIC}"].state == checking.OK
    assert "ms (median" in found["fsync"].detail
    assert list(tmp_path.iterdir()) == []


def test_an_address_of_another_machine_fails(tmp_path: pathlib.Path) -> None:
    for elsewhere in ("192.0.2.1", "2001:db8::1", "nonsense"):
        found = rows(tmp_path, elsewhere)
        assert found["address"].state == checking.FAIL
        assert not [what for what in found if what.startswith("port")]
    assert rows(tmp_path, "0.0.0.0")["address"].state == checking.FAIL
    assert rows(tmp_path, None)["address"].state == checking.WARN


def test_a_port_that_is_taken_fails_and_says_how_to_find_out_by_whom(tmp_path: pathlib.Path) -> None:
    with socket.create_server((ADDRESS, limits.PORT_IC)):
        row = rows(tmp_path)[f"port {limits.PORT_IC}"]
    assert (row.state, row.detail) == (checking.FAIL, "taken; it is for ic")
    assert "ss -lptn" in row.hint


def test_a_clock_from_before_this_program_fails(tmp_path: pathlib.Path) -> None:
    assert rows(tmp_path, wall=1_000_000_000.0)["clock"].state == checking.FAIL


def test_a_disk_in_memory_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setattr(checking, "_file_system", lambda _place: "tmpfs")
    row = rows(tmp_path)["file system"]
    assert row.state == checking.FAIL
    assert "in memory only" in row.detail


def test_a_disk_that_does_not_sync_fails_and_a_slow_one_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    def broken(_place: pathlib.Path) -> float:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(checking, "_fsync_ms", broken)
    assert rows(tmp_path)["fsync"].detail.startswith("does not work")
    monkeypatch.setattr(checking, "_fsync_ms", lambda _place: 30.0)
    assert rows(tmp_path)["fsync"].state == checking.WARN


def test_too_few_descriptors_fail(tmp_path: pathlib.Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        assert rows(tmp_path)["descriptors"].state == checking.FAIL
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_server_that_is_asked_for_its_clock_and_does_not_answer_fails(tmp_path: pathlib.Path) -> None:
    asked = checking.Asked(tmp_path, None, knocking.place(f"{ADDRESS}:1"))
    found = {one.what: one for one in checking.look(asked, micworld.Clock())}
    assert found[f"clock of {ADDRESS}:1"].state == checking.FAIL


def test_it_exits_1_where_something_fails_and_says_it_in_json_and_as_a_table() -> None:
    bad = (checking.Row("a", "ok", "fine", "never shown"), checking.Row("disk", "fail", "full", "empty it"))
    assert (checking.exit_code(bad), checking.exit_code(bad[:1])) == (1, 0)
    assert json.loads(checking.as_json(bad))["ok"] is False
    assert checking.as_table(bad) == "a     ok    fine\ndisk  fail  full\n            empty it"
