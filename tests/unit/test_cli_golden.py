"""What every command prints, word for word: stdout is data, stderr is talk, and the exit code is part of it.

After a change that is meant: `TIERCAST_REWRITE_GOLDEN=1 pytest tests/unit/test_cli_golden.py`, then read the difference.
"""

import os
import pathlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from coordinator import errors
from coordinator.api import streams
from coordinator.cli import answers, client
from coordinator.tiers import requests
from tests import terminal, upstream

GOLDEN = pathlib.Path(__file__).parent / "golden"
REWRITE = bool(os.environ.get("TIERCAST_REWRITE_GOLDEN"))
Verb = requests.Verb

VALID = """\
schema: tiercast/1  # ours
general: {master_domain: acme}
domains: {acme: {fqdn: acme.example}}
sites:
  central: {type: master, domains: [acme]}
servers:
  c1: {interfaces: {lan: 10.1.0.11}}
roles:
  mic1: {type: mic}
  dc1: {type: dc}
  ws1: {type: ws}
structure:
  central:
    c1: [mic1, dc1, ws1]
"""
INVALID = VALID.replace("c1: [mic1, dc1, ws1]", "c1: [mic1, dc1, ws2]")


def invalid(_terminal: terminal.Terminal) -> None:
    finding = msgspec.structs.replace(upstream.FINDING, file="system.yaml", line=14, column=21)
    problem = requests.Problem("invalid", "the document is invalid", "", (finding,))
    _terminal.system.answers |= {Verb.PLAN: problem, Verb.APPLY: problem}


def answer(verb: requests.Verb, value: Any) -> Callable[[terminal.Terminal], None]:
    def prepare(driven: terminal.Terminal) -> None:
        driven.system.answers[verb] = value

    return prepare


def nothing(_terminal: terminal.Terminal) -> None:
    pass


REFUSED = msgspec.structs.replace(
    upstream.PLANNED, verdict="refused", text="refused D1: mic1 would move to c2\n  1. stay\n"
)
UNCHANGED = msgspec.structs.replace(upstream.GOOD[Verb.APPLY], unchanged=True, rollout="", plan_text="")
AWAY = errors.UnreachableError("no answer from https://127.0.0.1:8443: connection refused")
RUNNING = upstream.rollout("running", ready=4, blocking=(upstream.LATE,), index=3)
REACHED = upstream.rollout("reached", ready=5, reachable=5, absent=(upstream.AWAY,))
FAILED = upstream.rollout(
    "failed",
    ready=5,
    blocking=(requests.Blocking("n2", "north", "failed", "role web2 exited with 1", 1.5),),
)

SAME = msgspec.structs.replace(upstream.GOOD[Verb.DIFF], old="revision 42", new="revision 42", same=True)
BY_SITE = msgspec.structs.replace(
    REACHED,
    by_site=(
        requests.SiteProgress("central", "converged", 3, 3, 3),
        requests.SiteProgress("north", "pending", 2, 2, 3),
    ),
)
DRAFT = requests.Shown(
    None, (), requests.DraftView("d-7f3a", False, upstream.DIGEST, 2048, "admin", "try", 1_700_000_000.0)
)


def streamed(driven: terminal.Terminal) -> None:
    """The state, what happens, a coordinator that goes away, a stream that ends, a reset, and Ctrl-C."""
    state = msgspec.json.encode(upstream.STATUS)
    told = [
        streams.encoded(one.kind, one.id, msgspec.json.encode(one))
        for one in upstream.GOOD[Verb.EVENTS].events
    ]
    gone = errors.UnreachableError("no answer from https://127.0.0.1:8443: connection refused")
    driven.system.streams = [
        [streams.encoded("state", "3.10", state), *told, b": keep-alive\n\n"],
        [gone],
        [gone],
        [
            b'event: coordinator\ndata: {"state":"away"}\n\n',
            streams.encoded("reset", "4.0", state),
            KeyboardInterrupt(),
        ],
    ]


def strangers(driven: terminal.Terminal) -> None:
    problem = answers.Problem(code="unauthenticated", detail="nobody knows this token", hint="log in again")
    driven.system.streams = [[client.ProblemError(problem)]]


def away(driven: terminal.Terminal) -> None:
    driven.system.as_of = "1.42, 75.2"


