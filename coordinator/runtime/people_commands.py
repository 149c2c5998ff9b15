"""`tiercast server reset-admin`, found by entry point: the way back in for those who have lost every password.

It goes through the socket of the running MIC, which only the user of the server can open; MIC does it like any other
change, in one transaction with its line in the audit. The password comes from a prompt or standard input.
"""

import os
import sys

import click

from coordinator import errors
from coordinator.host import settings


@click.command(name="reset-admin")
@click.option(
    "--name", default="admin", show_default=True, help="Of the administrator; made if there is none."
)
@click.option(
    "--password-stdin", "from_stdin", is_flag=True, help="Read the password from the first line of stdin."
)
@click.option("--dir", "directory", default=None, help="The server's directory (default /var/lib/tiercast, or TIERCAST_DIR).")  # fmt: skip
def reset_admin(name: str, directory: str | None, *, from_stdin: bool) -> None:
    """Make NAME an administrator of the master domain with a new password; MIC must run here and be the active one.

    Every token of NAME ends, and the one-time secret of `server init`. It stands in the audit.
    """
    from coordinator.runtime import store_socket  # noqa: PLC0415 heavy, and only this command needs it

    layout = settings.Layout(settings.read(os.environ, {"dir": directory}).dir)
    password = _password(name, from_stdin=from_stdin)
    path = layout.socket(store_socket.NAME)
    answer = store_socket.ask(path, store_socket.Ask("reset-admin", name=name, password=password))
    if answer is None:
        raise errors.NoCoordinatorError(
            f"no MIC runs on this machine (nobody listens on {path})",
            hint="tiercast server run, on the machine of the active MIC: `tiercast store status` names it",
        )
    click.echo(answer.told)
    click.echo(f"next: tiercast login {name}", err=True)


def _password(name: str, *, from_stdin: bool) -> str:
    """Raises `UsageError` where there is nobody to ask."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise errors.UsageError("there is nobody to ask for the password", hint="say --password-stdin")
    asked: str = click.prompt(
        f"new password for {name}", hide_input=True, confirmation_prompt="again", err=True
    )
    return asked
