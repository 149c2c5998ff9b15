"""Small words of the command line: exit codes, durations, sources, texts of documents, commands by entry point."""

import importlib.metadata
import pathlib
from typing import Any

import click
import hypothesis
import msgspec
import pytest
from hypothesis import strategies

from coordinator import errors
from coordinator.api import statuses
from coordinator.cli import answers, catalogue, exits, findings, https, main, printing, sources, writing
from coordinator.config import model, reading
from coordinator.host import contexts, durations
from coordinator.tiers import requests
from tests import builders, terminal


def subclasses(kind: type) -> set[type]:
    below: set[type] = set(kind.__subclasses__())
    return below.union(*(subclasses(one) for one in below))


def test_every_code_has_an_exit_code() -> None:
    codes = {getattr(kind, "code") for kind in subclasses(errors.TiercastError)}  # noqa: B009 a type knows no code
    codes = {code for code in codes if code in statuses.BY_CODE} | statuses.BY_CODE.keys()
    assert codes - exits.BY_CODE.keys() == set()


@pytest.mark.parametrize(
    ("code", "number"),
    [
        ("invalid", 3),
        ("conflict", 4),
        ("refused", 4),
        ("unknown_outcome", 6),
        ("no_quorum", 8),
        ("no_coordinator", 8),
        ("unauthenticated", 9),
        ("damaged", 10),
        ("in_use", 10),
        ("usage", 64),
        ("never heard of", 1),
    ],
)
def test_exit_codes_are_a_contract(code: str, number: int) -> None:
    assert exits.of_code(code) == number


@pytest.mark.parametrize(
    "name",
    [shape.__name__ for shape in msgspec.Struct.__subclasses__() if shape.__module__ == answers.__name__],
)
def test_what_the_command_line_reads_is_what_mic_writes(name: str) -> None:
    if name == "Problem":
        return
    written = {field.name for field in msgspec.structs.fields(getattr(requests, name))}
    read = {field.name for field in msgspec.structs.fields(getattr(answers, name))}
    assert read <= written


@pytest.mark.parametrize(
    ("text", "span_s"),
    [("90s", 90), ("5m", 300), ("500ms", 0.5), ("1h30m", 5400), ("2d", 172800), ("10", 10), ("0.5s", 0.5)],
)
def test_durations_are_read(text: str, span_s: float) -> None:
    assert durations.seconds(text) == span_s


@pytest.mark.parametrize("text", ["", "s", "5 m", "-1s", "1w", "nan", "1e9s", "٣s", "1" * 30])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(errors.UsageError, match="not a duration"):
        durations.seconds(text)


@pytest.mark.parametrize(
    ("span_s", "text"),
    [
        (0.4804, "480 ms"),
        (12.34, "12.3 s"),
        (59.99, "60.0 s"),
        (320, "5 m 20 s"),
        (300, "5 m"),
        (11400, "3 h 10 m"),
        (187200, "2 d 4 h"),
    ],
)
def test_durations_are_written_for_people(span_s: float, text: str) -> None:
    assert durations.written(span_s) == text


@hypothesis.given(strategies.floats(min_value=0, max_value=1e8))
def test_every_duration_can_be_written(span_s: float) -> None:
    assert durations.written(span_s)


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_word_is_a_file_before_it_is_anything_else(folder: pathlib.Path) -> None:
    driven = terminal.Terminal(folder)
    (folder / "42").write_text("schema: tiercast/1\n")
    driven.run("plan", "42")
    assert driven.system.request(requests.Verb.PLAN).source.files[0].name == "42"
    driven.run("plan", "43")
    assert driven.system.request(requests.Verb.PLAN).source.revision == 43
    driven.run("plan", "r44")
    assert driven.system.request(requests.Verb.PLAN).source.revision == 44


