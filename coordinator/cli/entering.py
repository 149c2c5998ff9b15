"""`tiercast login` and `logout`: a token for this machine's context, and its end.

The one-time secret that `server init` wrote becomes a person here: whoever logs in with it chooses name and password, and
the secret is over. Law: no password is an argument; the token goes into the private file of contexts and nowhere else.
"""

import urllib.parse

import click
import msgspec

from coordinator import errors
from coordinator.cli import answers, answers_people, client, exits, options, passwords, printing, session
from coordinator.host import contexts

LOGIN = f"{client.ADMIN}/login"
FIRST_NAME = "admin"
HIDDEN = "token"


@click.command(
    epilog=options.examples("tiercast login ada", "tiercast login bea@branch --server https://10.1.0.11:8443")
)
@click.argument("name", required=False, metavar="[NAME[@DOMAIN]]")
@click.option("--ttl", type=options.Duration(), default="12h", show_default=True, help="How long it lasts.")
@passwords.from_stdin
@options.system
@printing.output("table", "json", "yaml", "name")
def login(name: str | None, ttl: float, form: str, *, from_stdin: bool) -> int:
    """Log in, and remember it in the context; the first login makes a person of what `server init` wrote."""
    shown = session.current()
    asked = shown.client()
    first = _is_first(asked)
    if name is None and not (first and from_stdin):
        name = passwords.asked(shown, "name", FIRST_NAME if first else "")
    given, _, domain = (name or FIRST_NAME).partition("@")
    if first and not domain:
        shown.tell(f"this is the first login: {given} becomes a person, and the secret of `server init` ends")
        password = passwords.chosen(shown, from_stdin=from_stdin, whose=given)
        path, body = f"{LOGIN}/first", {"name": given, "password": password, "ttl_s": ttl}
    else:
        password = passwords.present(shown, from_stdin=from_stdin)
        path, body = LOGIN, {"name": given, "domain": domain, "password": password, "ttl_s": ttl}
    ask = client.post(path, msgspec.json.encode(body), shown.random.token(16))
    issued = asked.call(ask).as_(answers_people.Issued)
    _remember(shown, issued.token)
    plain = {key: value for key, value in msgspec.to_builtins(issued).items() if key != HIDDEN}
    structured = printing.structured(form, msgspec.json.encode(plain))
    if structured is not None:
        shown.say(structured)
    elif form == "name":
        shown.say(issued.name)
    shown.tell(
        f"logged in as {issued.name} of {issued.domain}, {issued.role}, until {printing.moment(issued.expires)}"
    )
    return exits.Exit.OK


def _is_first(asked: client.Client) -> bool:
    """Whether the context still holds the one-time secret."""
    try:
        return asked.call(client.Ask(path=f"{client.ADMIN}/whoami")).as_(answers.Who).first
    except client.ProblemError as problem:
        if problem.problem.code == "unauthenticated":
            return False
        raise


@click.command()
@options.system
def logout() -> int:
    """End the token of this context, and forget it."""
    shown = session.current()
    try:
        ask = client.post(f"{client.ADMIN}/logout", b"", shown.random.token(16))
        shown.client().call(ask)
    except client.ProblemError as problem:
        if problem.problem.code != "unauthenticated":
            raise
        shown.tell("the token of this context was over already")
    _remember(shown, "")
    shown.tell("logged out")
    return exits.Exit.OK


def _remember(shown: session.Session, token: str) -> None:
    """In the context that was asked; a system named by address becomes one."""
    place = contexts.path(shown.environment)
    known = contexts.read(place, session.parsed)
    name = shown.context or ("" if _elsewhere(shown) else known.current) or _host(shown.system())
    held = shown.system() if name not in known.contexts or _elsewhere(shown) else known.contexts[name]
    changed = {**known.contexts, name: msgspec.structs.replace(held, token=token)}
    try:
        contexts.write(place, msgspec.structs.replace(known, current=known.current or name, contexts=changed))
    except OSError as problem:
        raise errors.UsageError(
            f"{place} cannot be written: {problem.strerror}", hint=f"name another file by {contexts.VARIABLE}"
        ) from problem
    if shown.environment.get(session.TOKEN):
        shown.tell(f"{session.TOKEN} is set, and goes before what the context holds")


def _elsewhere(shown: session.Session) -> bool:
    """The system was named by its address, with a CA of its own."""
    return bool(shown.server or shown.environment.get(session.SERVER)) and session.CA in shown.environment


def _host(context: contexts.Context) -> str:
    parts = urllib.parse.urlsplit(context.servers[0])
    return parts.hostname or context.servers[0]
