"""Commands that change the system: `apply`, `rollback`."""

from collections.abc import Sequence
from typing import Any

import click
import msgspec

from coordinator import errors
from coordinator.cli import (
    answers,
    client,
    completing,
    exits,
    options,
    planning,
    plans,
    preparing,
    printing,
    rollouts,
    session,
    sources,
    waiting,
)

AGAIN_S = 30.0  # a change without an answer is sent again, under its key, while whoever took it restarts
AGAIN_PAUSE_S = 1.0
_AGAIN = frozenset({"unknown_outcome", "unreachable", "lost", "no_coordinator", "no_quorum", "busy"})


@click.command(
    epilog=options.examples(
        "tiercast apply system.yaml sites/ -m 'two more web servers'",
        "tiercast apply change.plan --yes --wait all --timeout 5m",
        "tiercast apply system.yaml --if-revision 41",
    )
)
@click.argument("source", nargs=-1, metavar="FILES..., PLAN or ID")
@click.option("--draft", default="", metavar="ID", help="Of `tiercast upload`.")
@preparing.options
@options.wait
@options.timeout
@options.if_revision
@options.message
@options.yes
@options.dry_run
@options.system
@printing.output("table", "json", "yaml")
def apply(source: tuple[str, ...], draft: str, **given: Any) -> int:  # noqa: ANN401 click's options, each typed where it is declared
    """Make a document the active revision, and wait until whoever can be reached runs it.

    FILES are one file, several, a folder, or - for stdin; PLAN is of `tiercast plan --out`, and only what it says is done;
    ID is a draft (d-7f3a) or an old revision (42).
    """
    shown = session.current()
    ways = {way: bool(given.pop(way)) for way in ("prepare", "prepared", "withdrawn")}
    preparing.chosen(**ways, source=bool(source or draft))
    choice = msgspec.convert(given, _Choice)
    _must_be_able_to_ask(shown, choice)
    if ways["withdrawn"]:
        return preparing.withdraw(shown, choice.form, yes=choice.yes, dry_run=choice.dry_run)
    asked = shown.client()
    source = (str(preparing.number(asked)),) if ways["prepared"] else source
    saved = None if draft else plans.read(source)
    named = saved.source if saved else sources.named(source, draft)
    base, verb = None, "prepare (nothing of it runs yet)" if ways["prepare"] else "apply"
    if saved is not None:
        base = saved.planned
        plans.check(saved, choice.if_revision)
        if not choice.yes and not choice.dry_run and not _agrees(shown, base, verb):
            return exits.Exit.OK
    elif not choice.yes and not choice.dry_run:
        base = _agreed(shown, asked, named, verb)
        if base is None:
            return exits.Exit.OK
    request = {
        "source": named,
        "if_revision": choice.if_revision or (base.base.revision if base else 0),
        "if_generation": base.base.generation if base and not choice.if_revision else 0,
        "if_digest": saved.digest if saved else "",
        "if_base_digest": saved.base_digest if saved else "",
        "message": choice.message,
        "dry_run": choice.dry_run,
    }
    change = _Change(shown, asked, choice)
    if ways["prepare"]:
        return change.prepare(request, named)
    return change.carry_out(f"{client.CFG}/apply", request, named)


@click.command(
    epilog=options.examples(
        "tiercast rollback --dry-run", "tiercast rollback --to 41 -m 'the new one is slow'"
    )
)
@click.option(
    "--to",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="Default: the last that is known to run.",
    shell_complete=completing.revisions,
)
@options.wait
@options.timeout
@options.if_revision
@options.message
@options.yes
@options.dry_run
@options.system
@printing.output("table", "json", "yaml")
def rollback(to: int | None, **given: Any) -> int:  # noqa: ANN401 click's options, each typed where it is declared
    """Go back to an old revision: a new revision equal to it, through the same plan."""
    shown = session.current()
    choice = msgspec.convert(given, _Choice)
    _must_be_able_to_ask(shown, choice)
    asked = shown.client()
    active, before = _active_and(shown, asked, to)
    if not choice.yes and not choice.dry_run:
        named = sources.Named(revision=before)
        if _agreed(shown, asked, named) is None:
            return exits.Exit.OK
    request = {
        "to": before,
        "if_revision": choice.if_revision or active.version.revision,
        "if_generation": 0 if choice.if_revision else active.version.generation,
        "message": choice.message or f"rollback to revision {before}",
        "dry_run": choice.dry_run,
    }
    return _Change(shown, asked, choice).carry_out(
        f"{client.CFG}/rollback", request, sources.Named(revision=before)
    )


def _active_and(
    shown: session.Session, asked: client.Client, to: int | None
) -> tuple[answers.RevisionView, int]:
    """The active revision, and the one to go back to: named here, so that a repeated request undoes nothing twice."""
    answer = asked.call(client.Ask(path=f"{client.CFG}/revisions?limit=50")).as_(answers.HistoryView)
    active = next((one for one in answer.revisions if one.state == "active"), None)
    if active is None:
        raise errors.NotFoundError("no revision is active", hint="tiercast history")
    before = answer.back if to is None else to
    if not before:
        raise errors.NotFoundError("there is no revision before the active one", hint="name one: --to N")
    shown.tell(_back(answer.revisions, active, before, chosen=to is None))
    return active, before


def _back(
    revisions: Sequence[answers.RevisionView], active: answers.RevisionView, before: int, *, chosen: bool
) -> str:
    """Where it goes, how that ended then, and what is passed over."""
    ended = {one.version.revision: one.outcome for one in revisions}
    line = f"back to revision {before} ({ended.get(before) or 'not known'})"
    passed = [f"{n} ({ended[n] or 'not known'})" for n in ended if before < n < active.version.revision]
    return f"{line}; passed over: {', '.join(passed)}" if chosen and passed else line


