"""`server init` makes everything or nothing."""

import errno
import os
import pathlib
import socket

import click.testing
import pytest

from coordinator import errors, limits
from coordinator.runtime import commands, engine

WORDS = ("--name", "c1", "--address", "127.0.83.1", "--site", "central", "--master-domain", "acme")


def made(directory: pathlib.Path, context: pathlib.Path) -> Exception | None:
    os.environ["TIERCAST_CONTEXT_FILE"] = str(context)
    try:
        done = click.testing.CliRunner().invoke(commands.init, ["--dir", str(directory), *WORDS])
    finally:
        del os.environ["TIERCAST_CONTEXT_FILE"]
    return done.exception if isinstance(done.exception, Exception) else None


def test_a_first_server_is_made_once(tmp_path: pathlib.Path) -> None:
    assert made(tmp_path / "c1", tmp_path / "contexts") is None
    assert isinstance(made(tmp_path / "c1", tmp_path / "contexts"), errors.InUseError)


def test_a_disk_that_is_full_half_way_leaves_nothing_behind(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(engine, "save", full)
    assert isinstance(made(tmp_path / "c1", tmp_path / "contexts"), OSError)
    assert list(tmp_path.glob("c1*")) == []


@pytest.mark.parametrize("mode", [0o644, 0o666])
def test_contexts_that_others_can_read_stop_it_before_anything_is_made(
    tmp_path: pathlib.Path, mode: int
) -> None:
    context = tmp_path / "contexts"
    context.write_text("{}")
    context.chmod(mode)
    assert isinstance(made(tmp_path / "c1", context), errors.UsageError)
    assert not (tmp_path / "c1").exists()


def test_it_says_what_to_do_next_and_never_shows_the_token(tmp_path: pathlib.Path) -> None:
    context = tmp_path / "contexts"
    os.environ["TIERCAST_CONTEXT_FILE"] = str(context)
    try:
        done = click.testing.CliRunner().invoke(commands.init, ["--dir", str(tmp_path / "c1"), *WORDS])
    finally:
        del os.environ["TIERCAST_CONTEXT_FILE"]
    assert done.exit_code == 0
    next_ = done.output.partition("next:")[2]
    for word in ("server run", "token create", "server export-keys"):
        assert word in next_
    assert "tca_" not in done.output
    assert "tca_" in context.read_text()


@pytest.mark.parametrize(
    ("address", "wrong"),
    [("192.0.2.7", errors.UsageError), ("nonsense", errors.UsageError), ("127.0.83.9", errors.InUseError)],
)
def test_an_address_that_is_not_here_or_is_taken_stops_it_before_anything_is_made(
    tmp_path: pathlib.Path, address: str, wrong: type[Exception]
) -> None:
    elsewhere = ["--name", "c1", "--address", address, "--site", "central", "--master-domain", "acme"]
    os.environ["TIERCAST_CONTEXT_FILE"] = str(tmp_path / "contexts")
    try:
        with socket.create_server(("127.0.83.9", limits.PORT_MIC)):
            words = ["--dir", str(tmp_path / "c1"), *elsewhere]
            done = click.testing.CliRunner().invoke(commands.init, words)
    finally:
        del os.environ["TIERCAST_CONTEXT_FILE"]
    assert isinstance(done.exception, wrong)
    assert not (tmp_path / "c1").exists()


def test_a_directory_that_holds_anything_is_not_used(tmp_path: pathlib.Path) -> None:
    (tmp_path / "c1").mkdir()
    (tmp_path / "c1" / "notes").write_text("mine")
    assert isinstance(made(tmp_path / "c1", tmp_path / "contexts"), errors.InUseError)
    assert (tmp_path / "c1" / "notes").read_text() == "mine"


def test_contexts_that_cannot_be_written_stop_it_before_anything_is_made(tmp_path: pathlib.Path) -> None:
    assert isinstance(made(tmp_path / "c1", pathlib.Path("/proc/nowhere/contexts")), errors.UsageError)
    assert not (tmp_path / "c1").exists()
