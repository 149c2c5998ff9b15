"""`server check`: a look at this machine before it becomes a server, and what to do about what is wrong with it.

It changes nothing: the one file that it writes, to time the disk, is gone again. Law: every row is `ok`, `warn` or `fail`, and
a row that is not ok says what to do.
"""

import contextlib
import errno
import os
import pathlib
import resource
import shutil
import socket
import statistics
import time

import msgspec

from coordinator import effects, errors, limits
from nodeagent.main import knocking

OK, WARN, FAIL = "ok", "warn", "fail"
PORTS = {
    limits.PORT_SHELL: "ServerShell",
    limits.PORT_MIC: "mic",
    limits.PORT_IC: "ic",
    limits.PORT_RAFT: "the store",
    limits.PORT_WS: "ws",
}
SANE_S = 1_750_000_000.0  # this program is younger than that
SKEW_WARN_S, SKEW_FAIL_S = 5.0, 300.0  # MIC refuses to join beyond the second
FREE_FAIL_BYTES, FREE_WARN_BYTES = 256 * 1024 * 1024, 2 * 1024 * 1024 * 1024
FSYNC_WARN_MS, FSYNC_FAIL_MS = 20.0, 500.0  # MIC commits by three; etcd warns above 10
FSYNCS = 20
FSYNC_BYTES = 4096
DESCRIPTORS_FAIL, DESCRIPTORS_WARN = 1024, 8192  # a parent of 4,096 links needs one each
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})


class Asked(msgspec.Struct, frozen=True):
    """What is looked at."""

    root: pathlib.Path
    """The server's directory to be."""
    address: str | None
    at: knocking.Place | None
    local_address: str | None = None


class Row(msgspec.Struct, frozen=True):
    """One finding."""

    what: str
    state: str
    detail: str
    hint: str = ""


def look(asked: Asked, clock: effects.Clock) -> tuple[Row, ...]:
    """All rows, whatever the first ones say."""
    rows = [*_addressed(asked.address), *_clocks(asked, clock), _space(asked.root), *_disk(asked.root)]
    return (*rows, _descriptors())


def exit_code(rows: tuple[Row, ...]) -> int:
    """1 where one fails."""
    return int(any(row.state == FAIL for row in rows))


def as_json(rows: tuple[Row, ...]) -> str:
    return msgspec.json.encode({"ok": not exit_code(rows), "checks": rows}).decode()


def as_table(rows: tuple[Row, ...]) -> str:
    """With the hint below whatever is not ok."""
    wide = max(len(row.what) for row in rows)
    lines = []
    for row in rows:
        lines.append(f"{row.what.ljust(wide)}  {row.state.ljust(4)}  {row.detail}")
        if row.hint and row.state != OK:
            lines.append(f"{' ' * wide}        {row.hint}")
    return "\n".join(lines)


# --- address and ports ------------------------------------------------------------------------------------------------


def _addressed(address: str | None) -> list[Row]:
    if address is None:
        return [Row("address", WARN, "none was given, so no port was tried", "say --address A")]
    wrong = _bound(address, 0)
    if wrong is not None:
        hint = "see the addresses of this machine with `ip address`"
        return [Row("address", FAIL, f"{address} is not an address of this machine", hint)]
    if address in {"0.0.0.0", "::"}:  # noqa: S104 it is refused
        hint = "name the one address by which other servers reach this machine"
        return [Row("address", FAIL, f"{address} stands for every address", hint)]
    loopback = address.startswith("127.") or address == "::1"
    own = Row("address", OK, f"{address} is an address of this machine")
    if loopback:
        own = Row(
            "address", WARN, f"{address} is reached from this machine alone", "good for trying things out"
        )
    return [own, *(_port(address, port, whose) for port, whose in PORTS.items())]


def _port(address: str, port: int, whose: str) -> Row:
    wrong = _bound(address, port)
    if wrong is None:
        return Row(f"port {port}", OK, f"free, for {whose}")
    if wrong.errno == errno.EADDRINUSE:
        hint = f"see who holds it with `ss -lptn 'sport = :{port}'`"
        return Row(f"port {port}", FAIL, f"taken; it is for {whose}", hint)
    return Row(
        f"port {port}",
        FAIL,
        f"cannot be opened: {(wrong.strerror or str(wrong)).lower()}",
        f"it is for {whose}",
    )


def _bound(address: str, port: int) -> OSError | None:
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
            probe.listen(1)
    except OSError as wrong:
        return wrong
    return None


