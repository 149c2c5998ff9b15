"""`tiercast apply --prepare`, `--prepared`, `--withdraw`: what it waits for, what it prints, how it ends."""

import pathlib

import msgspec
import pytest

from coordinator import names
from coordinator.tiers import requests, requests_preparing
from tests import terminal, upstream_preparing

Verb = requests.Verb
DOCUMENT = """\
schema: tiercast/1
general: {master_domain: acme}
domains: {acme: {fqdn: acme.example}}
sites: {central: {type: master, domains: [acme]}}
servers: {c1: {interfaces: {lan: 10.1.0.11}}}
roles: {mic1: {type: mic}, dc1: {type: dc}, ws1: {type: ws}}
structure: {central: {c1: [mic1, dc1, ws1]}}
"""


@pytest.fixture
def driven(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> terminal.Terminal:
    monkeypatch.chdir(tmp_path)
    pathlib.Path("system.yaml").write_text(DOCUMENT)
    return terminal.Terminal(tmp_path)


def test_it_waits_until_all_who_can_be_reached_hold_it_and_names_the_absent(
    driven: terminal.Terminal,
) -> None:
    coming = upstream_preparing.view(upstream_preparing.HELD, upstream_preparing.COMING)
    driven.system.answers[Verb.PREPARED] = [coming, upstream_preparing.GOOD[Verb.PREPARED]]
    done = driven.run("apply", "--prepare", "system.yaml", "--yes")
    assert done.exit == 0
    assert done.out == (
        "revision 43 held by 1 of 2; 1 absent\n  absent, and will check when they return: n3\n"
    )
    assert "revision 43 is prepared; nothing of it runs" in done.talk
    assert done.talk.endswith("activate it: tiercast apply --prepared\n")


def test_what_cannot_work_is_named_by_server_and_role(driven: terminal.Terminal) -> None:
    driven.system.answers[Verb.PREPARED] = upstream_preparing.view(
        upstream_preparing.REFUSED, upstream_preparing.HELD
    )
    done = driven.run("apply", "--prepare", "system.yaml", "--yes")
    assert done.exit == 5
    assert done.out == (
        "revision 43 held by 1 of 2; 1 refused\n"
        "  n2 (north): web2: 10.2.0.12:8080 cannot be listened at (in use)\n"
    )


def test_what_is_prepared_already_is_looked_at_as_if_it_were_new(driven: terminal.Terminal) -> None:
    made = upstream_preparing.GOOD[Verb.PREPARE]
    driven.system.answers[Verb.PREPARE] = msgspec.structs.replace(made, unchanged=True)
    driven.system.answers[Verb.PREPARED] = upstream_preparing.view(upstream_preparing.REFUSED)
    done = driven.run("apply", "--prepare", "system.yaml", "--yes")
    assert done.exit == 5
    assert "revision 43 is prepared already; nothing of it runs" in done.talk
    driven.system.answers[Verb.PREPARE] = msgspec.structs.replace(made, unchanged=True, version=made.base)
    done = driven.run("apply", "--prepare", "system.yaml", "--yes")
    assert (done.exit, "unchanged: revision 42 is this document already" in done.talk) == (0, True)


def test_it_does_not_wait_for_ever_and_all_means_all(driven: terminal.Terminal) -> None:
    driven.system.answers[Verb.PREPARED] = upstream_preparing.view(upstream_preparing.COMING)
    assert driven.run("apply", "--prepare", "system.yaml", "--yes", "--timeout", "3s").exit == 6
    assert driven.run("apply", "--prepare", "system.yaml", "--yes", "--wait", "none").exit == 0
    driven.system.answers[Verb.PREPARED] = upstream_preparing.GOOD[Verb.PREPARED]
    assert driven.run("apply", "--prepare", "system.yaml", "--yes", "--wait", "all").exit == 7


def test_ctrl_c_detaches(driven: terminal.Terminal) -> None:
    driven.system.answers[Verb.PREPARED] = KeyboardInterrupt()
    done = driven.run("apply", "--prepare", "system.yaml", "--yes")
    assert done.exit == 130
    assert "tiercast apply --prepared" in done.talk


def test_what_is_prepared_is_activated_by_its_number(driven: terminal.Terminal) -> None:
    assert driven.run("apply", "--prepared", "--yes").exit == 0
    assert driven.system.request(Verb.APPLY).source == requests.Source(revision=43)


def test_it_is_taken_back(driven: terminal.Terminal) -> None:
    done = driven.run("apply", "--withdraw", "--yes", "-o", "json")
    assert (done.exit, done.talk) == (0, "revision 43 is withdrawn; its number is not used again\n")
    assert msgspec.json.decode(done.out) == {"revision": 43}
    assert driven.system.request(Verb.WITHDRAW) == requests_preparing.Withdraw(43), "no other one"


def test_nothing_is_taken_back_in_a_rehearsal_nor_before_somebody_has_said_so(
    driven: terminal.Terminal,
) -> None:
    done = driven.run("apply", "--withdraw", "--dry-run")
    assert (done.exit, done.talk) == (0, "dry run: revision 43 would be withdrawn; nothing was changed\n")
    done = driven.run("apply", "--withdraw", "--dry-run", "-o", "json")
    assert msgspec.json.decode(done.out) == {"revision": 43}
    done = driven.run("apply", "--withdraw", typed="n\n")
    assert (done.exit, "withdraw revision 43, which is prepared?" in done.talk) == (0, True)
    assert "nothing was changed" in done.talk
    assert Verb.WITHDRAW not in [verb for verb, _request in driven.system.asked]


def test_it_says_beforehand_that_nothing_runs_yet(driven: terminal.Terminal) -> None:
    done = driven.run("apply", "--prepare", "system.yaml", typed="n\n")
    assert "prepare (nothing of it runs yet) on top of revision 41?" in done.talk
    assert (done.exit, Verb.PREPARE in [verb for verb, _request in driven.system.asked]) == (0, False)


def test_an_ic_that_cannot_hold_it_is_named_with_those_behind_it(driven: terminal.Terminal) -> None:
    behind = requests_preparing.Checked("n1", "north", "blocked", reason="its IC ic1 on n2 cannot hold it")
    view = upstream_preparing.view(upstream_preparing.HELD, behind)
    relay = requests_preparing.Relayed("ic1", "n2", "north", "refused", "No space left on device")
    driven.system.answers[Verb.PREPARED] = msgspec.structs.replace(view, relays=(relay,))
    done = driven.run("apply", "--prepare", "system.yaml", "--yes")
    assert done.exit == 5
    assert done.out == (
        "revision 43 held by 1 of 2; 1 blocked\n"
        "  ic1 on n2 (north): cannot hold it (No space left on device)\n"
        "  wait for their IC: n1\n"
    )


def test_programs_get_one_answer_whatever_comes_of_it(driven: terminal.Terminal) -> None:
    done = driven.run("apply", "--prepare", "system.yaml", "--yes", "-o", "json")
    told = msgspec.json.decode(done.out)
    assert (told["prepared"]["version"], told["view"]["counts"]["held"]) == ([1, 43], 1)
    done = driven.run("apply", "--prepare", "system.yaml", "--dry-run", "-o", "json")
    assert msgspec.json.decode(done.out)["view"] is None


def test_waiting_goes_on_over_another_mic_and_ends_where_another_is_prepared(
    driven: terminal.Terminal,
) -> None:
    away = requests.Problem("no_coordinator", "there is no coordinator now")
    good = upstream_preparing.GOOD[Verb.PREPARED]
    driven.system.answers[Verb.PREPARED] = [away, away, good]
    assert driven.run("apply", "--prepare", "system.yaml", "--yes").exit == 0
    driven.system.answers[Verb.PREPARED] = away
    assert driven.run("apply", "--prepare", "system.yaml", "--yes", "--timeout", "5s").exit == 6
    driven.system.answers[Verb.PREPARED] = msgspec.structs.replace(good, version=names.Version(1, 44))
    done = driven.run("apply", "--prepare", "system.yaml", "--yes")
    assert (done.exit, "revision 43 is not prepared any more: revision 44 is" in done.talk) == (4, True)
    driven.system.answers[Verb.PREPARED] = requests.Problem("not_found", "no revision is prepared")
    done = driven.run("apply", "--prepare", "system.yaml", "--yes")
    assert (done.exit, "revision 43 is not prepared any more" in done.talk) == (4, True)


@pytest.mark.parametrize(
    "words", [("--prepare", "--prepared"), ("--prepared", "system.yaml"), ("--withdraw", "system.yaml")]
)
def test_what_makes_no_sense_together_is_refused(driven: terminal.Terminal, words: tuple[str, ...]) -> None:
    assert driven.run("apply", *words, "--yes").exit == 64
