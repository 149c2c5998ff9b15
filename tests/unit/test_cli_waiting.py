"""Waiting is on the rollout: over restarts, until it is settled or the time is over, and never its end."""

import pathlib
from typing import Any

import msgspec
import pytest

from coordinator import errors, names
from coordinator.cli import waiting
from coordinator.tiers import requests
from tests import terminal, upstream

ROLLOUT = requests.Verb.ROLLOUT
LOST = errors.UnreachableError("no answer from https://127.0.0.1:8443: connection refused")
RUNNING = upstream.rollout("running", ready=4, blocking=(upstream.LATE,), index=3)
REACHED = upstream.rollout("reached", ready=5, reachable=5, absent=(upstream.AWAY,), index=5)
NO_MIC = requests.Problem("no_coordinator", "no coordinator (MIC) answers now")


@pytest.fixture
def driven(tmp_path: pathlib.Path) -> terminal.Terminal:
    return terminal.Terminal(tmp_path)


def applied(driven: terminal.Terminal, *words: str) -> terminal.Done:
    return driven.run("apply", "d-7f3a", "--yes", *words)


@pytest.mark.parametrize(
    ("views", "words", "code", "closing"),
    [
        (
            [RUNNING, upstream.rollout()],
            (),
            0,
            "converged: revision 42, 2 sites, 6 servers, 14 roles, 412 ms",
        ),
        ([RUNNING, REACHED], (), 0, "reached: revision 42"),
        ([REACHED], ("--wait", "all", "--timeout", "5s"), 7, "reached: revision 42"),
        ([REACHED, upstream.rollout()], ("--wait", "all"), 0, "converged: revision 42"),
        ([RUNNING], ("--timeout", "5s"), 6, "running: revision 42"),
        ([upstream.rollout("failed")], ("--wait", "all"), 5, "failed: revision 42"),
        ([upstream.rollout("aborted")], (), 5, "aborted: revision 42"),
        ([RUNNING, upstream.rollout("superseded")], (), 4, "superseded: revision 42"),
    ],
)
def test_the_closing_line_and_the_exit_code_say_how_it_ended(
    driven: terminal.Terminal, views: list[Any], words: tuple[str, ...], code: int, closing: str
) -> None:
    driven.system.answers[ROLLOUT] = list(views)
    done = applied(driven, *words)
    assert done.out.startswith(closing)
    assert done.out.count("\n") == 1
    assert done.exit == code


def test_a_lost_connection_is_no_verdict(driven: terminal.Terminal) -> None:
    driven.system.answers[ROLLOUT] = [RUNNING, LOST, NO_MIC, LOST, upstream.rollout()]
    done = applied(driven)
    assert done.exit == 0
    assert "no answer from https://127.0.0.1:8443: connection refused, retrying" in done.talk
    assert "no answer from https://127.0.0.1:8443, retrying: no coordinator (MIC) answers now" in done.talk


def test_pauses_between_attempts_grow_and_stay_short(driven: terminal.Terminal) -> None:
    driven.system.answers[ROLLOUT] = LOST
    done = applied(driven, "--timeout", "20s")
    assert done.exit == 6
    assert "no answer about rollout ro-7 in time" in done.out
    assert driven.clock.slept[:4] == [0.2, 0.4, 0.8, 1.0]
    assert max(driven.clock.slept) == waiting.PAUSE_MAX_S
    assert done.talk.count("retrying") == 1, "one line for one trouble, where nobody watches"


def test_what_waiting_cannot_mend_ends_it(driven: terminal.Terminal) -> None:
    driven.system.answers[ROLLOUT] = requests.Problem("unauthenticated", "the token has expired", "log in")
    done = applied(driven)
    assert done.exit == 9
    assert "the token has expired" in done.talk


def test_ctrl_c_detaches_and_says_how_to_come_back(driven: terminal.Terminal) -> None:
    driven.system.answers[ROLLOUT] = [RUNNING, KeyboardInterrupt()]
    done = applied(driven)
    assert done.exit == 130
    assert "detached; the rollout goes on: tiercast status ro-7 -w" in done.talk
    assert [verb for verb, _ in driven.system.asked if verb not in {ROLLOUT, requests.Verb.APPLY}] == []


def test_each_look_asks_for_what_is_newer(driven: terminal.Terminal) -> None:
    driven.system.answers[ROLLOUT] = [RUNNING, REACHED]
    applied(driven, "--timeout", "10s")
    asked = [request for verb, request in driven.system.asked if verb == ROLLOUT]
    assert [(one.rollout, one.index) for one in asked] == [("ro-7", 0), ("ro-7", 3)]
    assert asked[0].wait_s == 0
    assert asked[1].wait_s > 0


