"""Commands that work on documents: `validate`, `fmt`, `schema` without a server, and `upload`."""

import click
import msgspec

from coordinator.cli import (
    answers,
    client,
    exits,
    findings,
    options,
    printing,
    session,
    sources,
    writing,
)
from coordinator.config import findings as faults
from coordinator.config import reading
from coordinator.config import schema as schemas

FILES = click.argument("files", nargs=-1, required=True, metavar="FILES...")


class Verdict(msgspec.Struct, frozen=True):
    """What `validate -o json` prints."""

    valid: bool
    findings: tuple[faults.Finding, ...]


@click.command()
@FILES
@printing.output("table", "json", "yaml")
def validate(files: tuple[str, ...], form: str) -> int:
    """Find everything that is wrong with a document; no server is asked.

    FILES are one file, several, a folder with *.yaml files, or - for stdin.
    """
    shown = session.current()
    judged = reading.check(sources.read(files), shown.catalogue())
    body = msgspec.json.encode(Verdict(judged.valid, judged.findings))
    structured = printing.structured(form, body)
    shown.say(structured if structured is not None else _told(judged))
    return exits.Exit.OK if judged.valid else exits.Exit.INVALID


def _told(judged: reading.Reading) -> str:
    if not judged.valid or judged.document is None:
        return f"{findings.lines(judged.findings, judged.texts)}\n{findings.summary(judged.findings)}"
    told = findings.lines(judged.findings, judged.texts)
    document = judged.document
    counts = (
        f"valid: {printing.count(len(document.sites), 'site')}, {printing.count(len(document.servers), 'server')}, "
        f"{printing.count(len(document.roles), 'role')}"
    )
    warned = f", {printing.count(len(judged.findings), 'warning')}" if judged.findings else ""
    return f"{told}\n{counts}{warned}".lstrip("\n")


@click.command()
@FILES
@printing.output("yaml", "json")
def fmt(files: tuple[str, ...], form: str) -> int:
    """Print a document in its usual order, several files as one. Comments are not kept."""
    shown = session.current()
    read = reading.read(sources.read(files))
    if read.document is None:
        raise findings.InvalidError(read.findings, read.texts)
    shown.raw(writing.yaml_text(read.document) if form == "yaml" else writing.json_text(read.document))
    if any("#" in text for text in read.texts.values()):
        shown.tell("note: comments are not kept")
    return exits.Exit.OK


@click.command()
def schema() -> int:
    """Print the JSON Schema of the document, for editors."""
    shown = session.current()
    body = msgspec.json.encode(schemas.json_schema(shown.catalogue()))
    shown.say(msgspec.json.format(body, indent=2).decode())
    return exits.Exit.OK


@click.command()
@FILES
@options.message
@options.system
@printing.output("table", "json", "yaml", "name")
def upload(files: tuple[str, ...], message: str, form: str) -> int:
    """Save a document as a draft on the server; nothing becomes active."""
    shown = session.current()
    texts = sources.files(files)
    body = msgspec.json.encode({"files": texts, "message": message})
    answer = shown.client().call(client.post(f"{client.CFG}/revisions", body, shown.random.token(16)))
    uploaded = answer.as_(answers.Uploaded)
    structured = printing.structured(form, answer.body)
    if structured is not None:
        shown.say(structured)
    elif form == "name":
        shown.say(uploaded.draft)
    else:
        shown.say(
            f"{uploaded.draft}: {'valid' if uploaded.valid else 'invalid'}, {printing.size(uploaded.size_bytes)}, "
            f"digest {printing.short(uploaded.digest)}"
        )
    _tell_of(shown, uploaded, {file.name: file.text for file in texts})
    return exits.Exit.OK if uploaded.valid else exits.Exit.INVALID


def _tell_of(shown: session.Session, uploaded: answers.Uploaded, texts: dict[str, str]) -> None:
    if uploaded.findings:
        shown.tell(findings.lines(uploaded.findings, texts))
    if uploaded.valid:
        shown.tell(f"next: tiercast plan {uploaded.draft}")
    else:
        shown.tell(f"{findings.summary(uploaded.findings)}; it is saved, and cannot be applied")