def test_a_folder_is_all_its_yaml_in_order(folder: pathlib.Path) -> None:
    driven = terminal.Terminal(folder)
    (folder / "doc" / "sites").mkdir(parents=True)
    for name in ("b.yaml", "a.yaml", "sites/north.yaml", "notes.txt"):
        (folder / "doc" / name).write_text("schema: tiercast/1\n")
    driven.run("upload", "doc")
    sent = driven.system.request(requests.Verb.UPLOAD)
    assert [file.name for file in sent.files] == ["doc/a.yaml", "doc/b.yaml", "doc/sites/north.yaml"]


def test_a_dash_is_standard_input(folder: pathlib.Path) -> None:
    driven = terminal.Terminal(folder)
    driven.run("upload", "-", stdin=b"schema: tiercast/1\n")
    assert driven.system.request(requests.Verb.UPLOAD).files == (
        requests.File("<stdin>", "schema: tiercast/1\n"),
    )


def test_a_file_that_is_not_utf8_is_shown_where(folder: pathlib.Path) -> None:
    driven = terminal.Terminal(folder)
    (folder / "bad.yaml").write_bytes(b"schema: tiercast/1\nx: \xff\n")
    done = driven.run("upload", "bad.yaml")
    assert done.exit == 3
    assert "bad.yaml:2:4: error S00: not UTF-8" in done.talk
    assert driven.system.asked == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("plan",), "name files, a draft or a revision"),
        (("apply", "a.yaml", "--draft", "d-1", "--yes"), "name files, a draft or a revision"),
        (("plan", "nowhere.yaml"), "cannot read nowhere.yaml"),
        (("upload",), "FILES is missing"),
        (("apply", "42", "--yes", "--timeout", "soon"), "not a duration"),
        (("apply", "42", "--yes", "--if-revision", "0"), "0 is not in the range"),
        (("status", "-o", "xml"), "'xml' is not one of"),
        (("rollback", "--to", "x", "--yes"), "'x' is not a valid integer"),
    ],
)
def test_words_that_are_off_are_a_matter_of_usage(
    folder: pathlib.Path, words: tuple[str, ...], told: str
) -> None:
    done = terminal.Terminal(folder).run(*words)
    assert done.exit == 64
    assert told in done.talk
    assert done.out == ""


def test_a_group_without_its_command_is_its_help_and_no_error(folder: pathlib.Path) -> None:
    done = terminal.Terminal(folder).run("admin")
    assert done.exit == 64
    assert done.talk.startswith("Usage: tiercast admin")


def test_an_exception_of_ours_is_one_line_and_no_trace(folder: pathlib.Path) -> None:
    driven = terminal.Terminal(folder)
    driven.system.answers[requests.Verb.STATUS] = ZeroDivisionError("a bug")
    done = driven.run("status")
    assert done.exit == 1
    assert "something broke here: ZeroDivisionError: a bug" in done.talk
    assert "Traceback" not in done.talk


def test_a_document_is_written_so_that_it_reads_the_same() -> None:
    for document in (builders.document(), builders.large(sites=3, servers=3, roles=2, templates=True)):
        for text in (writing.yaml_text(document), writing.json_text(document)):
            read = reading.read([reading.Source("again.yaml", text.encode())])
            assert read.findings == ()
            assert read.document is not None
            assert model.canonical(read.document) == model.canonical(document)


WORDS = strategies.text(
    strategies.characters(blacklist_categories=["Cs"]), max_size=30
) | strategies.sampled_from(
    [
        "no",
        "NO",
        "0o17",
        "1_000",
        "1e3",
        "12:30:00",
        "~",
        "null",
        ".inf",
        "=",
        "<<",
        "2026-01-01",
        "- a",
        "a: b",
        "#",
        "x\ny\n",
        " a",
    ]
)


@hypothesis.given(
    strategies.dictionaries(
        WORDS.filter(bool), WORDS | strategies.integers(-9, 9) | strategies.booleans(), max_size=4
    )
)
def test_no_text_of_a_parameter_changes_its_meaning_when_written(params: dict[str, Any]) -> None:
    document = builders.bent(lambda plain: plain["roles"]["web1"].update(params=params))
    read = reading.read([reading.Source("again.yaml", writing.yaml_text(document).encode())])
    assert read.document is not None, read.findings
    assert model.canonical(read.document) == model.canonical(document)


