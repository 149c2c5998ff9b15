"""Who asks, and whom: `whoami`, and the contexts of the command line."""

from typing import TextIO

import click
import msgspec

from coordinator import errors
from coordinator.cli import answers, client, completing, exits, options, printing, session
from coordinator.host import contexts, grouping

CA_CHARACTERS = 64 * 1024  # a certificate of ours has 600


@click.command()
@options.system
@printing.output("table", "json", "yaml", "name")
def whoami(form: str) -> int:
    """Whom the token of this context stands for."""
    shown = session.current()
    answer = shown.client().call(client.Ask(path=f"{client.ADMIN}/whoami"))
    who = answer.as_(answers.Who)
    structured = printing.structured(form, answer.body)
    if structured is not None:
        shown.say(structured)
    else:
        shown.say(who.name if form == "name" else _told(who))
        if who.first and form == "table":
            shown.tell("this is the one-time secret of `server init`: `tiercast login` makes a person of it")
    return exits.Exit.OK


def _told(who: answers.Who) -> str:
    domain = f" of {who.domain}" if who.domain else ""
    reach = f", for {', '.join(who.scopes)} alone" if who.scopes else ""
    until = f", until {printing.moment(who.expires)}" if who.expires else ""
    return f"{who.name}, {who.role}{domain}, of cluster {who.cluster}{reach}{until}"


@click.group(cls=grouping.Group)
def context() -> None:
    """Systems known here: which one is asked."""


@context.command("list")
@printing.output("table", "json", "yaml", "name")
def list_contexts(form: str) -> int:
    """All contexts; tokens are not shown."""
    shown = session.current()
    known = contexts.read(contexts.path(shown.environment), session.parsed)
    plain = [
        {"name": name, "current": name == known.current, "servers": list(one.servers)}
        for name, one in sorted(known.contexts.items())
    ]
    structured = printing.structured(form, msgspec.json.encode(plain))
    if structured is not None:
        shown.say(structured)
    elif form == "name":
        shown.say("\n".join(sorted(known.contexts)))
    else:
        rows = [
            ("*" if name == known.current else " ", name, ", ".join(one.servers))
            for name, one in sorted(known.contexts.items())
        ]
        shown.say_coloured(printing.table((" ", "NAME", "SERVERS"), rows))
    return exits.Exit.OK


@context.command("use")
@click.argument("name", shell_complete=completing.known_contexts)
def use_context(name: str) -> int:
    """Ask this system from now on."""
    shown = session.current()
    place = contexts.path(shown.environment)
    known = contexts.read(place, session.parsed)
    if name not in known.contexts:
        have = ", ".join(sorted(known.contexts)) or "none"
        raise errors.UsageError(f"no such context (got {name!r}, have {have})", hint="tiercast context list")
    contexts.write(place, msgspec.structs.replace(known, current=name))
    shown.tell(f"now asked: {name}")
    return exits.Exit.OK


@context.command("servers")
@click.argument("servers", nargs=-1, required=True, metavar="URL...")
@click.option("--context", "name", default="", metavar="NAME", help="Of another one than the current one.")
def set_servers(servers: tuple[str, ...], name: str) -> int:
    """Ask this system at these servers, in this order: any that runs ws, the next where one does not answer."""
    from coordinator.cli import https  # noqa: PLC0415 30 ms that nothing else here needs

    shown = session.current()
    chosen, known = _chosen(shown, name)
    for server in servers:
        https.address(server)
    _change(shown, chosen, msgspec.structs.replace(known, server=servers))
    shown.tell(f"{chosen} is asked at {', '.join(servers)}")
    return exits.Exit.OK


@context.command("ca")
@click.argument("file", type=click.File("r", encoding="ascii", errors="replace"), metavar="FILE")
@click.option("--context", "name", default="", metavar="NAME", help="Of another one than the current one.")
def set_ca(file: TextIO, name: str) -> int:
    """Know this system by the CA in FILE (`-`: standard input) and by no other, once it has shown a certificate of it."""
    from coordinator.cli import https  # noqa: PLC0415 as above

    shown = session.current()
    chosen, known = _chosen(shown, name)
    ca = file.read(CA_CHARACTERS)
    where = https.shows(known.servers, ca)
    _change(shown, chosen, msgspec.structs.replace(known, ca=ca))
    shown.tell(f"{chosen} is known by that CA alone; {where} shows a certificate of it")
    return exits.Exit.OK


def _chosen(shown: session.Session, name: str) -> tuple[str, contexts.Context]:
    """Raises `UsageError`."""
    known = contexts.read(contexts.path(shown.environment), session.parsed)
    chosen = name or known.current
    if chosen not in known.contexts:
        have = ", ".join(sorted(known.contexts)) or "none"
        raise errors.UsageError(
            f"no such context (got {chosen!r}, have {have})", hint="tiercast context list"
        )
    return chosen, known.contexts[chosen]


def _change(shown: session.Session, chosen: str, changed: contexts.Context) -> None:
    place = contexts.path(shown.environment)
    known = contexts.read(place, session.parsed)
    contexts.write(place, msgspec.structs.replace(known, contexts={**known.contexts, chosen: changed}))
