"""What the commands about people, tokens, domains and the audit print, word for word, and what they send.

After a change that is meant: `TIERCAST_REWRITE_GOLDEN=1 pytest tests/unit/test_cli_golden_people.py`, then read the
difference.
"""

import os
import pathlib
import stat
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from coordinator.host import contexts
from coordinator.tiers import requests, requests_people
from tests import terminal, upstream, upstream_people

GOLDEN = pathlib.Path(__file__).parent / "golden_people"
REWRITE = bool(os.environ.get("TIERCAST_REWRITE_GOLDEN"))
Verb = requests.Verb
WORDS = "correct horse battery"
FIRST = msgspec.structs.replace(upstream.GOOD[Verb.WHOAMI], domain="acme", first=True)
NARROW = msgspec.structs.replace(
    upstream.GOOD[Verb.WHOAMI],
    name="ci",
    role="viewer",
    domain="branch",
    scopes=("cfg:r",),
    expires=1_700_043_200.0,
)
KNOWN = msgspec.structs.replace(upstream.GOOD[Verb.WHOAMI], name="ada", domain="acme")
STRANGER = requests.Problem("unauthenticated", "this token has expired", "tiercast login")
WRONG = requests.Problem("unauthenticated", "wrong name or password (for 'ada@acme')", "forgotten: ask")
LAST = requests.Problem(
    "refused",
    "ada is the last administrator of acme who can log in",
    "first add another one: tiercast admin add NAME --role administrator",
)
NONE_LEFT = requests_people.AuditPage((), 0, -1, -1, False)
REST = requests_people.AuditPage((upstream_people.audited(4), upstream_people.audited(3)), 3, 9, 2, False)
CONFLICTS = requests_people.Imported("branch", ("ci",), (), 3, ("bea",), dry_run=True)


def answer(verb: requests.Verb, value: Any) -> Callable[[terminal.Terminal], None]:
    def prepare(driven: terminal.Terminal) -> None:
        driven.system.answers[verb] = value

    return prepare


def both(*several: Callable[[terminal.Terminal], None]) -> Callable[[terminal.Terminal], None]:
    def prepare(driven: terminal.Terminal) -> None:
        for one in several:
            one(driven)

    return prepare


def nothing(_terminal: terminal.Terminal) -> None:
    pass


