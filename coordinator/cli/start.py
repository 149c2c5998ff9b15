"""The entry point: Ctrl-C ends it as quietly while its modules are being loaded as it does later.

Law: imports nothing of ours before that is settled.
"""

import os
import signal
from typing import NoReturn

INTERRUPTED = 130


def main() -> NoReturn:
    """The command `tiercast`."""
    # not where whoever started us has it ignored
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heard:
        signal.signal(signal.SIGINT, _end)
    from coordinator.cli import main as command  # noqa: PLC0415 half of what there is to wait for

    if heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        command.main()
    except KeyboardInterrupt:
        _end()


def _end(*_told: object) -> NoReturn:
    os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)
