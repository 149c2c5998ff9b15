"""Plan files: applied as they were made, or not at all."""

import json
import pathlib
import stat

import pytest

from coordinator.tiers import requests
from tests import terminal, upstream

Verb = requests.Verb


@pytest.fixture
def driven(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> terminal.Terminal:
    monkeypatch.chdir(tmp_path)
    pathlib.Path("system.yaml").write_text("schema: tiercast/1  # ours\n")
    made = terminal.Terminal(tmp_path)
    assert made.run("plan", "system.yaml", "--out", "change.plan").exit == 0
    return made


def test_a_plan_is_for_its_owner_alone_and_holds_the_document(driven: terminal.Terminal) -> None:
    assert stat.S_IMODE(pathlib.Path("change.plan").stat().st_mode) == 0o600
    plain = json.loads(pathlib.Path("change.plan").read_text())
    assert plain["source"]["files"] == [{"name": "system.yaml", "text": "schema: tiercast/1  # ours\n"}]


def test_what_is_applied_is_what_was_planned_on_the_base_it_was_planned_on(driven: terminal.Terminal) -> None:
    pathlib.Path("system.yaml").write_text("changed since\n")
    assert driven.run("apply", "change.plan", "--yes").exit == 0
    asked = driven.system.request(Verb.APPLY)
    assert asked.source.files[0].text == "schema: tiercast/1  # ours\n"
    assert (asked.if_generation, asked.if_revision) == (1, 41)
    assert (asked.if_digest, asked.if_base_digest) == (upstream.DIGEST, "b" * 64)


def test_the_plan_of_a_draft_names_the_draft(driven: terminal.Terminal) -> None:
    driven.run("plan", "d-7f3a", "--out", "draft.plan")
    driven.run("apply", "draft.plan", "--yes")
    assert driven.system.request(Verb.APPLY).source.draft == "d-7f3a"


def test_a_plan_is_not_applied_without_a_word(driven: terminal.Terminal) -> None:
    assert driven.run("apply", "change.plan").exit == 64
    done = driven.run("apply", "change.plan", typed="n\n")
    assert (done.exit, "nothing was changed" in done.talk) == (0, True)
    assert [verb for verb, _ in driven.system.asked if verb == Verb.APPLY] == []


@pytest.mark.parametrize(
    ("text", "exit_code", "told"),
    [
        ('{"tiercast_plan":2}', 64, "cannot be used"),
        ('{"tiercast_plan":', 64, "cannot be used"),
        ('{"tiercast_plan":"x"}', 64, "cannot be used"),
    ],
)
def test_a_plan_that_is_none_is_told_so(
    driven: terminal.Terminal, text: str, exit_code: int, told: str
) -> None:
    pathlib.Path("bad.plan").write_text(text)
    done = driven.run("apply", "bad.plan", "--yes")
    assert (done.exit, told in done.talk) == (exit_code, True)


def test_a_plan_of_another_version_is_told_so(driven: terminal.Terminal) -> None:
    plain = json.loads(pathlib.Path("change.plan").read_text())
    pathlib.Path("new.plan").write_text(json.dumps({**plain, "tiercast_plan": 2}, separators=(",", ":")))
    done = driven.run("apply", "new.plan", "--yes")
    assert (done.exit, "another version (got 2, have 1)" in done.talk) == (64, True)


def test_a_refused_plan_is_never_sent(driven: terminal.Terminal) -> None:
    plain = json.loads(pathlib.Path("change.plan").read_text())
    pathlib.Path("no.plan").write_text(json.dumps({**plain, "verdict": "refused"}, separators=(",", ":")))
    assert driven.run("apply", "no.plan", "--yes").exit == 4
    assert [verb for verb, _ in driven.system.asked if verb == Verb.APPLY] == []


def test_a_plan_that_cannot_be_written_says_so(driven: terminal.Terminal) -> None:
    done = driven.run("plan", "system.yaml", "--out", "nowhere/change.plan")
    assert (done.exit, "there is no folder" in done.talk) == (64, True)
