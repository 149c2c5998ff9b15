"""`tiercast admin`: people and programs of the domains, and their API tokens."""

import urllib.parse

import click
import msgspec

from coordinator.cli import answers, answers_people, client, exits, options, passwords, printing, session
from coordinator.host import grouping

PEOPLE = f"{client.ADMIN}/people"
TOKENS = f"{client.ADMIN}/access/tokens"
ROLES = ("viewer", "operator", "administrator")
_DOMAIN = click.option("--domain", default="", metavar="NAME", help="Of this domain [default: your own].")
_DONE = ("table", "json", "yaml")
_FORMS = ("table", "wide", "json", "yaml", "name")


@click.group(cls=grouping.Group)
def admin() -> None:
    """People and programs: who may ask the system, and how much."""


@admin.command()
@click.argument("name")
@_DOMAIN
@click.option(
    "--role", type=click.Choice(ROLES), default="viewer", show_default=True, help="What they may do."
)
@click.option("--no-password", is_flag=True, help="A program: tokens alone let it in.")
@click.option("--note", default="", help="A line for those who read the list.")
@passwords.from_stdin
@options.system
@printing.output(*_DONE)
def add(  # noqa: PLR0913 one parameter per option
    *, name: str, domain: str, role: str, note: str, no_password: bool, from_stdin: bool, form: str
) -> int:
    """Add a person (who gets a password) or a program (which gets tokens)."""
    shown = session.current()
    asked = shown.client()
    password = "" if no_password else passwords.chosen(shown, from_stdin=from_stdin, whose=name)
    body = {"name": name, "domain": domain, "role": role, "password": password, "note": note}
    ask = client.post(PEOPLE, msgspec.json.encode(body), shown.random.token(16))
    return done(shown, asked.call(ask), form)


@admin.command("list")
@_DOMAIN
@options.system
@printing.output(*_FORMS)
def list_people(domain: str, form: str) -> int:
    """Everybody that you may see."""
    shown = session.current()
    answer = shown.client().call(client.Ask(path=f"{PEOPLE}?{urllib.parse.urlencode({'domain': domain})}"))
    found = answer.as_(answers_people.People).people
    structured = printing.structured(form, answer.body)
    if structured is not None:
        shown.say(structured)
    elif form == "name":
        shown.say("\n".join(f"{one.name}@{one.domain}" for one in found))
    elif found:
        wide = form == "wide"
        head = ("NAME", "DOMAIN", "ROLE", "PASSWORD", "TOKENS", *(("MADE", "BY") if wide else ()), "NOTE")
        shown.say_coloured(printing.table(head, [_person(one, wide=wide) for one in found]))
    else:
        shown.tell("nobody yet: `tiercast login` makes a person of the secret of `server init`")
    return exits.Exit.OK


def _person(one: answers_people.Person, *, wide: bool) -> tuple[str, ...]:
    made = (printing.moment(one.made), one.by) if wide else ()
    return (one.name, one.domain, one.role, "yes" if one.password else "no", str(one.tokens), *made, one.note)


@admin.command()
@click.argument("name")
@_DOMAIN
@options.yes
@options.system
@printing.output(*_DONE)
def remove(name: str, domain: str, form: str, *, yes: bool) -> int:
    """Remove somebody, with all their tokens, at once."""
    shown = session.current()
    asked = shown.client()
    if not yes and not shown.confirmed(f"remove {name} and every token of theirs?"):
        shown.tell("nothing was changed")
        return exits.Exit.OK
    path = _of(asked, name, domain)
    return done(shown, asked.call(client.Ask(method="DELETE", path=path, headers=_key(shown))), form)


@admin.command()
@click.argument("name")
@click.argument("role", type=click.Choice(ROLES))
@_DOMAIN
@options.system
@printing.output(*_DONE)
def role(name: str, role: str, domain: str, form: str) -> int:
    """What somebody may do from now on, whatever token they show."""
    shown = session.current()
    asked = shown.client()
    body = msgspec.json.encode({"role": role})
    ask = client.post(f"{_of(asked, name, domain)}/role", body, shown.random.token(16))
    return done(shown, asked.call(ask), form)


@admin.command()
@click.argument("name", required=False)
@_DOMAIN
@passwords.from_stdin
@options.system
@printing.output(*_DONE)
def passwd(name: str | None, domain: str, form: str, *, from_stdin: bool) -> int:
    """Set your own password, or, as an administrator, that of NAME; their other logins end.

    With --password-stdin your own needs two lines: the present one, then the new one.
    """
    shown = session.current()
    asked = shown.client()
    who = _who(asked)
    own = name in {None, who.name} and domain in {"", who.domain}
    present = passwords.present(shown, from_stdin=from_stdin, question="present password: ") if own else ""
    whose = name or who.name
    new = passwords.chosen(shown, from_stdin=from_stdin, whose=whose)
    body = msgspec.json.encode({"password": new, "present": present})
    path = f"{_of(asked, whose, domain or who.domain)}/password"
    return done(shown, asked.call(client.post(path, body, shown.random.token(16))), form)


