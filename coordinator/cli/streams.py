"""The three streams of this process as a command needs them: there, and able to say everything.

A stream that was closed before the start is nowhere instead of nothing. What is piped is UTF-8, as documents and JSON
are; a terminal that cannot show a character is shown its number.
"""

import io
import os
import pathlib
import sys


def mend() -> None:
    """Of this process, before anything is read or said."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free: else a socket would be taken for output
    nowhere = pathlib.Path(os.devnull)
    sys.stdin = sys.stdin or nowhere.open(encoding="utf-8")
    sys.stdout = sys.stdout or nowhere.open("w", encoding="utf-8")
    sys.stderr = sys.stderr or nowhere.open("w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = None if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def close_output() -> None:
    """Nobody reads it any longer: what is left of it goes nowhere when this process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
