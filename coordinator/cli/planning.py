"""The command `plan`: what a change would do, asked of the system or worked out here; and answers with findings in them."""

import datetime as dt
import shlex
from typing import Any

import click
import msgspec

from coordinator import errors
from coordinator.cli import (
    answers,
    client,
    exits,
    findings,
    options,
    plans,
    printing,
    session,
    sources,
)
from coordinator.config import model, reading, rendering, transition


@click.command(
    epilog=options.examples(
        "tiercast plan system.yaml --out change.plan",
        "tiercast plan d-7f3a --full",
        "tiercast plan new.yaml --offline old.yaml",
    )
)
@click.argument("source", nargs=-1, metavar="FILES... or ID")
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 where there is something to do.")
@click.option(
    "--out",
    default="",
    metavar="PLAN",
    help="Write the plan to a file; `tiercast apply PLAN` does exactly that.",
)
@click.option("--full", is_flag=True, help="Name everything, not only the first of many.")
@click.option(
    "--offline", multiple=True, metavar="FILE", help="Ask no server: plan from this document (repeatable)."
)
@options.system
@printing.output("table", "json", "yaml")
def plan(source: tuple[str, ...], offline: tuple[str, ...], out: str, **given: Any) -> int:  # noqa: ANN401 click's options, each typed where it is declared
    """Show what applying a document would do, to whom, and whether it may be done.

    FILES are one file, several, a folder, or - for stdin; ID is a draft (d-7f3a) or a revision (42).
    """
    shown = session.current()
    wanted = msgspec.convert(given, _Shape)
    if offline:
        if out:
            raise errors.UsageError(
                "a plan made offline cannot be applied", hint="leave out --offline, or --out"
            )
        return _offline(shown, source, offline, wanted)
    named = sources.named(source)
    body = msgspec.json.encode({"source": named, "full": wanted.full})
    ask = client.Ask(
        method="POST", path=f"{client.CFG}/plan", body=body, headers={"Content-Type": client.JSON}
    )
    answer = judged(shown.client(), ask, named)
    planned = answer.as_(answers.Planned)
    structured = printing.structured(wanted.form, answer.body)
    shown.say(structured if structured is not None else planned.text)
    if planned.findings:
        shown.tell(findings.lines(planned.findings, named.texts))
    if out:
        plans.write(out, plans.saved(planned, named))
    if planned.verdict not in {"unchanged", "refused"}:
        words = " ".join(shlex.quote(word) for word in source)
        line = shlex.quote(out) if out else f"{words} --if-revision {planned.base.revision}"
        shown.tell(f"apply: tiercast apply {line}")
    return _exit_of(planned.verdict, wanted.detailed_exitcode)


class _Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How a plan is shown."""

    detailed_exitcode: bool
    full: bool
    form: str


def _exit_of(verdict: str, detailed: bool) -> int:
    if verdict == "refused":
        return exits.Exit.CONFLICT
    return exits.Exit.CHANGES if detailed and verdict != "unchanged" else exits.Exit.OK


def _offline(shown: session.Session, source: tuple[str, ...], base: tuple[str, ...], wanted: _Shape) -> int:
    known = shown.catalogue()
    old = _document(reading.read(sources.read(base)))
    new = _document(reading.check(sources.read(source), known))
    today = dt.datetime.fromtimestamp(shown.clock.wall(), dt.UTC).date()
    made = transition.plan([transition.Live(None, old)], new, known, today=today)
    structured = printing.structured(wanted.form, msgspec.json.encode(made))
    shown.say(structured if structured is not None else rendering.render_plan(made, full=wanted.full))
    return _exit_of(made.verdict, wanted.detailed_exitcode)


def _document(read: reading.Reading) -> model.Document:
    if read.document is None or not read.valid:
        raise findings.InvalidError(read.findings, read.texts)
    return read.document


def judged(asked: client.Client, ask: client.Ask, named: sources.Named) -> client.Answer:
    """The answer; findings become an error that can show the lines they stand in."""
    try:
        return asked.call(ask)
    except client.ProblemError as error:
        if error.problem.errors:
            kind = findings.ForbiddenError if error.problem.code == "refused" else findings.InvalidError
            raise kind(error.problem.errors, named.texts) from None
        raise