# --- tokens -----------------------------------------------------------------------------------------------------------


@admin.group()
def token() -> None:
    """API tokens of people and programs (join lines of servers: `tiercast token`)."""


@token.command(
    epilog=options.examples(
        "tiercast admin token create ci --ttl 30d --scope cfg:r --scope kv:/kv/app/:rw",
        "tiercast admin token create ci --role viewer -o name",
    )
)
@click.argument("name", required=False)
@_DOMAIN
@click.option(
    "--ttl", type=options.Duration(), default="90d", show_default=True, help="How long it may be used."
)
@click.option(
    "--role", default="", type=click.Choice(("", *ROLES)), help="At most this [default: the person's]."
)
@click.option(
    "--scope", "scopes", multiple=True, metavar="SCOPE",
    help="Only for this: cfg, cfg:r, kv:/app/:rw, people:operator, audit, ...; may be said several times.",
)  # fmt: skip
@click.option("--note", default="", help="A line for those who read the list.")
@options.system
@printing.output("table", "json", "yaml", "name")
def create(  # noqa: PLR0913 one parameter per option
    *, name: str | None, domain: str, ttl: float, role: str, scopes: tuple[str, ...], note: str, form: str
) -> int:
    """Make a token for NAME, or for yourself, and print it. It is shown this once."""
    shown = session.current()
    body = {"name": name or "", "domain": domain, "ttl_s": ttl, "role": role, "scopes": scopes, "note": note}
    ask = client.post(TOKENS, msgspec.json.encode(body), shown.random.token(16))
    answer = shown.client().call(ask)
    issued = answer.as_(answers_people.Issued)
    structured = printing.structured(form, answer.body)
    shown.say(issued.token if structured is None else structured)
    reach = ", ".join(issued.scopes) or "everything that this role may"
    shown.tell(
        f"token {issued.id} of {issued.name} of {issued.domain}: {issued.role}, for {reach}, "
        f"until {printing.moment(issued.expires)}; it is not shown again"
    )
    shown.tell(f"  a program takes it from {session.TOKEN}")
    return exits.Exit.OK


@token.command("list")
@click.argument("name", required=False)
@_DOMAIN
@options.system
@printing.output(*_FORMS)
def list_tokens(name: str | None, domain: str, form: str) -> int:
    """Tokens, never their passwords."""
    shown = session.current()
    query = urllib.parse.urlencode({"domain": domain, "person": name or ""})
    answer = shown.client().call(client.Ask(path=f"{TOKENS}?{query}"))
    found = answer.as_(answers_people.Tokens).tokens
    structured = printing.structured(form, answer.body)
    if structured is not None:
        shown.say(structured)
    elif form == "name":
        shown.say("\n".join(one.id for one in found))
    elif found:
        wide = form == "wide"
        head = (
            "ID",
            "NAME",
            "DOMAIN",
            "KIND",
            "ROLE",
            "SCOPES",
            "EXPIRES",
            *(("MADE", "BY") if wide else ()),
            "NOTE",
        )
        shown.say_coloured(printing.table(head, [_token(one, wide=wide) for one in found]))
    else:
        shown.tell("no token")
    return exits.Exit.OK


def _token(one: answers_people.Token, *, wide: bool) -> tuple[str, ...]:
    until = "never" if not one.expires else "over" if one.expired else printing.moment(one.expires)
    made = (printing.moment(one.made), one.by) if wide else ()
    return (one.id, one.name, one.domain, one.kind, one.role, ", ".join(one.scopes), until, *made, one.note)


@token.command()
@click.argument("token_id", metavar="ID")
@options.system
@printing.output(*_DONE)
def revoke(token_id: str, form: str) -> int:
    """End a token at once."""
    shown = session.current()
    path = f"{TOKENS}/{urllib.parse.quote(token_id, safe='')}"
    ask = client.Ask(method="DELETE", path=path, headers=_key(shown))
    return done(shown, shown.client().call(ask), form)


# --- common -----------------------------------------------------------------------------------------------------------


def done(shown: session.Session, answer: client.Answer, form: str) -> int:
    """What was done is talk; data only where it is asked for."""
    structured = printing.structured(form, answer.body)
    if structured is not None:
        shown.say(structured)
    shown.tell(answer.as_(answers_people.Done).detail)
    return exits.Exit.OK


def _who(asked: client.Client) -> answers.Who:
    return asked.call(client.Ask(path=f"{client.ADMIN}/whoami")).as_(answers.Who)


def _of(asked: client.Client, name: str, domain: str) -> str:
    """The path of a person; of the own domain, where none is named."""
    parts = (domain or _who(asked).domain, name)
    return "/".join((PEOPLE, *(urllib.parse.quote(part, safe="") for part in parts)))


def _key(shown: session.Session) -> dict[str, str]:
    return {"Idempotency-Key": shown.random.token(16)}
