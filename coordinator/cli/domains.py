"""`tiercast domains`: the domains with what is kept for them, what is attached to which role, and both as a file."""

import os
import pathlib
import urllib.parse

import click
import msgspec

from coordinator import errors
from coordinator.cli import (
    admin,
    answers,
    answers_people,
    client,
    completing,
    exits,
    options,
    printing,
    session,
)
from coordinator.host import grouping, settings

DOMAINS = f"{client.ADMIN}/domains"
ROSTER_FILE = "roster.json"
"""What a dc role keeps in its directory of state."""
_DOMAIN = click.option("--domain", default="", metavar="NAME", help="Of this domain [default: your own].")


@click.group(cls=grouping.Group)
def domains() -> None:
    """Domains: who is in them, what of them lives in which role, and all that as a file."""


@domains.command("list")
@click.option("--local", is_flag=True, help="The copy of the domain centre on this machine; asks nobody.")
@click.option("--dir", "directory", default=None, help="Of this machine's server, with --local.")
@options.system
@printing.output("table", "json", "yaml", "name")
def list_domains(form: str, directory: str | None, *, local: bool) -> int:
    """Every domain that you may see, with what is attached to roles."""
    shown = session.current()
    answer = _copied(shown, directory) if local else shown.client().call(client.Ask(path=DOMAINS))
    found = answer.as_(answers_people.Domains).domains
    structured = printing.structured(form, answer.body)
    if structured is not None:
        shown.say(structured)
    elif form == "name":
        shown.say("\n".join(one.domain for one in found))
    else:
        head = ("DOMAIN", "FQDN", "SITES", "PEOPLE", "ADMINISTRATORS", "ATTACHED")
        shown.say_coloured(printing.table(head, [_row(one) for one in found]))
    return exits.Exit.OK


def _copied(shown: session.Session, directory: str | None) -> client.Answer:
    """What the domain centre of this machine has kept. Raises `NotFoundError`, `UsageError`, `ProtocolError`."""
    layout = settings.Layout(settings.read(shown.environment, {"dir": directory}).dir)
    try:
        held = [path.read_bytes() for path in sorted(layout.state.glob(f"*/{ROSTER_FILE}"))]
    except OSError as problem:
        raise errors.UsageError(
            f"the copy below {layout.state} cannot be read: {(problem.strerror or str(problem)).lower()}",
            hint="it is private to the server: ask as root",
        ) from problem
    found = [client.Answer(200, data) for data in held]
    if not found:
        raise errors.NotFoundError(
            f"no domain centre has kept a copy below {layout.state}",
            hint="it runs where the document puts a dc role",
        )
    newest = max(found, key=lambda one: one.as_(answers_people.Kept).at)
    shown.tell(
        f"as of {printing.moment(newest.as_(answers_people.Kept).at)}, as the domain centre here was told"
    )
    return newest


def _row(one: answers_people.Domain) -> tuple[str, ...]:
    name = f"{one.domain} (master)" if one.master else one.domain
    things = ", ".join(
        f"{thing.name} to {thing.role} on {thing.server or 'no server'}" for thing in one.entities
    )
    return (
        name if one.configured else f"{name} (not in the document)",
        one.fqdn, ", ".join(one.sites), str(one.people), str(one.administrators), things,
    )  # fmt: skip


@domains.command(epilog=options.examples("tiercast domains attach users --role ldap1 --domain branch"))
@click.argument("name")
@click.option(
    "--role",
    required=True,
    help="The role of the document in which it lives.",
    shell_complete=completing.roles,
)
@_DOMAIN
@click.option("--note", default="", help="A line for those who read the list.")
@options.system
@printing.output("table", "json", "yaml")
def attach(name: str, role: str, domain: str, note: str, form: str) -> int:
    """Say that NAME, something of a domain, lives in a role: the role stays where it is until you say otherwise (D7)."""
    shown = session.current()
    asked = shown.client()
    body = msgspec.json.encode({"name": name, "role": role, "note": note})
    ask = client.post(f"{_of(asked, domain)}/entities", body, shown.random.token(16))
    return admin.done(shown, asked.call(ask), form)


