"""`tiercast audit`: who did, or was refused, what; by page, followed, or all of it into a file."""

import contextlib
import os
import pathlib
import urllib.parse
from collections.abc import Callable, Iterator

import click
import msgspec

from coordinator import errors
from coordinator.cli import answers_people, client, exits, options, printing, session

AUDIT = f"{client.ADMIN}/audit"
PAGE = 500
WAIT_S = 20
PAUSE_S = 1.0
_HEAD = ("NUMBER", "TIME", "WHO", "SOURCE", "VERB", "OUTCOME", "DETAIL")
_NOBODY = "a stranger"


@click.command(
    epilog=options.examples(
        "tiercast audit --since 2h --outcome refused",
        "tiercast audit --who ada --verb cfg.apply",
        "tiercast audit --export audit.jsonl",
    )
)
@click.option("--since", type=options.Duration(), default=None, help="Not older than this, such as 2h.")
@click.option("--who", default="", help="Of this person: NAME, or NAME@DOMAIN outside the master domain.")
@click.option("--verb", default="", help="Of this verb, such as cfg.apply.")
@click.option(
    "--outcome", default="", help="ok, refused (whatever is not ok), or a code such as not_allowed."
)
@click.option(
    "-n", "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many."
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, oldest first, until Ctrl-C.")
@click.option(
    "--export", "output", type=click.Path(path_type=pathlib.Path, dir_okay=False, allow_dash=True), default=None,
    help="Write everything that is kept here, one JSON object a line, oldest first (`-`: to stdout).",
)  # fmt: skip
@options.system
@printing.output("table", "wide", "json", "yaml", "name")
def audit(  # noqa: PLR0913 one parameter per option
    *, since: float | None, who: str, verb: str, outcome: str, limit: int, follow: bool,
    output: pathlib.Path | None, form: str,
) -> int:  # fmt: skip
    """Every change and every refusal: who, from where, what, and how it ended; newest first."""
    shown = session.current()
    asked = shown.client()
    filters = {"who": who, "verb": verb, "outcome": outcome}
    if since is not None:
        filters["since"] = str(max(0, int(shown.clock.wall() - since)))
    wanted = {name: value for name, value in filters.items() if value}
    if output is not None:
        return _export(shown, asked, wanted, output)
    if follow:
        return _follow(shown, asked, wanted, form, limit)
    found = _newest(asked, wanted, limit)
    if form in {"json", "yaml"}:
        shown.say(printing.structured(form, msgspec.json.encode(found)) or "")
    else:
        _print(shown, found.entries, form, head=True)
        if found.first and found.entries and found.entries[-1].number <= found.first:
            shown.tell(_cut(found.first))
    return exits.Exit.OK


def _page(asked: client.Client, query: dict[str, str], *, patient: bool = True) -> answers_people.Audit:
    path = f"{AUDIT}?{urllib.parse.urlencode(query)}"
    return asked.call(client.Ask(path=path, patient=patient)).as_(answers_people.Audit)


def _newest(asked: client.Client, wanted: dict[str, str], limit: int) -> answers_people.Audit:
    """As many as wanted, over as many pages as that takes."""
    found = _page(asked, {**wanted, "limit": str(min(limit, PAGE))})
    entries = list(found.entries)
    while found.more and len(entries) < limit:
        left = min(limit - len(entries), PAGE)
        found = _page(asked, {**wanted, "limit": str(left), "before": str(found.next)})
        entries += found.entries
    return msgspec.structs.replace(found, entries=tuple(entries))


def _print(
    shown: session.Session, entries: tuple[answers_people.Audited, ...], form: str, *, head: bool
) -> None:
    if form == "name":
        if entries:
            shown.say("\n".join(str(one.number) for one in entries))
        return
    if not entries and head:
        shown.tell("nothing")
        return
    more = ("REQUEST", "DIGEST", "REVISION") if form == "wide" else ()
    lines = printing.table((*_HEAD, *more), [_row(one, wide=form == "wide") for one in entries])
    shown.say_coloured(lines if head else lines[1:])


def _row(one: answers_people.Audited, *, wide: bool) -> tuple[str, ...]:
    more = (one.request, printing.short(one.digest), str(one.version)) if wide else ()
    who = one.who or _NOBODY
    return (
        str(one.number),
        printing.moment(one.at),
        who,
        one.source,
        one.verb,
        one.outcome,
        one.detail,
        *more,
    )


def _cut(first: int) -> str:
    return f"kept from number {first} on; those before it were cut (a program exports them in time: --export)"


# --- all of it, and what comes ------------------------------------------------------------------------------------------


def _oldest(asked: client.Client, wanted: dict[str, str]) -> Iterator[answers_people.Audit]:
    """Every page from the oldest on, until there is no more now."""
    after = -1
    while True:
        query = {**wanted, "oldest_first": "true", "limit": str(PAGE)}
        found = _page(asked, query if after < 0 else {**query, "after": str(after)})
        yield found
        if not found.more:
            return
        after = found.next


def _export(
    shown: session.Session, asked: client.Client, wanted: dict[str, str], output: pathlib.Path
) -> int:
    count, first, numbers = 0, 0, list[int]()
    with _opened(shown, output) as write:
        for page in _oldest(asked, wanted):
            for one in page.entries:
                write(msgspec.json.encode(one) + b"\n")
            count += len(page.entries)
            numbers += [one.number for one in page.entries]
            first = max(first, page.first)
    told = f", from number {numbers[0]} to {numbers[-1]}" if numbers else ""
    shown.tell(f"{count} entries{told}, in {output}")
    if first:
        shown.tell(_cut(first))
    return exits.Exit.OK


@contextlib.contextmanager
def _opened(shown: session.Session, output: pathlib.Path) -> Iterator[Callable[[bytes], object]]:
    """Private, and never over another file. Raises `UsageError`, `InUseError`."""
    if str(output) == "-":
        yield lambda data: shown.raw(data.decode())
        return
    try:
        number = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as problem:
        raise errors.InUseError(f"{output} exists already", hint="name another file") from problem
    except OSError as problem:
        raise errors.UsageError(f"{output} cannot be written: {problem.strerror}") from problem
    with os.fdopen(number, "wb") as file:
        yield file.write


def _follow(
    shown: session.Session, asked: client.Client, wanted: dict[str, str], form: str, limit: int
) -> int:
    """The newest few, then whatever comes; a coordinator that is away is waited for."""
    found = _newest(asked, wanted, limit)
    _each(shown, found.entries[::-1], form, head=True)
    after = found.last
    while True:
        query = {**wanted, "oldest_first": "true", "after": str(after), "wait": f"{WAIT_S}s"}
        try:
            page = _page(asked, query, patient=False)
        except errors.TiercastError as error:
            if client.code_of(error) not in {
                "no_coordinator",
                "unreachable",
                "lost",
                "timed_out",
                "no_quorum",
            }:
                raise
            shown.progress(f"no answer from {asked.place}, retrying: {error.message}")
            shown.sleep(PAUSE_S)
            continue
        _each(shown, page.entries, form, head=False)
        after = page.next


def _each(
    shown: session.Session, entries: tuple[answers_people.Audited, ...], form: str, *, head: bool
) -> None:
    """One by one: what is structured is one object a line."""
    if form == "json":
        for one in entries:
            shown.say(msgspec.json.encode(one).decode())
    elif form == "yaml":
        for one in entries:
            shown.say("---\n" + (printing.structured("yaml", msgspec.json.encode(one)) or ""))
    elif entries:
        _print(shown, entries, form, head=head)
