"""Connections of whoever has not shown yet who it is: a bounded room, from which the pushiest source has to give way. It knows no sockets, but for how to end one.

To turn the next one away while the room is full would let one stranger keep everybody out, by never finishing. Law: of at
most `room` each is from one source; where one more comes, the oldest of the source that holds most goes, the one that
comes counted, so a source that holds fewer than the others is never sent away for them.
"""

import contextlib
import ipaddress
import socket
from collections import OrderedDict
from collections.abc import Callable

IPV6_PREFIX = 64  # what one customer has at least


class Crowd:
    """Of one listener."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._tickets = 0
        self._by_source: dict[str, OrderedDict[int, Callable[[], object]]] = {}
        self._sources: dict[int, str] = {}
        self.pushed_out = 0
        """So many had to give way."""

    def __len__(self) -> int:
        return len(self._sources)

    def enter(self, source: str, give_way: Callable[[], object]) -> int:
        """A ticket; `give_way` is called at once where this one has to go, which has left by then."""
        while len(self._sources) >= self._room:
            self.push_out(source)
        self._tickets += 1
        self._sources[self._tickets] = source
        self._by_source.setdefault(source, OrderedDict())[self._tickets] = give_way
        return self._tickets

    def leave(self, ticket: int) -> None:
        """It is known by now, or has ended; a second time nothing."""
        source = self._sources.pop(ticket, None)
        if source is not None:
            held = self._by_source[source]
            del held[ticket]
            if not held:
                del self._by_source[source]

    def push_out(self, source: str) -> bool:
        """The one whose turn it is to go for one more of this source; False where nobody is here."""
        if not self._sources:
            return False
        most = max(self._by_source.values(), key=len)
        own = self._by_source.get(source, most)
        ticket, give_way = next(iter((own if len(own) == len(most) else most).items()))
        self.leave(ticket)
        self.pushed_out += 1
        give_way()
        return True


def hang_up(connected: socket.socket) -> None:
    """End it from outside, whatever is being done with it: whoever attends to it finds its end, as if the peer had gone.

    To cancel a handshake instead would, in its first moment, leave a transport behind that nobody closes.
    """
    with contextlib.suppress(OSError):  # it has ended by itself
        connected.shutdown(socket.SHUT_RDWR)


def of_one(address: str) -> str:
    """What counts as one source: an address, of IPv6 its network. One of IPv4 is itself also where a socket of both says it."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
