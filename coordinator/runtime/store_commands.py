"""`tiercast store ...`: MIC's store on the machine of one of its members.

`status` and `snapshot` ask the running MIC, and read the files where none runs; everything else wants MIC stopped and
says so. Errors are raised as `TiercastError`; the command line turns them into sentences and exit codes.
"""

import os
import pathlib
from typing import TYPE_CHECKING

import click

from coordinator.host import grouping, settings

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


_CA = click.option(
    "--store-ca",
    "ca_file",
    type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False),
    help="The authority of etcd's certificates, in PEM; with it every connection is TLS.",
)
_USER = click.option(
    "--store-user-file",
    "user_file",
    type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False),
    help="A file with `user:password` of etcd in its first line.",
)


@click.group(cls=grouping.Group)
def store() -> None:
    """MIC's store on this machine: look at it, check it, save it, put it back."""


def _at(directory: str | None) -> "store_work.StoreAt":
    from coordinator.runtime import etcd_work  # noqa: PLC0415 heavy, and only these commands need it

    return etcd_work.find(settings.Layout(settings.read(os.environ, {"dir": directory}).dir))


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
    """Hand the store over to other members; this server's MIC must be stopped, and a majority of several must run.

    Where the store is in etcd, nothing is handed over: these servers may run MIC from then on, and it may run meanwhile.
    """
    from coordinator.runtime import etcd_work, handover  # noqa: PLC0415 as above
    from coordinator.store import membership  # noqa: PLC0415

    at = _at(directory)
    if isinstance(at, etcd_work.EtcdAt):
        for line in etcd_work.share(_ground(directory), at.used, membership.wanted(wanted), output):
            click.echo(line)
        click.echo("next: on each other server `tiercast store join FILE`, then apply a document", err=True)
        return
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
    content = handover.decode(file.read_bytes())
    for line in handover.join(ground, content):
        click.echo(line)
    if content.etcd is not None:
        return
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
@click.option(
    "--into",
    metavar="ENGINE",
    help="`raft`, or etcd://host:port[,host:port]/prefix; without it the engine stays what it is.",
)
@_CA
@_USER
@click.option("--yes", is_flag=True, help="Adopt what was found without asking.")
@_DIR
def recover(  # noqa: PLR0913 one parameter per option
    *,
    file: pathlib.Path | None,
    addresses: tuple[str, ...],
    into: str | None,
    ca_file: pathlib.Path | None,
    user_file: pathlib.Path | None,
    directory: str | None,
    yes: bool,
) -> None:
    """Ask the field for its newest configuration and make it the store's; MIC must be stopped.

    With --into it becomes another engine's: the history goes there, as a new generation.
    """
    import sys  # noqa: PLC0415 as above

    from coordinator import errors  # noqa: PLC0415
    from coordinator.runtime import engine, etcd_work, recovering  # noqa: PLC0415

    at = _at(directory)
    used = at.used if isinstance(at, etcd_work.EtcdAt) else None
    if into is not None:
        used = engine.wanted(into, ca_file, user_file)
    if used is not None:
        etcd_work.check_ours(used, at.cluster)
    ground = _ground(directory)
    found = recovering.look(ground, file, addresses, used)
    for line in recovering.told(found):
        click.echo(line)
    if not yes:
        if not sys.stdin.isatty():
            raise errors.UsageError(
                "nothing was changed: there is nobody to ask", hint="say --yes if you mean it"
            )
        click.confirm("adopt it?", abort=True, err=True)
    told = recovering.adopt(ground, found, used)
    click.echo(f"adopted   {found.version}" + (f"; {told}" if told else ""))
    click.echo(f"engine    {used.address if used is not None else 'raft'}")
    click.echo("next: tiercast server run; nothing restarts, for the digest is the same", err=True)
