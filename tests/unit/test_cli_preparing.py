"""`tiercast apply --prepare`, `--prepared`, `--withdraw`: what it waits for, what it prints, how it ends."""

import pathlib

import msgspec
import pytest

from coordinator.tiers import requests
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
    done = driven.run("apply", "--withdraw", "--yes")
    assert (done.exit, done.talk) == (0, "revision 43 is withdrawn; its number is not used again\n")


@pytest.mark.parametrize(
    "words", [("--prepare", "--prepared"), ("--prepared", "system.yaml"), ("--withdraw", "system.yaml")]
)
def test_what_makes_no_sense_together_is_refused(driven: terminal.Terminal, words: tuple[str, ...]) -> None:
    assert driven.run("apply", *words, "--yes").exit == 64
