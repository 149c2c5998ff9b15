"""Where the command line finds a system: named contexts with addresses, the pinned CA and a token, in one private file.

Law: the file is 0600 and replaced whole; one that others can read is refused. It is written as JSON, which is YAML too,
so that whoever writes it (`server init`) needs no YAML; a reader that knows YAML passes its own `parse`.
"""

import pathlib
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from coordinator import errors
from coordinator.host import disk

VARIABLE = "TIERCAST_CONTEXT_FILE"
_IN_HOME = ".config/tiercast/contexts.yaml"


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One system, and who asks."""

    server: str | tuple[str, ...]
    """`https://address:port`, or several to be tried in order."""
    ca: str = ""
    """PEM; nothing else is trusted."""
    token: str = ""

    @property
    def servers(self) -> tuple[str, ...]:
        """All addresses, in order."""
        return (self.server,) if isinstance(self.server, str) else self.server


class Contexts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    current: str = ""
    contexts: Mapping[str, Context] = {}


def path(environment: Mapping[str, str]) -> pathlib.Path:
    """Of the file: `TIERCAST_CONTEXT_FILE`, or below the home directory. Raises `UsageError` where there is neither."""
    if environment.get(VARIABLE):
        return pathlib.Path(environment[VARIABLE])
    if not environment.get("HOME"):
        raise errors.UsageError(
            "there is no home directory to keep contexts in", hint=f"set {VARIABLE} to a path"
        )
    return pathlib.Path(environment["HOME"]) / _IN_HOME


def read(place: pathlib.Path, parse: Callable[[bytes], Any] = msgspec.json.decode) -> Contexts:
    """What stands in the file; nothing if there is none. Raises `UsageError`."""
    try:
        mode = stat.S_IMODE(place.stat().st_mode)
        data = place.read_bytes()
    except FileNotFoundError:
        return Contexts()
    except OSError as wrong:
        raise errors.UsageError(f"cannot read {place}: {(wrong.strerror or str(wrong)).lower()}") from wrong
    if mode & 0o077:
        raise errors.UsageError(
            f"{place} can be read by others (got {mode:04o}, have 0600)", hint=f"chmod 600 {place}"
        )
    try:
        return msgspec.convert(parse(data), Contexts)
    except (ValueError, RecursionError) as wrong:  # msgspec's errors are ValueErrors
        raise errors.UsageError(
            f"{place} cannot be used: {wrong}", hint=f"mend it, or name another by {VARIABLE}"
        ) from None


def write(place: pathlib.Path, contexts: Contexts) -> None:
    """Replace the file. Raises `OSError`."""
    text = msgspec.json.format(msgspec.json.encode(contexts), indent=2)
    disk.DirectoryDisk(place.absolute().parent).write(place.name, text + b"\n")


def write_context(
    place: pathlib.Path, name: str, server: str | Sequence[str], ca_pem: bytes, token: str
) -> None:
    """Add a context, or replace the one of that name, and make it the current one. Raises `UsageError`, `OSError`."""
    found = read(place)
    servers = server if isinstance(server, str) else tuple(server)
    added = Context(servers, ca_pem.decode("ascii"), token)
    write(place, Contexts(current=name, contexts={**found.contexts, name: added}))
