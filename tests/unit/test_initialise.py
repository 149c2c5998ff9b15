"""`server init` makes everything or nothing."""

import os
import pathlib

import click.testing
import pytest

from coordinator import errors
from coordinator.runtime import commands

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


@pytest.mark.parametrize("mode", [0o644, 0o666])
def test_contexts_that_others_can_read_stop_it_before_anything_is_made(
    tmp_path: pathlib.Path, mode: int
) -> None:
    context = tmp_path / "contexts"
    context.write_text("{}")
    context.chmod(mode)
    assert isinstance(made(tmp_path / "c1", context), errors.UsageError)
    assert not (tmp_path / "c1").exists()


def test_contexts_that_cannot_be_written_stop_it_before_anything_is_made(tmp_path: pathlib.Path) -> None:
    assert isinstance(made(tmp_path / "c1", pathlib.Path("/proc/nowhere/contexts")), errors.UsageError)
    assert not (tmp_path / "c1").exists()
