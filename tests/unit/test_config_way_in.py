"""D12: a change that would leave nobody a way in is refused, and what does not is not."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator import names
from coordinator.config import expansion, model, pair, rendering, transition, ways
from tests import builders

Change = Callable[[Any], object]
TODAY = dt.date(2026, 11, 22)
C1, C2, N1 = (names.ServerName(name) for name in ("c1", "c2", "n1"))


def nothing(_plain: Any) -> None:
    return None


def document(*changes: Change) -> model.Document:
    """Two sites; mic1, dc1, ws1 and icc1 on c1, and c2 beside it."""

    def wider(plain: Any) -> None:
        plain["servers"]["c2"] = {"interfaces": {"lan": "10.1.0.12"}}
        plain["structure"]["central"]["c2"] = []

    plain = builders.written(builders.bent(wider))
    for change in changes:
        change(plain)
    return builders.document(**plain)


def port(number: int) -> Change:
    return lambda plain: plain["roles"]["ws1"].update(params={"port": number})


def second(plain: Any) -> None:
    """ws2 on c2, of the master site."""
    plain["roles"]["ws2"] = {"type": "ws"}
    plain["structure"]["central"]["c2"].append("ws2")


def north(*, admin: bool) -> Change:
    def change(plain: Any) -> None:
        plain["roles"]["ws3"] = {"type": "ws", "params": {"admin": admin}}
        plain["structure"]["north"]["n1"].append("ws3")

    return change


def removed(plain: Any) -> None:
    del plain["roles"]["ws1"]
    plain["structure"]["central"]["c1"].remove("ws1")


def disabled(plain: Any) -> None:
    plain["roles"]["ws1"]["enabled"] = False


def renamed(plain: Any) -> None:
    plain["roles"]["front"] = plain["roles"].pop("ws1")
    names_of = plain["structure"]["central"]["c1"]
    names_of[names_of.index("ws1")] = "front"


def moved(plain: Any) -> None:
    plain["structure"]["central"]["c1"].remove("ws1")
    plain["structure"]["central"]["c2"].append("ws1")


def overridden(plain: Any) -> None:
    plain["overrides"] = {"D12": {"reason": "no web", "author": "ann", "expires": "2026-12-01"}}


def both(*changes: Change) -> Change:
    def change(plain: Any) -> None:
        for one in changes:
            one(plain)

    return change


def plan(old: model.Document, new: model.Document, **world: Any) -> transition.Plan:
    live = [transition.Live(names.Version(1, 1), old, frozenset({C1, C2, N1}))]
    return transition.plan(live, new, builders.CATALOGUE, **{"today": TODAY, **world})


def refusals(made: transition.Plan) -> list[transition.Refusal]:
    return [one for one in made.refusals if one.rule == "D12"]


def by(server: names.ServerName, role: str) -> pair.Entry:
    return pair.Entry(pair.Through(server, names.RoleName(role)))


GONE = {
    "its port is another": (nothing, port(9443), "would have to work at the first try"),
    "the role is removed": (nothing, removed, "no ws with the administration API would be left"),
    "the role is disabled": (nothing, disabled, "no ws with the administration API would be left"),
    "it is on another server": (nothing, moved, "ws1 at https://10.1.0.12:8443 would have to work"),
    "its server has another address": (
        nothing,
        lambda plain: plain["servers"]["c1"]["interfaces"].update(lan="10.1.0.99"),
        "https://10.1.0.11:8443; ws1 at https://10.1.0.99:8443 would have to work",
    ),
    "what is left serves no administration": (
        north(admin=False),
        removed,
        "no ws with the administration API would be left",
    ),
    "both move at once": (
        second,
        both(port(9443), lambda plain: plain["roles"]["ws2"].update(params={"port": 9443})),
        "every way in that answers now would go: ws1 at https://10.1.0.11:8443, ws2 at https://10.1.0.12:8443",
    ),
}


@pytest.mark.parametrize(("before", "change", "said"), GONE.values(), ids=GONE)
def test_nobody_is_left_without_a_way_in(before: Change, change: Change, said: str) -> None:
    made = plan(document(before), document(before, change))
    assert made.verdict == "refused"
    found = refusals(made)
    assert len(found) == 1
    assert said in found[0].message
    assert found[0].steps


STAYS = {
    "a second one comes": (nothing, second, {}),
    "one of two goes": (second, removed, {}),
    "one of two takes another port": (second, port(9443), {}),
    "the role has another name": (nothing, renamed, {}),
    "the other one is elsewhere and says so": (north(admin=True), removed, {}),
    "the request came by the one that stays": (second, removed, {"entry": by(C2, "ws2")}),
    "by somebody who is on the machine": (nothing, removed, {"entry": pair.Entry(local=True)}),
    "by override": (nothing, both(removed, overridden), {}),
    "it only takes what is hot": (nothing, port(8443), {}),
    "nobody knows who is there": (second, removed, {"absent": frozenset({C1, C2})}),
}


@pytest.mark.parametrize(("before", "change", "world"), STAYS.values(), ids=STAYS)
def test_where_a_way_in_stays_the_rule_is_silent(
    before: Change, change: Change, world: dict[str, Any]
) -> None:
    assert not refusals(plan(document(before), document(before, change), **world))


def test_a_way_in_to_a_server_that_is_away_is_none() -> None:
    made = plan(document(second), document(second, removed), absent=frozenset({C2}))
    assert "every way in that answers now would go: ws1" in refusals(made)[0].message


def test_the_one_by_which_a_request_came_answers_whatever_is_known_of_its_server() -> None:
    made = plan(document(), document(port(9443)), absent=frozenset({C1}), entry=by(C1, "ws1"))
    assert refusals(made)


def test_nobody_takes_away_the_way_by_which_they_came() -> None:
    made = plan(document(second), document(second, removed), entry=by(C1, "ws1"))
    (found,) = refusals(made)
    assert found.message.startswith("this request came through ws1 at https://10.1.0.11:8443, which would go")
    assert found.steps == (
        "ask through another one, which shows that it works: --server https://10.1.0.12:8443",
    )


def test_an_override_is_told_of_and_so_is_who_is_on_the_machine() -> None:
    for world in ({"entry": pair.Entry(local=True)}, {}):
        changes = (removed,) if world else (removed, overridden)
        made = plan(document(), document(*changes), **world)
        assert made.verdict == "direct"
        assert [one.rule for one in made.warnings] == ["D12"]


def test_an_older_document_that_somebody_still_holds_is_no_way_in() -> None:
    live = [
        transition.Live(names.Version(1, 2), document(second, removed), frozenset({C1})),
        transition.Live(names.Version(1, 1), document(), frozenset({N1})),
    ]
    assert not refusals(
        transition.plan(live, document(second, removed, north(admin=True)), builders.CATALOGUE)
    )


def test_the_plan_tells_the_steps() -> None:
    text = rendering.render_plan(plan(document(), document(port(9443))))
    assert GOLDEN in text


GOLDEN = """\
refused D12: every way in that answers now would go: ws1 at https://10.1.0.11:8443; \
ws1 at https://10.1.0.11:9443 would have to work at the first try
  1. keep ws1 as it is, place a second ws beside it (another port of c1, or another server), and apply
  2. see that the new one answers: tiercast status --server https://ADDRESS:PORT
  3. then change or remove ws1, asking there: tiercast apply --server https://ADDRESS:PORT
