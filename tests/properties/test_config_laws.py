"""The laws of `coordinator.config`, over documents bent at random places."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import msgspec
from hypothesis import strategies as st

from coordinator import limits, names
from coordinator.config import (
    diff,
    expansion,
    findings,
    model,
    obstacles,
    reading,
    shape,
    topology,
    transition,
    validation,
)
from coordinator.config.reading import json_text, yaml_text
from tests import builders

SCALARS = st.none() | st.booleans() | st.integers(-5, 99_999) | st.floats(-9, 9) | st.text(max_size=6)
JSON = st.recursive(
    SCALARS
    | st.sampled_from(["c1", "n1", "web1", "icn1", "north", "acme", "mic", "ic", "process", "10.2.0.9"]),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3),
    max_leaves=6,
)


def base() -> Any:
    plain = builders.written(builders.document())
    plain["templates"] = {"web": {"type": "process", "params": {"command": ["x"], "files": {"a": "b"}}}}
    plain["roles"] |= {
        "web2": {"like": "web", "params": {"files": {"a": None}, "ready": {"tcp": 8090}}},
        "g1": {"type": "greeter", "id": 4, "params": {"port": 9000}},
    }
    plain["servers"]["n2"] = {"interfaces": {"lan": "10.2.0.12"}, "labels": {"rack": "a"}}
    plain["structure"]["north"]["n2"] = ["web2", "g1"]
    return plain


def places(value: Any, path: findings.Path = ()) -> Iterator[findings.Path]:
    """Every place in plain data but the root."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


@st.composite
def bent(draw: st.DrawFn) -> Any:
    """The base with up to four places replaced, taken away or written twice under another name."""
    plain = base()
    for _ in range(draw(st.integers(0, 4))):
        *above, last = draw(st.sampled_from(sorted(places(plain), key=repr)))
        holder: Any = plain
        for part in above:
            holder = holder[part]
        act = draw(st.sampled_from(["replace", "remove", "copy", "swap"]))
        if act == "replace":
            holder[last] = draw(JSON)
        elif act == "remove":
            del holder[last]
        elif act == "copy" and isinstance(holder, dict):
            holder[draw(st.sampled_from(["x1", "c9", "schema", "params"]))] = holder[last]
        elif act == "swap" and not isinstance(holder, dict):
            holder[last] = draw(st.sampled_from(["web1", "web2", "g1", "icn1", "dc1", "mic1"]))
    return plain


@st.composite
def moved(draw: st.DrawFn) -> model.Document:
    """Always of a valid shape with references that resolve: roles move, change, come and go."""
    plain = base()
    for name in draw(st.sets(st.sampled_from(["web1", "web2", "g1", "ws1", "icn1", "dc1"]), max_size=4)):
        role = plain["roles"][name]
        act = draw(st.sampled_from(["move", "off", "params", "order", "label", "remove", "like"]))
        for servers in plain["structure"].values():
            for placed in servers.values():
                if act in {"move", "remove"} and name in placed:
                    placed.remove(name)
        if act == "move":
            site, server = draw(st.sampled_from([("central", "c1"), ("north", "n1"), ("north", "n2")]))
            plain["structure"][site][server].append(name)
        elif act == "params":
            role["params"] = {"port": draw(st.integers(9000, 9003))}
        elif act in {"off", "order", "label"}:
            role[{"off": "enabled", "order": "order", "label": "node"}[act]] = {
                "off": False,
                "order": 9,
                "label": "l",
            }[act]
        elif act == "like":
            plain["templates"]["web"]["params"]["files"] = {"a": draw(st.text(max_size=3))}
    if draw(st.booleans()):
        plain["servers"]["n2"]["interfaces"]["lan"] = "10.2.0.99"
    return msgspec.convert(plain, model.Document)


def shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        keys = list(value)
        chance.shuffle(keys)
        return {key: shuffled(value[key], chance) for key in keys}
    return [shuffled(item, chance) for item in value] if isinstance(value, list) else value


@hypothesis.given(moved(), st.randoms(use_true_random=False))
def test_order_of_keys_never_matters(document: model.Document, chance: random.Random) -> None:
    turned = msgspec.convert(shuffled(builders.written(document), chance), model.Document)
    assert model.canonical(turned) == model.canonical(document)
    assert model.decode(model.canonical(document)) == document
    assert model.decode_by_parts(model.canonical(document)) == document
    assert validation.validate(turned, builders.CATALOGUE) == validation.validate(
        document, builders.CATALOGUE
    )


def running_nodes(document: model.Document) -> set[tuple[str, str]]:
    expanded = expansion.expand(document)
    return {
        (server, node.name)
        for server in topology.places(document)
        for node in topology.nodes(expanded, server)
    }


