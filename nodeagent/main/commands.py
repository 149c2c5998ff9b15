"""`tiercast server ...`: what acts on this machine. Commands of the coordinator's side come in by entry point.

Errors are raised as `TiercastError`; the command line turns them into sentences and exit codes in one place.
"""

import datetime as dt
import importlib.metadata
import os
import pathlib
from typing import Any

import click

from coordinator import errors
from coordinator.host import grouping, settings
from nodeagent.main import coming

GROUP = "tiercast.server"
"""Entry points of further commands of this group: `init`, `enroll`."""

_DIR = click.option(
    "--dir",
    "directory",
    default=None,
    help="The server's directory (default /var/lib/tiercast, or TIERCAST_DIR).",
)


class _Group(grouping.Group):
    """A group whose commands may live in packages that this one does not import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        found = {point.name for point in importlib.metadata.entry_points(group=GROUP)}
        return sorted(found.union(super().list_commands(ctx)))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for point in importlib.metadata.entry_points(group=GROUP, name=cmd_name):
            command: click.Command = point.load()
            return command
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Group)
def server() -> None:
    """The server on this machine: make it, run it, ask it."""


for _command in (coming.join, coming.leave, coming.check):
    server.add_command(_command)


def _settings(directory: str | None) -> tuple[settings.Settings, settings.Layout]:
    found = settings.read(os.environ, {"dir": directory})
    return found, settings.Layout(found.dir)


@server.command()
@_DIR
@click.option(
    "--identity",
    type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False),
    help="First start of an enrolled server: the file that `server enroll` wrote.",
)
@click.option(
    "--local-address", default=None, help="Dial from this address (for servers that share one machine)."
)
def run(directory: str | None, identity: pathlib.Path | None, local_address: str | None) -> None:
    """Run this server in the foreground. SIGTERM ends the ServerShell and leaves its nodes running."""
    from nodeagent.main import running  # noqa: PLC0415 heavy, and only this command needs it

    found, layout = _settings(directory)
    if identity is not None:
        running.adopt_identity(layout, identity)
    raise SystemExit(running.run(layout, local_address, found.log_level))


@server.command()
@_DIR
@click.option("-o", "output", type=click.Choice(["table", "json"]), default="table")
def status(directory: str | None, output: str) -> None:
    """What this server says of itself; asks the local ServerShell, works with every parent away."""
    import msgspec  # noqa: PLC0415 as above

    answer = ask_server(directory, "status")
    if output == "json":
        click.echo(answer.decode())
        return
    _show(msgspec.json.decode(answer))


@server.command()
@_DIR
@click.option("--no-wait", is_flag=True, help="Return at once, while it is still stopping.")
def stop(directory: str | None, *, no_wait: bool) -> None:
    """Stop every node of this server, then its ServerShell; returns once both have gone."""
    from nodeagent.main import local  # noqa: PLC0415 as above

    ask_server(directory, "stop")
    if no_wait:
        click.echo("stopping: nodes first, then the ServerShell", err=True)
        return
    click.echo(
        f"stopping: waits up to {local.STOP_S:.0f} s for the nodes, then for the ServerShell", err=True
    )
    _found, layout = _settings(directory)
    local.wait_for_end(layout, local.STOP_S)


@server.command()
@_DIR
def retry(directory: str | None) -> None:
    """Try again what was refused or failed here."""
    ask_server(directory, "retry")
    click.echo(
        "tries again what was refused or failed; `tiercast server status` tells what comes of it", err=True
    )


def ask_server(directory: str | None, verb: str, data: bytes = b"") -> bytes:
    """The ServerShell's answer. Raises `NotFoundError`, `UnreachableError`, `NotAllowedError`."""
    from coordinator.host import disk  # noqa: PLC0415 as above
    from coordinator.trust import authority  # noqa: PLC0415 as above
    from nodeagent.main import local  # noqa: PLC0415 as above

    _found, layout = _settings(directory)
    if not layout.identity.is_dir():
        hint = "name the server's directory with --dir"
        raise errors.NotFoundError(f"no server lives in {layout.root}", hint=hint)
    identity = authority.Identity.load(disk.DirectoryDisk(layout.root))
    code, answer = local.ask(layout, identity.cluster, verb, data)
    if code:
        raise errors.NotAllowedError(f"the ServerShell answers {code}")
    return answer


def _show(found: dict[str, Any]) -> None:
    click.echo(f"server    {found['server']} ({found['state']}, site {found['site'] or '-'})")
    click.echo(f"accepted  {found['accepted']} {found['digest'][:12]} {found['level']} {found['outcome']}")
    if found["detail"]:
        click.echo(f"reason    {found['detail']}")
    click.echo(f"parent    {found['parent'] or 'none now'}")
    if found["turned_away"]:
        click.echo(f"          {''.join(one if one.isprintable() else '?' for one in found['turned_away'])}")
    if found["stale_since_s"] is not None:
        click.echo(f"stale     no sign of life of MIC for {found['stale_since_s']:.0f} s")
    if found["certificate_until"]:
        until = dt.datetime.fromtimestamp(found["certificate_until"], dt.UTC).date()
        word = "EXPIRED" if found["certificate_expired"] else "until"
        click.echo(f"identity  {word} {until}")
    for node in found["nodes"]:
        click.echo(
            f"node      {node['node']}  {node['state']}  pid {node['pid']}  restarts {node['restarts']}"
        )
        for role in node["roles"]:
            line = f"  role    {role['role']}  {role['type']}  {role['health']}  {role['level']} {role['revision']}"
            click.echo(line + (f"  {role['code']}: {role['detail']}" if role["detail"] else ""))
