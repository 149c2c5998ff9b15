"""What the machine is that figures come from: they mean nothing without it."""

import os
import pathlib
import platform
import shutil
import subprocess
import tempfile
import time

import msgspec

from bench.peers import jars
from coordinator.cli import printing
from coordinator.host import clock

SYNCS = 20
VERSIONS = {
    "etcd": "etcd --version",
    "redis": "redis-server --version",
    "cc": "cc --version",
    "nats": "nats-server --version",
    "java": "java --version",
}


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """As it is saved, once per run, before the figures."""

    machine: str
    """Model of the processor."""
    cores: int
    memory_bytes: int
    kernel: str
    python: str
    fsync_ms: float
    """Of 4 KiB where the run keeps its files, median, with nothing else under way."""
    day: str = ""
    """UTC."""
    versions: dict[str, str]
    """Of what is installed beside us."""


def described(directory: pathlib.Path | None) -> Machine:
    """This one; takes a few fsyncs below `directory`."""
    versions = {name: said for name, words in VERSIONS.items() if (said := _version(words))}
    return Machine(
        machine=_processor(),
        cores=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        kernel=platform.release(),
        python=platform.python_version(),
        fsync_ms=round(_fsync_ms(directory), 3),
        day=printing.moment(clock.SystemClock().wall())[:10],
        versions=versions | ({"zookeeper": found} if (found := jars.version()) else {}),
    )


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _fsync_ms(directory: pathlib.Path | None) -> float:
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        took = []
        for _ in range(SYNCS):
            file.write(bytes(4096))
            file.flush()
            began = time.monotonic()
            os.fsync(file.fileno())
            took.append(time.monotonic() - began)
    return sorted(took)[SYNCS // 2] * 1000


def _version(words: str) -> str:
    command = words.split()
    if shutil.which(command[0]) is None:
        return ""
    said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout
    return (said.splitlines() or [""])[0][:120]


def words(where: Machine) -> str:
    """In one line, what stands beside us left out."""
    day = f"{where.day}: " if where.day else ""
    return (
        f"{day}{where.machine}, {where.cores} cores, {where.memory_bytes / 2**30:.0f} GiB, Linux {where.kernel}, "
        f"Python {where.python}, fsync of 4 KiB {where.fsync_ms:.2f} ms"
    )