"""

KINDS = st.fixed_dictionaries(
    {}, optional={name: st.tuples(st.sampled_from(["c1", "c2", "n1"]), st.integers(1, 3), st.booleans()) for name in ("w1", "w2", "w3")}
)  # fmt: skip


def placed(some: dict[str, tuple[str, int, bool]]) -> model.Document:
    def change(plain: Any) -> None:
        removed(plain)
        for name, (server, number, admin) in some.items():
            plain["roles"][name] = {"type": "ws", "params": {"port": 20000 + number, "admin": admin}}
            site = "north" if server == "n1" else "central"
            plain["structure"][site][server].append(name)

    return document(change)


@given(KINDS, KINDS, st.frozensets(st.sampled_from([C1, C2, N1])))
def test_law_what_passes_leaves_a_way_that_answers_now(
    old: dict[str, tuple[str, int, bool]],
    new: dict[str, tuple[str, int, bool]],
    away: frozenset[names.ServerName],
) -> None:
    """Whatever the documents: silence means that somebody who could come in before still can, at the same place."""
    before, after = placed(old), placed(new)
    passes = not refusals(plan(before, after, absent=away))
    known = ways.ways(expansion.expand(before))
    answering = {one.place for one in known if one.server not in away} or {one.place for one in known}
    left = answering & {one.place for one in ways.ways(expansion.expand(after))}
    assert passes == (bool(left) or not known)
