"""Two machines with one identity, noticed by their parent: each link of the one ends a link of the other. Pure.

A child that comes again because its link had died is none: its former link had been silent by then. Law: what is told
of one child is told at most once per `WINDOW_S`; nothing is kept of a child for longer than that.
"""

from coordinator import limits, names
from coordinator.propagation import messages

WINDOW_S = 60.0
TAKEN_OVER = 3  # times within the window that may have other reasons: a restart, a clumsy operator
LIVELY_S = limits.HEARTBEAT_S * 1.5  # whoever was heard so lately was there

Key = tuple[names.ServerId, messages.ChildKind, str]


class Twins:
    """See the module."""

    def __init__(self) -> None:
        self._taken: dict[Key, tuple[float, ...]] = {}
        self._told: dict[Key, float] = {}

    def taken_over(self, key: Key, heard: float, now: float) -> bool:
        """A link of this child, last heard at `heard`, gives way to another one; True: say that there are two."""
        if now - heard > LIVELY_S:
            return False
        self._forget(now)
        times = (*self._taken.get(key, ()), now)[-TAKEN_OVER - 1 :]
        self._taken[key] = times
        if len(times) <= TAKEN_OVER:
            return False
        if key in self._told:
            return False
        self._told[key] = now
        return True

    def doubled(self, key: Key, now: float) -> bool:
        """Whether this child has taken its own place too often lately."""
        self._forget(now)
        return len(self._taken.get(key, ())) > TAKEN_OVER

    def _forget(self, now: float) -> None:
        self._told = {key: at for key, at in self._told.items() if now - at < WINDOW_S}
        lately = {key: tuple(at for at in times if now - at < WINDOW_S) for key, times in self._taken.items()}
        self._taken = {key: times for key, times in lately.items() if times}
