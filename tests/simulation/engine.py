"""Virtual time: a heap of things to do, one seeded source of chance, and a digest of all that happened.

Law: the same seed gives the same digest, in any process (nothing depends on hashes of strings or on real time).
"""

import hashlib
import heapq
import random
from collections.abc import Callable


class Engine:
    """See the module."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.rng = random.Random(seed)
        self.events = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._hash = hashlib.blake2b(digest_size=16)

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        """Do it later; what is due at one moment happens in the order in which it was asked for."""
        self._count += 1
        heapq.heappush(self._heap, (self.now + delay_s, self._count, act))

    def run(self, until: float, stop: Callable[[], bool] | None = None) -> bool:
        """Let time pass; whether `stop` came true before `until`."""
        while self._heap and self._heap[0][0] <= until:
            self.now, _, act = heapq.heappop(self._heap)
            self.events += 1
            act()
            if stop is not None and stop():
                return True
        self.now = until
        return stop is not None and stop()

    def note(self, *parts: object) -> None:
        """Something happened, as far as the digest is concerned."""
        self._hash.update(f"{self.now!r} {parts!r}\n".encode())

    def mix(self, data: bytes) -> None:
        """These very bytes, too."""
        self._hash.update(data)

    @property
    def digest(self) -> str:
        """Of everything noted so far."""
        return self._hash.hexdigest()
