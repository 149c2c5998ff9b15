"""`tiercast server join`, `leave` and `check`: a machine becomes a server, and ceases to be one.

Light to import: what a command needs is loaded when it is used.
"""

import os
import pathlib
import sys
import time

import click

from coordinator import errors
from coordinator.host import settings

_DIR = click.option(
    "--dir",
    "directory",
    default=None,
    help="The server's directory (default /var/lib/tiercast, or TIERCAST_DIR).",
)
_LOCAL = click.option(
    "--local-address", default=None, help="Dial from this address (for servers that share one machine)."
)
STDIN = "-"
LINE_CHARACTERS = 4096  # what a pipe takes without a reader; a line of ours has 147


def _layout(directory: str | None) -> settings.Layout:
    return settings.Layout(settings.read(os.environ, {"dir": directory}).dir)


@click.command()
@click.argument("line")
@click.option(
    "--at",
    "places",
    multiple=True,
    required=True,
    metavar="HOST:PORT",
    help="MIC, an IC, or any server of the system; may be said several times.",
)
@click.option("--timeout", default="2m", show_default=True, help="Try for so long while nobody answers.")
@click.option("--any-clock", is_flag=True, help="Join though this machine's clock is wrong.")
@click.option("-o", "output", type=click.Choice(["table", "json"]), default="table")
@_LOCAL
@_DIR
def join(  # noqa: PLR0913 one parameter per option
    *,
    line: str,
    places: tuple[str, ...],
    timeout: str,
    any_clock: bool,
    output: str,
    local_address: str | None,
    directory: str | None,
) -> None:
    """Make this machine a server by the LINE of `tiercast token create` (`-`: from standard input).

    The same line may be said again after a lost answer; the secret in it is never sent.
    """
    if line == STDIN:
        line = sys.stdin.readline()
    elif line in sys.argv and len(line) < LINE_CHARACTERS and pathlib.Path(sys.argv[0]).is_file():
        _hidden(line)
    from coordinator.host import clock, durations  # noqa: PLC0415 heavy from here on, and only this needs it
    from coordinator.trust import joinlines  # noqa: PLC0415
    from nodeagent.main import joining, knocking, room  # noqa: PLC0415

    os.umask(0o077)  # whatever is made here is for this user alone
    layout = _layout(directory)
    wanted = joining.Wanted(
        joinlines.parse(line),
        tuple(dict.fromkeys(knocking.place(place) for place in places)),
        durations.seconds(timeout),
        any_clock=any_clock,
        local_address=local_address,
    )
    means = joining.Means(clock.SystemClock(), clock.SystemRandom(), time.sleep, _tell)
    with room.wanted(layout.root, "say the same line again: it is the same server"):
        joined = joining.join(layout, wanted, means)
    if output == "json":
        click.echo(joining.as_json(joined))
    else:
        click.echo(f"joined  {joined.name}  id {joined.server_id}  {joined.state}")
    if joined.again:
        _tell("this directory is that server by this very line already")
    _tell("next:")
    _tell(f"  tiercast server run --dir {layout.root}")
    if joined.name.endswith(joined.server_id) and joined.name != joined.server_id:
        _tell(f"  elsewhere: tiercast server accept {joined.server_id} NAME   (it has no name yet)")


def _tell(text: str) -> None:
    click.echo(text, err=True)


def _hidden(line: str) -> None:
    """Begin anew with the line in a pipe: a command line can be read by everybody on this machine, for as long as it runs."""
    reading, writing = os.pipe()
    os.write(writing, line.encode() + b"\n")
    os.close(writing)
    os.dup2(reading, 0)
    words = [STDIN if word == line else word for word in sys.argv[1:]]
    os.execv(sys.executable, [sys.executable, sys.argv[0], *words])  # noqa: S606 this very program


@click.command()
@click.option("-y", "--yes", is_flag=True, help="Do not ask; needed where there is no terminal.")
@_DIR
def leave(directory: str | None, *, yes: bool) -> None:
    """Take this server out of the system for ever: its nodes stop, MIC is told, its identity is deleted here."""
    from nodeagent.main import leaving, room  # noqa: PLC0415 as above

    layout = _layout(directory)
    told = leaving.rehearsed(layout)
    _tell(f"server {told.name} leaves for ever; its name may be given to another machine")
    if told.placed:
        _tell(
            f"  revision {told.version.revision} names it: its roles stop, and it will show as not enrolled"
        )
    if not yes:
        if not sys.stdin.isatty():
            raise errors.UsageError(
                "nothing was changed: there is nobody to ask", hint="say --yes if you mean it"
            )
        click.confirm("leave?", abort=True, err=True)
    with room.wanted(layout.root, "say it again"):
        leaving.leave(layout, _tell)
    click.echo(f"left  {told.name}")
    for kept in leaving.kept(layout):
        _tell(f"  {kept} stays; delete it if nobody needs it any more")


@click.command()
@click.option("--address", default=None, help="Address by which other servers will reach this machine.")
@click.option(
    "--at", "place", default=None, metavar="HOST:PORT", help="Compare the clock with that server's."
)
@click.option("-o", "output", type=click.Choice(["table", "json"]), default="table")
@_LOCAL
@_DIR
def check(  # the options of one look
    *, directory: str | None, address: str | None, place: str | None, output: str, local_address: str | None
) -> int:
    """Can this machine be a server? Address, ports, clock, disk, descriptors; before `init` or `join`. Exit 1 if not."""
    from coordinator.host import clock  # noqa: PLC0415 as above
    from nodeagent.main import checking, knocking  # noqa: PLC0415

    asked = checking.Asked(
        _layout(directory).root, address, None if place is None else knocking.place(place), local_address
    )
    found = checking.look(asked, clock.SystemClock())
    click.echo(checking.as_json(found) if output == "json" else checking.as_table(found))
    return checking.exit_code(found)
