"""The one real clock and the one real source of randomness; everything else has them injected."""

import random
import secrets
import time

_RANDOM = random.SystemRandom()


class SystemClock:
    """`effects.Clock` of this machine."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()


class SystemRandom:
    """`effects.Random` of the operating system; good enough for secrets."""

    def uniform(self, low: float, high: float) -> float:
        return _RANDOM.uniform(low, high)

    def token(self, size_bytes: int) -> str:
        return secrets.token_hex(size_bytes)
