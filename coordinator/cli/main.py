"""The command `tiercast`: finds commands by name, loads the one that is used, and turns errors into exit codes.

Commands that act on this machine (`server`, `demo`) come from other packages by the entry-point group
`tiercast.commands`; they are click commands, may raise any `TiercastError`, and return an exit code or nothing.
Law: no stack trace for anything but a bug of ours, and then only where TIERCAST_TRACE is set.
"""

import errno
import importlib
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NoReturn

import click
import msgspec

from coordinator import errors
from coordinator.cli import client, exits, session, streams

if TYPE_CHECKING:
    import importlib.metadata

ENTRY_POINTS = "tiercast.commands"
TRACE = "TIERCAST_TRACE"


class Listed(msgspec.Struct, frozen=True):
    """What is known of a command before it is loaded."""

    section: str
    place: str
    """`module:attribute`; empty where an entry point says it."""
    summary: str


_CLI = "coordinator.cli"
COMMANDS: dict[str, Listed] = {
    "demo": Listed("try", "", "Two sites on this machine, changed, cut off, and caught up"),
    "bench": Listed("try", "", "Measured beside what else one could pick: propagation, store, api"),
    "version": Listed("try", f"{_CLI}.about:version", "Which version this is"),
    "completion": Listed("try", f"{_CLI}.about:completion", "Completion for bash, zsh or fish"),
    "server": Listed("server", "", "Servers: init, join, run, status, stop, leave; accept, expel, enroll"),
    "token": Listed("server", f"{_CLI}.joining:token", "Join lines: by one a new machine becomes a server"),
    "store": Listed("server", "", "MIC's store here: look, check, save, restore, hand over, recover"),
    "validate": Listed(
        "document", f"{_CLI}.documents:validate", "Find everything that is wrong; asks no server"
    ),
    "fmt": Listed("document", f"{_CLI}.documents:fmt", "Print a document in its usual order"),
    "schema": Listed("document", f"{_CLI}.documents:schema", "JSON Schema of the document, for editors"),
    "upload": Listed("document", f"{_CLI}.documents:upload", "Save a document as a draft"),
    "plan": Listed(
        "document", f"{_CLI}.planning:plan", "What applying it would do, and whether it may be done"
    ),
    "apply": Listed("document", f"{_CLI}.changes:apply", "Make it the active revision, and wait"),
    "status": Listed("look", f"{_CLI}.looking:status", "Is everything on the active revision?"),
    "history": Listed("look", f"{_CLI}.revisions:history", "Revisions, newest first"),
    "show": Listed("look", f"{_CLI}.revisions:show", "One revision, or its document"),
    "diff": Listed("look", f"{_CLI}.comparing:diff", "What differs between two documents"),
    "sites": Listed("look", f"{_CLI}.listing:sites", "All sites"),
    "servers": Listed("look", f"{_CLI}.listing:servers", "All servers"),
    "nodes": Listed("look", f"{_CLI}.listing:nodes", "All worker nodes"),
    "roles": Listed("look", f"{_CLI}.listing:roles", "All roles"),
    "events": Listed("look", f"{_CLI}.following:events", "What happens, as it happens"),
    "describe": Listed("look", f"{_CLI}.looking:describe", "What one server says of its nodes and roles"),
    "rollback": Listed("undo", f"{_CLI}.changes:rollback", "Go back to an old revision"),
    "audit": Listed("look", f"{_CLI}.auditing:audit", "Who did, or was refused, what"),
    "login": Listed("people", f"{_CLI}.entering:login", "Log in, and remember it in the context"),
    "logout": Listed("people", f"{_CLI}.entering:logout", "End the token of this context"),
    "whoami": Listed("people", f"{_CLI}.people:whoami", "Whom the token stands for"),
    "admin": Listed("people", f"{_CLI}.admin:admin", "People and programs, and their tokens"),
    "domains": Listed(
        "people", f"{_CLI}.domains:domains", "Domains, what of them lives in roles, as a file too"
    ),
    "context": Listed("people", f"{_CLI}.people:context", "Systems known here"),
    "watch": Listed("keys", "", "What this machine's server has accepted, and every change"),
    "kv": Listed("keys", f"{_CLI}.kv:kv", "Your own keys: get, put, del, txn, watch, lease"),
}
_MENDED_BY = {
    errno.ENOSPC: "make room there, or write to another disk",
    errno.EDQUOT: "make room there, or write to another disk",
    errno.EACCES: "as another user, or in another place",
    errno.EPERM: "as another user, or in another place",
    errno.EROFS: "write to another place",
}
SECTIONS = ("try", "server", "document", "look", "undo", "people", "keys", "more")


