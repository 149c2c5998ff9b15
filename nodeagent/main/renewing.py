"""`tiercast server renew`: another certificate for this server now, rather than at half the life of the present one."""

import click


@click.command()
@click.option(
    "--dir",
    "directory",
    default=None,
    help="The server's directory (default /var/lib/tiercast, or TIERCAST_DIR).",
)
@click.option(
    "--new-key", is_flag=True, help="For a new private key, where somebody may have read the old one."
)
def renew(directory: str | None, *, new_key: bool) -> None:
    """Ask MIC for another certificate; nothing restarts. `server status` says until when it counts."""
    from nodeagent.main import commands  # noqa: PLC0415 its group finds this command by entry point

    commands.ask_server(directory, "renew", b"new key" if new_key else b"")
    click.echo("asked; it is done once MIC can be reached: tiercast server status", err=True)
