"""The systems under measure, each of real processes, by one protocol: put a key, follow a prefix.

Ours is one server with its node of MIC and its node of WS, over HTTPS and over the etcd listener (mutual TLS); etcd is one
member with Debian's settings, without TLS, asked by a client that does as little as can be.
"""

import asyncio
import contextlib
import pathlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import aiohttp
import msgspec

from bench.demo import observe, place, sweeping, world
from bench.peers import crowd, etcd_clients
from bench.store import etcd
from coordinator import errors
from coordinator.host import contexts, durations
from coordinator.trust import tls

C1 = place.Place("c1", "central", "127.0.71.1")
ETCD_PORT = 2379
BEGIN_S = 60.0
AGAIN_S = 0.05
PREFIX = "bench/"
KV = "/api/admin/v1/kv"

Told = Callable[[int], None]
"""So many events have come."""

DOCUMENT = f"""
schema: tiercast/1
general: {{master_domain: acme}}
domains: {{acme: {{fqdn: acme.example}}}}
sites: {{central: {{type: master, domains: [acme]}}}}
servers: {{c1: {{interfaces: {{lan: "{C1.address}"}}}}}}
roles:
  mic1: {{type: mic, order: 1, params: {{etcd_port: {ETCD_PORT}}}}}
  dc1: {{type: dc, order: 1}}
  ws1: {{type: ws, order: 1}}
structure: {{central: {{c1: [mic1, dc1, ws1]}}}}
"""


class System(Protocol):
    """Started before, closed after; raises `TiercastError` where it cannot be measured."""

    name: str

    def pids(self) -> list[int]: ...

    async def put(self, key: str, value: bytes) -> None: ...

    async def follow(self, told: Told) -> None:
        """Until cancelled: every change below `PREFIX` from now on; `told(0)` once it has begun."""
        ...


def _pids(running: world.World) -> list[int]:
    return [one.pid for one in sweeping.belonging(running.directory("c1"))]


@contextlib.asynccontextmanager
async def ours() -> AsyncIterator[world.World]:
    """One server, its document in force."""
    with world.World({"c1": C1}) as running:
        await asyncio.to_thread(_begin, running)
        yield running


def _begin(running: world.World) -> None:
    words = ("--name", "c1", "--address", C1.address, "--site", "central", "--master-domain", "acme")
    _good(running, "server", "init", *words, "--dir", str(running.directory("c1")))
    running.start("c1")
    document = running.root / "system.yaml"
    document.write_text(DOCUMENT, encoding="utf-8")
    for _ in range(int(BEGIN_S)):
        if running.run("status").code == 0:
            break
    _good(running, "apply", str(document), "--yes", "--timeout", durations.written(BEGIN_S).replace(" ", ""))


def _good(running: world.World, *words: str) -> None:
    ran = running.run(*words)
    if ran.code:
        raise observe.UnseenError(f"`tiercast {' '.join(words)}` failed: {ran.talk.strip()[-500:]}")


class Http:
    """Ours, by `/api/admin/v1/kv`."""

    name = "tiercast https"

    def __init__(self, running: world.World, session: aiohttp.ClientSession) -> None:
        self._running = running
        self._session = session

    @classmethod
    @contextlib.asynccontextmanager
    async def made(cls, running: world.World) -> AsyncIterator["Http"]:
        known = contexts.read(running.context_file)
        used = known.contexts[known.current]
        connector = aiohttp.TCPConnector(limit=0, ssl=tls.pinned_client_context(used.ca.encode()))
        headers = {"Authorization": f"Bearer {used.token}"}
        async with aiohttp.ClientSession(used.servers[0], connector=connector, headers=headers) as session:
            yield cls(running, session)

    def pids(self) -> list[int]:
        return _pids(self._running)

    async def put(self, key: str, value: bytes) -> None:
        asked = msgspec.json.encode({"key": PREFIX + key, "value": value.decode()})
        while True:
            headers = {"Content-Type": "application/json"}
            async with self._session.post(f"{KV}/put", data=asked, headers=headers) as response:
                if response.status == 200:
                    await response.read()
                    return
                if response.status not in {429, 503}:
                    raise observe.UnseenError(f"a put failed: {response.status} {await response.text()}")
            await asyncio.sleep(AGAIN_S)

    async def follow(self, told: Told) -> None:
        revision = 0
        while True:
            query = {
                "key": PREFIX,
                "prefix": "true",
                "revision": str(revision),
                "wait": "20s" if revision else "0s",
            }
            async with self._session.get(f"{KV}/watch", params=query) as response:
                if response.status in {429, 503}:
                    await asyncio.sleep(AGAIN_S)
                    continue
                answer = msgspec.json.decode(await response.read())
            if response.status != 200 or answer.get("reset"):
                raise observe.UnseenError(f"a watch has lost events: {response.status} {answer}")
            told(len(answer.get("events", ())))
            revision = answer["revision"] + 1


