"""What a command is given of its surroundings: contexts, variables, colours, and texts that come from elsewhere."""

import pathlib
import stat

import pytest

from coordinator import errors
from coordinator.cli import session
from coordinator.host import contexts
from coordinator.tiers import requests
from tests import terminal, upstream


@pytest.fixture
def driven(tmp_path: pathlib.Path) -> terminal.Terminal:
    return terminal.Terminal(tmp_path)


def test_the_current_context_says_whom_to_ask_and_as_whom(driven: terminal.Terminal) -> None:
    driven.run("whoami")
    assert driven.connected == [contexts.Context("https://127.0.0.1:8443", "PEM", "secret-token")]


def test_a_flag_goes_before_a_variable_and_a_variable_before_the_context(driven: terminal.Terminal) -> None:
    driven.environment |= {"TIERCAST_SERVER": "https://variable:1", "TIERCAST_TOKEN": "other"}
    driven.run("whoami")
    driven.run("whoami", "--server", "https://flag:2")
    assert [(one.server, one.token) for one in driven.connected] == [
        ("https://variable:1", "other"),
        ("https://flag:2", "other"),
    ]


def test_variables_alone_are_enough(driven: terminal.Terminal, tmp_path: pathlib.Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("PEM of a file")
    driven.environment = {"TIERCAST_SERVER": "https://x:1", "TIERCAST_CA": str(ca), "TIERCAST_TOKEN": "t"}
    assert driven.run("whoami").exit == 0
    assert driven.connected == [contexts.Context("https://x:1", "PEM of a file", "t")]


def test_another_context_can_be_named_and_made_the_current_one(
    driven: terminal.Terminal, tmp_path: pathlib.Path
) -> None:
    place = contexts.path(driven.environment)
    contexts.write_context(place, "second", ["https://a:1", "https://b:2"], b"PEM", "t")
    assert contexts.read(place).current == "second"
    driven.run("whoami", "--context", "demo")
    assert driven.connected[-1].token == "secret-token"
    driven.run("context", "use", "demo")
    assert contexts.read(place).current == "demo"
    assert contexts.read(place).contexts["second"].servers == ("https://a:1", "https://b:2")


def test_a_token_is_never_listed(driven: terminal.Terminal) -> None:
    done = driven.run("context", "list", "-o", "json")
    assert done.json() == [{"name": "demo", "current": True, "servers": ["https://127.0.0.1:8443"]}]


def test_where_no_system_is_known_it_is_said_what_to_do(tmp_path: pathlib.Path) -> None:
    driven = terminal.Terminal(tmp_path)
    driven.environment["HOME"] = str(tmp_path / "elsewhere")
    done = driven.run("status")
    assert done.exit == 64
    assert "no system is known here" in done.talk
    assert "server init" in done.talk


def test_the_context_file_is_for_its_owner_alone(tmp_path: pathlib.Path) -> None:
    place = tmp_path / "new" / "contexts.yaml"
    contexts.write_context(place, "demo", "https://a:1", b"PEM", "t")
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
    place.chmod(0o644)
    with pytest.raises(errors.UsageError, match="can be read by others"):
        contexts.read(place)


def test_a_context_file_written_by_hand_in_yaml_is_read(tmp_path: pathlib.Path) -> None:
    place = tmp_path / "contexts.yaml"
    place.write_text("# mine\ncurrent: demo\ncontexts:\n  demo: {server: 'https://a:1', ca: PEM, token: t}\n")
    place.chmod(0o600)
    assert contexts.read(place, session.parsed).contexts["demo"].servers == ("https://a:1",)
    with pytest.raises(errors.UsageError, match="cannot be used"):
        contexts.write_context(place, "demo", "https://a:1", b"PEM", "t")


@pytest.mark.parametrize(
    "text", ["[]", "{", "current: 1\n", "\x00", "{contexts: {a: {sever: x}}}", "a: *b\n"]
)
def test_a_context_file_that_is_off_is_said_to_be(tmp_path: pathlib.Path, text: str) -> None:
    place = tmp_path / "contexts.yaml"
    place.write_text(text)
    place.chmod(0o600)
    with pytest.raises(errors.UsageError, match="cannot be used"):
        contexts.read(place, session.parsed)


def test_colour_needs_a_terminal_and_nobody_who_objects(driven: terminal.Terminal) -> None:
    assert "\x1b[" not in driven.run("status").out
    assert "\x1b[31mfailed\x1b[0m" in driven.run("status", colour=True).out
    driven.environment["NO_COLOR"] = ""
    assert "\x1b[" not in driven.run("status", colour=True).out


def test_what_comes_from_elsewhere_cannot_take_over_a_terminal(driven: terminal.Terminal) -> None:
    evil = "\x1b]0;title\x07\x1b[2J\u202eevil\r\n"
    driven.system.answers[requests.Verb.STATUS] = requests.Problem("internal", evil, evil)
    done = driven.run("status", colour=True)
    assert "\x1b" not in done.talk
    assert "\u202e" not in done.talk
    driven.system.answers[requests.Verb.DESCRIBE] = requests.Described(
        upstream.server("n2", "north", reason=evil), evil, 1, "r1", evil, (), evil
    )
    assert "\x1b" not in driven.run("describe", "n2").out
    driven.system.answers[requests.Verb.SHOW] = requests.Shown(
        None, (requests.File("a.yaml", f"a: 1 # {evil}"),)
    )
    assert "\x1b" not in driven.run("show", "active", "--document", colour=True).out
    assert "\x1b" in driven.run("show", "active", "--document").out


def test_a_context_is_told_at_which_servers_its_system_is_asked(driven: terminal.Terminal) -> None:
    done = driven.run("context", "servers", "https://10.1.0.11:8443", "https://10.2.0.11:8443")
    assert (done.exit, done.talk) == (0, "demo is asked at https://10.1.0.11:8443, https://10.2.0.11:8443\n")
    driven.run("whoami")
    assert driven.connected[-1].servers == ("https://10.1.0.11:8443", "https://10.2.0.11:8443")
    assert driven.connected[-1].token == "secret-token"
    assert driven.run("context", "servers", "http://a").exit == 64
    assert driven.run("context", "servers", "https://a", "--context", "nowhere").exit == 64
    driven.run("whoami")
    assert len(driven.connected[-1].servers) == 2
