"""`tiercast store ...`: MIC's store on the machine of one of its members.

`status` and `snapshot` ask the running MIC, and read the files where none runs; everything else wants MIC stopped and
says so. Errors are raised as `TiercastError`; the command line turns them into sentences and exit codes.
"""

import os
import pathlib
from typing import TYPE_CHECKING

import click

from coordinator.host import settings

if TYPE_CHECKING:
    from coordinator.runtime import handover, store_work

_DIR = click.option(
    "--dir",
    "directory",
    default=None,
    help="The server's directory (default /var/lib/tiercast, or TIERCAST_DIR).",
)
_OUTPUT = click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=pathlib.Path, dir_okay=False),
    help="Write it here; an existing file is never overwritten.",
)


@click.group()
def store() -> None:
    """MIC's store on this machine: look at it, check it, save it, put it back."""


def _at(directory: str | None) -> "store_work.StoreAt":
    from coordinator.runtime import store_work  # noqa: PLC0415 heavy, and only these commands need it

    return store_work.find(settings.Layout(settings.read(os.environ, {"dir": directory}).dir))


@store.command()
@_DIR
def status(directory: str | None) -> None:
    """Members, leader, revision, size and lag; of the running MIC, or from the files where none runs."""
    for line in _at(directory).status():
        click.echo(line)


@store.command()
@_DIR
def check(directory: str | None) -> None:
    """Read every record and verify every checksum, digest and signature; MIC must be stopped."""
    for line in _at(directory).check():
        click.echo(line)


@store.command()
@_OUTPUT
@_DIR
def snapshot(output: pathlib.Path, directory: str | None) -> None:
    """Write all of the store to one file, as of one moment; MIC may run meanwhile."""
    click.echo(_at(directory).snapshot(output.absolute()))


@store.command()
@click.argument("file", type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False))
@_DIR
def restore(file: pathlib.Path, directory: str | None) -> None:
    """Make a store of one member from a snapshot, where there is none; MIC must be stopped."""
    for line in _at(directory).restore(file):
        click.echo(line)


@store.command()
@click.option(
    "--set",
    "wanted",
    required=True,
    metavar="LIST",
    help="One, three or five: c1=10.1.0.11,c2=10.1.0.12,c3=10.1.0.13.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=pathlib.Path, dir_okay=False),
    help="What the other members begin from; it holds private keys.",
)
@_DIR
def members(wanted: str, output: pathlib.Path | None, directory: str | None) -> None:
    """Hand the store over to other members; this server's MIC must be stopped, and a majority of several must run."""
    from coordinator.runtime import handover  # noqa: PLC0415 as above
    from coordinator.store import membership  # noqa: PLC0415

    for line in handover.hand_over(_ground(directory), membership.wanted(wanted), output):
        click.echo(line)
    click.echo("next:", err=True)
    click.echo(
        "  on each other member: tiercast store join FILE   (goes on until a revision puts mic there)",
        err=True,
    )
    click.echo(
        "  here: tiercast server run; then apply a document whose mic roles are on exactly these servers",
        err=True,
    )


@store.command()
@click.argument("file", type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False))
@_DIR
def join(file: pathlib.Path, directory: str | None) -> None:
    """Make this server the member that FILE names, and be it until a revision puts mic here."""
    import anyio  # noqa: PLC0415 as above

    from coordinator.runtime import handover  # noqa: PLC0415

    ground = _ground(directory)
    for line in handover.join(ground, handover.decode(file.read_bytes())):
        click.echo(line)
    click.echo("serves    until a revision puts mic on this server (Ctrl-C ends it; it may be begun again)")
    version = anyio.run(handover.serve, ground)
    click.echo(f"placed    {version} puts mic here: the store is its own from now on")


def _ground(directory: str | None) -> "handover.Ground":
    from coordinator.host import clock  # noqa: PLC0415 as above
    from coordinator.runtime import handover  # noqa: PLC0415

    return handover.Ground(_at(directory).layout, clock.SystemClock(), clock.SystemRandom())


@store.command()
@click.option(
    "--snapshot",
    "file",
    type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False),
    help="History, drafts and tokens are taken from here instead of from the store.",
)
@click.option(
    "--ask",
    "addresses",
    multiple=True,
    metavar="ADDRESS",
    help="A server to ask besides those of the documents found; may be said several times.",
)
@click.option("--yes", is_flag=True, help="Adopt what was found without asking.")
@_DIR
def recover(
    file: pathlib.Path | None, addresses: tuple[str, ...], directory: str | None, *, yes: bool
) -> None:
    """Ask the field for its newest configuration and make it the store's; MIC must be stopped."""
    import sys  # noqa: PLC0415 as above

    from coordinator import errors  # noqa: PLC0415
    from coordinator.runtime import recovering  # noqa: PLC0415

    ground = _ground(directory)
    found = recovering.look(ground, file, addresses)
    for line in recovering.told(found):
        click.echo(line)
    if not yes:
        if not sys.stdin.isatty():
            raise errors.UsageError(
                "nothing was changed: there is nobody to ask", hint="say --yes if you mean it"
            )
        click.confirm("adopt it?", abort=True, err=True)
    recovering.adopt(ground, found)
    click.echo(f"adopted   {found.version}; the old store was put aside")
    click.echo("next: tiercast server run; nothing restarts, for the digest is the same", err=True)
