"""`tiercast server rotate-ca`, `rotate-keys` and `rotation`: asked of the active MIC on its own machine.

Whoever may open MIC's socket there holds the keys anyway, so no token is asked. Found by entry point.
"""

import os
from typing import IO, TYPE_CHECKING

import click

from coordinator import errors
from coordinator.host import settings

if TYPE_CHECKING:
    from coordinator.tiers import rotating

_DIR = click.option(
    "--dir",
    "directory",
    default=None,
    help="The server's directory (default /var/lib/tiercast, or TIERCAST_DIR).",
)


@click.command(name="rotate-ca")
@_DIR
def rotate_ca(directory: str | None) -> None:
    """Begin another CA: every server is given a certificate of it; the old one goes once all have one."""
    _show(_ask(directory, "rotate-ca"))


@click.command(name="rotate-keys")
@_DIR
def rotate_keys(directory: str | None) -> None:
    """Begin another signing key: everything is signed anew; the old key goes once all hold that."""
    _show(_ask(directory, "rotate-keys"))


@click.command(name="rotation")
@click.option(
    "--ca",
    "file",
    type=click.File("w", encoding="utf-8", lazy=True),
    metavar="FILE",
    help="Write the newest CA there (`-`: standard output), for `tiercast context ca`.",
)
@_DIR
def rotation(directory: str | None, file: IO[str] | None) -> None:
    """How far rotations are: which servers still need an old CA or signing key."""
    found = _ask(directory, "rotation")
    if file is None:
        _show(found)
    else:
        file.write(found.newest_ca)


def _ask(directory: str | None, verb: str) -> "rotating.Progress":
    from coordinator.runtime import store_socket  # noqa: PLC0415 heavy, and only these commands need it

    layout = settings.Layout(settings.read(os.environ, {"dir": directory}).dir)
    asked = store_socket.Ask(verb)  # type: ignore[arg-type]  # one of its literals, named by the command
    answer = store_socket.ask(layout.socket(store_socket.NAME), asked)
    if answer is None or answer.rotation is None:
        raise errors.NoCoordinatorError(
            f"no MIC runs on the server of {layout.root}",
            hint="run this on the machine of the active MIC; `tiercast store status` says which that is",
        )
    return answer.rotation


def _show(found: "rotating.Progress") -> None:
    click.echo(f"CAs           {found.roots} trusted")
    click.echo(f"signing keys  {found.keys} trusted")
    if found.roots == 1 and found.keys == 1:
        click.echo("nothing is under way")
        return
    if not found.waiting:
        click.echo("everybody has taken the newest; the old ones go within seconds")
        return
    named = ", ".join(one.name for one in found.waits_for)
    more = f" and {found.waiting - len(found.waits_for)} more" if found.waiting > len(found.waits_for) else ""
    click.echo(f"waits for     {named}{more}")
    for one in found.waits_for:
        click.echo(f"  {one.name}: {_why(one)}")
    click.echo("the old ones stay trusted until then, and everybody works on", err=True)


def _why(one: "rotating.Waited") -> str:
    """Where it is, and what to do."""
    if one.link:
        return f"{'parked, ' if one.parked else ''}{one.link}; it has been told, and takes the new ones by itself"
    if one.parked:
        return (
            f"parked, no link; start it, or take it out: `tiercast server leave` on it, or `tiercast server expel "
            f"{one.server_id}`"
        )
    return f"no link; it takes the new ones when it is back, or take it out for ever: `tiercast server expel {one.name}`"
