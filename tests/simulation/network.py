"""Connections between processes: delay always, and by the weather loss, repetition, disorder, breaks and partitions.

`reliable` weather is TCP: a partition holds frames back until it heals. Otherwise frames are lost, repeated and reordered
within a connection, which TCP would never do: what heals that, heals everything. Unix sockets are always reliable.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from coordinator import limits, names
from coordinator.propagation import events, messages, wire
from tests.simulation import engine

UNIX_DELAY_S = 0.0005


class Weather(msgspec.Struct, frozen=True):
    """What the network does to a frame."""

    delay_s: tuple[float, float] = (0.001, 0.02)
    loss: float = 0.0
    repeat: float = 0.0
    reliable: bool = True


class Peer(Protocol):
    """A process as the network sees it."""

    alive: bool
    host: str
    peer: names.ServerId

    def feed(self, event: events.Input) -> None: ...


class _End:
    def __init__(self, process: Peer, link: names.LinkId) -> None:
        self.process = process
        self.link = link
        self.open = True
        self.authenticated = False
        self.last = 0.0
        """When the last frame towards this end arrives, so that reliable ones keep their order."""


class Connection:
    """Two ends, and what a partition holds back."""

    def __init__(self, dialler: _End, listener: _End, *, local: bool) -> None:
        self.ends = (dialler, listener)
        self.local = local
        self.held: list[tuple[int, bytes | None]] = []


class Network:
    """See the module."""

    def __init__(self, clock: engine.Engine) -> None:
        self.engine = clock
        self.weather = Weather()
        self.frames = 0
        self.frame_bytes = 0
        self.watch: Callable[[Peer, messages.AnyFrame], None] = lambda _process, _frame: None
        self._listeners: dict[tuple[str, int], Peer] = {}
        self._ends: dict[names.LinkId, tuple[Connection, int]] = {}
        self._cuts: dict[tuple[str, str], int] = {}
        self._links = 0

    # --- listening and dialling -----------------------------------------------------------------------------------

    def listen(self, address: str, port: int, process: Peer) -> None:
        self._listeners[address, port] = process

    def deaf(self, process: Peer) -> None:
        """Nothing listens for this process any more."""
        for place in [p for p, one in self._listeners.items() if one is process]:
            del self._listeners[place]

    def dial(self, process: Peer, dial: events.Dial) -> None:
        wait = self.engine.rng.uniform(0.0, dial.delay_s) if dial.delay_s > 0 else 0.0
        self.engine.after(wait, lambda: self._connect(process, dial))

    def _connect(self, process: Peer, dial: events.Dial) -> None:
        place = dial.parent
        listener = self._listeners.get((place.address, place.port))
        local = place.port == 0
        if listener is not None and self._cut(process.host, listener.host):
            self._later(limits.DIAL_TIMEOUT_S, process, events.DialFailed(dial.dial, "timed out"))
        elif listener is None or not listener.alive:
            self._later(self._delay(local=local), process, events.DialFailed(dial.dial, "refused"))
        else:
            self._meet(process, listener, dial.dial, local=local)

    def _meet(self, process: Peer, listener: Peer, dial: int, *, local: bool) -> None:
        ends = _End(process, self._link()), _End(listener, self._link())
        made = Connection(*ends, local=local)
        for index, end in enumerate(ends):
            self._ends[end.link] = (made, index)
        there = self._delay(local=local)
        back = there + self._delay(local=local)
        ends[0].last = ends[1].last = self.engine.now + back
        self._later(there, listener, events.Arrived(ends[1].link, process.peer))
        self._later(back, process, events.Opened(dial, ends[0].link, listener.peer))

    def _link(self) -> names.LinkId:
        self._links += 1
        return names.LinkId(self._links)

    def _later(self, delay_s: float, process: Peer, event: events.Input) -> None:
        self.engine.after(delay_s, lambda: process.feed(event))

    # --- frames ---------------------------------------------------------------------------------------------------

    def send(self, links: tuple[names.LinkId, ...], frame: messages.AnyFrame) -> None:
        payload = wire.encode(frame)[wire.HEADER_BYTES :]
        for link in links:
            found = self._ends.get(link)
            if found is not None and found[0].ends[found[1]].open:
                self._pass(*found, payload)

    def authenticated(self, link: names.LinkId) -> None:
        found = self._ends.get(link)
        if found is not None:
            found[0].ends[found[1]].authenticated = True

    def close(self, link: names.LinkId, reason: str) -> None:
        """One side ends the connection; the other learns it as it learns a frame."""
        found = self._ends.pop(link, None)
        if found is None:
            return
        made, index = found
        end = made.ends[index]
        end.open = False
        self._later(0.0, end.process, events.Gone(link, reason))
        self._pass(made, index, None)

    def _pass(self, made: Connection, sender: int, payload: bytes | None) -> None:
        there, here = made.ends[1 - sender], made.ends[sender]
        if self._cut(here.process.host, there.process.host):
            if self.weather.reliable:
                made.held.append((sender, payload))
            return
        rng, weather = self.engine.rng, self.weather
        if made.local or weather.reliable:
            there.last = max(there.last, self.engine.now + self._delay(local=made.local))
            self.engine.after(there.last - self.engine.now, lambda: self._arrive(made, sender, payload))
            return
        if rng.random() < weather.loss:
            return
        for _ in range(2 if rng.random() < weather.repeat else 1):
            self.engine.after(self._delay(local=False), lambda: self._arrive(made, sender, payload))

    def _arrive(self, made: Connection, sender: int, payload: bytes | None) -> None:
        end = made.ends[1 - sender]
        if not end.open or not end.process.alive:
            return
        if payload is None:
            self._ended(end, "closed by the peer")
            return
        if len(payload) > limits.FRAME_BYTES_UNAUTHENTICATED and not end.authenticated:
            self.close(end.link, f"frame too large (got {len(payload)})")
            return
        self.frames += 1
        self.frame_bytes += len(payload)
        frame = wire.decode(payload)
        self.engine.note(end.process.host, end.link)
        self.engine.mix(payload)
        self.watch(end.process, frame)
        end.process.feed(events.Heard(end.link, frame))

    def _ended(self, end: _End, reason: str) -> None:
        end.open = False
        self._ends.pop(end.link, None)
        end.process.feed(events.Gone(end.link, reason))

    def _delay(self, *, local: bool) -> float:
        return UNIX_DELAY_S if local else self.engine.rng.uniform(*self.weather.delay_s)

    # --- faults ---------------------------------------------------------------------------------------------------

    def _cut(self, origin: str, target: str) -> bool:
        return origin != target and self._cuts.get((origin, target), 0) > 0

    def cut(self, origins: list[str], targets: list[str], *, both: bool = True) -> Callable[[], None]:
        """Nothing passes from the first to the second (and back); returns what heals it."""
        pairs = [(a, b) for a in origins for b in targets if a != b]
        pairs += [(b, a) for a, b in pairs] if both else []
        for pair in pairs:
            self._cuts[pair] = self._cuts.get(pair, 0) + 1
        return lambda: self._heal(pairs)

    def _heal(self, pairs: list[tuple[str, str]]) -> None:
        for pair in pairs:
            self._cuts[pair] -= 1
        for made, index in list(self._ends.values()):
            there = made.ends[1 - index].process.host
            if index == 0 or not made.ends[0].open:
                self._release(made, made.ends[index].process.host, there)

    def _release(self, made: Connection, one: str, other: str) -> None:
        if self._cut(one, other) or self._cut(other, one):
            return
        held, made.held = made.held, []
        for sender, payload in held:
            self._pass(made, sender, payload)

    def gone(self, process: Peer, *, silently: bool) -> None:
        """A process has ended: its peers are told, unless the power went and nobody is left to tell them."""
        self.deaf(process)
        for link in [k for k, (made, i) in self._ends.items() if made.ends[i].process is process]:
            made, index = self._ends.pop(link)
            made.ends[index].open = False
            if not silently:
                self._pass(made, index, None)

    def snap(self) -> None:
        """Break one connection between hosts, for both sides."""
        links = [link for link, (made, index) in self._ends.items() if index == 0 and not made.local]
        if not links:
            return
        made, _ = self._ends[self.engine.rng.choice(links)]
        for end in made.ends:
            if end.open:
                self._ended(end, "broken")
