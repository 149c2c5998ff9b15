"""Three members of stock pysyncobj in one process, on a wire that can be cut.

For the tests alone. The wire is a transport as the library takes them of others; it loses nothing until it is cut.
"""

import pathlib
from collections import deque
from typing import Any

import pysyncobj.node
import pysyncobj.transport

from tests import stockstore, storegroup, storewriter


def named(name: str) -> Any:
    """The library's word for a member that has no address."""
    return pysyncobj.node.Node(name)


class Wire:
    """A network in memory, which can be cut; what arrives is handed over when its receiver is ticked."""

    def __init__(self) -> None:
        self.ends: dict[object, End] = {}
        self.cut: set[object] = set()
        self.deaf: set[object] = set()
        """What reaches these is lost, and nobody notices."""

    def end(self, own: object) -> "End":
        self.ends[own] = End(self, own)
        return self.ends[own]

    def connect(self) -> None:
        """Tell everyone of everyone."""
        for own, end in self.ends.items():
            for other in self.ends:
                if other != own:
                    end._onNodeConnected(other)

    def cut_off(self, own: object) -> None:
        """From here on nothing reaches it and nothing leaves it; its links notice."""
        self.cut.add(own)
        for other, end in self.ends.items():
            if other != own:
                end._onNodeDisconnected(own)
                self.ends[own]._onNodeDisconnected(other)


class End(pysyncobj.transport.Transport):  # type: ignore[misc] # the library has no types
    """One member's end of a wire; the library takes transports of others."""

    def __init__(self, wire: Wire, own: object) -> None:
        super().__init__(None, own, ())
        self._wire = wire
        self._own = own
        self._arrived: deque[tuple[object, Any]] = deque()

    def send(self, node: object, message: Any) -> bool:
        if node not in self._wire.ends or {node, self._own} & self._wire.cut:
            return False
        if node not in self._wire.deaf:
            self._wire.ends[node]._arrived.append((self._own, message))
        return True

    def deliver(self) -> None:
        while self._arrived:
            sender, message = self._arrived.popleft()
            if not {sender, self._own} & self._wire.cut:
                self._onMessageReceived(sender, message)


class Group:
    """Three members on one wire."""

    def __init__(self, base: pathlib.Path) -> None:
        self.wire = Wire()
        self.stores: dict[str, stockstore.StockStore] = {}
        self._base = base

    async def open(self) -> None:
        """Return once all are ready."""
        members = [named(name) for name in storegroup.MEMBERS]
        for own in members:
            others = [other for other in members if other != own]
            settings = {**stockstore.QUICK, **stockstore.kept(self._base / str(own))}
            end = self.wire.end(own)
            node = stockstore.Node(own, others, settings, end)
            self.stores[str(own)] = stockstore.StockStore(node, storewriter.RealClock(), end.deliver)
        self.wire.connect()
        for store in self.stores.values():
            await store.ready()

    async def close(self) -> None:
        for store in self.stores.values():
            await store.close()
