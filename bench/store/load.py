"""What is asked of every store: puts of one size, one after the other or from many clients at once."""

import asyncio
import os
import pathlib
import time
from typing import Protocol

import msgspec

SIZES = (100, 64 * 1024, 512 * 1024)
KEYS = 64  # per client; the same ones again and again, as a lease or an ack would be


class Puts(Protocol):
    async def put(self, key: bytes, value: bytes) -> None:
        """Return once it is durable."""
        ...

    async def syncs(self) -> float:
        """How often the journal of the member that is asked was made durable so far."""
        ...

    @property
    def pids(self) -> list[int]:
        """Of its members that are processes of their own."""
        ...


class Row(msgspec.Struct, frozen=True):
    """One measurement."""

    system: str
    members: int
    clients: int
    size_bytes: int
    puts: int
    puts_per_s: float
    p50_ms: float
    p99_ms: float
    syncs_per_put: float
    """Of one member's journal; many clients share one."""
    cpu_ms_per_put: float
    """Of all members and the clients together; what to look at on a machine that is busy otherwise."""


async def measure(store: Puts, label: tuple[str, int], clients: int, size_bytes: int, seconds: float) -> Row:
    """Put for so long."""
    ends = time.monotonic() + seconds
    taken: list[float] = []
    value = bytes(size_bytes)

    async def client(number: int) -> None:
        at = 0
        while (began := time.monotonic()) < ends:
            at += 1
            await store.put(b"/bench/%d/%d" % (number, at % KEYS), value)
            taken.append(time.monotonic() - began)

    before, spent = await store.syncs(), cpu_s(store)
    began = time.monotonic()
    await asyncio.gather(*(client(number) for number in range(clients)))
    elapsed = time.monotonic() - began
    spent = cpu_s(store) - spent
    taken.sort()
    return Row(
        *label,
        clients,
        size_bytes,
        len(taken),
        round(len(taken) / elapsed, 1),
        round(taken[len(taken) // 2] * 1000, 3),
        round(taken[len(taken) * 99 // 100] * 1000, 3),
        round((await store.syncs() - before) / len(taken), 3),
        round(spent / len(taken) * 1000, 3),
    )


def cpu_s(store: Puts) -> float:
    """Seconds of processor so far, of this process and the members."""
    ticks = sum(sum(map(int, _fields(pid)[11:13])) for pid in store.pids)
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def _fields(pid: int) -> list[str]:
    """Of `/proc/PID/stat`, behind the program's name, which may hold anything."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
