"""`server run`: this machine's ServerShell in the foreground, from its directory or from an enrolled identity file."""

import functools
import os
import pathlib
import signal
import sys
import threading
from collections.abc import Callable

import anyio
import anyio.abc
import msgspec

from coordinator import errors, names
from coordinator.hop import credentials, driver
from coordinator.host import clock, disk, lock, logs, loop, settings
from coordinator.propagation import events as hop
from coordinator.propagation import mirror
from coordinator.trust import authority, certificates, signing
from nodeagent.main import leaving, room
from nodeagent.servershell import shell
from nodeagent.supervision import launcher

ROOM_S = 5.0  # between looks whether a full disk has room again

_LOG = logs.Log("servershell")
_JOINED = msgspec.json.Decoder(tuple[tuple[str, int], ...])


def adopt_identity(layout: settings.Layout, file: pathlib.Path) -> None:
    """Lay out the directory of an enrolled server from its identity file; again with the same file does nothing.

    Raises `InUseError` where another identity lives here, `DamagedError` on a bad file, `OSError`.
    """
    adopt(layout, authority.unbundle(file.read_bytes()))


def adopt(layout: settings.Layout, bundle: authority.Bundle) -> None:
    """Lay out the directory of a server from its first identity. Raises as `adopt_identity`, and `SignatureError`."""
    root = disk.DirectoryDisk(layout.root)
    present = root.read(authority.DIRECTORY + "server.pem")
    if present is not None:
        if present == bundle.identity.cert_pem:
            return
        hint = "name another directory with --dir"
        raise errors.InUseError(f"{layout.root} belongs to another server's identity", hint=hint)
    signing.Keyring.trusting(bundle.trust, bundle.identity.cluster)
    root.write(authority.TRUST_FILE, bundle.trust)
    root.write(authority.ADMISSION_FILE, bundle.admission)
    root.write(authority.JOINED_FILE, msgspec.json.encode(bundle.parents))
    bundle.identity.save(root)


def place(layout: settings.Layout, local_address: str | None) -> shell.Place:
    """What stands in the directory. Raises `NotFoundError`, `DamagedError`."""
    root = disk.DirectoryDisk(layout.root)
    identity = authority.Identity.load(root)
    trust = root.read(authority.TRUST_FILE)
    if trust is None:
        raise errors.DamagedError(
            f"{layout.root / authority.TRUST_FILE} is missing", hint="enroll this server again"
        )
    joined = _JOINED.decode(root.read(authority.JOINED_FILE) or b"[]")
    system = clock.SystemClock()
    ground = driver.Ground(
        system, clock.SystemRandom(), credentials.Credentials(identity, system), local_address
    )
    parents = tuple(hop.Parent(names.ServerName(""), address, port) for address, port in joined)
    return shell.Place(layout, identity, trust, parents, ground, launcher.LinuxLauncher())


def clock_behind_s(identity: authority.Identity, wall_s: float) -> float:
    """By how much the wall clock is certainly wrong; 0 if it may be right. It orders nothing here and stops nothing."""
    return max(0.0, certificates.issued_after(identity.cert_pem) - wall_s)


def first_admission(
    layout: settings.Layout, at: shell.Place, book_objects: dict[str, bytes]
) -> dict[str, bytes]:
    """The admission of the identity file, until the ledger has a newer one."""
    raw = disk.DirectoryDisk(layout.root).read(authority.ADMISSION_FILE)
    key = mirror.ADMISSION_PREFIX + at.identity.server_id
    return {} if raw is None or key in book_objects else {key: raw}


def run(layout: settings.Layout, local_address: str | None, log_level: str) -> int:
    """Until SIGTERM (nodes go on) or `server stop` (nodes end first). Exit status.

    Raises `NotFoundError` where no server lives in the directory, `InUseError` where one has left; nothing is made then.
    """
    if not layout.identity.is_dir():
        hint = "make one with `tiercast server init` or `server join`, or name an enrolled server's file with --identity"
        raise errors.NotFoundError(f"no server lives in {layout.root}", hint=hint)
    leaving.check_not_begun(layout)
    os.umask(0o077)  # whatever is made here is for this user alone
    logs.configure(level=log_level)
    with room.wanted(layout.root, f"`tiercast server run --dir {layout.root}`"):
        for folder in (layout.run, layout.logs, layout.nodes, layout.state):
            folder.mkdir(mode=0o700, exist_ok=True)
        with lock.DirectoryLock(layout.root):
            _run(layout, local_address)
    return 0


def _run(layout: settings.Layout, local_address: str | None) -> None:
    """A disk that fills up while it runs is waited for: its nodes go on, and somebody has to see to them."""
    begun, waits, pause = threading.Event(), False, threading.Event()
    while True:
        at = place(layout, local_address)
        _look_at_clock(at)
        try:
            loop.run(functools.partial(_serve, layout, at, begun.set))
        except (OSError, BaseExceptionGroup) as problem:
            if not (room.full(problem) and (waits or begun.is_set())):
                raise
        else:
            return
        if begun.is_set() or not waits:
            hint = "make room there, and it goes on by itself; its nodes run meanwhile"
            _LOG.error("no room left on the disk", directory=str(layout.root), hint=hint)
        begun.clear()
        waits = True
        pause.wait(ROOM_S)


def _look_at_clock(at: shell.Place) -> None:
    behind = clock_behind_s(at.identity, at.ground.clock.wall())
    if behind > 0:
        _LOG.warning("this machine's clock is wrong: behind the making of its own identity", seconds=behind)


async def _serve(layout: settings.Layout, at: shell.Place, begun: Callable[[], None]) -> None:
    book = shell.open_book(layout)
    missing = first_admission(layout, at, dict(book.load().objects))
    if missing:
        book.store(missing)
    running = shell.ServerShell(at, book)

    def ready() -> None:
        own = running.machine.admission
        name = "" if own is None else own.name
        begun()
        _LOG.info("server runs", server=name, accepted=str(running.machine.content.version))
        sys.stderr.flush()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel_on_signal, tasks.cancel_scope)
        await running.run(ready)
        tasks.cancel_scope.cancel()


async def _cancel_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
        async for _ in received:
            _LOG.info("ServerShell stops, its nodes go on")
            scope.cancel()
            return
