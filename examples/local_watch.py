#!/usr/bin/env python3
"""A program that follows its server's own view of the configuration. Needs nothing but Python, no network, no parent.

Under Tiercast the socket's path stands in TIERCAST_SOCKET; elsewhere on the server it is `run/view.sock` below --dir.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

AGAIN_S = 0.5  # a ServerShell that restarts is back within seconds; what was seen last stays true meanwhile


def views(path: str, what: str = "view") -> Iterator[dict[str, Any]]:
    """The view now, and again after every change, for ever. `what="document"`: with the whole configuration."""
    seen = None
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as connected:
                connected.connect(path)
                connected.sendall(json.dumps({"watch": what}).encode() + b"\n")
                for line in connected.makefile("rb"):
                    view = json.loads(line)
                    if "error" in view:
                        raise SystemExit(view["error"])
                    if view != seen:  # after a reconnection the same view comes once more
                        seen = view
                        yield view
        except OSError:
            pass
        time.sleep(AGAIN_S)


if __name__ == "__main__":
    place = sys.argv[1] if len(sys.argv) > 1 else os.environ["TIERCAST_SOCKET"]
    for view in views(place):
        print(f"revision {view['revision']}: {', '.join(view['roles']) or 'nothing here'}", flush=True)
