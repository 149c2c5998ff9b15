"""Ports of this machine that nobody else takes between the moment one learns of them and the moment something listens there.

Law: never one that the kernel gives to whoever binds port 0 or dials out (from 16000 on at the least), never the same one
twice, and two processes begin at different ones.
"""

import itertools
import os
import socket

FIRST, LAST = 10_100, 15_900
_STEP = 61  # between the beginnings of processes that were started one after the other
_count = itertools.count(os.getpid() * _STEP)


def free(host: str = "127.0.0.1") -> int:
    """Nobody listens there, and nobody will but by name."""
    for number in itertools.islice(_count, LAST - FIRST):
        port = FIRST + number % (LAST - FIRST)
        try:
            with socket.create_server((host, port)):
                return port
        except OSError:
            continue
    raise AssertionError(f"no port is free on {host} (tried {FIRST} to {LAST})")


def several(count: int, host: str = "127.0.0.1") -> list[int]:
    """As many, each another."""
    return [free(host) for _ in range(count)]
