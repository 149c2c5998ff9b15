"""Every rule of change with a change that it refuses and one that it lets pass."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from coordinator import names
from coordinator.config import diff, first, model, reading, rendering, transition, validation
from coordinator.store import membership
from tests import builders

Change = Callable[[Any], object]

TODAY = dt.date(2026, 11, 22)
C1, C2, N1, N2 = (names.ServerName(name) for name in ("c1", "c2", "n1", "n2"))


def nothing(_plain: Any) -> None:
    return None


def base(change: Change = nothing) -> model.Document:
    """Two sites of two servers each; web1 runs on n1, store1 (stateful) on n1, g1 on n2."""

    def wider(plain: Any) -> None:
        plain["servers"] |= {
            "c2": {"interfaces": {"lan": "10.1.0.12"}},
            "n2": {"interfaces": {"lan": "10.2.0.12"}},
        }
        plain["roles"]["store1"] = {"type": "process", "params": {"command": ["db"], "stateful": True}}
        plain["roles"]["g1"] = {"type": "greeter", "id": 7, "params": {"port": 9000}}
        plain["structure"]["central"]["c2"] = []
        plain["structure"]["north"]["n1"].append("store1")
        plain["structure"]["north"]["n2"] = ["g1"]

    plain = builders.written(builders.bent(wider))
    change(plain)
    return builders.document(**plain)


def plan(change: Change, **world: Any) -> transition.Plan:
    """From the base to the base after a change."""
    live = [
        transition.Live(names.Version(1, 1), base(), frozenset({C1, C2, N1, N2}), world.pop("attached", {}))
    ]
    return transition.plan(live, base(change), builders.CATALOGUE, **{"today": TODAY, **world})


def rules(made: transition.Plan) -> list[str]:
    return [refusal.rule for refusal in made.refusals]


def move(role: str, old: str, new: str) -> Change:
    """`move("g1", "north.n2", "north.n1")`."""

    def change(plain: Any) -> None:
        for place, act in ((old, list.remove), (new, list.append)):
            site, server = place.split(".")
            act(plain["structure"][site].setdefault(server, []), role)

    return change


def both(*changes: Change) -> Change:
    def change(plain: Any) -> None:
        for one in changes:
            one(plain)

    return change


def another_mic(plain: Any) -> None:
    for number in (2, 3):
        plain["roles"][f"mic{number}"] = {"type": "mic", "order": number}
    plain["servers"]["c3"] = {"interfaces": {"lan": "10.1.0.13"}}
    plain["structure"]["central"] |= {"c2": ["mic2"], "c3": ["mic3"]}


def other_master(plain: Any) -> None:
    plain["sites"]["central"]["type"], plain["sites"]["north"]["type"] = (
        "communication",
        "master_communication",
    )
    move("mic1", "central.c1", "north.n1")(plain)


def renamed_site(plain: Any) -> None:
    plain["sites"]["northern"] = plain["sites"].pop("north")
    plain["structure"]["northern"] = plain["structure"].pop("north")


def other_address(plain: Any) -> None:
    plain["servers"]["n1"]["interfaces"]["lan"] = "10.2.0.99"


def other_control(plain: Any) -> None:
    plain["servers"]["n1"] = {"interfaces": {"lan": "10.2.0.11", "wan": "10.9.0.1"}, "control": "wan"}


def other_master_domain(plain: Any) -> None:
    plain["domains"]["acme2"] = plain["domains"].pop("acme")
    plain["general"]["master_domain"] = "acme2"
    plain["sites"]["central"]["domains"] = ["acme2"]


def server_to_other_site(plain: Any) -> None:
    plain["structure"]["central"]["n2"] = plain["structure"]["north"].pop("n2")


def without_ic(plain: Any) -> None:
    plain["roles"]["icn1"]["enabled"] = False


REFUSED: list[tuple[str, Change, dict[str, Any]]] = [
    ("D1", move("mic1", "central.c1", "central.c2"), {}),
    ("D1", another_mic, {"members": frozenset({C1})}),
    ("D2", other_master, {}),
    ("D3", other_address, {}),
    ("D3", other_control, {}),
    ("D4", move("dc1", "central.c1", "central.c2"), {}),
    ("D4", move("icn1", "north.n1", "north.n2"), {}),
    ("D4", move("store1", "north.n1", "north.n2"), {}),
    ("D5", renamed_site, {}),
    ("D6", lambda plain: plain["roles"]["g1"].update(id=8), {}),
    ("D6", lambda plain: plain["roles"]["g1"].pop("id"), {}),
    ("D7", move("web1", "north.n1", "north.n2"), {"attached": {"web1": ("printers", "users")}}),
    ("D8", other_master_domain, {}),
    ("D9", server_to_other_site, {}),
    ("D9", without_ic, {}),
    ("D10", move("store1", "north.n1", "north.n2"), {"absent": frozenset({N1})}),
]


@pytest.mark.parametrize(("rule", "change", "world"), REFUSED)
def test_a_change_that_needs_more_than_one_move_is_refused_with_steps(
    rule: str, change: Change, world: dict[str, Any]
) -> None:
    made = plan(change, **world)
    assert made.verdict == "refused"
    assert rule in rules(made)
    assert all(refusal.message and refusal.steps for refusal in made.refusals)


def test_every_rule_of_change_refuses_something_above() -> None:
    assert {rule for rule, _, _ in REFUSED} == {f"D{number}" for number in range(1, 11)}


DIRECT: list[tuple[str, Change, dict[str, Any]]] = [
    ("D1", another_mic, {"members": frozenset({C1, C2, names.ServerName("c3")})}),
    ("D1", move("mic1", "central.c1", "central.c2"), {"members": frozenset({C2})}),
    ("D2", lambda plain: plain["sites"]["central"].update(type="master"), {}),
    ("D3", lambda plain: plain["servers"]["n1"].update(control="lan"), {}),
    (
        "D3",
        lambda plain: plain["servers"]["n1"].update(
            control="lan", interfaces={"lan": "10.2.0.11", "w": "10.9.0.1"}
        ),
        {},
    ),
    ("D4", move("web1", "north.n1", "north.n2"), {}),
    ("D4", lambda plain: plain["structure"]["north"]["n1"].remove("store1"), {}),
    ("D5", lambda plain: plain["sites"]["north"].update(description="far", former=["nord"]), {}),
    ("D6", lambda plain: plain["roles"]["web1"].update(id=9), {}),
    (
        "D6",
        both(
            lambda plain: plain["roles"].update(g2=plain["roles"].pop("g1")),
            lambda plain: plain["structure"]["north"].update(n2=["g2"]),
        ),
        {},
    ),
    ("D7", move("web1", "north.n1", "north.n2"), {"attached": {"web1": (), "ws1": ("users",)}}),
    ("D8", lambda plain: plain["domains"]["acme"].update(fqdn="acme.test"), {}),
    ("D9", lambda plain: plain["structure"]["north"].pop("n2"), {}),
    ("D9", lambda plain: plain["roles"]["icn1"].update(order=2), {"absent": frozenset({N1, N2})}),
    ("D10", move("g1", "north.n2", "north.n1"), {}),
]


@pytest.mark.parametrize(("rule", "change", "world"), DIRECT)
def test_a_change_that_one_move_can_make_is_direct(rule: str, change: Change, world: dict[str, Any]) -> None:
    made = plan(change, **world)
    assert (made.verdict, made.refusals) == ("direct", ()), rule


def test_the_same_document_is_unchanged_and_nothing_differs() -> None:
    made = plan(nothing)
    assert (made.verdict, made.refusals, made.difference) == (
        "unchanged",
        (),
        diff.Difference(unchanged=len(base().roles)),
    )


def test_without_any_live_document_everything_starts() -> None:
    made = transition.plan([], base(), builders.CATALOGUE)
    assert made.verdict == "direct"
    assert made.difference.count(diff.Action.START) == len(base().roles)


def test_a_stateless_role_that_leaves_an_absent_server_is_warned_of() -> None:
    made = plan(move("g1", "north.n2", "north.n1"), absent=frozenset({N2}))
    assert made.verdict == "direct"
    assert [warned.rule for warned in made.warnings] == ["D10"]
    assert "may run twice until n2 returns" in made.warnings[0].message


def test_the_verdict_is_the_worst_over_all_documents_still_held() -> None:
    active = base(lambda plain: plain["structure"]["north"]["n1"].remove("store1"))
    target = base(move("store1", "north.n1", "north.n2"))
    newest = transition.Live(names.Version(1, 2), active, frozenset({C1, C2, N2}))
    assert transition.plan([newest], target, builders.CATALOGUE).verdict == "direct"
    older = transition.Live(names.Version(1, 1), base(), frozenset({N1}))
    made = transition.plan([newest, older], target, builders.CATALOGUE, absent=frozenset({N1}))
    assert rules(made) == ["D4", "D10"]
    assert "relative to r1, still held by n1" in made.refusals[0].message


def test_a_server_removed_while_away_may_still_run_what_moved_from_it() -> None:
    active = base(
        both(move("g1", "north.n2", "north.n1"), lambda plain: plain["structure"]["north"].pop("n2"))
    )
    newest = transition.Live(names.Version(1, 2), active, frozenset({C1, C2, N1}))
    older = transition.Live(names.Version(1, 1), base(), frozenset({N2}))
    target = base(
        both(
            move("g1", "north.n2", "north.n1"),
            lambda plain: plain["structure"]["north"].pop("n2"),
            lambda plain: plain["roles"]["web1"]["params"].update(command=["other"]),
        )
    )
    made = transition.plan([newest, older], target, builders.CATALOGUE, absent=frozenset({N2}))
    assert made.verdict == "direct"
    assert [warned.rule for warned in made.warnings] == ["D10"]
    assert [(one.name, one.outcome) for one in made.absent] == [("n2", "will catch up")]


def override(rule: str, expires: str) -> Change:
    written = {"reason": "moved house", "author": "ada", "expires": expires}
    return lambda plain: plain.update(overrides={rule: written})


def test_a_server_that_is_not_enrolled_is_told_as_such_and_runs_nothing_twice() -> None:
    both_gone = frozenset({N1, N2})
    made = plan(move("store1", "north.n1", "north.n2"), absent=both_gone, unenrolled=both_gone)
    assert [(one.name, one.outcome) for one in made.absent] == [
        ("n1", "not enrolled yet"),
        ("n2", "not enrolled yet"),
    ]
    assert rules(made) == ["D4"]
    assert rules(plan(move("store1", "north.n1", "north.n2"), absent=both_gone)) == ["D4", "D10"]


def test_the_hint_of_d1_is_a_command_as_it_is_written() -> None:
    (refusal,) = plan(another_mic).refusals
    shown = refusal.steps[0].partition("--set ")[2]
    assert membership.wanted(shown).keys() == {"c1", "c2", "c3"}


def test_no_step_names_a_command_that_there_is_not() -> None:
    made = plan(move("store1", "north.n1", "north.n2"), absent=frozenset({N1}))
    assert not any("expel" in step for refusal in made.refusals for step in refusal.steps)


def test_an_override_by_name_turns_a_refusal_into_a_warning() -> None:
    made = plan(both(other_address, override("D3", "2026-12-22")))
    assert made.verdict == "direct"
    assert "overridden by ada until 2026-12-22: moved house" in made.warnings[0].message


@pytest.mark.parametrize(
    ("rule", "expires", "change", "said"),
    [
        ("D3", "2026-11-21", other_address, "expired"),
        ("D3", "2026-12-23", other_address, "too long"),
        ("D8", "2026-12-01", other_master_domain, "cannot be overridden"),
        ("D4", "2026-12-01", other_address, "the address of n1"),
    ],
)
def test_an_override_does_not_count(rule: str, expires: str, change: Change, said: str) -> None:
    made = plan(both(change, override(rule, expires)))
    assert made.verdict == "refused"
    assert said in made.refusals[0].message


def test_without_a_date_no_override_counts() -> None:
    assert plan(both(other_address, override("D3", "2026-12-01")), today=None).verdict == "refused"


def test_an_override_on_its_last_day_counts() -> None:
    assert plan(both(other_address, override("D3", TODAY.isoformat()))).verdict == "direct"


def test_absent_servers_are_named_and_catch_up_where_something_they_know_answers() -> None:
    made = plan(
        lambda plain: plain["roles"]["g1"]["params"].update(greeting="hi"), absent=frozenset({N1, N2})
    )
    assert made.verdict == "direct"
    assert [(one.name, one.outcome) for one in made.absent] == [
        ("n1", "will catch up"),
        ("n2", "will catch up"),
    ]


def test_a_server_that_would_find_nobody_is_named_and_refuses_the_change() -> None:
    def all_elsewhere(plain: Any) -> None:
        for number, name in enumerate(("c1", "c2", "n1")):
            plain["servers"][name]["interfaces"]["lan"] = f"10.9.0.{number + 1}"

    made = plan(all_elsewhere, absent=frozenset({N2}))
    assert [(one.name, one.outcome) for one in made.absent] == [("n2", "would be stranded")]
    assert [refusal.rule for refusal in made.refusals if "stranded" in refusal.message] == ["D9"]


def test_mic_answers_whatever_becomes_of_the_link_to_its_own_server() -> None:
    made = plan(lambda plain: plain["roles"]["web1"].update(order=1), absent=frozenset({C1, C2, N1, N2}))
    assert made.verdict == "direct"
    assert {one.outcome for one in made.absent} == {"will catch up"}


def test_a_renamed_site_is_one_refusal_not_one_per_server() -> None:
    assert rules(plan(renamed_site)) == ["D5"]


def test_a_site_renamed_with_former_is_seen_even_with_few_of_its_servers() -> None:
    def change(plain: Any) -> None:
        renamed_site(plain)
        plain["sites"]["northern"]["former"] = ["north"]

    assert rules(plan(change)) == ["D5"]


def test_from_the_basic_document_to_two_sites_is_direct_and_restarts_no_mic() -> None:
    started = first.basic_document(
        server=C1,
        address="127.0.10.1",
        site=names.SiteName("central"),
        master_domain="acme",
        fqdn="acme.example",
    )
    read = reading.check(reading.files(["examples/two-sites.yaml"], lambda: b""), builders.CATALOGUE)
    assert read.document is not None
    made = transition.plan(
        [transition.Live(names.Version(1, 1), started, frozenset({C1}))],
        read.document,
        builders.CATALOGUE,
        members=frozenset({C1}),
    )
    assert (made.verdict, made.refusals, made.warnings) == ("direct", (), ())
    assert "mic1" not in {change.role for change in made.difference.roles}
    assert [change.role for change in made.difference.roles if change.action is diff.Action.RESTART] == [
        "dc1",
        "ws1",
    ]


@pytest.mark.parametrize(
    ("change", "action", "paths"),
    [
        (lambda plain: plain["roles"]["g1"]["params"].update(greeting="hi"), "hot", ["params.greeting"]),
        (lambda plain: plain["roles"]["g1"]["params"].update(port=9001), "restart", ["params.port"]),
        (lambda plain: plain["roles"]["g1"].update(order=3), "hot", ["order"]),
        (lambda plain: plain["roles"]["g1"].update(enabled=False), "stop", []),
        (move("g1", "north.n2", "north.n1"), "move", ["server", "address", "node"]),
        (
            lambda plain: (
                plain["servers"]["n2"].update(interfaces={"a": "10.2.0.12", "b": "10.9.0.1"}, control="a")
                or plain["roles"]["g1"].update(interface="b")
            ),
            "restart",
            ["address", "interface"],
        ),
    ],
)
def test_the_difference_says_what_each_role_meets_with_and_why(
    change: Change, action: str, paths: list[str]
) -> None:
    made = diff.difference(base(), base(change), builders.CATALOGUE)
    assert [(one.role, one.action) for one in made.roles] == [("g1", action)]
    assert [one.path for one in made.roles[0].changes] == paths
    assert made.unchanged == len(base().roles) - 1


def test_a_changed_template_shows_at_every_role_that_uses_it() -> None:
    def document(command: str) -> model.Document:
        return builders.bent(
            lambda plain: plain.update(
                templates={"t": {"type": "process", "params": {"command": [command]}}},
                roles=plain["roles"] | {"web1": {"like": "t"}, "web2": {"like": "t"}},
                structure=plain["structure"] | {"north": {"n1": ["icn1", "web1", "web2"]}},
            )
        )

    made = diff.difference(document("a"), document("b"), builders.CATALOGUE)
    assert [(one.role, one.action) for one in made.roles] == [("web1", "restart"), ("web2", "restart")]


def test_a_plan_is_rendered_with_refusals_absent_servers_reasons_and_a_summary() -> None:
    made = plan(
        both(
            other_address,
            move("g1", "north.n2", "north.n1"),
            lambda plain: plain["roles"]["ws1"].update(params={"admin": True}),
        ),
        absent=frozenset({N2}),
    )
    text = rendering.render_plan(made)
    assert "refused D3: the address of n1 (lan) would change from 10.2.0.11 to 10.2.0.99" in text
    assert "  1. wait until every server has converged" in text
    assert "warning D10: g1 would move from n2 to n1; it may run twice until n2 returns" in text
    assert "absent n2: will catch up" in text
    assert "move    g1 on n2 -> n1 (north)" in text
    assert "restart ws1 on c1 (central): params.admin none -> true" in text
    assert text.splitlines()[-1] == "refused: 0 to start, 0 to stop, 0 hot, 4 restart, 1 move, unchanged 3"


def test_a_large_plan_is_rendered_short_unless_all_is_asked_for() -> None:
    made = transition.plan([], builders.large(sites=2, servers=50, roles=1), builders.CATALOGUE)
    short, full = rendering.render_plan(made), rendering.render_plan(made, full=True)
    assert len(short.splitlines()) < 150
    assert "and 65 more roles" in short
    assert full.count("\nstart") == made.difference.count(diff.Action.START)


def test_every_document_of_these_stories_is_valid() -> None:
    for change in (nothing, other_address, renamed_site, move("g1", "north.n2", "north.n1"), another_mic):
        assert validation.validate(base(change), builders.CATALOGUE) == ()
