"""`tiercast demo`, as a person runs it: it shows what it promises, and leaves nothing however it ends."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from bench.demo import sweeping
from tests import pace

DEMO_S = 110
"""Under two minutes."""
ENDS_S = 160
CLOSING = re.compile(
    r"converged: revision 5, 2 sites, 6 servers, 16 roles, \d+ ms \(ready 6 of reachable 6 of asked 6\)"
)


@pytest.fixture
def temporary(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Where the demo makes its directory; nothing may be left in it, and nothing may run from there."""
    yield tmp_path
    assert [path.name for path in tmp_path.iterdir()] == []
    assert sweeping.belonging(tmp_path) == []


def started(temporary: pathlib.Path, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [str(pathlib.Path(sys.executable).with_name("tiercast")), "demo", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )


def read_until(running: "subprocess.Popen[str]", word: str) -> str:
    """What it has printed when a line with the word comes."""
    assert running.stdout is not None
    told = ""
    for line in running.stdout:
        told += line
        if word in line:
            return told
    raise AssertionError(f"{word!r} never came:\n{told}")


def run(temporary: pathlib.Path, *words: str) -> tuple[int, str]:
    running = started(temporary, *words)
    out, _ = running.communicate(timeout=ENDS_S)
    return running.returncode, out


def test_it_shows_everything_and_its_last_line_says_converged(temporary: pathlib.Path) -> None:
    with pace.within(DEMO_S):
        code, out = run(temporary)
    assert code == 0, out
    assert CLOSING.fullmatch(out.splitlines()[-1]), out


def test_ctrl_c_in_the_middle_leaves_nothing(temporary: pathlib.Path) -> None:
    running = started(temporary)
    read_until(running, " 3. ")
    os.killpg(running.pid, signal.SIGINT)
    out, _ = running.communicate(timeout=ENDS_S)
    assert running.returncode == 130, out


def test_kept_it_says_how_to_look_and_ends_in_order(temporary: pathlib.Path) -> None:
    running = started(temporary, "--keep")
    told = read_until(running, "curl ")
    context = re.search(r"export TIERCAST_CONTEXT_FILE=(\S+)", told)
    assert context is not None, told
    command = str(pathlib.Path(sys.executable).with_name("tiercast"))
    environment = {**os.environ, "TIERCAST_CONTEXT_FILE": context[1]}
    looked = subprocess.run(
        [command, "status"], env=environment, capture_output=True, text=True, check=False, timeout=ENDS_S
    )
    assert looked.returncode == 0, looked.stderr
    assert "converged" in looked.stdout
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=ENDS_S)
    assert running.returncode == 0, out
    assert CLOSING.fullmatch(out.splitlines()[-1]), out


def test_a_port_that_is_taken_is_named_before_anything_starts(temporary: pathlib.Path) -> None:
    with socket.create_server(("127.0.20.3", 8082)):
        code, out = run(temporary)
    assert code == 10, out
    assert "127.0.20.3:8082 (address already in use" in out
    assert " 1. " not in out


def test_a_step_that_fails_shows_the_logs_and_leaves_nothing(temporary: pathlib.Path) -> None:
    running = started(temporary)
    read_until(running, " 3. ")
    with socket.create_server(("127.0.10.3", 9003), reuse_port=False):
        out, _ = running.communicate(timeout=ENDS_S)
    assert running.returncode == 1, out
    assert "failed: " in out
    assert "--- the end of " in out
