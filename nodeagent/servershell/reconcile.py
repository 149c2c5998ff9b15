"""What to do about the nodes of this server: wanted by the accepted document against observed on the machine.

Pure. Nodes that are no longer needed stop first; the needed ones start, and nodes that stay get their parameters, only
once nothing unwanted runs (a role that moved between nodes must not run twice).
Law: applying the actions to `observed` until there are none leaves exactly `wanted` running; a node whose name did not
change is never stopped.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import msgspec

from coordinator import names
from nodeagent.supervision import machine


class Actions(msgspec.Struct, frozen=True):
    """In the order of acts: stop; and if `settled`, start."""

    stop: tuple[names.NodeName, ...]
    start: tuple[names.NodeName, ...]
    settled: bool
    """Nothing unwanted runs any more: what is wanted may get its new parameters."""


def reconcile(
    wanted: AbstractSet[names.NodeName], observed: Mapping[names.NodeName, machine.State]
) -> Actions:
    """`observed` holds the supervision state of every node that there is or was."""
    unwanted = [name for name in sorted(observed) if name not in wanted]
    running = [name for name in unwanted if observed[name] is not machine.State.STOPPED]
    missing = [
        name for name in sorted(wanted) if observed.get(name, machine.State.STOPPED) is machine.State.STOPPED
    ]
    return Actions(tuple(running), () if running else tuple(missing), not running)
