"""The peers as the conductor stands them up: each alone, with lean clients, and ended with everything it started."""

import pathlib
import shutil
import subprocess
import sys
from collections.abc import Mapping

from bench.peers import crowd, jars
from bench.propagation import programs, stand

HERE = pathlib.Path(__file__).parent
SERVER, RELAY = "server", "relay"
_JUTE_BYTES = 8 << 20  # a document of the largest size in one message; its own bound is 1 MiB


class Etcd:
    """Flat: everyone watches one key of one member, and acks with a put."""

    name = "etcd"
    flat = True
    lacks = "no tree, no signatures; acks are durable puts. Client: lean gRPC of our own over HTTP/2, one connection each"

    def missing(self) -> str:
        return "" if shutil.which("etcd") else "not installed"

    async def start(self, order: stand.Order, made: stand.Stand) -> None:
        client, peer = crowd.free_port(), crowd.free_port()
        here, there = f"http://{crowd.HOST}:{client}", f"http://{crowd.HOST}:{peer}"
        argv = (
            "etcd", "--name", "bench", "--data-dir", str(order.directory / "data"), "--log-level", "error",
            "--listen-client-urls", here, "--advertise-client-urls", here,
            "--listen-peer-urls", there, "--initial-advertise-peer-urls", there, "--initial-cluster", f"bench={there}",
        )  # fmt: skip
        made.servers.append(made.add(SERVER, await programs.start("etcd", argv, order.directory)))
        await _flat("etcd_clients", client, order, made)


class Redis:
    """Flat: everyone subscribes to one channel, and acks with SET and INCR."""

    name = "redis"
    flat = True
    lacks = "nothing is durable, a client that was away misses it, no consensus, no tree, no signatures"

    def missing(self) -> str:
        return "" if shutil.which("redis-server") else "not installed"

    async def start(self, order: stand.Order, made: stand.Stand) -> None:
        port = crowd.free_port()
        argv = (
            "redis-server", "--bind", crowd.HOST, "--port", str(port), "--save", "", "--appendonly", "no",
            "--dir", str(order.directory), "--loglevel", "warning", "--maxclients", str(order.agents + 64),
            "--client-output-buffer-limit", "pubsub 0 0 0", "--tcp-backlog", "1024", "--logfile", "redis-server.log",  # where its stderr goes
        )  # fmt: skip
        made.servers.append(made.add(SERVER, await programs.start("redis-server", argv, order.directory)))
        await _flat("redis_clients", port, order, made, str(order.agents))


class Nats:
    """Flat: everyone watches one key of a JetStream bucket on one server, and acks with a put."""

    name = "nats"
    flat = True
    lacks = "one server, files synced every two minutes only; no tree, no signatures; acks are stored puts"

    def missing(self) -> str:
        return "" if shutil.which("nats-server") else "not installed"

    async def start(self, order: stand.Order, made: stand.Stand) -> None:
        port, settings = crowd.free_port(), order.directory / "nats.conf"
        settings.write_text(
            f'host: "{crowd.HOST}"\nport: {port}\nmax_payload: 8MB\nmax_pending: 256MB\nmax_connections: 65536\n'
            f'jetstream {{ store_dir: "{order.directory / "jetstream"}" }}\n'
        )
        argv = ("nats-server", "-c", str(settings))
        made.servers.append(made.add(SERVER, await programs.start("nats-server", argv, order.directory)))
        await _flat("nats_clients", port, order, made)


