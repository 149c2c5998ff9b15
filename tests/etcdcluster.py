"""Real etcd clusters on free ports of this machine, for tests that use them and tests that break them."""

import atexit
import contextlib
import pathlib
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Self

import msgspec
import trustme

from bench import ports
from coordinator import names
from coordinator.host import clock
from coordinator.store.backends.etcd import access
from coordinator.store.backends.etcd import store as etcd

HOST = "127.0.0.1"
START_S = 90.0
CLOCK, RANDOM = clock.SystemClock(), clock.SystemRandom()


class Cluster:
    """One or three members; a context manager that leaves none of them."""

    def __init__(
        self,
        directory: pathlib.Path,
        members: int = 1,
        *,
        tls: bool = False,
        flags: Sequence[str] = (),
        quick: bool = True,
    ) -> None:
        self.directory = directory
        self.names = [f"e{number}" for number in range(members)]
        given = ports.several(2 * members, HOST)
        self.client_ports = dict(zip(self.names, given[:members], strict=True))
        self.peer_ports = dict(zip(self.names, given[members:], strict=True))
        self.flags = [*flags]
        if quick:  # elections of a test take a tenth of a second, and nothing waits for the disk
            self.flags += ["--heartbeat-interval", "50", "--election-timeout", "500", "--unsafe-no-fsync"]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ca_pem = ""
        directory.mkdir(parents=True, exist_ok=True)
        if tls:
            self.ca_pem = self._certify()

    def __enter__(self) -> Self:
        try:
            for name in self.names:
                self.start(name)
            self.ready()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    # --- acts -----------------------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Begin or begin again, with the data it has."""
        scheme = "https" if self.ca_pem else "http"
        client = f"{scheme}://{HOST}:{self.client_ports[name]}"
        peers = {one: f"http://{HOST}:{port}" for one, port in self.peer_ports.items()}
        argv = [
            "etcd", "--name", name, "--data-dir", str(self.data(name)), "--log-level", "error",
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peers[name], "--initial-advertise-peer-urls", peers[name],
            "--initial-cluster", ",".join(f"{one}={url}" for one, url in peers.items()),
            *self._tls_flags(), *self.flags,
        ]  # fmt: skip
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self, *killed: str) -> None:
        for name in killed or self.names:
            process = self.processes.pop(name)
            process.kill()
            process.wait()

    def freeze(self, *frozen: str) -> None:
        for name in frozen:
            self.processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, *frozen: str) -> None:
        for name in frozen:
            self.processes[name].send_signal(signal.SIGCONT)

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        self.processes.clear()

    def ready(self) -> None:
        """Every running member knows a leader."""
        until = time.monotonic() + START_S
        for name in self.processes:
            while not self.leads(name):
                log = self.directory / f"{name}.log"
                assert time.monotonic() < until, f"{name} is not ready: {log.read_text()[-2000:]}"
                time.sleep(0.02)

    def leads(self, name: str) -> str:
        """Whom this member follows; empty where nobody."""
        try:
            return str(self.ask(name, "/v3/maintenance/status").get("leader", ""))
        except OSError:
            return ""

    def leader(self) -> str:
        """The name of the member that leads."""
        name = next(iter(self.processes))
        lead = self.leads(name)
        members = self.ask(name, "/v3/cluster/member/list")["members"]
        return str(next(one["name"] for one in members if one["ID"] == lead))

    def ask(self, at: str, path: str, **asked: object) -> dict:  # type: ignore[type-arg]
        """One request, past the program under test."""
        scheme = "https" if self.ca_pem else "http"
        context = ssl.create_default_context(cadata=self.ca_pem) if self.ca_pem else None
        url = f"{scheme}://{HOST}:{self.client_ports[at]}{path}"
        request = urllib.request.Request(url, msgspec.json.encode(asked))
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:
            return dict(msgspec.json.decode(answer.read()))

    # --- where it is ----------------------------------------------------------------------------------------------------

    def data(self, name: str) -> pathlib.Path:
        return self.directory / f"{name}.data"

    def endpoint(self, name: str) -> str:
        return f"{HOST}:{self.client_ports[name]}"

    def access(self, prefix: str, user: str = "", password: str = "") -> access.Access:
        endpoints = tuple(self.endpoint(name) for name in self.names)
        return access.Access(access.Address(endpoints, prefix), self.ca_pem, user, password)

    async def store(self, prefix: str, cluster: str = "c1", **more: str) -> etcd.EtcdStore:
        """A store below the prefix, begun if there is none."""
        made = etcd.EtcdStore(
            self.access(prefix, **more), names.ClusterId(cluster), CLOCK, RANDOM, create=True
        )
        try:
            await made.connected()
        except BaseException:
            await made.close()
            raise
        return made

    # --- TLS ------------------------------------------------------------------------------------------------------------

    def _certify(self) -> str:
        authority = trustme.CA()
        issued = authority.issue_cert(HOST, "localhost")
        issued.private_key_pem.write_to_path(self.directory / "key.pem")
        issued.cert_chain_pems[0].write_to_path(self.directory / "cert.pem")
        return authority.cert_pem.bytes().decode()

    def _tls_flags(self) -> list[str]:
        if not self.ca_pem:
            return []
        place = self.directory
        return ["--cert-file", str(place / "cert.pem"), "--key-file", str(place / "key.pem")]


def guard(cluster: Cluster, user: str, password: str) -> None:
    """Let in only root and this user, who may do what it wants below /mine."""
    name = cluster.names[0]
    password_of = {"root": "root-pw", user: password}
    for one, secret in password_of.items():
        cluster.ask(name, "/v3/auth/user/add", name=one, password=secret)
    for role, granted in (("root", None), ("own", {"key": b"/mine/", "range_end": b"/mine0"})):
        cluster.ask(name, "/v3/auth/role/add", name=role)
        if granted is not None:
            permission = {"permType": "READWRITE", **granted}
            cluster.ask(name, "/v3/auth/role/grant", name=role, perm=permission)
    cluster.ask(name, "/v3/auth/user/grant", user="root", role="root")
    cluster.ask(name, "/v3/auth/user/grant", user=user, role="own")
    cluster.ask(name, "/v3/auth/enable")


@contextlib.contextmanager
def running(directory: pathlib.Path, members: int = 1, **more: object) -> Iterator[Cluster]:
    """Ended and removed at the end."""
    made = Cluster(directory, members, **more)  # type: ignore[arg-type]
    try:
        with made:
            yield made
    finally:
        shutil.rmtree(directory, ignore_errors=True)


_SHARED: dict[int, Cluster] = {}


def shared(members: int) -> Cluster:
    """One that lasts as long as the tests, for those that break nothing; a prefix of one's own keeps them apart."""
    if members not in _SHARED:
        made = Cluster(pathlib.Path(tempfile.mkdtemp(prefix="tc-etcd-")) / "c", members)
        atexit.register(shutil.rmtree, made.directory.parent, ignore_errors=True)
        atexit.register(made.end)
        _SHARED[members] = made.__enter__()
    return _SHARED[members]
