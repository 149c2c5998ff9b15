"""Join lines (`token create`, `list`, `revoke`), and servers that come and go (`server accept`, `server expel`)."""

import shlex
import urllib.parse

import click
import msgspec

from coordinator.cli import answers_joining, client, completing, exits, options, printing, session
from coordinator.host import grouping

TOKENS = f"{client.ADMIN}/tokens"
SERVERS = f"{client.ADMIN}/servers"
HEAD = ("ID", "STATE", "SERVER", "BY", "MADE", "EXPIRES")


@click.group(cls=grouping.Group)
def token() -> None:
    """Join lines: by one a new machine becomes a server, once."""


@token.command(
    epilog=options.examples(
        "tiercast token create --server n1", "tiercast token create --ttl 10m --at 10.2.0.21:7402"
    )
)
@click.option("--server", "name", default="", metavar="NAME", help="Bind it to this name; without, it waits for `server accept`.")  # fmt: skip
@click.option("--ttl", type=options.Duration(), default="1h", show_default=True, help="How long it may be used.")  # fmt: skip
@click.option(
    "--at",
    "places",
    type=options.Place(),
    multiple=True,
    metavar="HOST:PORT",
    help="Where to join [default: MIC].",
)
@click.option("--dir", "directory", default="", help="Of the new server, where it is not the usual one.")
@options.context
@printing.output("table", "json", "yaml", "name")
def create(name: str, ttl: float, places: tuple[str, ...], directory: str, form: str) -> int:
    """Make a join line and print it as one command for the new machine. It is shown this once."""
    shown = session.current()
    body = msgspec.json.encode({"server": name, "ttl_s": ttl})
    answer = shown.client().call(client.post(TOKENS, body, shown.random.token(16)))
    made = answer.as_(answers_joining.LineMade)
    command = _command(made, places, directory)
    if form in {"json", "yaml"}:
        plain = msgspec.json.encode({**msgspec.to_builtins(made), "command": command})
        shown.say(printing.structured(form, plain) or "")
        return exits.Exit.OK
    if form == "name":
        shown.say(made.line)
        return exits.Exit.OK
    shown.tell(
        f"on the new machine, once, until {printing.moment(made.expires)} (the line is not shown again):"
    )
    shown.say(command)
    if not name:
        shown.tell("it waits there, parked, until you name it: tiercast server accept ID NAME")
    return exits.Exit.OK


def _command(made: answers_joining.LineMade, places: tuple[str, ...], directory: str) -> str:
    words = ["tiercast", "server", "join"]
    words += ["--dir", directory] if directory else []
    words.append(made.line)
    for place in places or made.at:
        words += ["--at", place]
    return shlex.join(words)


@token.command("list")
@click.option("--all", "every", is_flag=True, help="Those that were used, revoked or have expired too.")
@options.system
@printing.output("table", "json", "yaml", "name")
def list_lines(form: str, *, every: bool) -> int:
    """Join lines, newest first; never their secrets."""
    shown = session.current()
    answer = shown.client().call(
        client.Ask(path=f"{TOKENS}?{urllib.parse.urlencode({'all': str(every).lower()})}")
    )
    found = answer.as_(answers_joining.Lines)
    structured = printing.structured(form, answer.body)
    if structured is not None:
        shown.say(structured)
    elif form == "name":
        shown.say("\n".join(one.id for one in found.lines))
    elif found.lines:
        shown.say_coloured(printing.table(HEAD, [_row(one) for one in found.lines]))
    else:
        shown.tell("no join line can be used now" if not every else "no join line was ever made")
    return exits.Exit.OK


def _row(one: answers_joining.LineView) -> tuple[str, ...]:
    who = one.server or "any"
    return (
        one.id,
        one.state,
        f"{who} ({one.server_id})" if one.server_id else who,
        one.author,
        printing.moment(one.made),
        printing.moment(one.expires),
    )


@token.command()
@click.argument("line_id", metavar="ID")
@options.system
def revoke(line_id: str) -> int:
    """Nobody joins by this line any more."""
    shown = session.current()
    path = f"{TOKENS}/{urllib.parse.quote(line_id, safe='')}/revoke"
    shown.client().call(client.post(path, b"", shown.random.token(16)))
    shown.tell(f"join line {line_id} is revoked")
    return exits.Exit.OK


@click.command()
@click.argument("server_id", metavar="ID")
@click.argument("name")
@options.system
@printing.output("table", "json", "yaml", "name")
def accept(server_id: str, name: str, form: str) -> int:
    """Give the NAME to the server that joined without one; `tiercast servers` shows its ID."""
    shown = session.current()
    seat = _changed(shown, f"{_of(server_id)}/accept", {"name": name}, form)
    if seat is not None:
        told = f"placed at {seat.site}" if seat.state == "placed" else "parked until a revision names it"
        shown.tell(f"{seat.server_id} is {seat.server}, {told}")
    return exits.Exit.OK


@click.command()
@click.argument("name", metavar="NAME|ID", shell_complete=completing.servers)
@click.option("-m", "--message", "reason", default="", help="Why; stands in the audit.")
@options.yes
@options.system
@printing.output("table", "json", "yaml", "name")
def expel(name: str, reason: str, form: str, *, yes: bool) -> int:
    """Take a server out for ever: its links end at once, its certificate opens nothing, its name is free."""
    shown = session.current()
    asked = shown.client()
    if not yes and not shown.confirmed(f"expel {name} for ever? what runs there is not stopped by it"):
        shown.tell("nothing was changed")
        return exits.Exit.OK
    seat = _changed(shown, f"{_of(name)}/expel", {"reason": reason}, form, asked)
    if seat is not None:
        shown.tell(f"{seat.server} ({seat.server_id}) is expelled; its name may be given to another machine")
        shown.tell("  on it, if you still can: tiercast server stop, and delete its directory")
    return exits.Exit.OK


def _of(name: str) -> str:
    return f"{SERVERS}/{urllib.parse.quote(name, safe='')}"


def _changed(
    shown: session.Session,
    path: str,
    body: dict[str, str],
    form: str,
    asked: client.Client | None = None,
) -> answers_joining.Seat | None:
    """What it is afterwards; None where that was printed already."""
    ask = client.post(path, msgspec.json.encode(body), shown.random.token(16))
    answer = (asked or shown.client()).call(ask)
    structured = printing.structured(form, answer.body)
    if structured is not None:
        shown.say(structured)
        return None
    seat = answer.as_(answers_joining.Seat)
    if form == "name":
        shown.say(seat.server)
        return None
    return seat
