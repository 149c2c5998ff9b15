"""Trying again for a moment where nobody listens: WS restarts where a document adds a role to its node.

Law: only before the first byte of a request is sent, so that nothing is ever asked twice.
"""

import ssl
from collections.abc import Callable

from coordinator import effects, limits
from coordinator.host import durations

PASSING = (ConnectionRefusedError, ConnectionResetError, ssl.SSLEOFError)
"""Of a server that stops or starts: nobody listens, or it ends while hands are shaken."""


class Patience:
    """With one request; `for_s` is 0 where whoever asks tries again itself."""

    def __init__(self, clock: effects.Clock, sleep: Callable[[float], None], for_s: float) -> None:
        self._clock = clock
        self._sleep = sleep
        self._for_s = for_s
        self._begun = clock.monotonic()
        self.tries = 1

    def again(self) -> bool:
        """True after a pause; false once it was long enough."""
        if self._clock.monotonic() - self._begun + limits.CONNECT_AGAIN_S > self._for_s:
            return False
        self._sleep(limits.CONNECT_AGAIN_S)
        self.tries += 1
        return True

    def told(self) -> str:
        """For the error: how long it was tried; empty where it was tried once."""
        if self.tries == 1:
            return ""
        return f", tried for {durations.written(self._clock.monotonic() - self._begun)}"
