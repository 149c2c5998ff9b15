"""How often somebody may ask: a bucket of tokens each, of a bounded number of them.

Pure. Law: over any span of s seconds nobody is let through more than `burst + per_s * s` times; who is charged for more is
let through less.
"""

from collections import OrderedDict
from collections.abc import Hashable

KNOWN = 4096  # the one heard longest ago makes room, and its bucket is full again by then or nearly so


class Rates:
    """Of one kind of request."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def admits(self, who: Hashable, now: float) -> bool:
        """Whether one more is let through now; `now` in monotonic seconds."""
        left, at = self._buckets.pop(who, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_s)
        admitted = left >= 1.0
        self._buckets[who] = (left - 1.0 if admitted else left, now)
        if len(self._buckets) > KNOWN:
            self._buckets.popitem(last=False)
        return admitted

    def charge(self, who: Hashable, cost: float, now: float) -> None:
        """For what turned out to be worth several requests; at most `burst` of them are owed."""
        left, at = self._buckets.pop(who, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_s)
        self._buckets[who] = (max(-self._burst, left - cost), now)