class Listener:
    """Ours, by etcd's API, with the generated stubs of the extra `etcd-api`."""

    name = "tiercast etcd listener"

    def __init__(self, running: world.World, channel: Any) -> None:  # noqa: ANN401 gRPC has no types
        from aetcd.rpc import rpc_pb2  # noqa: PLC0415 an extra

        known = contexts.read(running.context_file)
        self._metadata = (("token", known.contexts[known.current].token),)
        self._running = running
        self._rpc: Any = rpc_pb2
        self._put = channel.unary_unary(
            "/etcdserverpb.KV/Put",
            request_serializer=rpc_pb2.PutRequest.SerializeToString,
            response_deserializer=rpc_pb2.PutResponse.FromString,
        )
        self._watch = channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=rpc_pb2.WatchRequest.SerializeToString,
            response_deserializer=rpc_pb2.WatchResponse.FromString,
        )

    @classmethod
    @contextlib.asynccontextmanager
    async def made(cls, running: world.World) -> AsyncIterator["Listener"]:
        """Raises `UsageError` where the extra is not installed."""
        try:
            import grpc  # noqa: PLC0415 an extra
            import grpc.aio  # noqa: PLC0415
        except ImportError as missing:
            raise errors.UsageError("the extra etcd-api is not installed") from missing
        identity = running.directory("c1") / "identity"
        pems = [(identity / name).read_bytes() for name in ("ca.pem", "server.key", "server.pem")]
        credentials = grpc.ssl_channel_credentials(*pems)
        async with grpc.aio.secure_channel(f"{C1.address}:{ETCD_PORT}", credentials) as channel:
            await asyncio.wait_for(channel.channel_ready(), BEGIN_S)
            yield cls(running, channel)

    def pids(self) -> list[int]:
        return _pids(self._running)

    async def put(self, key: str, value: bytes) -> None:
        import grpc  # noqa: PLC0415 an extra

        asked = self._rpc.PutRequest(key=(PREFIX + key).encode(), value=value)
        while True:
            try:
                await self._put(asked, metadata=self._metadata)
            except grpc.RpcError as problem:
                if problem.code() not in {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE}:
                    raise observe.UnseenError(f"a put failed: {problem}") from problem
                await asyncio.sleep(AGAIN_S)
                continue
            return

    async def follow(self, told: Told) -> None:
        wanted = self._rpc.WatchCreateRequest(key=PREFIX.encode(), range_end=PREFIX[:-1].encode() + b"0")
        stream = self._watch(metadata=self._metadata)
        await stream.write(self._rpc.WatchRequest(create_request=wanted))
        try:
            async for answer in stream:
                told(len(answer.events))
        finally:
            stream.cancel()


class _Following(etcd_clients.Watching):
    """Counts what it sees."""

    def __init__(self, told: Told) -> None:
        super().__init__(PREFIX.encode(), PREFIX[:-1].encode() + b"0")
        self._told = told

    def changed(self, value: memoryview) -> None:  # noqa: ARG002 it is counted, not read
        self._told(1)


class Etcd:
    """One member of Debian's etcd."""

    name = "etcd"

    def __init__(self, member: etcd.Etcd) -> None:
        self._member = member

    @classmethod
    @contextlib.asynccontextmanager
    async def made(cls, base: pathlib.Path) -> AsyncIterator["Etcd"]:
        member = etcd.Etcd(base, 1)
        await member.start()
        try:
            yield cls(member)
        finally:
            await member.close()

    def pids(self) -> list[int]:
        return self._member.pids

    async def put(self, key: str, value: bytes) -> None:
        await self._member.put((PREFIX + key).encode(), value)

    async def follow(self, told: Told) -> None:
        made = await crowd.reached(lambda: _Following(told), self._member.port)
        await made.watching.wait()
        told(0)
        await asyncio.Event().wait()
