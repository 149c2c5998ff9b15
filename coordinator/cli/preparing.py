"""`apply --prepare`, `--prepared` and `--withdraw`: ship a revision and have it checked everywhere before anything of it runs."""

from collections.abc import Iterator, Mapping

import click
import msgspec

from coordinator import errors, names
from coordinator.cli import client, exits, printing, session, waiting

LOOK_S = 1.0
PREPARED = f"{client.CFG}/prepared"
TOLD = 10  # servers with trouble, one line each


class Prepared(msgspec.Struct, frozen=True):
    """The answer to `prepare`."""

    version: names.Version
    base: names.Version
    """The active one."""
    unchanged: bool
    plan_text: str = ""


class Trouble(msgspec.Struct, frozen=True):
    role: str
    code: str
    message: str


class Checked(msgspec.Struct, frozen=True):
    server: str
    site: str
    state: str
    troubles: tuple[Trouble, ...] = ()
    reason: str = ""


class View(msgspec.Struct, frozen=True):
    """How far it has come."""

    version: names.Version
    counts: Mapping[str, int]
    servers: tuple[Checked, ...]
    left_out: int = 0


def number(asked: client.Client) -> int:
    """Of what is prepared. Raises `ProblemError` where nothing is."""
    return asked.call(client.Ask(path=PREPARED)).as_(View).version.revision


def withdraw(shown: session.Session) -> int:
    """Take it back."""
    answer = shown.client().call(client.post(f"{client.CFG}/withdraw", b"", shown.random.token(16)))
    revision = answer.as_(dict[str, int])["revision"]
    shown.tell(f"revision {revision} is withdrawn; its number is not used again")
    return exits.Exit.OK


class Waiter:
    """Waits until every server that can be reached has it and has checked it."""

    def __init__(self, shown: session.Session, asked: client.Client, form: str) -> None:
        self._shown = shown
        self._asked = asked
        self._form = form

    def wait(self, level: waiting.Level, timeout_s: float) -> int:
        """Ctrl-C detaches."""
        end = self._shown.clock.monotonic() + timeout_s
        try:
            while True:
                answer = self._asked.call(client.Ask(path=PREPARED))
                view = answer.as_(View)
                under_way = view.counts.get("coming", 0) + view.counts.get("silent", 0)
                late = self._shown.clock.monotonic() >= end
                if not under_way or late or level is waiting.Level.NONE:
                    return self._ended(answer, view, level, under_way=bool(under_way))
                self._shown.progress(_numbers(view))
                self._shown.sleep(LOOK_S)
        except KeyboardInterrupt:
            self._shown.tell("not waited for any longer; it goes on; activate it: tiercast apply --prepared")
            return exits.Exit.INTERRUPTED

    def _ended(self, answer: client.Answer, view: View, level: waiting.Level, *, under_way: bool) -> int:
        structured = printing.structured(self._form, answer.body)
        if structured is not None:
            self._shown.say(structured)
        else:
            self._shown.say("\n".join(_lines(view)))
        if view.counts.get("refused"):
            return exits.Exit.FAILED
        if under_way and level is not waiting.Level.NONE:
            return exits.Exit.TIMED_OUT
        self._shown.tell("activate it: tiercast apply --prepared")
        if level is waiting.Level.ALL and view.counts.get("absent"):
            return exits.Exit.ABSENT
        return exits.Exit.OK


def _numbers(view: View) -> str:
    total = sum(view.counts.values())
    others = ", ".join(
        f"{count} {state}" for state, count in view.counts.items() if count and state != "held"
    )
    line = f"revision {view.version.revision} held by {view.counts.get('held', 0)} of {total}"
    return f"{line}; {others}" if others else line


def _lines(view: View) -> Iterator[str]:
    yield _numbers(view)
    bad = [one for one in view.servers if one.state in {"refused", "silent"}]
    for one in bad[:TOLD]:
        yield from (
            f"  {one.server} ({one.site}): {trouble.role + ': ' if trouble.role else ''}{trouble.message}"
            for trouble in one.troubles
        )
        if one.reason:
            yield f"  {one.server} ({one.site}): no answer ({one.reason})"
    if len(bad) > TOLD:
        yield f"  and {len(bad) - TOLD} more: -o json"
    absent = [one.server for one in view.servers if one.state == "absent"]
    if absent:
        yield f"  absent, and will check when they return: {', '.join(absent[:TOLD])}" + (
            f" and {len(absent) - TOLD} more" if len(absent) > TOLD else ""
        )


def chosen(*, prepare: bool, prepared: bool, withdrawn: bool, source: bool) -> None:
    """At most one of them, and a source only where one is needed. Raises `UsageError`."""
    if sum((prepare, prepared, withdrawn)) > 1:
        raise errors.UsageError("--prepare, --prepared and --withdraw exclude each other")
    if (prepared or withdrawn) and source:
        raise errors.UsageError("what is prepared is known: name no files", hint="tiercast apply --prepared")


def options(command: click.decorators.FC) -> click.decorators.FC:
    """Of `apply`."""
    for option in (
        click.option("--withdraw", "withdrawn", is_flag=True, help="Take back what is prepared."),
        click.option("--prepared", is_flag=True, help="Activate what is prepared."),
        click.option("--prepare", is_flag=True, help="Ship and check it everywhere; run nothing of it yet."),
    ):
        command = option(command)
    return command
