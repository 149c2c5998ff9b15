"""Texts as people write them: each fault with its place, and nothing that grows while it is read."""

import functools
import json
import time
from pathlib import Path
from typing import Annotated, Any

import anyio
import anyio.to_process
import msgspec
import pytest
import yaml

from coordinator import errors, limits, role
from coordinator.config import findings, model, reading, rendering, shape
from coordinator.config.reading import scalars
from tests import builders

EXAMPLES = Path(__file__).parents[2] / "examples"


def source(text: str | bytes, name: str = "a.yaml") -> reading.Source:
    return reading.Source(name, text if isinstance(text, bytes) else text.encode())


def check(*texts: str | bytes) -> reading.Reading:
    return reading.check(
        [source(text, f"{'abc'[index]}.yaml") for index, text in enumerate(texts)], builders.CATALOGUE
    )


def told(read: reading.Reading) -> list[tuple[str, int, int, str]]:
    return [(one.rule, one.line, one.column, one.message) for one in read.findings]


def written(document: model.Document) -> str:
    return str(yaml.safe_dump(builders.written(document), sort_keys=False))


PLAIN = written(builders.document())


def test_yaml_and_json_of_one_document_are_one_document() -> None:
    from_yaml, from_json = check(PLAIN), check(model.canonical(builders.document()))
    assert from_yaml.document == from_json.document == builders.document()
    assert from_yaml.findings == from_json.findings == ()
    assert from_yaml.valid


@pytest.mark.parametrize("name", ["small.yaml", "two-sites.yaml"])
def test_the_examples_are_valid(name: str) -> None:
    read = reading.check(reading.files([str(EXAMPLES / name)], lambda: b""), builders.CATALOGUE)
    assert [one for one in read.findings if "stop" not in one.path] == []


BAD_TEXTS: list[tuple[str | bytes, int, int, str]] = [
    ("", 1, 1, "empty"),
    ("# only a comment\n", 1, 1, "empty"),
    ("- a\n- b\n", 1, 1, "a document is a map"),
    ("just text", 1, 1, "a document is a map"),
    ("a: &x [1]\n", 1, 4, "anchors"),
    ("a: *x\n", 1, 4, "aliases"),
    ("a: !!python/object:os.system x\n", 1, 4, "tags"),
    ("a: !x [1]\n", 1, 4, "tags"),
    ("a:\n  <<: {b: 1}\n", 2, 3, "merge keys"),
    ("a: 1\nb: 2\na: 3\n", 3, 1, "a second time (first in line 1)"),
    ("a: {b: 1,\n    b: 2}\n", 2, 5, "a second time"),
    ("1: 2\n", 1, 1, "a key must be text"),
    ("true: 2\n", 1, 1, "a key must be text"),
    ("? [a]\n: 1\n", 1, 3, "a key must be text"),
    ("a: 1\n---\nb: 2\n", 2, 1, "a second document"),
    ("a: [1\n", 2, 1, "syntax"),
    ("a:\n\tb: 1\n", 2, 1, "syntax"),
    ("a: b: c\n", 1, 5, "syntax"),
    (b"a: x\nb: \xff\n", 2, 4, "not UTF-8 (the byte 0xff)"),
    ("a: \x01\n", 1, 4, "a character that may not stand"),
    ("a: 99999999999999999999\n", 1, 4, "does not fit 64 bits"),
    ("a: " + "9" * 100_000, 1, 4, "does not fit 64 bits"),
    ("a: 1e999\n", 1, 4, "too large"),
    ("a: .nan\n", 1, 4, "not a finite number"),
    ('{"a": 1, "a": 2}', 1, 10, "a second time"),
    ('{"a": NaN2}', 1, 2, "unknown key"),
    ('{"a": "\\ud800"}', 1, 10, "syntax"),
    ('{"a": 1', 2, 1, "syntax"),
]


@pytest.mark.parametrize(("text", "line", "column", "said"), BAD_TEXTS)
def test_a_text_that_cannot_be_taken_is_told_with_its_place(
    text: str | bytes, line: int, column: int, said: str
) -> None:
    read = check(text)
    assert read.document is None
    places = [(one.line, one.column) for one in read.findings if said in one.message]
    assert places
    assert (line, column) in {*places, (line - 1, column)}  # the end of a text has no line of its own


def test_all_faults_of_a_text_are_told_at_once() -> None:
    said = " ".join(one.message for one in check("a: &x 1\nb: *x\nc: !t 2\n<<: {}\n1: 2\nb: 3\n").findings)
    for part in (
        "anchors",
        "aliases",
        "tags",
        "merge keys",
        "must be text",
        "a second time",
        "unknown key 'a'",
    ):
        assert part in said


