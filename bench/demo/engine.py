"""The engine of the demo's store: MIC's own, or a private etcd of one or three members that ends with the demo.

Law: an etcd that was there before is never touched; ours has addresses and a directory of its own.
"""

import enum
import http.client
import json
import shutil

from bench.demo import observe, world
from coordinator import errors

CLIENT_PORT, PEER_PORT = 2379, 2380
PREFIX = "/demo"
_HOSTS = ("127.0.10.11", "127.0.10.12", "127.0.10.13")
_NAMES = ("e1", "e2", "e3")


class Kind(enum.StrEnum):
    RAFT = "raft"
    ETCD = "etcd"
    ETCD3 = "etcd3"


_MEMBERS = {Kind.RAFT: 0, Kind.ETCD: 1, Kind.ETCD3: 3}
_TOLD = {Kind.RAFT: "raft", Kind.ETCD: "etcd (1 member)", Kind.ETCD3: "etcd (3 members)"}


def told(kind: Kind) -> str:
    """For people."""
    return _TOLD[kind]


def endpoints(kind: Kind) -> set[observe.Endpoint]:
    """Where it will listen."""
    return {(host, port) for host in _HOSTS[: _MEMBERS[kind]] for port in (CLIENT_PORT, PEER_PORT)}


def check(kind: Kind) -> None:
    """Raises `NotFoundError` where there is no etcd to start."""
    if _MEMBERS[kind] and shutil.which("etcd") is None:
        raise errors.NotFoundError(
            "there is no etcd on this machine", hint="on Debian: apt-get install etcd-server"
        )


def words(kind: Kind) -> list[str]:
    """What `server init` is told."""
    hosts = _HOSTS[: _MEMBERS[kind]]
    return (
        ["--store", f"etcd://{','.join(f'{host}:{CLIENT_PORT}' for host in hosts)}{PREFIX}"] if hosts else []
    )


def start(at: world.World, kind: Kind) -> None:
    """Start every member; whether they lead is seen by `leads`."""
    members = list(zip(_NAMES, _HOSTS, strict=True))[: _MEMBERS[kind]]
    cluster = ",".join(f"{name}=http://{host}:{PEER_PORT}" for name, host in members)
    found = shutil.which("etcd")
    assert found is not None, "checked before anything was started"
    for name, host in members:
        client, peer = f"http://{host}:{CLIENT_PORT}", f"http://{host}:{PEER_PORT}"
        at.launch(
            name,
            [
                found, "--name", name, "--data-dir", str(at.directory(name)), "--log-level", "warn",
                "--listen-client-urls", client, "--advertise-client-urls", client,
                "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                "--initial-cluster", cluster, "--initial-cluster-token", str(at.root),
            ],
        )  # fmt: skip


def leads(kind: Kind) -> bool:
    """Whether every member knows a leader."""
    return all(_follows(host) for host in _HOSTS[: _MEMBERS[kind]])


def _follows(host: str) -> bool:
    link = http.client.HTTPConnection(host, CLIENT_PORT, timeout=2)
    try:
        link.request("POST", "/v3/maintenance/status", b"{}")
        return "leader" in json.loads(link.getresponse().read())
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        link.close()
