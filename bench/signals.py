"""Whatever ends a bench ends it as Ctrl-C does, so that it can end what it has started and take its files away.

Law: what somebody told this process to ignore (`nohup`) stays ignored.
"""

import contextlib
import signal
from collections.abc import Iterator, Sequence

_ENDING = (signal.SIGTERM, signal.SIGHUP)


def ending() -> Sequence[signal.Signals]:
    """Beside Ctrl-C: of whoever ends us, and of a terminal that is closed."""
    return [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]


@contextlib.contextmanager
def as_interrupts() -> Iterator[None]:
    """Until its end these raise `KeyboardInterrupt`."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in ending()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