def test_role_types_that_cannot_be_loaded_are_told_of_and_left_out() -> None:
    told: list[str] = []
    known = catalogue.loaded(told.append)
    names = {entry.name for entry in importlib.metadata.entry_points(group="nodeagent.roles")}
    broken = {name for name in names if any(f"{name!r}" in line for line in told)}
    assert set(known) == names - broken


def test_a_command_that_somebody_promised_and_does_not_bring_is_said_so() -> None:
    broken = importlib.metadata.EntryPoint("server", "nowhere.at.all:server", main.ENTRY_POINTS)
    with pytest.raises(errors.UsageError, match="cannot be loaded"):
        main.contributed("server", [broken])
    assert main.contributed("other", [broken]) is None


def test_every_command_of_the_list_is_there(folder: pathlib.Path) -> None:
    for name, listed in main.COMMANDS.items():
        if listed.place:
            done = terminal.Terminal(folder).run(name, "--help")
            assert done.exit == 0, name
            assert done.out.startswith(f"Usage: tiercast {name}")
        assert listed.section in main.SECTIONS


def test_completion_is_a_script_of_the_shell(folder: pathlib.Path) -> None:
    assert "_TIERCAST_COMPLETE" in terminal.Terminal(folder).run("completion", "bash").out


@pytest.mark.parametrize(
    "server", ["http://a:1", "https://", "ftp://a", "https://a:99999", "https://a/path", ""]
)
def test_an_address_that_is_off_is_refused_before_anything_is_sent(server: str) -> None:
    with pytest.raises(errors.UsageError):
        https.HttpsClient(contexts.Context(server, "PEM"))


def test_a_table_keeps_its_columns_whatever_stands_in_the_cells() -> None:
    lines = printing.table(("A", "BB"), [("x\ny", ""), ("\x1b[2Jlong", "z")])
    assert lines == ["A         BB", "x y       -", "\ufffd[2Jlong  z"]


def test_findings_are_counted() -> None:
    assert findings.summary(()) == "invalid: 0 errors, 0 warnings"
    assert sources.Named(revision=4).texts == {}


@pytest.fixture
def driven(tmp_path: pathlib.Path) -> terminal.Terminal:
    return terminal.Terminal(tmp_path)


def test_no_two_options_of_a_command_have_one_name() -> None:
    """Click lets the later one have the value of the former, in silence."""
    for name in main.COMMANDS:
        command = main.root.get_command(click.Context(main.root), name)
        if command is not None:
            found = [one.name for one in command.params]
            assert len(found) == len(set(found)), name


@pytest.mark.parametrize("command", ["nodes", "roles"])
def test_the_system_that_is_asked_is_not_the_server_that_is_asked_about(
    command: str, driven: terminal.Terminal
) -> None:
    driven.run(command, "--server", "https://a:1,https://b:2", "--on", "n1")
    assert driven.connected[-1].servers == ("https://a:1", "https://b:2")
    assert driven.system.asked[-1][1].server == "n1"
    driven.run(command, "--server", "https://a:1")
    assert driven.system.asked[-1][1].server == ""


def test_a_list_is_read_page_by_page_and_printed_as_one(driven: terminal.Terminal) -> None:
    whole = driven.system.answers[requests.Verb.SERVERS]
    first = msgspec.structs.replace(whole, servers=whole.servers[:1], next="north/n1")
    rest = msgspec.structs.replace(whole, servers=whole.servers[1:], next="")
    driven.system.answers[requests.Verb.SERVERS] = [first, rest]
    done = driven.run("servers", "-o", "json")
    assert [one["server"] for one in done.json()] == [one.server for one in whole.servers]
    assert [asked.after for _, asked in driven.system.asked] == ["", "north/n1"]
