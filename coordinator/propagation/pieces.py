"""What is too large for one frame: which child gets the next piece of a body, and how offers are cut.

Law: at most `limits.SENDS_UNDER_WAY` pieces are on their way, at most one to any link, and at most one pull of a link
waits; so a child that pulls without end or without reading costs only itself.
"""

from collections import deque

from coordinator import limits, names
from coordinator.propagation import bodies, events, messages


class Pieces:
    """See the module."""

    def __init__(self, shelf: bodies.Shelf) -> None:
        self._shelf = shelf
        self._queue: deque[tuple[names.LinkId, messages.Pull]] = deque()
        self._sending: dict[names.LinkId, float] = {}

    def pulled(self, link: names.LinkId, pull: messages.Pull, now: float) -> tuple[events.Send, ...]:
        """A child asks for a piece; what it asked for before and did not get counts no more."""
        self._queue = deque(entry for entry in self._queue if entry[0] != link)
        self._queue.append((link, pull))
        return self.serve(now)

    def drained(self, link: names.LinkId, now: float) -> tuple[events.Send, ...]:
        """All that was written to that link has left."""
        if self._sending.pop(link, None) is None:
            return ()
        return self.serve(now)

    def gone(self, link: names.LinkId) -> None:
        """Nothing more to that link."""
        self._sending.pop(link, None)
        self._queue = deque(entry for entry in self._queue if entry[0] != link)

    def tick(self, now: float) -> tuple[events.Send, ...]:
        """A piece that has not left after so long holds nobody else up."""
        for link, since in list(self._sending.items()):
            if now - since > limits.SILENT_S:
                self._sending.pop(link, None)
        return self.serve(now)

    def serve(self, now: float) -> tuple[events.Send, ...]:
        """Whatever may be sent now."""
        outputs: list[events.Send] = []
        early: list[tuple[names.LinkId, messages.Pull]] = []
        while self._queue and len(self._sending) < limits.SENDS_UNDER_WAY:
            link, pull = self._queue.popleft()
            if link in self._sending:
                early.append((link, pull))  # its last piece has not left yet
                continue
            chunk = self._shelf.chunk(pull.digest, pull.base, pull.offset)
            if chunk is None:
                continue
            self._sending[link] = now
            outputs.append(events.Send((link,), chunk))
        self._queue.extendleft(reversed(early))
        return tuple(outputs)


def parts(raws: tuple[bytes, ...]) -> list[tuple[bytes, ...]]:
    """In order, each well inside a frame; filled from the end, so that a target stays with its record."""
    parts: list[list[bytes]] = [[]]
    size = 0
    for raw in reversed(raws):
        size += len(raw)
        if parts[-1] and size > limits.FRAME_BYTES // 2:
            parts.append([])
            size = len(raw)
        parts[-1].append(raw)
    return [tuple(reversed(piece)) for piece in reversed(parts)]
