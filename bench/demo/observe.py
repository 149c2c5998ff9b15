"""What is seen of running programs: what they answer on their own ports, and who holds a port.

Law: nothing here asks Tiercast; a program is asked by its own protocol, the kernel by /proc. Each question is put once:
an ack that says `ready` is believed to mean it, so there is nothing to wait for.
"""

import contextlib
import http.client
import pathlib
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from typing import Self

import msgspec

from bench.demo import editions, place
from coordinator import errors
from nodeagent.supervision import procfs

TIMEOUT_S = 20.0  # of a program on a busy machine
WATCH_EVERY_S = 0.1
_LISTENING = b"0A"  # state of a socket in /proc/net/tcp

Endpoint = tuple[str, int]


class UnseenError(errors.TiercastError):
    """What the demo is to show was not there."""


class Process(msgspec.Struct, frozen=True):
    """One process for ever: a pid alone is reused."""

    pid: int
    start_ticks: int


def line(address: str, port: int) -> str:
    """The line a greeter answers with. Raises `OSError`."""
    with socket.create_connection((address, port), TIMEOUT_S) as connected:
        told = b""
        while piece := connected.recv(4096):
            told += piece
    return told.decode("utf-8", "replace").strip()


def page(address: str, port: int) -> str:
    """The first page of a web server. Raises `OSError`."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}:{port}/", timeout=TIMEOUT_S) as answer:
            told: bytes = answer.read(65536)
    except http.client.HTTPException as wrong:
        raise ConnectionError(str(wrong) or type(wrong).__name__) from wrong
    return told.decode("utf-8", "replace").strip()


def answer(program: editions.Program) -> str:
    """Of the running program. Raises `OSError`."""
    address = place.PLACES[program.server].address
    match program:
        case editions.Greeter():
            return line(address, program.port)
        case editions.Web():
            return page(address, program.port)


def answers(endpoint: Endpoint) -> bool:
    """Whether anybody takes a connection there."""
    try:
        with socket.create_connection(endpoint, TIMEOUT_S):
            return True
    except OSError:
        return False


# --- who holds a port -------------------------------------------------------------------------------------------------


def holders(endpoints: Iterable[Endpoint]) -> dict[Endpoint, Process]:
    """Who listens there, found in the kernel's own tables; nobody: not in the answer."""
    inodes = _listening()
    wanted = {inodes[endpoint]: endpoint for endpoint in endpoints if endpoint in inodes}
    found: dict[Endpoint, Process] = {}
    for stat in procfs.processes():
        for inode in _sockets(stat.pid):
            if inode in wanted:
                # a fork shares its parent's sockets; the one that was there first holds the port
                held, now = found.get(wanted[inode]), Process(stat.pid, stat.start_ticks)
                if held is None or now.start_ticks < held.start_ticks:
                    found[wanted[inode]] = now
    return found


def _listening() -> dict[Endpoint, bytes]:
    found = {}
    for row in pathlib.Path("/proc/net/tcp").read_bytes().splitlines()[1:]:
        fields = row.split()
        if fields[3] == _LISTENING:
            address, port = fields[1].split(b":")
            number = bytes.fromhex(address.decode())[::-1]  # the kernel prints it in the machine's own order
            found[socket.inet_ntoa(number), int(port, 16)] = fields[9]
    return found


def _sockets(pid: int) -> Iterable[bytes]:
    try:
        links = list(pathlib.Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return
    for link in links:
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            yield target[8:-1].encode()


def holder(endpoint: Endpoint) -> Process:
    """Raises `UnseenError` where nobody listens."""
    found = holders([endpoint])
    if endpoint not in found:
        raise UnseenError(f"nobody listens on {endpoint[0]}:{endpoint[1]}")
    return found[endpoint]


def resident_kib(pid: int) -> int:
    """Memory of a process that is in RAM now."""
    for row in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if row.startswith("VmRSS:"):
            return int(row.split()[1])
    return 0


# --- all programs of an edition ---------------------------------------------------------------------------------------


def endpoint(program: editions.Program) -> Endpoint:
    return place.PLACES[program.server].address, program.port


def seen(programs: editions.Programs, revision: int) -> Mapping[str, Process]:
    """Ask each of them, and see who it is. Raises `UnseenError` with the first that answers anything else."""
    for role, program in programs.items():
        expected = program.answer(role, revision)
        where = f"{role} on {program.server} ({':'.join(map(str, endpoint(program)))})"
        try:
            told = answer(program)
        except OSError as wrong:
            raise UnseenError(f"{where} does not answer: {wrong}") from wrong
        if told != expected:
            raise UnseenError(f"{where} answers something else (got {told!r}, have {expected!r})")
    held = holders(endpoint(program) for program in programs.values())
    return {role: held[endpoint(program)] for role, program in programs.items()}


class Watch:
    """Looks again and again, and keeps every different thing it saw, in order."""

    def __init__(self, look: Callable[[], object]) -> None:
        self._look = look
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.seen: list[object] = []

    def __enter__(self) -> Self:
        self._once()  # what was there before anything happens counts, however late the thread comes to look
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._once()  # what became of it in the moment before the end counts too

    def _run(self) -> None:
        while not self._over.wait(WATCH_EVERY_S):
            self._once()

    def _once(self) -> None:
        with contextlib.suppress(OSError):
            found = self._look()
            if found is not None and (not self.seen or self.seen[-1] != found):
                self.seen.append(found)