class _Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a change."""

    level: waiting.Level
    timeout: float
    if_revision: int | None
    message: str
    yes: bool
    dry_run: bool
    form: str


def _must_be_able_to_ask(shown: session.Session, choice: _Choice) -> None:
    if not (choice.yes or choice.dry_run or shown.terminal):
        raise errors.UsageError(
            "this changes the system, and there is no terminal to ask on", hint="say --yes if you mean it"
        )


def _agreed(
    shown: session.Session, asked: client.Client, named: sources.Named, verb: str = "apply"
) -> answers.Planned | None:
    """The plan that a person has seen and said yes to; None where there is nothing to do or the answer was no."""
    body = msgspec.json.encode({"source": named})
    ask = client.Ask(
        method="POST", path=f"{client.CFG}/plan", body=body, headers={"Content-Type": client.JSON}
    )
    planned = planning.judged(asked, ask, named).as_(answers.Planned)
    return planned if _agrees(shown, planned, verb) else None


def _agrees(shown: session.Session, planned: answers.Planned, verb: str = "apply") -> bool:
    """Whether there is something to do, and the person wants it. Raises `RefusedError`."""
    shown.tell(planned.text)
    if planned.verdict == "unchanged":
        return False
    if planned.verdict == "refused":
        raise errors.RefusedError("the change is refused, see above", hint="take the steps that stand there")
    if not shown.confirmed(f"{verb} on top of revision {planned.base.revision}?"):
        shown.tell("nothing was changed")
        return False
    return True


class _Change:
    """Sends one change, and waits for its rollout."""

    def __init__(self, shown: session.Session, asked: client.Client, choice: _Choice) -> None:
        self._shown = shown
        self._asked = asked
        self._choice = choice

    def carry_out(self, path: str, request: dict[str, Any], named: sources.Named) -> int:
        ask = client.post(path, msgspec.json.encode(request), self._shown.random.token(16))
        answer = self._sent(ask, named)
        applied = answer.as_(answers.Applied)
        for warning in applied.warnings:
            self._shown.tell(f"warning: {warning}")
        if applied.plan_text and (self._choice.dry_run or self._choice.yes):
            self._shown.tell(applied.plan_text)
        if applied.unchanged:
            return self._without(
                answer, f"unchanged: revision {applied.version.revision} is this document already"
            )
        if self._choice.dry_run:
            return self._without(answer, "dry run: nothing was changed")
        self._shown.tell(f"revision {applied.version.revision} is active; rollout {applied.rollout}")
        if self._choice.level is waiting.Level.NONE:
            return self._without(answer, f"started: rollout {applied.rollout}")
        return self._awaited(answer, applied)

    def prepare(self, request: dict[str, Any], named: sources.Named) -> int:
        """Ship it, and wait until it is checked."""
        ask = client.post(f"{client.CFG}/prepare", msgspec.json.encode(request), self._shown.random.token(16))
        answer = self._sent(ask, named)
        told = answer.as_(preparing.Prepared)
        if told.plan_text and (self._choice.dry_run or self._choice.yes):
            self._shown.tell(told.plan_text)
        if told.unchanged and told.version == told.base:
            return self._unshipped(
                answer, f"unchanged: revision {told.version.revision} is this document already"
            )
        if self._choice.dry_run:
            return self._unshipped(answer, "dry run: nothing was changed")
        already = " already" if told.unchanged else ""
        self._shown.tell(f"revision {told.version.revision} is prepared{already}; nothing of it runs")
        waiter = preparing.Waiter(self._shown, self._asked, answer, self._choice.form)
        return waiter.wait(self._choice.level, self._choice.timeout)

    def _unshipped(self, answer: client.Answer, line: str) -> int:
        """Nothing is prepared by it."""
        structured = printing.structured(self._choice.form, preparing.whole(answer.body, b"null"))
        if structured is not None:
            self._shown.say(structured)
        self._shown.tell(line)
        return exits.Exit.OK

    def _sent(self, ask: client.Ask, named: sources.Named) -> client.Answer:
        end = self._shown.clock.monotonic() + AGAIN_S
        lost: errors.TiercastError | None = None
        while True:
            try:
                return planning.judged(self._asked, ask, named)
            except errors.TiercastError as error:
                code = client.code_of(error)
                lost = error if code == "unknown_outcome" else lost
                if lost is None or code not in _AGAIN:
                    raise
                if self._shown.clock.monotonic() >= end:
                    raise lost from None
                self._shown.progress(waiting.retrying(self._asked, error))
                self._shown.sleep(AGAIN_PAUSE_S)

    def _without(self, answer: client.Answer, line: str) -> int:
        """A change that is not waited for."""
        self._print(answer.body, b"null", line)
        return exits.Exit.OK

    def _awaited(self, answer: client.Answer, applied: answers.Applied) -> int:
        waiter = waiting.Waiter(self._shown, self._asked, applied.rollout)
        waited = waiter.wait(self._choice.level, self._choice.timeout)
        line = (
            rollouts.closing(waited.view)
            if waited.view
            else f"no answer about rollout {applied.rollout} in time"
        )
        self._print(answer.body, waited.body, line)
        if waited.exit is exits.Exit.TIMED_OUT:
            self._shown.tell(f"still running; the rollout goes on: tiercast status {applied.rollout} -w")
        return waited.exit

    def _print(self, applied: bytes, rollout: bytes, line: str) -> None:
        whole = msgspec.json.encode({"applied": msgspec.Raw(applied), "rollout": msgspec.Raw(rollout)})
        structured = printing.structured(self._choice.form, whole)
        if structured is None:
            self._shown.say(line)
        else:
            self._shown.say(structured)
            self._shown.tell(line)
