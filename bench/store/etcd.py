"""Debian's etcd with its own durable settings, through a lean gRPC client of ours over a few connections."""

import asyncio
import itertools
import pathlib

from bench.peers import crowd, http2
from bench.store import ours

CONNECTIONS = 8
_PUT = b"/etcdserverpb.KV/Put"


class _Client(http2.Connection):
    """Puts, each on a stream of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[int, asyncio.Future[None]] = {}

    async def put(self, key: bytes, value: bytes) -> None:
        stream = self.call(_PUT, http2.field(1, key) + http2.field(2, value), last=True)
        done = self._waiting[stream] = asyncio.get_running_loop().create_future()
        await done

    def message(self, stream: int, payload: bytes) -> None:  # noqa: ARG002 an answer is the acknowledgement
        done = self._waiting.pop(stream, None)
        if done is not None:
            done.set_result(None)


class Etcd:
    """One or three members; puts go to the first."""

    name = "etcd"

    def __init__(self, base: pathlib.Path, members: int) -> None:
        self._base = base
        self._members = members
        self._processes: list[asyncio.subprocess.Process] = []
        self._clients: list[_Client] = []
        self._turn = itertools.count()

    async def start(self) -> None:
        ports = {f"e{number}": (ours.free_port(), ours.free_port()) for number in range(self._members)}
        cluster = ",".join(f"{name}=http://{ours.HOST}:{peer}" for name, (_client, peer) in ports.items())
        for name, (client, peer) in ports.items():
            here, there = f"http://{ours.HOST}:{client}", f"http://{ours.HOST}:{peer}"
            argv = (
                "etcd", "--name", name, "--data-dir", str(self._base / name), "--log-level", "error",
                "--listen-client-urls", here, "--advertise-client-urls", here, "--quota-backend-bytes", str(8 << 30),
                "--listen-peer-urls", there, "--initial-advertise-peer-urls", there, "--initial-cluster", cluster,
            )  # fmt: skip
            self._processes.append(
                await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.DEVNULL)
            )
        first = ports["e0"][0]
        self._clients = [await crowd.reached(_Client, first) for _ in range(CONNECTIONS)]
        async with asyncio.timeout(30):
            await self.put(b"/ready", b"")

    async def put(self, key: bytes, value: bytes) -> None:
        await self._clients[next(self._turn) % CONNECTIONS].put(key, value)

    async def close(self) -> None:
        for process in self._processes:
            process.kill()
            await process.wait()
