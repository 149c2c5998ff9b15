"""The command `diff`: what differs between two documents, each the active one, a revision, a draft or files."""

import pathlib
from collections.abc import Sequence

import click
import msgspec

from coordinator import errors
from coordinator.cli import (
    answers,
    answers_looking,
    client,
    completing,
    exits,
    options,
    planning,
    printing,
    session,
    sources,
)

ACTIVE = "active"


@click.command(
    epilog=options.examples(
        "tiercast diff 41 42", "tiercast diff system.yaml", "tiercast diff 41 system.yaml"
    )
)
@click.argument("words", nargs=-1, metavar="[A] [B or FILES]", shell_complete=completing.revisions)
@click.option("--full", is_flag=True, help="Name everything, not only the first of many.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 where something differs.")
@options.system
@printing.output("table", "json", "yaml")
def diff(words: tuple[str, ...], form: str, *, full: bool, detailed_exitcode: bool) -> int:
    """Show what differs from A to B: by site, server, node and role.

    A and B are a revision (42), a draft (d-7f3a), files, or `active`. With A alone it is compared with the active
    revision; with nothing at all, the active revision with the one before it.
    """
    shown = session.current()
    asked = shown.client()
    old, new = _sides(asked, words)
    body = msgspec.json.encode({"old": old, "new": new, "full": full})
    ask = client.Ask(
        method="POST", path=f"{client.CFG}/diff", body=body, headers={"Content-Type": client.JSON}
    )
    answer = planning.judged(asked, ask, old if old.files else new)
    view = answer.as_(answers_looking.Differs)
    structured = printing.structured(form, answer.body)
    if structured is not None:
        shown.say(structured)
    elif view.same:
        shown.say(f"no difference: {view.old} and {view.new} are the same document")
    else:
        shown.tell(f"from {view.old} to {view.new}:")
        shown.say(view.text)
    return exits.Exit.CHANGES if detailed_exitcode and not view.same else exits.Exit.OK


def _sides(asked: client.Client, words: Sequence[str]) -> tuple[sources.Named, sources.Named]:
    """Old and new; nothing in one is the active revision."""
    active = sources.Named()
    if not words:
        return sources.Named(revision=_before(asked)), active
    first, rest = words[0], words[1:]
    if _is_file(first):
        return active, sources.named(words)
    old = _one(first)
    if not rest:
        return old, active
    if _is_file(rest[0]) or len(rest) > 1:
        return old, sources.named(rest)
    return old, _one(rest[0])


def _is_file(word: str) -> bool:
    return word == "-" or pathlib.Path(word).exists()


def _one(word: str) -> sources.Named:
    return sources.Named() if word == ACTIVE else sources.named((word,))


def _before(asked: client.Client) -> int:
    view = asked.call(client.Ask(path=f"{client.CFG}/revisions?limit=50")).as_(answers.HistoryView)
    found = [one.version.revision for one in view.revisions]
    if len(found) < 2:
        raise errors.NotFoundError(
            "there is no revision before the active one", hint="name one: tiercast history"
        )
    return found[1]
