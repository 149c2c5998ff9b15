"""What the accepted document says of this server: whether it has a place, which nodes, and whom it follows. Pure.

Law: a server that the document does not name runs nothing of it, and still knows where to ask.
"""

from coordinator.config import expansion, topology
from coordinator.propagation import events, objects


def is_placed(own: objects.Admission | None, expanded: expansion.Expanded | None) -> bool:
    """Whether the document names this server."""
    if own is None or expanded is None:
        return False
    return topology.place(expanded.document, own.name) is not None


def nodes(own: objects.Admission | None, expanded: expansion.Expanded | None) -> tuple[topology.Node, ...]:
    """The nodes that it wants here."""
    if own is None or expanded is None or not is_placed(own, expanded):
        return ()
    return tuple(topology.nodes(expanded, own.name))


def parents(
    own: objects.Admission | None, expanded: expansion.Expanded | None, joined: tuple[events.Parent, ...]
) -> tuple[events.Parent, ...]:
    """Best first: by the document, then the addresses of the own admission, then where it joined."""
    found: list[events.Parent] = []
    if expanded is not None:
        placed = own is not None and is_placed(own, expanded)
        listed = (
            topology.parents(expanded, own.name)
            if placed and own is not None
            else topology.coordinator_parents(expanded)
        )
        found += [events.Parent(p.server, p.address, p.port) for p in listed]
    if own is not None:
        found += [events.Parent(p.server, p.address, p.port) for p in own.parents]
    every = [*found, *joined]
    named = {(p.address, p.port): p for p in reversed(every)}
    return tuple(dict.fromkeys(named[p.address, p.port] for p in every))
