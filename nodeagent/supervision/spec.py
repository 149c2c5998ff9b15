"""What ServerShell tells a worker node when it starts it: one file in the node's directory, 0600."""

import pathlib

import msgspec

from coordinator import names

FILE = "node.json"


class Spec(msgspec.Struct, frozen=True):
    """See the module. Paths are absolute."""

    cluster: names.ClusterId
    server: names.ServerName
    node: names.NodeName
    boot: int
    """Rises with every start of any node of this server."""
    trust: bytes
    """The signed `trust` that the server holds."""
    socket: str
    """Of the ServerShell, for the node."""
    server_directory: str
    node_directory: str
    version: names.Version
    """Accepted when the node was started."""
    given_up: str
    """Why to start with the last good parameters instead of those of `version`; empty: no reason."""
    window: str = ""
    """Where its programs watch the server's own view."""


def write(spec: Spec) -> pathlib.Path:
    """Replace the file; returns its path."""
    path = pathlib.Path(spec.node_directory) / FILE
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(msgspec.json.encode(spec))
    return fresh.replace(path)


def read(path: str) -> Spec:
    """Raises `OSError`, `msgspec.DecodeError`."""
    return msgspec.json.decode(pathlib.Path(path).read_bytes(), type=Spec)