def test_a_server_that_answers_at_once_without_news_is_not_asked_in_a_circle(
    driven: terminal.Terminal,
) -> None:
    class Hasty(terminal.System):
        def call(self, ask: Any) -> Any:
            now = self._clock.now
            answer = super().call(ask)
            self._clock.now = now
            return answer

    driven.system = Hasty(driven.clock)
    driven.system.answers[ROLLOUT] = RUNNING
    assert applied(driven, "--timeout", "20s").exit == 6
    assert len(driven.system.asked) < 30


def test_a_change_whose_answer_was_lost_is_sent_again_under_its_key(driven: terminal.Terminal) -> None:
    unknown = errors.UnknownOutcomeError("https://127.0.0.1:8443 took the request and did not answer")
    driven.system.answers[requests.Verb.APPLY] = [unknown, LOST, upstream.GOOD[requests.Verb.APPLY]]
    assert applied(driven).exit == 0
    keys = [ask.headers["Idempotency-Key"] for ask in driven.system.asks if ask.path.endswith("/apply")]
    assert keys == ["key-1"] * 3


def test_a_change_that_never_left_is_not_repeated(driven: terminal.Terminal) -> None:
    driven.system.answers[requests.Verb.APPLY] = LOST
    done = applied(driven)
    assert done.exit == 8
    assert len(driven.system.asked) == 1


def test_an_unknown_outcome_stays_unknown(driven: terminal.Terminal) -> None:
    driven.system.answers[requests.Verb.APPLY] = requests.Problem(
        "unknown_outcome", "it may or may not have been done", "look at the history"
    )
    done = applied(driven)
    assert done.exit == 6
    assert "it may or may not have been done" in done.talk


def test_watching_a_rollout_goes_on_until_it_is_settled(driven: terminal.Terminal) -> None:
    driven.system.answers[ROLLOUT] = [RUNNING, REACHED, LOST, upstream.rollout()]
    done = driven.run("status", "ro-7", "-w", "--exit-code")
    assert (done.exit, done.out.partition(":")[0]) == (0, "converged")


def test_watching_the_system_prints_what_changed_until_ctrl_c(driven: terminal.Terminal) -> None:
    older = msgspec.structs.replace(upstream.STATUS, index=7, digest="a" * 64)
    aged = msgspec.structs.replace(upstream.STATUS, index=7, digest="b" * 64)
    newer = msgspec.structs.replace(upstream.STATUS, index=8, digest="c" * 64)
    away = requests.Problem("no_coordinator", "no coordinator (MIC) answers now")
    driven.system.answers[requests.Verb.STATUS] = [older, aged, LOST, away, newer, KeyboardInterrupt()]
    done = driven.run("status", "-w")
    assert done.exit == 130
    assert [line[20:32] for line in done.out.splitlines() if "revision 42" in line] == ["a" * 12, "c" * 12]
    asked = [(one.index, one.wait_s > 0) for verb, one in driven.system.asked if verb == requests.Verb.STATUS]
    assert asked == [(0, False), (7, True), (7, True), (7, True), (7, True), (8, True)]
    assert "no coordinator" in done.talk


def test_what_was_seen_is_what_is_applied(driven: terminal.Terminal) -> None:
    done = driven.run("apply", "d-7f3a", typed="y\n")
    assert done.exit == 0
    sent = driven.system.request(requests.Verb.APPLY)
    assert (sent.if_generation, sent.if_revision) == (1, 41)


def test_a_rollback_names_what_it_goes_back_to(driven: terminal.Terminal) -> None:
    driven.run("rollback", "--yes")
    sent = driven.system.request(requests.Verb.ROLLBACK)
    assert (sent.to, sent.if_generation, sent.if_revision, sent.message) == (
        41,
        1,
        42,
        "rollback to revision 41",
    )


def test_a_rollback_passes_over_what_failed_and_says_so(driven: terminal.Terminal) -> None:
    known = driven.system.answers[requests.Verb.HISTORY]
    newest, older = known.revisions
    failed = msgspec.structs.replace(newest, version=names.Version(1, 43), outcome="failed")
    middle = msgspec.structs.replace(newest, state="superseded", outcome="failed")
    driven.system.answers[requests.Verb.HISTORY] = msgspec.structs.replace(
        known, revisions=(failed, middle, older)
    )
    done = driven.run("rollback", "--yes")
    assert "back to revision 41 (converged); passed over: 42 (failed)" in done.talk
    assert driven.system.request(requests.Verb.ROLLBACK).to == 41
    done = driven.run("rollback", "--to", "42", "--yes")
    assert "back to revision 42 (failed)" in done.talk
    assert "passed over" not in done.talk
