"""Debian's etcd with its own durable settings, through a lean gRPC client of ours over a few connections."""

import asyncio
import itertools
import pathlib
import urllib.error
import urllib.request
from collections.abc import Mapping

from bench.peers import crowd, http2
from bench.store import ours

CONNECTIONS = 8
METRICS_S = 5.0
_PUT = b"/etcdserverpb.KV/Put"
_RANGE = b"/etcdserverpb.KV/Range"


class RefusedError(Exception):
    """It was not done, or nobody knows."""


class Client(http2.Connection):
    """Puts, each on a stream of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}

    async def put(self, key: bytes, value: bytes) -> None:
        """Raises `RefusedError`."""
        await self._called(_PUT, http2.field(1, key) + http2.field(2, value))

    async def has(self, key: bytes) -> bool:
        """Whether the key is there. Raises `RefusedError`."""
        answer = await self._called(_RANGE, http2.field(1, key))
        return any(number == 2 for number, _value in http2.fields(answer))

    async def _called(self, verb: bytes, payload: bytes) -> bytes:
        stream = self.call(verb, payload, last=True)
        done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[stream] = done
        return await done

    def message(self, stream: int, payload: bytes) -> None:
        done = self._waiting.pop(stream, None)
        if done is not None and not done.done():
            done.set_result(payload)

    def ended(self, stream: int) -> None:
        done = self._waiting.pop(stream, None)
        if done is not None and not done.done():
            done.set_exception(RefusedError("etcd refused it"))  # a change of leader, mostly

    def connection_lost(self, _problem: Exception | None) -> None:
        for done in self._waiting.values():
            if not done.done():
                done.set_exception(RefusedError("the link to etcd has ended"))
        self._waiting.clear()


def arguments(base: pathlib.Path, ports: Mapping[str, tuple[int, int]]) -> list[tuple[str, ...]]:
    """Of each member's process; `ports`: for clients and for each other, by name. Members speak TLS to each other, as ours do."""
    cluster = ",".join(f"{name}=https://{ours.HOST}:{peer}" for name, (_client, peer) in ports.items())
    found: list[tuple[str, ...]] = []
    for name, (client, peer) in ports.items():
        here, there = f"http://{ours.HOST}:{client}", f"https://{ours.HOST}:{peer}"
        found.append((
            "etcd", "--name", name, "--data-dir", str(base / name), "--log-level", "error",
            "--listen-client-urls", here, "--advertise-client-urls", here, "--quota-backend-bytes", str(8 << 30),
            "--listen-peer-urls", there, "--initial-advertise-peer-urls", there, "--initial-cluster", cluster,
            "--peer-auto-tls",
        ))  # fmt: skip
    return found


def metric(port: int, name: str) -> float | None:
    """One number that a member tells of itself; None where it does not answer. Blocking."""
    try:
        with urllib.request.urlopen(f"http://{ours.HOST}:{port}/metrics", timeout=METRICS_S) as answer:
            lines = answer.read().decode().splitlines()
    except (OSError, urllib.error.URLError):
        return None
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), None)


class Etcd:
    """One or three members; puts go to the first."""

    name = "etcd"

    def __init__(self, base: pathlib.Path, members: int) -> None:
        self._ports = {f"e{number}": (ours.free_port(), ours.free_port()) for number in range(members)}
        self._argv = arguments(base, self._ports)
        self._processes: list[asyncio.subprocess.Process] = []
        self._clients: list[Client] = []
        self._turn = itertools.count()

    @property
    def port(self) -> int:
        """Of the member that the puts go to."""
        return self._ports["e0"][0]

    @property
    def pids(self) -> list[int]:
        """Of its members."""
        return [process.pid for process in self._processes]

    async def start(self) -> None:
        for argv in self._argv:
            self._processes.append(
                await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.DEVNULL)
            )
        first = self._ports["e0"][0]
        self._clients = [await crowd.reached(Client, first) for _ in range(CONNECTIONS)]
        async with asyncio.timeout(30):
            for _ in (
                self._clients
            ):  # each of them, so that all know the server's windows before anything large goes out
                await self.put(b"/ready", b"")

    async def put(self, key: bytes, value: bytes) -> None:
        while True:
            try:
                await self._clients[next(self._turn) % CONNECTIONS].put(key, value)
            except RefusedError:
                await asyncio.sleep(0)
                continue  # as its own clients do
            return

    async def syncs(self) -> float:
        """Of the journal of the member that the puts go to."""
        port = self._ports["e0"][0]
        return await asyncio.to_thread(metric, port, "etcd_disk_wal_fsync_duration_seconds_count") or 0.0

    async def close(self) -> None:
        for process in self._processes:
            process.kill()
            await process.wait()
