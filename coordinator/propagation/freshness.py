"""MIC's sign of life as a child hears it: whether what it is given is the newest that there is. Pure.

A sign of life says how far MIC is, so a parent that passes on the sign and keeps back what it speaks of is noticed as
well as one that keeps back the sign. Law: only a rising (generation, term, count) counts; an old sign heard again is none.
"""

import msgspec

from coordinator import limits, names
from coordinator.propagation import objects
from coordinator.trust import signing


class Freshness(msgspec.Struct):
    """See the module."""

    raw: bytes = b""
    """The newest sign, as it is relayed."""
    at: float | None = None
    """Monotonic second at which it was heard."""
    since: float | None = None
    """Monotonic second since which one could have been heard."""
    withheld: float | None = None
    """Since when a sign has spoken of more than was given here."""
    order: tuple[int, int, int] = (0, 0, 0)
    spoken: objects.Numbers = objects.Numbers()
    wall: float = 0.0
    """What MIC's clock said with the newest sign; 0 where it said nothing."""

    def heard(self, raw: bytes, keyring: signing.Keyring, now: float) -> bool:
        """Whether it is newer than any before. Raises `SignatureError`, `msgspec.DecodeError`, `UnicodeDecodeError`."""
        if raw == self.raw:
            return False  # most heartbeats bring the sign known already: nothing to verify
        fresh = objects.decode_fresh(keyring.verify(raw, objects.Kind.FRESH))
        if fresh.order <= self.order:
            return False
        self.order, self.raw, self.at = fresh.order, raw, now
        self.spoken, self.wall = objects.Numbers(fresh.target, fresh.trust), fresh.wall
        return True

    def ahead_s(self, wall: float, now: float) -> float:
        """By how much a clock that says `wall` now is ahead of MIC's; below 0 behind, 0 where MIC's is not known.

        A sign takes some seconds from tier to tier, so this is good for minutes.
        """
        if self.at is None or not self.wall:
            return 0.0
        return wall - (self.wall + now - self.at)

    def compare(self, mine: objects.Numbers, *, refusing: bool, now: float) -> None:
        """What MIC said it has issued against what came; `refusing`: that target was refused here, not withheld."""
        served = mine.target > names.NO_SERIAL and not refusing  # who waits for a place is given no target
        behind = self.spoken.trust > mine.trust or (served and self.spoken.target > mine.target)
        if not behind:
            self.withheld = None
        elif self.withheld is None:
            self.withheld = now

    def stale_since(self, now: float) -> float | None:
        """Monotonic second of the last sign (or of the beginning), if that is over `STALE_S` ago; or since when something
        is withheld.
        """
        last = self.at if self.at is not None else self.since
        oldest = min((one for one in (last, self.withheld) if one is not None), default=None)
        return oldest if oldest is not None and now - oldest > limits.STALE_S else None
