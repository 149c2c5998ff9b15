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


class Relayed(msgspec.Struct, frozen=True):
    """An IC without it."""

    role: str
    server: str
    site: str
    state: str
    reason: str = ""


class View(msgspec.Struct, frozen=True):
    """How far it has come."""

    version: names.Version
    counts: Mapping[str, int]
    servers: tuple[Checked, ...]
    left_out: int = 0
    relays: tuple[Relayed, ...] = ()


def number(asked: client.Client) -> int:
    """Of what is prepared. Raises `ProblemError` where nothing is."""
    return asked.call(client.Ask(path=PREPARED)).as_(View).version.revision


def withdraw(shown: session.Session, form: str, *, yes: bool, dry_run: bool) -> int:
    """Take it back, once the person has seen which one."""
    asked = shown.client()
    revision = number(asked)
    body = msgspec.json.encode({"revision": revision})
    if dry_run:
        structured = printing.structured(form, body)
        if structured is not None:
            shown.say(structured)
        shown.tell(f"dry run: revision {revision} would be withdrawn; nothing was changed")
        return exits.Exit.OK
    if not yes and not shown.confirmed(f"withdraw revision {revision}, which is prepared?"):
        shown.tell("nothing was changed")
        return exits.Exit.OK
    answer = asked.call(client.post(f"{client.CFG}/withdraw", body, shown.random.token(16)))
    structured = printing.structured(form, answer.body)
    if structured is not None:
        shown.say(structured)
    shown.tell(f"revision {revision} is withdrawn; its number is not used again")
    return exits.Exit.OK


def whole(prepared: bytes, view: bytes) -> bytes:
    """Both answers as one, for programs."""
    return msgspec.json.encode({"prepared": msgspec.Raw(prepared), "view": msgspec.Raw(view)})


class Waiter:
    """Waits until every server that can be reached has it and has checked it."""

    def __init__(
        self, shown: session.Session, asked: client.Client, prepared: client.Answer, form: str
    ) -> None:
        """`prepared` is the answer to `prepare`."""
        self._shown = shown
        self._asked = asked
        self._prepared = prepared
        self._revision = prepared.as_(Prepared).version.revision
        self._form = form

    def wait(self, level: waiting.Level, timeout_s: float) -> int:
        """Ctrl-C detaches. Raises `ConflictError` where it is not what is prepared any more."""
        try:
            return self._until(level, self._shown.clock.monotonic() + timeout_s)
        except KeyboardInterrupt:
            self._shown.tell("not waited for any longer; it goes on; activate it: tiercast apply --prepared")
            return exits.Exit.INTERRUPTED

    def _until(self, level: waiting.Level, end: float) -> int:
        while True:
            answer = self._look(end)
            if answer is None:
                self._say(b"null", f"no answer about revision {self._revision} in time")
                return exits.Exit.TIMED_OUT
            view = answer.as_(View)
            under_way = view.counts.get("coming", 0) + view.counts.get("silent", 0)
            late = self._shown.clock.monotonic() >= end
            if not under_way or late or level is waiting.Level.NONE:
                return self._ended(answer, view, level, under_way=bool(under_way))
            self._shown.progress(_numbers(view))
            self._shown.sleep(LOOK_S)

    def _look(self, end: float) -> client.Answer | None:
        """Over restarts of whatever answers; None where the time is over."""
        while True:
            try:
                answer = self._asked.call(client.Ask(path=PREPARED, patient=False))
            except errors.TiercastError as error:
                if client.code_of(error) == "not_found":
                    raise self._overtaken("it was activated or withdrawn") from None
                if client.code_of(error) not in waiting.PASSING:
                    raise
                if self._shown.clock.monotonic() >= end:
                    return None
                self._shown.progress(waiting.retrying(self._asked, error))
                self._shown.sleep(LOOK_S)
                continue
            now = answer.as_(View).version.revision
            if now != self._revision:
                raise self._overtaken(f"revision {now} is")
            return answer

    def _overtaken(self, why: str) -> errors.ConflictError:
        return errors.ConflictError(
            f"revision {self._revision} is not prepared any more: {why}", hint="tiercast history"
        )

    def _say(self, view: bytes, text: str) -> None:
        structured = printing.structured(self._form, whole(self._prepared.body, view))
        self._shown.say(text if structured is None else structured)

    def _ended(self, answer: client.Answer, view: View, level: waiting.Level, *, under_way: bool) -> int:
        self._say(answer.body, "\n".join(_lines(view)))
        if view.counts.get("refused") or view.counts.get("blocked"):
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
    bad = [*_relays(view), *_servers(view)]
    yield from bad[:TOLD]
    if len(bad) > TOLD:
        yield f"  and {len(bad) - TOLD} more: -o json"
    for state, words in (
        ("blocked", "wait for their IC"),
        ("absent", "absent, and will check when they return"),
    ):
        named = [one.server for one in view.servers if one.state == state]
        if named:
            more = view.counts.get(state, 0) - len(named[:TOLD])
            yield f"  {words}: {', '.join(named[:TOLD])}" + (f" and {more} more" if more > 0 else "")


def _relays(view: View) -> Iterator[str]:
    for one in view.relays:
        if one.state == "refused":
            yield f"  {one.role} on {one.server} ({one.site}): cannot hold it ({one.reason})"
        elif one.state == "silent":
            yield f"  {one.role} on {one.server} ({one.site}): no answer ({one.reason})"


def _servers(view: View) -> Iterator[str]:
    for one in view.servers:
        for trouble in one.troubles:
            yield f"  {one.server} ({one.site}): {trouble.role + ': ' if trouble.role else ''}{trouble.message}"
        if one.state == "silent":
            yield f"  {one.server} ({one.site}): no answer ({one.reason})"


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
