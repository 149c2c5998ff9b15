"""Local commands of the coordinator's side, found by entry point (`tiercast.server`)."""

import os
import pathlib
import shutil

import click

from coordinator import errors
from coordinator.host import settings


def _check_writable(path: pathlib.Path) -> None:
    """Raises `UsageError` where the contexts cannot be read or replaced."""
    from coordinator.host import contexts  # noqa: PLC0415 as below

    try:
        contexts.write(path, contexts.read(path))
    except OSError as problem:
        hint = f"name another file by {contexts.VARIABLE}"
        raise errors.UsageError(f"{path} cannot be written: {problem.strerror}", hint=hint) from problem


@click.command()
@click.option(
    "--dir", "directory", default=None, help="Where the server will live (default /var/lib/tiercast)."
)
@click.option("--name", required=True, help="Name of this server.")
@click.option("--address", required=True, help="Address of this machine where other servers reach it.")
@click.option("--site", default="central", show_default=True, help="Name of the master site.")
@click.option(
    "--master-domain", default="main", show_default=True, help="Name of the master domain; never changes."
)
@click.option("--fqdn", default=None, help="Its fully qualified name [default: DOMAIN.example].")
@click.option("--context", default=None, help="Name of the context to write [default: the server's name].")
@click.option(
    "--store",
    default="raft",
    show_default=True,
    metavar="ENGINE",
    help="Where MIC's store is: `raft`, its own, or etcd://host:port[,host:port]/prefix.",
)
@click.option(
    "--store-ca",
    type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False),
    help="The authority of etcd's certificates, in PEM; with it every connection is TLS.",
)
@click.option(
    "--store-user-file",
    type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False),
    help="A file with `user:password` of etcd in its first line.",
)
def init(  # noqa: PLR0913 one parameter per option
    *,
    directory: str | None,
    name: str,
    address: str,
    site: str,
    master_domain: str,
    fqdn: str | None,
    context: str | None,
    store: str,
    store_ca: pathlib.Path | None,
    store_user_file: pathlib.Path | None,
) -> None:
    """Make the first server of a new system: authority, identity, basic document, and a one-time secret for the first login."""
    from coordinator import limits  # noqa: PLC0415 heavy from here on, and only this command needs it
    from coordinator.host import clock, contexts  # noqa: PLC0415
    from coordinator.runtime import engine, initialise  # noqa: PLC0415

    layout = settings.Layout(settings.read(os.environ, {"dir": directory}).dir)
    fqdn = fqdn or f"{master_domain}.example"
    wanted = initialise.First(name=name, address=address, site=site, master_domain=master_domain, fqdn=fqdn)
    document = initialise.checked(initialise.basic_document(wanted))
    path = contexts.path(os.environ)
    _check_writable(path)  # the token exists nowhere else: nothing is made that could not be kept
    used = engine.wanted(store, store_ca, store_user_file)
    made = initialise.initialise(layout, wanted, document, clock.SystemClock(), clock.SystemRandom(), used)
    url = f"https://{f'[{address}]' if ':' in address else address}:{limits.PORT_WS}"
    try:
        contexts.write_context(path, context or name, url, made.ca_pem, made.token.text)
    except BaseException:
        shutil.rmtree(layout.root)
        raise
    click.echo(f"cluster {made.cluster} made in {layout.root}", err=True)
    if used is not None:
        click.echo(f"MIC's store will be in {used.address}", err=True)
    click.echo(f"the one-time secret and the CA are in {path} (context {context or name})", err=True)
    for line in (
        "next:",
        f"  tiercast server run --dir {layout.root}",
        "  tiercast login                        the secret becomes a person",
        "  tiercast token create --server NAME   prints one command for the machine NAME",
        f"  tiercast server export-keys --dir {layout.root} -o FILE",
        "                                        a copy of the keys, to be kept elsewhere",
    ):
        click.echo(line, err=True)