@hypothesis.given(moved(), moved())
def test_a_difference_applied_to_the_old_gives_the_new(old: model.Document, new: model.Document) -> None:
    made = diff.difference(old, new, builders.CATALOGUE)
    before, after = diff.running(expansion.expand(old)), diff.running(expansion.expand(new))
    assert diff.applied(made, before) == after
    assert made.unchanged + sum(change.placed is not None for change in made.roles) == len(after)
    nodes = running_nodes(old)
    for change in made.nodes:
        act = nodes.add if change.action == "start" else nodes.remove
        act((change.server, change.node))
    assert nodes == running_nodes(new)


@hypothesis.given(moved(), moved())
def test_a_role_of_a_node_whose_name_stays_never_restarts_without_a_reason(
    old: model.Document, new: model.Document
) -> None:
    for change in diff.difference(old, new, builders.CATALOGUE).roles:
        if change.action in {diff.Action.HOT, diff.Action.RESTART}:
            assert change.changes
        if change.action is diff.Action.HOT:
            assert change.old == change.new


@hypothesis.given(moved())
def test_a_document_does_not_differ_from_itself(document: model.Document) -> None:
    made = diff.difference(document, document, builders.CATALOGUE)
    assert (made.sites, made.servers, made.nodes, made.roles, made.settings) == ((), (), (), (), ())


@hypothesis.given(moved(), moved(), moved(), st.sets(st.sampled_from(["c1", "n1", "n2", "x9"])))
def test_a_plan_is_total_and_its_verdict_the_worst(
    active: model.Document, older: model.Document, target: model.Document, away: set[str]
) -> None:
    absent = frozenset(names.ServerName(name) for name in away)
    live = [
        transition.Live(names.Version(1, 2), active, frozenset({names.ServerName("c1")})),
        transition.Live(names.Version(1, 1), older, absent),
    ]
    both = transition.plan(live, target, builders.CATALOGUE, absent=absent)
    alone = transition.plan(live[:1], target, builders.CATALOGUE, absent=absent)
    assert (both.verdict == "unchanged") == (active == target)
    assert {refusal.rule for refusal in alone.refusals} <= {refusal.rule for refusal in both.refusals}
    assert (both.verdict == "refused") == bool(both.refusals)
    assert all(refusal.steps and refusal.rule in obstacles.RULES for refusal in both.refusals)
    assert {one.name for one in both.absent} <= absent


def fits(value: Any) -> bool:
    try:
        msgspec.convert(value, model.Document)
    except msgspec.ValidationError:
        return False
    return True


@hypothesis.given(bent())
def test_faults_are_found_exactly_where_msgspec_refuses(plain: Any) -> None:
    assert bool(list(shape.faults(plain, model.Document))) != fits(plain)


@hypothesis.given(bent())
def test_by_parts_it_is_read_or_refused_as_in_one(plain: Any) -> None:
    def read(decode: Callable[[bytes], model.Document]) -> model.Document | str:
        try:
            return decode(json.dumps(plain).encode())
        except msgspec.DecodeError as wrong:
            return str(wrong)

    assert read(model.decode_by_parts) == read(model.decode)


@hypothesis.given(bent())
def test_a_faulty_document_is_judged_without_an_exception(plain: Any) -> None:
    text = json.dumps(plain).encode()
    read = reading.check([reading.Source("a.json", text)], builders.CATALOGUE)
    assert len(read.findings) <= limits.FINDINGS
    if read.document is None:
        assert findings.invalid(read.findings)
    else:
        assert fits(plain)
        assert read.findings == reading.check([reading.Source("a.json", text)], builders.CATALOGUE).findings


@hypothesis.given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_an_error(data: bytes) -> None:
    read = reading.read([reading.Source("a", data)])
    assert (read.document is None) == findings.invalid(read.findings)


PIECES = [
    "a",
    "b: ",
    "- ",
    "\n",
    "  ",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "&x ",
    "*x",
    "!t ",
    "'",
    '"',
    "|",
    "---\n",
    "#",
    "? ",
    "~",
    "1e9",
]


@hypothesis.given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_any_text_like_yaml_is_a_document_or_an_error_with_a_place(text: str) -> None:
    read = reading.read([reading.Source("a", text.encode())])
    assert read.document is None
    lines = text.count("\n") + 2
    assert all(one.file == "a" and 1 <= one.line <= lines and one.column >= 1 for one in read.findings)


@hypothesis.given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_both_readers_agree_on_json(value: dict[str, Any]) -> None:
    text = json.dumps(value)
    found = findings.Findings()
    parsed = yaml_text.parse(yaml_text.Text("a", text, found))
    if found.result() == ():
        assert parsed is not None
        assert parsed[0] == json_text.parse(text)