@domains.command()
@click.argument("name")
@_DOMAIN
@options.system
@printing.output("table", "json", "yaml")
def detach(name: str, domain: str, form: str) -> int:
    """Say that NAME lives in no role any more."""
    shown = session.current()
    asked = shown.client()
    path = f"{_of(asked, domain)}/entities/{urllib.parse.quote(name, safe='')}"
    ask = client.Ask(method="DELETE", path=path, headers={"Idempotency-Key": shown.random.token(16)})
    return admin.done(shown, asked.call(ask), form)


@domains.command()
@click.argument("domain", required=False)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=pathlib.Path, dir_okay=False, allow_dash=True),
    help="Write it here (`-`: to stdout); it holds password hashes.",
)  # fmt: skip
@options.system
def export(domain: str | None, output: pathlib.Path) -> int:
    """People with their password hashes, and what is attached, as a file; no tokens."""
    shown = session.current()
    asked = shown.client()
    path = f"{_of(asked, domain or '')}/export"
    answer = asked.call(client.post(path, b"", shown.random.token(16)))
    found = answer.as_(answers_people.Carried)
    text = msgspec.json.format(answer.body, indent=2) + b"\n"
    if str(output) == "-":
        shown.raw(text.decode())
    else:
        _write(output, text)
    people, things = printing.count(len(found.people), "person"), len(found.entities)
    shown.tell(
        f"{found.domain}: {people.replace('persons', 'people')} and {things} attached, without tokens, in {output}; "
        "it holds password hashes, keep it private"
    )
    return exits.Exit.OK


def _write(output: pathlib.Path, text: bytes) -> None:
    """Private, and never over another file. Raises `UsageError`, `InUseError`."""
    try:
        number = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as problem:
        raise errors.InUseError(f"{output} exists already", hint="name another file with -o") from problem
    except OSError as problem:
        raise errors.UsageError(f"{output} cannot be written: {problem.strerror}") from problem
    with os.fdopen(number, "wb") as file:
        file.write(text)


@domains.command("import")
@click.argument("file", type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False, allow_dash=True))
@click.option(
    "--domain", default="", metavar="NAME", help="Into this domain [default: the one that the file names]."
)
@click.option("--replace", is_flag=True, help="Who is there already and different is taken from the file.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, change nothing.")
@options.system
@printing.output("table", "json", "yaml")
def take(file: pathlib.Path, domain: str, form: str, *, replace: bool, dry_run: bool) -> int:
    """Take in what an export wrote: all of it, or, where somebody is there already and different, nothing."""
    shown = session.current()
    data = shown.stdin.read() if str(file) == "-" else file.read_bytes()
    try:
        into = domain or msgspec.json.decode(data, type=answers_people.Carried).domain
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise errors.UsageError(
            f"{file} is not what `domains export` writes: {wrong}",
            hint="export it again; it is not edited by hand",
        ) from wrong
    asked = shown.client()
    flags = b'"replace":%s,"dry_run":%s' % (_flag(yes=replace), _flag(yes=dry_run))
    body = b'{"file":' + data.strip() + b"," + flags + b"}"
    answer = asked.call(client.post(f"{_of(asked, into)}/import", body, shown.random.token(16)))
    done = answer.as_(answers_people.Imported)
    structured = printing.structured(form, answer.body)
    if structured is not None:
        shown.say(structured)
    else:
        for line in _lines(done):
            shown.say(line)
    return exits.Exit.CONFLICT if done.conflicts and not replace else exits.Exit.OK


def _flag(*, yes: bool) -> bytes:
    return b"true" if yes else b"false"


def _lines(done: answers_people.Imported) -> list[str]:
    would = "would be " if done.dry_run else ""
    lines = [f"{would}added: {', '.join(done.added) or 'nobody'}"]
    lines += [f"{would}replaced: {', '.join(done.replaced)}"] if done.replaced else []
    lines += [f"there already, and different: {', '.join(done.conflicts)}"] if done.conflicts else []
    return [*lines, f"unchanged: {done.unchanged}"]


def _of(asked: client.Client, domain: str) -> str:
    """The path of a domain; of the own one, where none is named."""
    if not domain:
        domain = asked.call(client.Ask(path=f"{client.ADMIN}/whoami")).as_(answers.Who).domain
    return f"{DOMAINS}/{urllib.parse.quote(domain, safe='')}"