CASES: dict[str, tuple[list[str], str, Callable[[terminal.Terminal], None]]] = {
    "help": (["--help"], "", nothing),
    "apply-help": (["apply", "--help"], "", nothing),
    "unknown-command": (["plna"], "", nothing),
    "unknown-option": (["status", "--not-convergd"], "", nothing),
    "validate": (["validate", "system.yaml"], "", nothing),
    "validate-invalid": (["validate", "invalid.yaml"], "", nothing),
    "validate-json": (["validate", "invalid.yaml", "-o", "json"], "", nothing),
    "validate-no-file": (["validate", "nowhere.yaml"], "", nothing),
    "fmt": (["fmt", "system.yaml"], "", nothing),
    "upload": (["upload", "system.yaml", "-m", "why"], "", nothing),
    "upload-name": (["upload", "system.yaml", "-o", "name"], "", nothing),
    "plan": (["plan", "system.yaml"], "", nothing),
    "plan-detailed": (["plan", "system.yaml", "--detailed-exitcode"], "", nothing),
    "plan-refused": (["plan", "d-7f3a"], "", answer(Verb.PLAN, REFUSED)),
    "plan-invalid": (["plan", "system.yaml"], "", invalid),
    "plan-offline": (["plan", "changed.yaml", "--offline", "system.yaml"], "", nothing),
    "plan-offline-refused": (["plan", "cut-off.yaml", "--offline", "system.yaml"], "", nothing),
    "plan-full-out": (["plan", "system.yaml", "--full", "--out", "change.plan"], "", nothing),
    "plan-out-offline": (
        ["plan", "changed.yaml", "--offline", "system.yaml", "--out", "change.plan"],
        "",
        nothing,
    ),
    "plan-draft-invalid": (["plan", "d-7f3a"], "", invalid),
    "plan-json": (["plan", "42", "-o", "json"], "", nothing),
    "apply": (["apply", "system.yaml", "--yes"], "", answer(Verb.ROLLOUT, [RUNNING, upstream.rollout()])),
    "apply-asked": (["apply", "system.yaml"], "y\n", nothing),
    "apply-asked-no": (["apply", "system.yaml"], "n\n", nothing),
    "apply-nobody-to-ask": (["apply", "system.yaml"], "", nothing),
    "apply-unchanged": (["apply", "system.yaml", "--yes"], "", answer(Verb.APPLY, UNCHANGED)),
    "apply-dry-run": (["apply", "system.yaml", "--dry-run"], "", nothing),
    "apply-no-wait": (["apply", "--draft", "d-7f3a", "--yes", "--wait", "none"], "", nothing),
    "apply-reached": (["apply", "system.yaml", "--yes"], "", answer(Verb.ROLLOUT, REACHED)),
    "apply-all-absent": (
        ["apply", "system.yaml", "--yes", "--wait", "all", "--timeout", "3s"],
        "",
        answer(Verb.ROLLOUT, REACHED),
    ),
    "apply-failed": (["apply", "system.yaml", "--yes"], "", answer(Verb.ROLLOUT, FAILED)),
    "apply-timed-out": (["apply", "d-7f3a", "--yes", "--timeout", "2s"], "", answer(Verb.ROLLOUT, RUNNING)),
    "apply-away-meanwhile": (
        ["apply", "d-7f3a", "--yes"],
        "",
        answer(Verb.ROLLOUT, [RUNNING, AWAY, AWAY, upstream.rollout()]),
    ),
    "apply-json": (["apply", "d-7f3a", "--yes", "-o", "json"], "", nothing),
    "apply-conflict": (
        ["apply", "d-7f3a", "--yes", "--if-revision", "40"],
        "",
        answer(
            Verb.APPLY,
            requests.Problem("conflict", "the active revision is r41 (got 40)", "look at the plan again"),
        ),
    ),
    "apply-plan": (["apply", "saved.plan", "--yes"], "", nothing),
    "apply-plan-asked": (["apply", "saved.plan"], "y\n", nothing),
    "apply-plan-moved": (
        ["apply", "saved.plan", "--yes"],
        "",
        answer(
            Verb.APPLY,
            requests.Problem(
                "conflict",
                "the active revision is another one (got 41, have 42)",
                "plan again and apply that",
            ),
        ),
    ),
    "apply-plan-other-base": (["apply", "saved.plan", "--yes", "--if-revision", "40"], "", nothing),
    "apply-plan-broken": (["apply", "broken.plan", "--yes"], "", nothing),
    "apply-help-plan": (["plan", "--help"], "", nothing),
    "apply-invalid": (["apply", "system.yaml", "--yes"], "", invalid),
    "rollback": (["rollback", "--yes"], "", nothing),
    "status": (["status"], "", nothing),
    "status-wide": (["status", "-o", "wide"], "", nothing),
    "status-tree": (["status", "-o", "tree"], "", nothing),
    "status-exit-code": (["status", "--exit-code"], "", nothing),
    "status-json": (["status", "-o", "json"], "", nothing),
    "status-yaml": (["status", "-o", "yaml"], "", nothing),
    "status-name": (["status", "-o", "name"], "", nothing),
    "status-rollout": (["status", "ro-7"], "", answer(Verb.ROLLOUT, REACHED)),
    "status-rollout-sites": (["status", "ro-7"], "", answer(Verb.ROLLOUT, BY_SITE)),
    "status-as-of": (["status", "--exit-code"], "", away),
    "status-nobody": (["status"], "", answer(Verb.STATUS, AWAY)),
    "status-no-coordinator": (
        ["status"],
        "",
        answer(
            Verb.STATUS,
            requests.Problem("no_coordinator", "no coordinator (MIC) answers now", "try again shortly"),
        ),
    ),
    "status-not-allowed": (
        ["status"],
        "",
        answer(Verb.STATUS, requests.Problem("unauthenticated", "nobody knows this token", "log in again")),
    ),
    "status-broken": (
        ["status"],
        "",
        answer(Verb.STATUS, requests.Problem("internal", "something broke here")),
    ),
    "sites": (["sites"], "", nothing),
    "servers": (["servers"], "", nothing),
    "servers-wide": (["servers", "--site", "north", "-o", "wide"], "", nothing),
    "servers-name": (["servers", "-o", "name"], "", nothing),
    "nodes": (["nodes"], "", nothing),
    "nodes-wide": (["nodes", "--site", "north", "--on", "n1", "-o", "wide"], "", nothing),
    "nodes-tree": (["nodes", "-o", "tree"], "", nothing),
    "nodes-json": (["nodes", "-o", "json"], "", nothing),
    "roles": (["roles"], "", nothing),
    "roles-wide": (["roles", "--type", "process", "-o", "wide"], "", nothing),
    "roles-name": (["roles", "-o", "name"], "", nothing),
    "servers-json": (["servers", "-o", "json"], "", nothing),
    "sites-json": (["sites", "-o", "json"], "", nothing),
    "diff": (["diff", "41", "42"], "", nothing),
    "diff-nothing-named": (["diff"], "", nothing),
    "diff-files": (["diff", "system.yaml", "--detailed-exitcode"], "", nothing),
    "diff-same": (["diff", "42", "active"], "", answer(Verb.DIFF, SAME)),
    "diff-json": (["diff", "41", "-o", "json"], "", nothing),
    "events": (["events", "-f"], "", streamed),
    "events-json": (["events", "-f", "--after", "3.10", "-o", "json"], "", streamed),
    "events-once": (["events"], "", nothing),
    "events-not-allowed": (["events", "-f"], "", strangers),
    "describe": (["describe", "n2"], "", nothing),
    "describe-json": (["describe", "n2", "-o", "json"], "", nothing),
    "history": (["history"], "", nothing),
    "history-wide": (["history", "-o", "wide"], "", nothing),
    "history-drafts": (["history", "--drafts"], "", nothing),
    "history-drafts-json": (["history", "--drafts", "-o", "json"], "", nothing),
    "history-json": (["history", "-o", "json"], "", nothing),
    "history-name": (["history", "-o", "name"], "", nothing),
    "show": (["show", "active"], "", nothing),
    "show-json": (["show", "42", "-o", "json"], "", nothing),
    "show-draft": (["show", "d-7f3a"], "", answer(Verb.SHOW, DRAFT)),
    "show-document": (["show", "r42", "--document"], "", nothing),
    "token-create": (["token", "create", "--server", "n1", "--ttl", "2h"], "", nothing),
    "token-create-elsewhere": (
        ["token", "create", "--at", "10.2.0.11:7402", "--dir", "/srv/tiercast"],
        "",
        nothing,
    ),
    "token-create-json": (["token", "create", "-o", "json"], "", nothing),
    "token-create-taken": (
        ["token", "create", "--server", "n1"],
        "",
        answer(
            Verb.LINE_CREATE,
            requests.Problem("conflict", "there is a server n1 already", "choose another name"),
        ),
    ),
    "token-list": (["token", "list", "--all"], "", nothing),
    "token-list-name": (["token", "list", "-o", "name"], "", nothing),
    "token-revoke": (["token", "revoke", "0a1b2c3d4e5f"], "", nothing),
    "server-accept": (["server", "accept", "5e6f7a8b9c0d1e2f", "n9"], "", nothing),
    "server-expel": (["server", "expel", "n2", "--yes", "-m", "stolen"], "", nothing),
    "server-expel-asked-no": (["server", "expel", "n2"], "n\n", nothing),
    "server-expel-nobody-to-ask": (["server", "expel", "n2"], "", nothing),
    "whoami": (["whoami"], "", nothing),
    "whoami-json": (["whoami", "-o", "json"], "", nothing),
    "fmt-json": (["fmt", "system.yaml", "-o", "json"], "", nothing),
    "validate-folder": (["validate", "folder"], "", nothing),
    "validate-several": (["validate", "folder/a.yaml", "folder/b.yaml"], "", nothing),
    "upload-json": (["upload", "system.yaml", "-o", "json"], "", nothing),
    "upload-invalid": (
        ["upload", "invalid.yaml"],
        "",
        answer(Verb.UPLOAD, requests.Uploaded("d-9", False, upstream.DIGEST, 512, (upstream.FINDING,))),
    ),
    "plan-unchanged": (
        ["plan", "system.yaml", "--detailed-exitcode"],
        "",
        answer(
            Verb.PLAN,
            msgspec.structs.replace(
                upstream.PLANNED, verdict="unchanged", text="unchanged: the document is the active one\n"
            ),
        ),
    ),
    "apply-folder": (["apply", "folder", "--yes", "--wait", "none"], "", nothing),
    "apply-nothing-named": (["apply", "--yes"], "", nothing),
    "rollback-to": (["rollback", "--to", "41", "--yes", "--wait", "none"], "", nothing),
    "rollback-dry-run": (["rollback", "--dry-run"], "", nothing),
    "rollback-json": (["rollback", "--yes", "-o", "json"], "", nothing),
    "rollback-nobody-to-ask": (["rollback"], "", nothing),
    "status-not-converged": (["status", "--not-converged"], "", nothing),
    "status-site": (["status", "--site", "north", "-o", "tree"], "", nothing),
    "status-rollout-json": (["status", "ro-7", "-o", "json"], "", nothing),
    "sites-name": (["sites", "-o", "name"], "", nothing),
    "roles-json": (["roles", "-o", "json"], "", nothing),
    "show-yaml": (["show", "active", "-o", "yaml"], "", nothing),
    "context-list-json": (["context", "list", "-o", "json"], "", nothing),
    "context-use": (["context", "use", "demo"], "", nothing),
    "context-list": (["context", "list"], "", nothing),
    "context-servers": (["context", "servers", "https://10.1.0.11:8443", "https://10.2.0.11"], "", nothing),
    "context-use-unknown": (["context", "use", "elsewhere"], "", nothing),
}