class Commands(click.Group):
    """Loads a command when it is used; for the list, its name and summary are enough."""

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002 click's own signature
        return _names()

    def get_command(self, context: click.Context, name: str) -> click.Command | None:  # noqa: ARG002 click's own signature
        listed = COMMANDS.get(name)
        if listed is None or not listed.place:
            return contributed(name, _entry_points())
        module, _, attribute = listed.place.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(context, arguments)
        except click.NoSuchCommand:
            raise click.NoSuchCommand(arguments[0], possibilities=_names(), ctx=context) from None

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except BrokenPipeError:  # of our own output: what talks to a network raises errors of its own
            streams.close_output()
            raise click.exceptions.Exit(exits.Exit.NOBODY_READS) from None

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 click's own signature
        for section in SECTIONS:
            rows = [(name, _listed(name).summary) for name in _names() if _listed(name).section == section]
            if rows:
                with formatter.section(section.capitalize()):
                    formatter.write_dl(rows)


def _names() -> list[str]:
    """In the order of the table, what others bring last."""
    brought = {entry.name for entry in _entry_points()}
    own = [name for name, listed in COMMANDS.items() if listed.place or name in brought]
    return own + sorted(brought - COMMANDS.keys())


def _listed(name: str) -> Listed:
    return COMMANDS.get(name, Listed("more", "", ""))


def _entry_points() -> Iterable["importlib.metadata.EntryPoint"]:
    import importlib.metadata  # noqa: PLC0415 25 ms that a command of our own does not need

    return importlib.metadata.entry_points(group=ENTRY_POINTS)


def contributed(name: str, brought: Iterable["importlib.metadata.EntryPoint"]) -> click.Command | None:
    """A command that another package brings. Raises `UsageError` where it is promised and missing."""
    entry = next((one for one in brought if one.name == name), None)
    if entry is None:
        return None
    try:
        command = entry.load()
    except ImportError as wrong:
        raise errors.UsageError(
            f"the command {name!r} cannot be loaded: {wrong}", hint=f"it is promised by {entry.value}"
        ) from wrong
    assert isinstance(command, click.Command)
    return command


def _versioned(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        command = root.get_command(context, "version")
        assert command is not None
        context.exit(command.main([], prog_name="tiercast version", standalone_mode=False, obj=context.obj))


@click.group(cls=Commands, name="tiercast", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_versioned,
    help="As `tiercast version`.",
)
def root() -> None:
    """Carries one configuration document to every site, server, worker node and role, and knows who runs what."""


def main() -> NoReturn:
    """What `start` runs once it is loaded."""
    streams.mend()
    sys.exit(run(sys.argv[1:], session.here()))


def run(arguments: Sequence[str], shown: session.Session) -> int:
    """One command; its exit code."""
    try:
        returned = root.main(list(arguments), prog_name="tiercast", standalone_mode=False, obj=shown)
    except click.Abort:
        shown.tell("interrupted")
        return exits.Exit.INTERRUPTED
    except click.ClickException as wrong:
        return _usage(shown, wrong, arguments)
    except errors.TiercastError as error:
        return _told(shown, error)
    except OSError as wrong:
        return _world(shown, wrong)
    except Exception as bug:
        if TRACE in shown.environment:
            raise
        shown.tell(f"error: something broke here: {type(bug).__name__}: {bug}")
        shown.tell(f"  hint: {TRACE}=1 shows where")
        return exits.Exit.UNEXPECTED
    return int(returned) if isinstance(returned, int) else exits.Exit.OK


def _usage(shown: session.Session, wrong: click.ClickException, arguments: Sequence[str]) -> int:
    if isinstance(wrong, click.exceptions.NoArgsIsHelpError):
        shown.tell(wrong.format_message())
        return exits.Exit.USAGE
    from coordinator.cli import usage  # noqa: PLC0415 only where something was mistyped

    message, hint = usage.told(wrong, root, arguments)
    shown.tell(f"error: {message}")
    shown.tell(f"  hint: {hint}")
    return exits.Exit.USAGE


def _world(shown: session.Session, wrong: OSError) -> int:
    """A disk or a stream of this machine, met where nobody expected it."""
    if TRACE in shown.environment:
        raise wrong
    what = (wrong.strerror or str(wrong) or type(wrong).__name__).lower()
    shown.tell(f"error: {wrong.filename or 'input or output'}: {what}")
    shown.tell(f"  hint: {_MENDED_BY.get(wrong.errno or 0, f'{TRACE}=1 shows where')}")
    return exits.Exit.NOT_ALLOWED if isinstance(wrong, PermissionError) else exits.Exit.UNEXPECTED


def _told(shown: session.Session, error: errors.TiercastError) -> int:
    if error.code in {"invalid", "refused"}:
        from coordinator.cli import findings  # noqa: PLC0415 only where a document was read, which loaded it

        if isinstance(error, findings.InvalidError):
            shown.tell(findings.lines(error.found, error.texts))
            shown.tell(error.message)
            return exits.of_code(error.code)
    shown.tell(f"error: {error.message}")
    if error.hint:
        shown.tell(f"  hint: {error.hint}")
    if isinstance(error, client.ProblemError) and error.problem.code == "internal":
        shown.tell(f"  request: {error.problem.request_id}")
    return exits.of_code(client.code_of(error))
