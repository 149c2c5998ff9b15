"""What ServerShell's machine is told of its worker nodes, and what it wants done about them."""

import msgspec

from coordinator import effects, names


class NodeAdopted(msgspec.Struct, frozen=True):
    """A node of an earlier life of this ServerShell still runs."""

    name: names.NodeName
    process: effects.ProcessId


class NodeStarted(msgspec.Struct, frozen=True):
    """The answer to `SpawnNode`."""

    name: names.NodeName
    process: effects.ProcessId


class NodeNotStarted(msgspec.Struct, frozen=True):
    """The other answer to `SpawnNode`."""

    name: names.NodeName
    detail: str


class NodeExited(msgspec.Struct, frozen=True):
    """A node's process has ended."""

    name: names.NodeName
    exit: effects.Exit


class Begin(msgspec.Struct, frozen=True):
    """Boot: adoption is over, act on the own accepted copy."""


class Retry(msgspec.Struct, frozen=True):
    """Somebody asks to try again what was refused or failed."""


class StopNodes(msgspec.Struct, frozen=True):
    """Stop every node, and then the ServerShell."""


class Rest(msgspec.Struct, frozen=True):
    """Stop every node and go on without them, until `Retry`."""


NodeInput = NodeAdopted | NodeStarted | NodeNotStarted | NodeExited | Begin | Retry | StopNodes | Rest


class SpawnNode(msgspec.Struct, frozen=True):
    """Start the node's process; `given_up` says why with its last good parameters, empty: with the new ones."""

    name: names.NodeName
    given_up: str
    trust: bytes
    """The signed `trust` it begins with."""


class SignalNode(msgspec.Struct, frozen=True):
    """Signal the node's process, or all that belongs to it."""

    name: names.NodeName
    process: effects.ProcessId
    signal: int
    group: bool


class NodeGone(msgspec.Struct, frozen=True):
    """Nothing of this node runs and nobody wants it: its directory may go."""

    name: names.NodeName


class RaiseBoot(msgspec.Struct, frozen=True):
    """Make the boot counter greater than `known`, durably, and call `booted` with it."""

    known: int


class Renew(msgspec.Struct, frozen=True):
    """Somebody of this machine wants another certificate now, for a new key where it says so."""

    new_key: bool


class AllStopped(msgspec.Struct, frozen=True):
    """Every node has ended; ServerShell may end too."""