known, first = answer(Verb.WHOAMI, KNOWN), answer(Verb.WHOAMI, FIRST)
TWICE = f"{WORDS}\n{WORDS}\n"
CASES: dict[str, tuple[list[str], str, Callable[[terminal.Terminal], None]]] = {
    "login": (["login", "ada"], f"{WORDS}\n", known),
    "login-first": (["login"], f"ada\n{TWICE}", first),
    "login-first-default-name": (["login"], f"\n{TWICE}", first),
    "login-first-not-the-same": (["login"], f"ada\n{WORDS}\nother words here\n", first),
    "login-expired": (["login", "ada"], f"{WORDS}\n", answer(Verb.WHOAMI, STRANGER)),
    "login-wrong": (["login", "ada"], f"{WORDS}\n", both(known, answer(Verb.LOGIN, WRONG))),
    "login-nobody-to-ask": (["login", "ada"], "", known),
    "login-json": (["login", "bea@branch", "-o", "json"], f"{WORDS}\n", known),
    "logout": (["logout"], "", nothing),
    "logout-over": (["logout"], "", answer(Verb.LOGOUT, STRANGER)),
    "whoami-first": (["whoami"], "", first),
    "whoami-narrow": (["whoami"], "", answer(Verb.WHOAMI, NARROW)),
    "admin-help": (["admin", "--help"], "", nothing),
    "admin-add": (["admin", "add", "ci", "--role", "viewer"], TWICE, nothing),
    "admin-add-program": (["admin", "add", "ci", "--no-password", "--note", "nightly report"], "", nothing),
    "admin-add-nobody-to-ask": (["admin", "add", "ci"], "", nothing),
    "admin-list": (["admin", "list"], "", nothing),
    "admin-list-wide": (["admin", "list", "--domain", "branch", "-o", "wide"], "", nothing),
    "admin-list-name": (["admin", "list", "-o", "name"], "", nothing),
    "admin-list-json": (["admin", "list", "-o", "json"], "", nothing),
    "admin-list-nobody": (["admin", "list"], "", answer(Verb.PEOPLE, requests_people.PeopleView(()))),
    "admin-remove": (["admin", "remove", "ci", "--yes"], "", known),
    "admin-remove-asked-no": (["admin", "remove", "ci"], "n\n", known),
    "admin-remove-nobody-to-ask": (["admin", "remove", "ci"], "", known),
    "admin-remove-last": (["admin", "remove", "ada", "--yes"], "", both(known, answer(Verb.PERSON_REMOVE, LAST))),
    "admin-role": (["admin", "role", "ci", "operator", "--domain", "acme"], "", known),
    "admin-role-unknown": (["admin", "role", "ci", "root"], "", known),
    "admin-passwd": (["admin", "passwd"], f"{WORDS}\n{TWICE}", known),
    "admin-passwd-other": (["admin", "passwd", "ci"], TWICE, known),
    "admin-token-create": (
        ["admin", "token", "create", "ci", "--ttl", "12h", "--scope", "cfg:r", "--note", "nightly"], "", nothing,
    ),
    "admin-token-create-json": (["admin", "token", "create", "-o", "json"], "", nothing),
    "admin-token-create-refused": (
        ["admin", "token", "create", "ci", "--scope", "cgf"], "",
        answer(Verb.TOKEN_CREATE, requests.Problem("usage", "no scope is called so (got 'cgf')", "did you mean 'cfg'?")),
    ),
    "admin-token-list": (["admin", "token", "list"], "", nothing),
    "admin-token-list-wide": (["admin", "token", "list", "ci", "--domain", "branch", "-o", "wide"], "", nothing),
    "admin-token-list-name": (["admin", "token", "list", "-o", "name"], "", nothing),
    "admin-token-revoke": (["admin", "token", "revoke", "000000000002"], "", nothing),
    "domains-list": (["domains", "list"], "", nothing),
    "domains-list-name": (["domains", "list", "-o", "name"], "", nothing),
    "domains-attach": (["domains", "attach", "users", "--role", "ldap1", "--domain", "branch"], "", nothing),
    "domains-detach": (["domains", "detach", "users"], "", known),
    "domains-export": (["domains", "export", "branch", "-o", "branch.json"], "", nothing),
    "domains-export-stdout": (["domains", "export", "branch", "-o", "-"], "", nothing),
    "domains-export-exists": (["domains", "export", "branch", "-o", "carried.json"], "", nothing),
    "domains-import": (["domains", "import", "carried.json"], "", nothing),
    "domains-import-conflicts": (
        ["domains", "import", "carried.json", "--dry-run"], "", answer(Verb.DOMAIN_IMPORT, CONFLICTS),
    ),
    "domains-import-no-file": (["domains", "import", "system.yaml"], "", nothing),
    "audit": (["audit"], "", answer(Verb.AUDIT, [upstream_people.PAGE, REST])),
    "audit-wide": (["audit", "-o", "wide", "-n", "3"], "", nothing),
    "audit-filtered": (
        ["audit", "--since", "2h", "--who", "bea@branch", "--verb", "cfg.apply", "--outcome", "refused"], "",
        answer(Verb.AUDIT, NONE_LEFT),
    ),
    "audit-json": (["audit", "-n", "1", "-o", "json"], "", nothing),
    "audit-name": (["audit", "-n", "3", "-o", "name"], "", nothing),
    "audit-export": (["audit", "--export", "-"], "", answer(Verb.AUDIT, [upstream_people.PAGE, REST])),
    "audit-not-allowed": (
        ["audit"], "",
        answer(Verb.AUDIT, requests.Problem(
            "not_allowed", "audit.list is for the master domain alone (got branch, have need of acme)", "ask ada")),
    ),
}  # fmt: skip


@pytest.fixture
def driven(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> terminal.Terminal:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    pathlib.Path("carried.json").write_bytes(msgspec.json.encode(upstream_people.CARRIED))
    pathlib.Path("system.yaml").write_text("schema: tiercast/1\n")
    return terminal.Terminal(tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        ("admin", "add", "ci", "--no-password"),
        ("admin", "remove", "ci", "--yes"),
        ("admin", "role", "ci", "operator"),
        ("admin", "passwd", "ci", "--password-stdin"),
        ("admin", "token", "revoke", "000000000002"),
        ("domains", "attach", "users", "--role", "ldap1"),
        ("domains", "detach", "users"),
    ],
)
def test_every_change_has_an_answer_for_programs(words: tuple[str, ...], driven: terminal.Terminal) -> None:
    known(driven)
    done = driven.run(*words, "-o", "json", stdin=f"{WORDS}\n".encode())
    assert (done.exit, sorted(done.json())) == (0, ["detail", "unchanged"])
    assert done.talk == f"{done.json()['detail']}\n"


@pytest.mark.parametrize("name", CASES)
def test_a_command_prints_what_it_always_printed(name: str, driven: terminal.Terminal) -> None:
    words, typed, prepare = CASES[name]
    prepare(driven)
    done = driven.run(*words, typed=typed)
    shown = f"$ tiercast {' '.join(words)}\n{done.out}--- talk\n{done.talk}--- exit {done.exit}\n"
    assert WORDS not in shown
    golden = GOLDEN / f"{name}.txt"
    if REWRITE:
        golden.parent.mkdir(exist_ok=True)
        golden.write_bytes(shown.encode())
    assert shown == golden.read_bytes().decode()


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(CASES)


# --- what they send, and what they keep ---------------------------------------------------------------------------------


def token_of(driven: terminal.Terminal, name: str = "demo") -> str:
    return contexts.read(contexts.path(driven.environment)).contexts[name].token