@pytest.fixture
def driven(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> terminal.Terminal:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    pathlib.Path("system.yaml").write_text(VALID)
    pathlib.Path("invalid.yaml").write_text(INVALID)
    pathlib.Path("folder").mkdir()
    first, second = VALID.split("roles:")
    pathlib.Path("folder/a.yaml").write_text(first)
    pathlib.Path("folder/b.yaml").write_text(f"roles:{second}")
    web = "ws1: {type: ws}\n  web1: {type: process, params: {command: [/bin/sleep, '9']}}"
    pathlib.Path("changed.yaml").write_text(
        VALID.replace("ws1: {type: ws}", web).replace("dc1, ws1]", "dc1, ws1, web1]")
    )
    pathlib.Path("cut-off.yaml").write_text(
        VALID.replace("ws1: {type: ws}", "ws1: {type: ws, params: {port: 9443}}")
    )
    made = terminal.Terminal(tmp_path)
    assert made.run("plan", "system.yaml", "--out", "saved.plan").exit == 0
    pathlib.Path("broken.plan").write_bytes(pathlib.Path("saved.plan").read_bytes()[:100])
    made.system.asked.clear()
    return made


def told(words: list[str], done: terminal.Done) -> str:
    return f"$ tiercast {' '.join(words)}\n{done.out}--- talk\n{done.talk}--- exit {done.exit}\n"


@pytest.mark.parametrize("name", CASES)
def test_a_command_prints_what_it_always_printed(name: str, driven: terminal.Terminal) -> None:
    words, typed, prepare = CASES[name]
    prepare(driven)
    shown = told(words, driven.run(*words, typed=typed))
    golden = GOLDEN / f"{name}.txt"
    if REWRITE:
        golden.write_bytes(shown.encode())
    assert shown == golden.read_bytes().decode()


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(CASES)