class ZooKeeper:
    """Flat: everyone watches one znode of one server, reads it anew when told, and acks by creating a znode."""

    name = "zookeeper"
    flat = True
    lacks = (
        "no tree, no signatures; one server of no ensemble; a watch tells that something changed, so each agent asks"
        " again, and one that was away sees the last value alone; acks are durable creates. Client: lean, of our own"
    )

    def missing(self) -> str:
        if not jars.classpath():
            return "not installed"
        return "" if shutil.which("java") else "no java"

    async def start(self, order: stand.Order, made: stand.Stand) -> None:
        port, settings = crowd.free_port(), order.directory / "zoo.cfg"
        settings.write_text(
            f"dataDir={order.directory / 'data'}\nclientPortAddress={crowd.HOST}\nclientPort={port}\n"
            "tickTime=2000\nmaxClientCnxns=0\nmaxSessionTimeout=120000\nadmin.enableServer=false\n"
        )
        silent = order.directory / "logback.xml"
        silent.write_text("<configuration/>\n")
        argv = (
            "java", "-Xmx1g", "-cp", jars.classpath(), f"-Djute.maxbuffer={_JUTE_BYTES}",
            f"-Dlogback.configurationFile={silent}", "-Dzookeeper.jmx.log4j.disable=true",
            "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(settings),
        )  # fmt: skip
        made.servers.append(made.add(SERVER, await programs.start("zookeeper", argv, order.directory)))
        await _flat("zookeeper_clients", port, order, made)


async def _flat(module: str, port: int, order: stand.Order, made: stand.Stand, *more: str) -> None:
    """Publisher and agents of a peer without tiers. Raises `FailedError`."""
    run = _Python(module, order, made)

    async def join() -> None:
        publisher = await run(stand.PUBLISHER, stand.PUBLISHER, str(port), str(order.agents))
        await publisher.hear()
        crowds = [
            await run(stand.AGENTS, stand.AGENTS, str(port), str(first), str(last), *more)
            for first, last in order.shares()
        ]
        for one in crowds:
            await one.hear()

    await made.served(join())


class _Begin:
    """Starts one part of a peer, as a role of its stand."""

    def __init__(self, order: stand.Order, made: stand.Stand, *command: str) -> None:
        self._order, self._made, self._command = order, made, command

    async def __call__(self, role: str, part: str, *arguments: str) -> programs.Program:
        name = f"{part}{len(self._made.programs.get(role, []))}"
        argv = (*self._command, part, *arguments)
        return self._made.add(role, await programs.start(name, argv, self._order.directory))


class _Python(_Begin):
    """A part that is a module of ours."""

    def __init__(self, module: str, order: stand.Order, made: stand.Stand) -> None:
        super().__init__(order, made, sys.executable, "-m", f"bench.peers.{module}")


class Tree:
    """The floor in Python."""

    name = "tree-python"
    flat = False
    lacks = "a floor: no names, no origin verified, no resume, acks counted only; one fsync per tier"

    def missing(self) -> str:
        return ""

    async def start(self, order: stand.Order, made: stand.Stand) -> None:
        await _grow(order, _Python("tree", order, made), str(order.agents))


class CTree:
    """The floor in C."""

    name = "tree-c"
    flat = False
    lacks = Tree.lacks

    def missing(self) -> str:
        return "" if shutil.which("cc") else "no C compiler"

    async def start(self, order: stand.Order, made: stand.Stand) -> None:
        binary = order.directory / "tree"
        built = subprocess.run(  # noqa: ASYNC221 nothing else runs meanwhile
            ["cc", "-O2", "-o", str(binary), str(HERE / "tree.c"), "-ldl"],
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode:
            raise programs.FailedError("tree.c does not compile", hint=built.stderr[-600:])

        await _grow(order, _Begin(order, made, str(binary)), str(order.sites))


async def _grow(order: stand.Order, begin: _Begin, wanted: str) -> None:
    """Root, relays, agents."""
    root = await begin(stand.PUBLISHER, "root", wanted, str(order.directory / "root.body"))
    port = str((await root.hear())["port"])
    held = [len(range(site, order.agents, order.sites)) for site in range(order.sites)]
    relays = [
        await begin(RELAY, "relay", port, str(count), str(order.directory / f"relay{site}.body"))
        for site, count in enumerate(held)
    ]
    ports = ",".join([str((await one.hear())["port"]) for one in relays])
    crowds = [
        await begin(stand.AGENTS, "agents", str(first), str(last), ports) for first, last in order.shares()
    ]
    for one in crowds:
        await one.hear()


PEERS: Mapping[str, stand.System] = {
    one.name: one
    for one in (
        CTree(),
        Tree(),
        Redis(),
        Etcd(),
        Nats(),
        ZooKeeper(),
    )
}
