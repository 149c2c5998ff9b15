"""Names for the shell's completion: asked of the system for a moment, and nothing where it does not answer.

Law: completing never fails, never asks for anything, and prints nothing but names.
"""

import contextlib
import threading
import urllib.parse
from collections.abc import Callable, Iterable

import click
import msgspec

from coordinator import errors
from coordinator.cli import answers, answers_looking, client, session
from coordinator.host import contexts

PATIENCE_S = 0.3  # whoever pressed the key looks at a dead cursor meanwhile
NAMES = 200


def sites(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    def found(asked: client.Client) -> Iterable[str]:
        view = asked.call(_ask(f"{client.CFG}/status")).as_(answers.StatusView)
        return (one.site for one in view.sites)

    return _named(context, begun, found)


def servers(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    def found(asked: client.Client) -> Iterable[str]:
        query = urllib.parse.urlencode({"limit": 1000})
        view = asked.call(_ask(f"{client.CFG}/servers?{query}")).as_(answers_looking.Servers)
        return (one.server for one in view.servers)

    return _named(context, begun, found)


def roles(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    def found(asked: client.Client) -> Iterable[str]:
        query = urllib.parse.urlencode({"limit": 1000})
        view = asked.call(_ask(f"{client.CFG}/roles?{query}")).as_(answers_looking.Roles)
        return (one.role for one in view.roles)

    return _named(context, begun, found)


def known_contexts(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Of the file of contexts; nobody is asked."""
    shown = context.find_object(session.Session)
    if shown is None:
        return []
    try:
        known = contexts.read(contexts.path(shown.environment), session.parsed)
    except errors.TiercastError:
        return []
    return sorted(name for name in known.contexts if name.startswith(begun))


def revisions(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    def found(asked: client.Client) -> Iterable[str]:
        view = asked.call(_ask(f"{client.CFG}/revisions")).as_(answers.HistoryView)
        return (str(one.version.revision) for one in view.revisions)

    return _named(context, begun, found)


def _ask(path: str) -> client.Ask:
    return client.Ask(path=path, timeout_s=PATIENCE_S, patient=False)


def _named(context: click.Context, begun: str, found: Callable[[client.Client], Iterable[str]]) -> list[str]:
    shown = context.find_object(session.Session)
    if shown is None:
        return []
    names: list[str] = []

    def look() -> None:
        with contextlib.suppress(errors.TiercastError, msgspec.MsgspecError, OSError):
            names.extend(name for name in found(shown.client()) if name.startswith(begun))

    looking = threading.Thread(target=look, daemon=True)  # the rest of a slow answer is for nobody
    looking.start()
    looking.join(PATIENCE_S)
    return [] if looking.is_alive() else names[:NAMES]
