"""`tiercast watch --local`: this server's own view of the configuration, as its programs see it."""

import os
import socket
import time
from collections.abc import Iterator

import click
import msgspec

from coordinator import errors
from coordinator.host import settings
from nodeagent.servershell import window

AGAIN_S = 0.5
_ASKS = {False: b'{"watch": "view"}\n', True: b'{"watch": "document"}\n'}


@click.command()
@click.option(
    "--local", is_flag=True, help="Of this machine's server; nothing else is watched here, see `kv watch`."
)
@click.option("--dir", "directory", default=None, help="The server's directory (default /var/lib/tiercast).")
@click.option("--document", is_flag=True, help="With the whole configuration, as JSON lines.")
@click.option("--once", is_flag=True, help="What is seen now, and end.")
@click.option("-o", "form", type=click.Choice(["table", "json"]), default="table")
def watch(directory: str | None, form: str, *, local: bool, document: bool, once: bool) -> int:
    """Print what this server has accepted, now and whenever it changes; works with every parent away."""
    if not local:
        raise errors.UsageError(
            "say what to watch", hint="tiercast watch --local, tiercast status -w, tiercast kv watch"
        )
    found = settings.read(os.environ, {"dir": directory})
    path = settings.Layout(found.dir).socket(window.SOCKET)
    seen = b""
    try:
        for line in _lines(path, _ASKS[document], once=once):
            if line != seen:
                click.echo(line.decode() if form == "json" or document else "\n".join(_table(line)))
            seen = line
            if once:
                return 0
    except KeyboardInterrupt:
        return 130
    return 0


def _lines(path: str, ask: bytes, *, once: bool) -> Iterator[bytes]:
    """Raises `UnreachableError` where nobody answers at first; later it waits."""
    answered = False
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as connected:
                connected.connect(path)
                connected.sendall(ask)
                for line in connected.makefile("rb"):
                    if line.startswith(b'{"error"'):
                        raise errors.NotAllowedError(msgspec.json.decode(line)["error"])
                    answered = True
                    yield line.rstrip(b"\n")
        except OSError as problem:
            if not answered or once:
                raise errors.UnreachableError(
                    f"no ServerShell answers at {path} ({problem.strerror})",
                    hint="is it running? see `tiercast server run`",
                ) from problem
        click.echo("the ServerShell is away; what was seen last stays true", err=True)
        time.sleep(AGAIN_S)


def _table(line: bytes) -> Iterator[str]:
    seen = msgspec.json.decode(line)
    place = f"site {seen['site']}" if seen["site"] else seen["state"]
    yield f"revision {seen['revision']}  digest {seen['digest'][:12] or '-'}  {seen['server'] or 'no name yet'} ({place})"
    for name, role in seen["roles"].items():
        yield f"  {name}  {role['type']}  {role['node'] or 'disabled'}"
