"""Asking the ServerShell of this machine over its Unix socket; works with every parent away. Blocking, for commands."""

import socket
import threading

from coordinator import errors, limits, names
from coordinator.host import clock, lock, settings
from coordinator.propagation import messages, objects, wire
from nodeagent.servershell import shell

TIMEOUT_S = 35.0  # longer than an ask that is relayed may take

STOP_S = limits.NODE_STOP_TIMEOUT_S + 15.0  # its nodes' time, and the ServerShell's own
LOOK_S = 0.05


def ask(layout: settings.Layout, cluster: names.ClusterId, verb: str, data: bytes = b"") -> tuple[str, bytes]:
    """(code, answer); code empty is good. Raises `UnreachableError` where no ServerShell answers."""
    path = layout.socket(shell.SOCKET)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connected:
            connected.settimeout(TIMEOUT_S)
            connected.connect(path)
            return _ask(connected, cluster, verb, data)
    except (OSError, EOFError) as problem:
        hint = f"is it running? start it with `tiercast server run --dir {layout.root}`"
        raise errors.UnreachableError(f"no ServerShell answers at {path} ({problem})", hint=hint) from problem


def wait_for_end(layout: settings.Layout, within_s: float) -> None:
    """Return once no ServerShell holds the directory any more. Raises `TimedOutError`."""
    measured, pause = clock.SystemClock(), threading.Event()
    until = measured.monotonic() + within_s
    while _held(layout):
        if measured.monotonic() >= until:
            hint = (
                f"look at what still runs with `tiercast server status --dir {layout.root}`, or at its logs"
            )
            raise errors.TimedOutError(f"the server still runs (waited {within_s:.0f} s)", hint=hint)
        pause.wait(LOOK_S)


def _held(layout: settings.Layout) -> bool:
    """By its lock: the socket goes a moment before the process, and the next ServerShell needs the lock."""
    try:
        lock.DirectoryLock(layout.root).release()
    except errors.InUseError:
        return True
    return False


def _ask(connected: socket.socket, cluster: names.ClusterId, verb: str, data: bytes) -> tuple[str, bytes]:
    numbers = objects.Numbers()
    local = messages.ChildKind.LOCAL
    hello = messages.Hello(messages.PROTOCOL, cluster, local, "command", 0, numbers, "", b"", None)
    connected.sendall(wire.encode(hello))
    frame = _receive(connected)
    if isinstance(frame, messages.Bye):
        raise errors.NotAllowedError(f"the ServerShell refuses ({frame.reason})")
    connected.sendall(wire.encode(messages.Ask(1, verb, "", True, data)))
    parts: list[bytes] = []
    while True:
        frame = _receive(connected)
        if isinstance(frame, messages.Answer):
            parts.append(frame.data)
            if frame.last:
                return frame.code, b"".join(parts)


def _receive(connected: socket.socket) -> messages.AnyFrame:
    size = int.from_bytes(_exactly(connected, wire.HEADER_BYTES), "big")
    return wire.decode(_exactly(connected, size))


def _exactly(connected: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = connected.recv(size - len(data))
        if not piece:
            raise EOFError("it closed the connection")
        data += piece
    return bytes(data)
