"""`tiercast server export-keys` and `import-keys`, found by entry point.

The passphrase comes from a prompt, a file or standard input, never from the command line.
"""

import os
import pathlib
import sys

import click

from coordinator import errors
from coordinator.host import settings

STDIN = "-"
_DIR = click.option(
    "--dir",
    "directory",
    default=None,
    help="The server's directory (default /var/lib/tiercast, or TIERCAST_DIR).",
)
_PASSPHRASE = click.option(
    "--passphrase-file",
    default=None,
    metavar="FILE",
    help="Take it from the first line of this file (`-`: standard input) instead of asking.",
)


def _layout(directory: str | None) -> settings.Layout:
    return settings.Layout(settings.read(os.environ, {"dir": directory}).dir)


def _passphrase(file: str | None, *, new: bool) -> str:
    """Raises `UsageError` where there is nobody to ask, or no file."""
    if file is None:
        if not sys.stdin.isatty():
            raise errors.UsageError(
                "there is nobody to ask for the passphrase", hint="name a file with --passphrase-file"
            )
        asked: str = click.prompt("passphrase", hide_input=True, confirmation_prompt=new, err=True)
        return asked
    if file == STDIN:
        return sys.stdin.readline().rstrip("\r\n")
    try:
        with pathlib.Path(file).open(encoding="utf-8", errors="surrogateescape") as opened:
            return opened.readline().rstrip("\r\n")
    except OSError as wrong:
        raise errors.UsageError(f"cannot read {file}: {(wrong.strerror or str(wrong)).lower()}") from wrong


@click.command(name="export-keys")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=pathlib.Path, dir_okay=False),
    help="Write it here, sealed; an existing file is never overwritten.",
)
@_PASSPHRASE
@_DIR
def export_keys(output: pathlib.Path, passphrase_file: str | None, directory: str | None) -> None:
    """Write the authority's keys and this server's identity to one file, sealed by a passphrase; MIC may run meanwhile."""
    from coordinator.host import clock  # noqa: PLC0415 heavy, and only these commands need it
    from coordinator.runtime import key_backup  # noqa: PLC0415

    passphrase = _passphrase(passphrase_file, new=True)
    made = key_backup.export(_layout(directory), output, passphrase, clock.SystemClock())
    click.echo(f"sealed  {output}  cluster {made.cluster}  server {made.server_id}  {len(made.files)} files")
    click.echo("keep file and passphrase in two places, neither of them this machine", err=True)
    click.echo("what it is good for: tiercast server import-keys --help", err=True)


@click.command(name="import-keys")
@click.argument("file", type=click.Path(path_type=pathlib.Path, exists=True, dir_okay=False))
@_PASSPHRASE
@_DIR
def import_keys(file: pathlib.Path, passphrase_file: str | None, directory: str | None) -> None:
    """Put the keys of `export-keys` back into an empty directory, on a machine with the address of the one that is gone.

    The configuration then comes back from the field (`tiercast store recover --ask ADDRESS`), history and tokens from a
    snapshot where there is one. The old machine must not run any more: two servers would have one identity.
    """
    from coordinator.runtime import key_backup  # noqa: PLC0415 as above

    layout = _layout(directory)
    made = key_backup.restore(layout, file.read_bytes(), _passphrase(passphrase_file, new=False))
    click.echo(f"restored  {layout.root}  cluster {made.cluster}  server {made.server_id}")
    click.echo("next:", err=True)
    click.echo(
        f"  tiercast store recover --dir {layout.root} --ask ADDRESS   (any server that is up)", err=True
    )
    click.echo(f"  tiercast server run --dir {layout.root}", err=True)