SHAPES: list[tuple[str, str, str, tuple[str, str, str]]] = [
    ("order: 1", "order: one", "S00", ("order: one", "one", "must be a whole number (got 'one')")),
    ("type: mic", "tipe: mic", "S00", ("tipe: mic", "tipe", "unknown key 'tipe'")),
    ("lan: 10.1.0.11", "lan: 10", "S00", ("lan: 10", "10", "must be text (got 10)")),
    (
        "type: communication",
        "type: comunication",
        "S00",
        ("type: comunication", "comunication", "must be one of"),
    ),
    ("- icn1", "- icn2", "S05", ("- icn2", "icn2", "no role is called 'icn2'")),
    ("tcp: 8080", "tcp: x", "S18", ("tcp: x", "x", "process ready.tcp: must be a whole number")),
    (
        "schema: tiercast/1",
        "schema: tiercast/9",
        "S01",
        ("schema: tiercast/9", "tiercast/9", "unknown schema"),
    ),
    ("fqdn: branch.", "fqnd: branch.", "S00", ("branch:", "branch", "the key 'fqdn' is missing")),
]


@pytest.mark.parametrize(("old", "new", "rule", "place"), SHAPES)
def test_a_fault_is_shown_at_its_line_and_column(
    old: str, new: str, rule: str, place: tuple[str, str, str]
) -> None:
    text = PLAIN.replace(old, new, 1)
    line_text, part, said = place
    line = next(number for number, one in enumerate(text.splitlines(), 1) if one.strip() == line_text)
    column = text.splitlines()[line - 1].index(part) + 1
    found = [one for one in check(text).findings if said in one.message]
    assert [(one.rule, one.line, one.column) for one in found] == [(rule, line, column)]


def test_faults_of_json_have_their_place_too() -> None:
    text = json.dumps(builders.written(builders.document()), indent=1).replace('"web1"\n', '"web7"\n')
    (found, _) = check(text).findings
    line = next(number for number, one in enumerate(text.splitlines(), 1) if '"web7"' in one)
    assert (found.rule, found.line) == ("S05", line)


def test_wrong_types_do_not_hide_wrong_references() -> None:
    text = PLAIN.replace("order: 1", "order: one", 1).replace("- icn1", "- icn2").replace("schema", "shema")
    rules = [one.rule for one in check(text).findings]
    assert set(rules) == {"S00", "S01", "S05", "S10"}


def test_missing_sections_have_the_rules_that_ask_for_them() -> None:
    assert [one.rule for one in check("roles: {}\n").findings if one.severity == "error"][:2] == [
        "S01",
        "S02",
    ]
    text = PLAIN.replace("  master_domain: acme", "  {}")
    assert [(one.rule, one.message) for one in check(text).findings] == [
        ("S02", "the key 'master_domain' is missing")
    ]


