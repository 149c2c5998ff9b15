"""Wrong usage in one voice, output that cannot be written, and help that is not cut off."""

import pathlib
import re
import subprocess
import sys

import click
import pytest

from coordinator.cli import main, streams
from coordinator.host import grouping
from coordinator.tiers import requests
from tests import terminal

START = "import sys; from coordinator.cli import start; start.main()"


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("plna", "no such command (got 'plna')", "did you mean `tiercast plan`?"),
        ("kv gte", "no such command (got 'gte')", "did you mean `tiercast kv get`?"),
        ("admin token creat", "no such command (got 'creat')", "did you mean `tiercast admin token create`?"),
        ("init", "no such command (got 'init')", "did you mean `tiercast server init`?"),
        ("list", "no such command (got 'list')", "tiercast --help"),
        ("status --wat", "no such option (got --wat)", "did you mean --watch?"),
        ("history -n 3", "no such option (got -n)", "tiercast history --help"),
        ("describe", "SERVER is missing", "tiercast describe --help"),
        ("completion", "SHELL is missing (have bash, zsh, fish)", "tiercast completion --help"),
        ("apply a.yaml --wait", "option '--wait' requires an argument", "tiercast apply --help"),
        ("status a b", "got unexpected extra argument (b)", "tiercast status --help"),
        ("plan a -o xml", "--output: 'xml' is not one of 'table', 'json', 'yaml'", "tiercast plan --help"),
        (
            "token create --at foo",
            "--at: not a place (got 'foo'); write HOST:PORT, such as 10.1.0.11:7401",
            "tiercast token create --help",
        ),
        (
            "token create --at fd00::11",
            "--at: not a place (got 'fd00::11'); write HOST:PORT, such as 10.1.0.11:7401",
            "tiercast token create --help",
        ),
        (
            "audit --since yesterday",
            "--since: not a duration (got 'yesterday'); write 90s, 5m, 500ms or 1h30m",
            "tiercast audit --help",
        ),
    ],
)
def test_what_is_mistyped_is_told_in_our_voice(
    tmp_path: pathlib.Path, words: str, message: str, hint: str
) -> None:
    done = terminal.Terminal(tmp_path).run(*words.split())
    assert done.talk == f"error: {message}\n  hint: {hint}\n"
    assert done.exit == 64


def test_a_file_of_somebody_elses_is_no_bug_of_ours(tmp_path: pathlib.Path) -> None:
    driven = terminal.Terminal(tmp_path)
    driven.system.answers[requests.Verb.STATUS] = PermissionError(13, "Permission denied", "/etc/shadow")
    done = driven.run("status")
    assert (
        done.talk == "error: /etc/shadow: permission denied\n  hint: as another user, or in another place\n"
    )
    assert done.exit == 9


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Say it. Then more.", "Say it"),
        ("Short; and both halves matter.", "Short; and both halves matter"),
        (f"Take a server out for ever: {'its links end, ' * 6}", "Take a server out for ever"),
        (f"Can this machine be a server? {'Address, ports, ' * 6}", "Can this machine be a server?"),
        ("First line\n    of two.\n\n    Another paragraph.", "First line of two"),
        ("", ""),
    ],
)
def test_a_list_of_commands_has_whole_clauses(text: str, told: str) -> None:
    assert grouping.summary(click.Command("one", help=text)) == told


def test_no_list_of_commands_is_cut_off_on_a_narrow_terminal() -> None:
    context = click.Context(main.root, info_name="tiercast", terminal_width=60)
    for name in ("server", "store", "kv", "admin", "domains", "bench"):
        group = main.root.get_command(context, name)
        assert isinstance(group, grouping.Group)
        page = group.get_help(click.Context(group, info_name=name, parent=context, terminal_width=60))
        assert "..." not in page.partition("Commands:")[2]
        assert all(len(line) <= 60 for line in page.splitlines())


def ran(shell_words: str) -> subprocess.CompletedProcess[str]:
    """With a shell's own redirections."""
    script = shell_words.replace("tiercast", '"$0" -c "$1"')
    return subprocess.run(
        ["bash", "-c", script, sys.executable, START], capture_output=True, text=True, timeout=60, check=False
    )


def test_streams_that_are_closed_are_nowhere() -> None:
    done = ran("tiercast plna 2>&-; echo $?; tiercast version >&-; echo $?; tiercast fmt - <&-; echo $?")
    assert done.stdout.split()[-3:] == ["64", "0", "3"], done
    assert "Traceback" not in done.stderr


def test_whoever_reads_no_longer_ends_it_quietly_and_a_full_device_is_named() -> None:
    done = ran("tiercast schema | true; echo ${PIPESTATUS[0]}; tiercast version >/dev/full; echo $?")
    assert done.stdout.split() == ["141", "1"]
    assert done.stderr.startswith("error: input or output: no space left on device")


def test_output_that_is_closed_may_be_closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with pathlib.Path("/dev/null").open("w", encoding="utf-8") as out:
        monkeypatch.setattr(sys, "stdout", out)
        streams.close_output()
        streams.close_output()
        assert out.writable()


def test_no_sentence_of_ours_ends_with_a_full_stop() -> None:
    """Of errors that are raised with a literal."""
    root = pathlib.Path(main.__file__).parent
    sentences = [
        match[1]
        for path in root.glob("*.py")
        for match in re.finditer(r'Error\(\s*f?"([^"]+)"', path.read_text(encoding="utf-8"))
    ]
    assert len(sentences) > 20
    assert [one for one in sentences if one.endswith(".") or one[:2].istitle()] == []