def test_the_first_login_sends_the_secret_and_keeps_the_new_token_in_its_place(
    driven: terminal.Terminal,
) -> None:
    first(driven)
    assert driven.run("login", typed=f"ada\n{TWICE}").exit == 0
    asked = driven.system.request(Verb.CLAIM)
    assert (asked.name, asked.password, asked.ttl_s) == ("ada", WORDS, 43_200.0)
    assert driven.connected[-1].token == "secret-token"
    assert token_of(driven) == upstream_people.ISSUED.token
    place = contexts.path(driven.environment)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600


def test_a_script_logs_in_by_stdin_alone(driven: terminal.Terminal) -> None:
    known(driven)
    assert (
        driven.run(
            "login", "bea@branch", "--password-stdin", "--ttl", "1h", stdin=WORDS.encode() + b"\n"
        ).exit
        == 0
    )
    asked = driven.system.request(Verb.LOGIN)
    assert (asked.name, asked.domain, asked.password, asked.ttl_s) == ("bea", "branch", WORDS, 3600.0)
    first(driven)
    assert driven.run("login", "--password-stdin", stdin=WORDS.encode()).exit == 0
    assert driven.system.request(Verb.CLAIM).name == "admin"


def test_a_system_that_was_named_by_its_address_becomes_a_context(
    driven: terminal.Terminal, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "ca.pem").write_text("PEM")
    driven.environment |= {"TIERCAST_CA": str(tmp_path / "ca.pem")}
    driven.system.answers[Verb.WHOAMI] = STRANGER
    done = driven.run(
        "login", "ada", "--password-stdin", "--server", "https://10.1.0.11:8443", stdin=WORDS.encode()
    )
    assert done.exit == 0, done.talk
    made = contexts.read(contexts.path(driven.environment)).contexts["10.1.0.11"]
    assert (made.servers, made.ca, made.token) == (
        ("https://10.1.0.11:8443",),
        "PEM",
        upstream_people.ISSUED.token,
    )
    assert token_of(driven) == "secret-token"


def test_logout_forgets_the_token_even_where_it_was_over(driven: terminal.Terminal) -> None:
    driven.system.answers[Verb.LOGOUT] = STRANGER
    assert driven.run("logout").exit == 0
    assert token_of(driven) == ""


def test_ones_own_password_by_stdin_needs_the_present_one_first(driven: terminal.Terminal) -> None:
    known(driven)
    assert (
        driven.run("admin", "passwd", "--password-stdin", stdin=b"old words here\nnew words here\n").exit == 0
    )
    asked = driven.system.request(Verb.PERSON_PASSWORD)
    assert (asked.name, asked.domain, asked.present, asked.password) == (
        "ada",
        "acme",
        "old words here",
        "new words here",
    )


def test_an_export_is_private_and_an_import_sends_it_as_it_is(
    driven: terminal.Terminal, tmp_path: pathlib.Path
) -> None:
    assert driven.run("domains", "export", "branch", "-o", "out.json").exit == 0
    assert stat.S_IMODE((tmp_path / "out.json").stat().st_mode) == 0o600
    assert driven.run("domains", "import", "out.json", "--replace", "--domain", "other").exit == 0
    asked = driven.system.request(Verb.DOMAIN_IMPORT)
    assert (asked.domain, asked.replace, asked.dry_run, asked.file) == (
        "other",
        True,
        False,
        upstream_people.CARRIED,
    )


def test_an_export_of_the_audit_holds_every_page_oldest_first(
    driven: terminal.Terminal, tmp_path: pathlib.Path
) -> None:
    pages = [
        requests_people.AuditPage((upstream_people.audited(3), upstream_people.audited(4)), 3, 5, 4, True),
        requests_people.AuditPage((upstream_people.audited(5),), 3, 5, 5, False),
    ]
    driven.system.answers[Verb.AUDIT] = pages
    done = driven.run("audit", "--export", "audit.jsonl")
    lines = (tmp_path / "audit.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line)["number"] for line in lines] == [3, 4, 5]
    assert [request.after for verb, request in driven.system.asked if verb == Verb.AUDIT] == [-1, 4]
    assert "kept from number 3 on" in done.talk
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600


def test_following_goes_on_where_it_was_while_nobody_answers(driven: terminal.Terminal) -> None:
    away = requests.Problem("no_coordinator", "no coordinator (MIC) answers now", "try again")
    came = requests_people.AuditPage((upstream_people.audited(10),), 3, 10, 10, False)
    driven.system.answers[Verb.AUDIT] = [upstream_people.PAGE, away, came, KeyboardInterrupt()]
    done = driven.run("audit", "-f", "-n", "3", "-o", "json")
    assert [msgspec.json.decode(line)["number"] for line in done.out.splitlines()] == [7, 8, 9, 10]
    afters = [request.after for verb, request in driven.system.asked if verb == Verb.AUDIT]
    assert afters == [-1, 9, 9, 10]
    assert (done.exit, "retrying" in done.talk) == (130, True)
