"""`tiercast kv`: what it asks, what it prints, byte for byte, and how it ends."""

import base64
import pathlib
from typing import Any

import pytest

from coordinator import errors
from coordinator.tiers import requests, requests_kv
from tests import terminal, upstream_kv

Verb = requests.Verb
Item = requests_kv.Item


@pytest.fixture
def driven(tmp_path: pathlib.Path) -> terminal.Terminal:
    return terminal.Terminal(tmp_path)


def test_one_key_prints_its_value_and_a_prefix_a_table(driven: terminal.Terminal) -> None:
    assert driven.run("kv", "get", "app/leader").out == "n1\n"
    assert driven.run("kv", "get", "app/", "--prefix").out == (
        "KEY             VALUE  REVISION  VERSION  LEASE\n/kv/app/leader  n1     42        2        7\n"
    )
    assert driven.run("kv", "get", "app/", "--prefix", "-o", "name").out == "/kv/app/leader\n"


def test_all_pages_of_one_revision_are_read(driven: terminal.Terminal) -> None:
    pages = [
        requests_kv.Ranged(revision=9, items=(Item(key="/kv/a", value="1"),), more=True),
        requests_kv.Ranged(revision=9, items=(Item(key="/kv/b", value="2"),)),
    ]
    driven.system.answers[Verb.KV_GET] = pages
    done = driven.run("kv", "get", "--prefix", "-o", "json")
    assert [one["key"] for one in done.json()["items"]] == ["/kv/a", "/kv/b"]
    asked = driven.system.request(Verb.KV_GET)
    assert (asked.after, asked.revision) == ("/kv/a", 9)


def test_a_key_that_is_not_there_is_said_and_the_exit_tells(driven: terminal.Terminal) -> None:
    driven.system.answers[Verb.KV_GET] = requests_kv.Ranged(revision=9, items=())
    done = driven.run("kv", "get", "none")
    assert (done.exit, done.out, done.talk) == (1, "", "no such key: none\n")
    assert driven.run("kv", "get", "none", "--prefix").exit == 0


def test_a_value_comes_from_the_line_or_from_stdin_even_where_it_is_no_text(
    driven: terminal.Terminal,
) -> None:
    assert driven.run("kv", "put", "k", "v").out == "revision 43\n"
    assert driven.system.request(Verb.KV_PUT).value == "v"
    driven.run("kv", "put", "k", stdin=b"\xff\x00")
    asked = driven.system.request(Verb.KV_PUT)
    assert (asked.encoding, base64.b64decode(asked.value)) == ("base64", b"\xff\x00")


def test_deleting_a_prefix_is_asked_about_and_one_key_is_not(driven: terminal.Terminal) -> None:
    assert driven.run("kv", "del", "k").out == "2\n"
    nobody = driven.run("kv", "del", "app/", "--prefix")
    assert nobody.exit == 64
    assert "--yes" in nobody.talk
    assert driven.run("kv", "del", "app/", "--prefix", "--yes").out == "2\n"
    assert driven.system.request(Verb.KV_DELETE).prefix


def test_a_transaction_is_json_and_both_branches_exit_well(driven: terminal.Terminal) -> None:
    text = b'{"compare": [{"key": "lock"}], "success": [{"op": "put", "key": "lock", "value": "me"}]}'
    done = driven.run("kv", "txn", stdin=text)
    assert done.exit == 0
    assert done.out == "failure, revision 45\nget: 1 key\n  /kv/app/leader = n1\nput: done\n"
    wrong = driven.run("kv", "txn", stdin=b"[1]")
    assert (wrong.exit, "is no JSON object" in wrong.talk) == (64, True)


def test_a_watch_goes_on_where_it_was_through_a_coordinator_that_restarts(driven: terminal.Terminal) -> None:
    gone = requests_kv.Event(type="delete", item=Item(key="/kv/app/leader", mod_revision=44))
    driven.system.answers[Verb.KV_WATCH] = [
        upstream_kv.GOOD[Verb.KV_WATCH],
        errors.UnreachableError("no answer"),
        requests.Problem("no_coordinator", "no coordinator (MIC) answers now"),
        requests_kv.Watched(revision=44, events=(gone,)),
        KeyboardInterrupt(),
    ]
    done = driven.run("kv", "watch", "app/", "--prefix")
    assert done.exit == 130
    assert done.out == "42  put     /kv/app/leader  n1\n44  delete  /kv/app/leader\n"
    revisions = [one.revision for verb, one in driven.system.asked if verb == Verb.KV_WATCH]
    assert revisions == [0, 43, 43, 43, 45]


def test_leases_are_granted_kept_listed_and_ended(driven: terminal.Terminal) -> None:
    assert driven.run("kv", "lease", "grant", "10s").out == "7\n"
    assert driven.run("kv", "lease", "keep-alive", "7", "--once").talk == "lease 7 kept for 10 s\n"
    assert driven.run("kv", "lease", "list").out == (
        "LEASE  TTL   LEFT   HOLDER\n7      10 s  8.5 s  admin\n"
    )
    assert driven.run("kv", "lease", "revoke", "7").talk == "lease 7 has ended, and its keys with it\n"
    assert driven.run("kv", "usage").out == "3 of 500000 keys, 2.0 KiB of 256.0 MiB, revision 42\n"


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (requests.Problem("no_space", "the quota of the keys below /kv/ is full"), 1),
        (requests.Problem("not_allowed", "keys of the system are written by nobody"), 9),
        (requests.Problem("busy", "too many requests with this token"), 8),
        (requests.Problem("unknown_outcome", "the store did not say whether it was done"), 6),
    ],
)
def test_a_refusal_is_told_with_its_exit_code(driven: terminal.Terminal, problem: Any, code: int) -> None:
    driven.system.answers[Verb.KV_PUT] = problem
    done = driven.run("kv", "put", "k", "v")
    assert (done.exit, done.talk.startswith(f"error: {problem.detail}")) == (code, True)
