"""Commands that look at what was: `history`, `show`."""

import urllib.parse
from collections.abc import Sequence

import click

from coordinator.cli import answers, answers_looking, client, completing, exits, options, printing, session


@click.command()
@click.option("--limit", type=click.IntRange(1, 500), default=20, show_default=True, help="At most so many.")
@click.option("--before", type=click.IntRange(min=1), default=None, metavar="N", help="Revisions below N.")
@click.option("--drafts", is_flag=True, help="What was uploaded and is no revision, instead.")
@options.system
@printing.output("table", "wide", "json", "yaml", "name")
def history(limit: int, before: int | None, form: str, *, drafts: bool) -> int:
    """Revisions, newest first."""
    shown = session.current()
    if drafts:
        return _drafts(shown, form)
    query = {"limit": limit, "before": before or 0}
    answer = shown.client().call(client.Ask(path=f"{client.CFG}/revisions?{urllib.parse.urlencode(query)}"))
    view = answer.as_(answers.HistoryView)
    structured = printing.structured(form, answer.body)
    if structured is not None:
        shown.say(structured)
    elif form == "name":
        shown.say("\n".join(str(one.version.revision) for one in view.revisions))
    else:
        rows = [_revision_row(one, wide=form == "wide") for one in view.revisions]
        more = ("DIGEST", "SIZE") if form == "wide" else ()
        head = ("REVISION", "STATE", "OUTCOME", "ISSUED", "AUTHOR", *more, "MESSAGE")
        shown.say_coloured(printing.painted(shown, printing.table(head, rows), 1))
        if view.next:
            shown.tell(f"more: tiercast history --before {view.next}")
    return exits.Exit.OK


def _drafts(shown: session.Session, form: str) -> int:
    answer = shown.client().call(client.Ask(path=f"{client.CFG}/drafts"))
    view = answer.as_(answers_looking.Drafts)
    structured = printing.structured(form, answer.body)
    if structured is not None:
        shown.say(structured)
    elif form == "name":
        shown.say("\n".join(one.draft for one in view.drafts))
    else:
        rows = [
            (
                one.draft,
                "valid" if one.valid else "invalid",
                printing.moment(one.saved),
                one.author,
                one.digest if form == "wide" else printing.short(one.digest),
                printing.size(one.size_bytes),
                one.message,
            )
            for one in view.drafts
        ]
        shown.say_coloured(
            printing.table(("DRAFT", "STATE", "SAVED", "AUTHOR", "DIGEST", "SIZE", "MESSAGE"), rows)
        )
    return exits.Exit.OK


def _revision_row(one: answers.RevisionView, *, wide: bool) -> tuple[str, ...]:
    more = (one.digest, printing.size(one.size_bytes)) if wide else ()
    issued = printing.moment(one.issued)
    return (str(one.version), one.state, one.outcome, issued, one.author, *more, one.message)


@click.command(epilog=options.examples("tiercast show active --document > system.yaml", "tiercast show 41"))
@click.argument("revision", metavar="N, DRAFT or active", shell_complete=completing.revisions)
@click.option("--document", is_flag=True, help="The document as it was uploaded, comments kept.")
@options.system
@printing.output("table", "json", "yaml", "name")
def show(revision: str, form: str, *, document: bool) -> int:
    """One revision; with --document its text."""
    shown = session.current()
    word = urllib.parse.quote(revision.removeprefix("r") if revision[1:].isdigit() else revision, safe="")
    path = f"{client.CFG}/revisions/{word}{'/document' if document else ''}"
    answer = shown.client().call(client.Ask(path=path))
    view = answer.as_(answers.Shown)
    structured = printing.structured(form, answer.body)
    if structured is not None:
        shown.say(structured)
    elif form == "name":
        shown.say(
            view.draft.draft if view.draft else str(view.revision.version.revision) if view.revision else ""
        )
    elif document:
        shown.raw(_text(view.files))
    elif view.draft is not None:
        shown.say_coloured(_draft(view.draft))
    elif view.revision is None:
        shown.say(f"{revision}: a draft, without a number yet")
    else:
        shown.say_coloured(_revision(shown, view.revision))
    return exits.Exit.OK


def _text(files: Sequence[answers.File]) -> str:
    """As `apply` would take it again; several files each under its name."""
    if len(files) == 1:
        return files[0].text
    return "".join(f"# {file.name}\n{file.text.rstrip()}\n" for file in files)


def _draft(one: answers.DraftView) -> list[str]:
    facts = {
        "digest": one.digest,
        "size": printing.size(one.size_bytes),
        "saved": printing.moment(one.saved),
        "author": one.author,
        "message": one.message or "-",
    }
    state = "valid" if one.valid else "invalid: it cannot be applied"
    lines = [f"draft {session.clean(one.draft)}  {state}"]
    return lines + [f"  {name + ':':<10}{session.clean(value)}" for name, value in facts.items()]


def _revision(shown: session.Session, one: answers.RevisionView) -> list[str]:
    facts = {
        "digest": one.digest,
        "size": printing.size(one.size_bytes),
        "outcome": one.outcome or "-",
        "issued": printing.moment(one.issued),
        "author": one.author,
        "message": one.message or "-",
    }
    lines = [f"revision {one.version.revision}  {shown.coloured(one.state)}"]
    return lines + [f"  {name + ':':<10}{session.clean(value)}" for name, value in facts.items()]