@pytest.mark.parametrize(
    ("plain", "value"),
    [
        ("no", "no"),
        ("NO", "NO"),
        ("on", "on"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0o17", 15),
        ("017", 17),
        ("0x1F", 31),
        ("-5", -5),
        ("1.5e3", 1500.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("2026-12-01", "2026-12-01"),
        ("10.1.0.11", "10.1.0.11"),
        ("-", "-"),
        ("+x", "+x"),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_plain_scalars_are_those_of_yaml_1_2_core(plain: str, value: Any) -> None:
    resolved = scalars.resolve(plain)
    assert resolved == value
    assert type(resolved) is type(value)


def test_a_number_where_text_belongs_is_told_to_go_in_quotes() -> None:
    text = PLAIN.replace("  n1:\n    interfaces", "  n1:\n    labels: {rack: 7}\n    interfaces")
    assert [one.hint for one in check(text).findings] == ['write it in quotes: "7"']


def lines_bomb() -> str:
    """The billion laughs."""
    return "a0: &a0 [x]\n" + "".join(
        f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 12)
    )


@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        '{"a":' * 200_000,
        "- " * 200_000,
        "? " * 50_000,
        lines_bomb(),
        "a: [" + "[]," * 30_000 + "]",
        "a: {" + ", ".join(f"k: {number}" for number in range(20_000)) + "}",
        "".join(f"k{number}: &x 1\n" for number in range(20_000)),
    ],
)
def test_bombs_cost_no_more_than_their_size(text: str) -> None:
    begun = time.process_time()
    read = check(text)
    assert read.document is None
    assert len(read.findings) <= limits.FINDINGS
    assert time.process_time() - begun < 5


def test_a_text_over_the_bound_is_not_even_decoded() -> None:
    read = check(b"\xff" * (limits.DOCUMENT_BYTES + 1))
    assert [one.rule for one in read.findings] == ["S19"]


def test_several_files_are_joined_by_their_top_level_keys() -> None:
    head, tail = PLAIN.split("structure:\n")
    central, north = ("structure:\n" + part for part in tail.split("  north:\n"))
    north = "schema: tiercast/1\n" + north.replace("structure:\n", "structure:\n  north:\n")
    read = check(head, central, north)
    assert read.document == builders.document()
    assert read.findings == ()
    assert read.text.startswith("# a.yaml\n")
    assert read.texts["c.yaml"] == north


def test_a_key_in_two_files_names_both_places() -> None:
    read = check(PLAIN, "sites:\n  south: {type: communication}\n  north: {type: communication}\n")
    (found,) = [one for one in read.findings if one.rule == "S00"]
    line = PLAIN[: PLAIN.index("sites:\n")].count("\n") + PLAIN[PLAIN.index("sites:\n") :].split("  north:")[
        0
    ].count("\n")
    assert (found.file, found.line, found.column) == ("b.yaml", 3, 3)
    assert found.message == f"sites.north stands here and in a.yaml:{line + 1}:3"


def test_findings_of_several_files_name_their_file() -> None:
    head, tail = PLAIN.split("structure:\n")
    read = check(head, "structure:\n" + tail.replace("- web1", "- web9"))
    assert [(one.rule, one.file) for one in read.findings] == [("S05", "b.yaml"), ("S06", "a.yaml")]


def test_a_folder_is_read_sorted_with_what_is_below(tmp_path: Path) -> None:
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "north.yaml").write_bytes(b"n")
    (tmp_path / "system.yaml").write_bytes(b"s")
    (tmp_path / "notes.txt").write_bytes(b"t")
    found = reading.files([str(tmp_path), "-"], lambda: b"in")
    assert [(Path(one.name).name, one.data) for one in found] == [
        ("north.yaml", b"n"),
        ("system.yaml", b"s"),
        ("<stdin>", b"in"),
    ]


def test_files_that_are_not_there_are_a_usage_error(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.yaml", tmp_path):
        with pytest.raises(errors.UsageError):
            reading.files([str(path)], lambda: b"")


def test_a_finding_is_rendered_with_its_line_a_caret_and_the_hint() -> None:
    read = check(PLAIN.replace("- icn1", "- icn2"))
    found = next(one for one in read.findings if one.rule == "S05")
    line, text = found.line, read.texts[found.file]
    margin = " " * len(str(line))
    assert rendering.render_finding(found, text).splitlines() == [
        f"a.yaml:{line}:7: error S05: no role is called 'icn2'",
        f"  {line} |     - icn2",
        f"  {margin} |       ^",
        "  hint: did you mean 'icn1'?",
    ]


def test_a_finding_in_a_line_of_megabytes_is_rendered_short() -> None:
    text = json.dumps({"a": "x" * 1_000_000, "b": 1})
    found = findings.Finding("S00", "error", ("b",), "m", "", "a.json", 1, text.index('"b"') + 1)
    rendered = rendering.render_finding(found, text).splitlines()
    assert max(map(len, rendered)) < 140
    assert rendered[1][rendered[2].index("^")] == '"'


def test_reading_happens_in_a_child_process_too() -> None:
    async def run() -> reading.Reading:
        return await anyio.to_process.run_sync(functools.partial(reading.read, [source(PLAIN)]))

    assert anyio.run(run).document == builders.document()


def test_nothing_is_a_finding_not_an_exception() -> None:
    assert reading.read([]).findings[0].rule == "S00"
    assert msgspec.json.encode(reading.read([source("a: 1")]))


def test_what_only_the_struct_itself_can_judge_and_forms_of_text_are_told_too() -> None:
    class Own(role.Params, frozen=True):
        delay: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,3}s$")] = "1s"
        low: int = 0
        high: int = 9

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low is above high")

    assert [one.message for one in shape.faults({"delay": "x"}, Own)] == [
        "must have the form '^[0-9]{1,3}s$' (got 'x')"
    ]
    assert [(one.path, one.message) for one in shape.faults({"a": {"low": 10}}, dict[str, Own])] == [
        (("a",), "low is above high")
    ]