# --- clock --------------------------------------------------------------------------------------------------------------


def _clocks(asked: Asked, clock: effects.Clock) -> list[Row]:
    wall = clock.wall()
    rows = [Row("clock", OK, time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(wall)))]
    if wall < SANE_S:
        hint = "set it, and keep it right with chrony or systemd-timesyncd"
        rows = [Row("clock", FAIL, f"certainly wrong: {rows[0].detail}", hint)]
    if asked.at is not None:
        rows.append(_compared(asked.at, asked.local_address, clock))
    return rows


def _compared(at: knocking.Place, local_address: str | None, clock: effects.Clock) -> Row:
    """With a server's clock; who that is was not proven, which matters little for this."""
    name = f"clock of {at}"
    try:
        before = clock.wall()
        with knocking.Knock(at, local_address) as knock:
            apart = knock.greeting.wall - (before + clock.wall()) / 2
    except errors.TiercastError as wrong:
        return Row(name, FAIL, wrong.message, "is it the port of a MIC, an IC or a ServerShell that runs?")
    detail = f"{abs(apart):.1f} s {'ahead of' if apart > 0 else 'behind'} this one"
    hint = "keep both right with chrony or systemd-timesyncd"
    state = FAIL if abs(apart) > SKEW_FAIL_S else WARN if abs(apart) > SKEW_WARN_S else OK
    return Row(name, state, detail, hint)


# --- disk and descriptors -----------------------------------------------------------------------------------------------


def _existing(root: pathlib.Path) -> pathlib.Path:
    """The directory, or the nearest one above it that exists."""
    while not root.is_dir() and root != root.parent:
        root = root.parent
    return root


def _space(root: pathlib.Path) -> Row:
    place = _existing(root)
    free = shutil.disk_usage(place).free
    detail = f"{free / 2**30:.1f} GiB free at {place}"
    hint = "the ledger and logs of a server take some 100 MiB, a MIC's store a few GiB"
    return Row(
        "disk space", FAIL if free < FREE_FAIL_BYTES else WARN if free < FREE_WARN_BYTES else OK, detail, hint
    )


def _disk(root: pathlib.Path) -> list[Row]:
    place = _existing(root)
    kind = _file_system(place)
    rows = [Row("file system", OK, f"{kind} at {place}")]
    if kind in _IN_MEMORY:
        hint = (
            "a server that forgets who it is at every start of the machine is of no use; name another --dir"
        )
        rows = [Row("file system", FAIL, f"{kind} at {place}: in memory only", hint)]
    try:
        took_ms = _fsync_ms(place)
    except OSError as wrong:
        return [
            *rows,
            Row(
                "fsync",
                FAIL,
                f"does not work at {place}: {(wrong.strerror or str(wrong)).lower()}",
                "see dmesg",
            ),
        ]
    hint = "MIC answers an apply after three of these; a slow one makes every change slow"
    state = FAIL if took_ms > FSYNC_FAIL_MS else WARN if took_ms > FSYNC_WARN_MS else OK
    return [*rows, Row("fsync", state, f"{took_ms:.1f} ms (median of {FSYNCS})", hint)]


def _fsync_ms(place: pathlib.Path) -> float:
    """Raises `OSError`."""
    probe = place / f".tiercast-check.{os.getpid()}"
    took = []
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(FSYNCS):
            os.write(descriptor, bytes(FSYNC_BYTES))
            begun = time.perf_counter()
            os.fsync(descriptor)
            took.append(time.perf_counter() - begun)
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            probe.unlink()
    return statistics.median(took) * 1000


def _file_system(place: pathlib.Path) -> str:
    """Of the mount with the longest path above it."""
    found, kind, wanted = "", "unknown", str(place.resolve())
    for line in pathlib.Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
        _device, mounted, fstype, *_ = line.split(" ")
        mounted = mounted.replace("\\040", " ")
        inside = wanted == mounted or wanted.startswith(mounted.rstrip("/") + "/")
        if inside and len(mounted) >= len(found):
            found, kind = mounted, fstype
    return kind


def _descriptors() -> Row:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    shown = "unlimited" if soft == resource.RLIM_INFINITY else str(soft)
    hint = f"raise it, for instance by LimitNOFILE=65536 in the unit (the hard limit is {hard})"
    enough = soft == resource.RLIM_INFINITY or soft >= DESCRIPTORS_WARN
    state = OK if enough else WARN if soft >= DESCRIPTORS_FAIL else FAIL
    return Row("descriptors", state, f"{shown} per process", hint)
