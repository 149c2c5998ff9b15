"""Completion of names: what the system has, and nothing at all where it does not answer."""

import pathlib
import threading
from typing import Any

import click
import pytest

from coordinator import errors
from coordinator.cli import client, comparing, completing, looking, session
from coordinator.tiers import requests
from tests import terminal

Verb = requests.Verb


def completed(complete: Any, system: terminal.System, begun: str = "") -> list[str]:
    command = click.Command("x")
    shown = session.Session.__new__(session.Session)
    shown.client = lambda: system  # type: ignore[method-assign]  # nothing else of it is used
    context = click.Context(command, obj=shown)
    found: list[str] = complete(context, click.Argument(["x"]), begun)
    return found


@pytest.fixture
def system() -> terminal.System:
    return terminal.System(terminal.Clock())


@pytest.mark.parametrize(
    ("complete", "begun", "names"),
    [
        (completing.sites, "", ["north", "central", "south"]),
        (completing.sites, "no", ["north"]),
        (completing.servers, "n", ["n1", "n2"]),
        (completing.roles, "w", ["web1", "web2"]),
        (completing.revisions, "", ["42", "41"]),
        (completing.revisions, "9", []),
    ],
)
def test_names_of_the_system_complete_a_word(
    complete: Any, begun: str, names: list[str], system: terminal.System
) -> None:
    assert completed(complete, system, begun) == names
    assert all(ask.timeout_s <= completing.PATIENCE_S for ask in system.asks)


@pytest.mark.parametrize(
    "trouble", [errors.UnreachableError("away"), OSError("no"), errors.UsageError("none")]
)
def test_whoever_presses_the_key_sees_no_error(trouble: Exception, system: terminal.System) -> None:
    system.answers |= {Verb.STATUS: trouble, Verb.SERVERS: trouble, Verb.HISTORY: trouble}
    for complete in (completing.sites, completing.servers, completing.revisions):
        assert completed(complete, system) == []


def test_a_system_that_is_slow_completes_nothing(
    system: terminal.System, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()

    def late(_ask: client.Ask) -> client.Answer:
        answered.wait(30)
        raise errors.UnreachableError("too late")

    monkeypatch.setattr(completing, "PATIENCE_S", 0.01)
    monkeypatch.setattr(system, "call", late)
    assert completed(completing.sites, system) == []
    answered.set()


def test_contexts_complete_without_asking_anybody(tmp_path: pathlib.Path) -> None:
    driven = terminal.Terminal(tmp_path)
    shown = session.Session.__new__(session.Session)
    shown.environment = driven.environment
    context = click.Context(click.Command("x"), obj=shown)
    assert completing.known_contexts(context, click.Argument(["x"]), "") == ["demo"]
    assert completing.known_contexts(context, click.Argument(["x"]), "x") == []
    assert driven.system.asks == []


def test_outside_of_a_session_nothing_is_completed() -> None:
    assert completing.sites(click.Context(click.Command("x")), click.Argument(["x"]), "") == []


def test_commands_that_take_names_complete_them(tmp_path: pathlib.Path) -> None:
    for command, name in ((looking.status, "site"), (looking.describe, "name"), (comparing.diff, "words")):
        (parameter,) = [one for one in command.params if one.name == name]
        assert parameter._custom_shell_complete is not None
