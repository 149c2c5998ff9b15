"""No key and no token stands where others could read it: command lines, environments, logs, files.

A real server, as `server init` makes it, with its MIC, DC and WS in real worker nodes, asked over HTTPS with a good token
and with bad ones.
"""

import base64
import http.client
import os
import pathlib
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest

from coordinator.host import clock, contexts, disk, settings
from coordinator.runtime import initialise, store_socket
from coordinator.trust import authority, joinlines, tls
from nodeagent.main import local

ADDRESS = "127.0.89.1"
DEADLINE_S = 60.0
WRONG = "tca_00000000dead_" + "badbad" * 10 + "beef"


class Server:
    """One server's directory, its ServerShell, and everything about it that nobody else may know."""

    def __init__(self, root: pathlib.Path) -> None:
        self.layout = settings.Layout(root / "c1")
        first = initialise.First(
            name="c1", address=ADDRESS, site="central", master_domain="acme", fqdn="acme.example"
        )
        self.made = initialise.initialise(
            self.layout, first, initialise.basic_document(first), clock.SystemClock(), clock.SystemRandom()
        )
        self.output = root / "servershell.log"
        self.context = root / "home" / "contexts.yaml"
        contexts.write_context(
            self.context, "c1", f"https://{ADDRESS}:8443", self.made.ca_pem, self.made.token.text
        )
        self.process: subprocess.Popen[bytes] | None = None
        self._keys: dict[str, list[bytes]] = {}

    def start(self) -> None:
        code = "from nodeagent.main.commands import server; server()"
        words = [sys.executable, "-P", "-c", code, "run", "--dir", str(self.layout.root)]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def stop(self) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            try:
                local.ask(self.layout, self.made.cluster, "stop")
                self.process.wait(30)
            except Exception:
                self.process.kill()
                raise

    def ready(self) -> bool:
        code, answer = local.ask(self.layout, self.made.cluster, "status")
        return not code and msgspec.json.decode(answer)["level"] == "ready"

    def pids(self) -> list[int]:
        """ServerShell and every process that runs below the directory."""
        assert self.process is not None
        root = os.fsencode(self.layout.root)
        found = [self.process.pid]
        for place in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if root in (place / "cmdline").read_bytes() and int(place.name) != os.getpid():
                    found.append(int(place.name))
            except OSError:
                continue
        return sorted(set(found))

    def remember(self, when: str) -> None:
        """The private keys as they are now."""
        root = disk.DirectoryDisk(self.layout.root)
        held, own = authority.Authority.load(root), authority.Identity.load(root)
        for name, pem in (("key of the server", own.key_pem), ("key of the CA", held.ca_key_pem)):
            lines = pem.decode().strip().splitlines()[1:-1]
            self._keys[f"{name} {when}"] = [lines[0].encode()[20:], base64.b64decode("".join(lines))[-60:]]
        seed = held.signing_private
        self._keys[f"signing key {when}"] = [
            seed,
            seed.hex().encode(),
            base64.b64encode(seed).rstrip(b"="),
            repr(seed).encode(),
        ]

    def change_all_keys(self) -> None:
        """Another CA, another signing key, another key of the server, and the old ones gone."""
        self.remember("before")
        path = self.layout.socket(store_socket.NAME)
        for verb in ("rotate-ca", "rotate-keys"):
            store_socket.ask(path, store_socket.Ask(verb))
        assert local.ask(self.layout, self.made.cluster, "renew", b"new key") == ("", b"")
        until(lambda: self._rotated(path), "another key of the server, and nothing under way")
        self.remember("after")
        assert len({tuple(spellings) for spellings in self._keys.values()}) == len(self._keys)

    def _rotated(self, path: str) -> bool:
        answer = store_socket.ask(path, store_socket.Ask("rotation"))
        assert answer is not None
        assert answer.rotation is not None
        renewed = (self.layout.root / authority.CURRENT_FILE).exists()
        return renewed and (answer.rotation.roots, answer.rotation.keys) == (1, 1)

    def secrets(self) -> dict[str, list[bytes]]:
        """In every spelling that could slip out."""
        token = self.made.token.text
        found = {
            "token": [token.encode(), token.rpartition("_")[2].encode()],
            "a wrong token": [WRONG.encode()],
        }
        return found | self._keys


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except Exception:  # noqa: BLE001 not there yet, in whatever way
            pass
        time.sleep(0.05)
    pytest.fail(f"not within {DEADLINE_S:.0f} s: {what}")


def asked(server: Server, token: str) -> int:
    """Status of one request over HTTPS, the CA pinned."""
    connection = http.client.HTTPSConnection(
        ADDRESS, 8443, context=tls.pinned_client_context(server.made.ca_pem), timeout=DEADLINE_S
    )
    try:
        connection.request(
            "GET", "/api/admin/v1/whoami", headers={"Authorization": f"Bearer {token}", "X-Bad": token}
        )
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("leaks"))
    made.start()
    try:
        until(made.ready, "ready")
        until(lambda: asked(made, made.made.token.text) == 200, "an answer over HTTPS")
        assert asked(made, WRONG) == 401
        assert asked(made, "") == 401
        made.change_all_keys()
        assert asked(made, made.made.token.text) == 200
        yield made
    finally:
        made.stop()


def holding(server: Server, data: bytes) -> list[str]:
    """Which secrets stand in it."""
    return [name for name, spellings in server.secrets().items() if any(one in data for one in spellings)]


def test_no_command_line_and_no_environment_holds_a_secret(server: Server) -> None:
    pids = server.pids()
    assert len(pids) >= 3, "ServerShell, the node of MIC, the node of DC and WS"
    for pid in pids:
        for name in ("cmdline", "environ"):
            assert holding(server, pathlib.Path(f"/proc/{pid}/{name}").read_bytes()) == []


def test_nodes_get_an_environment_of_their_own(server: Server) -> None:
    assert server.process is not None
    for pid in server.pids():
        if pid != server.process.pid:
            names = {
                one.partition(b"=")[0]
                for one in pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            }
            assert names - {b"", b"LC_CTYPE"} <= {b"PATH", b"LANG", b"TIERCAST_NODE_DIRECTORY"}


def test_no_log_holds_a_secret(server: Server) -> None:
    logs = [path for path in server.layout.logs.iterdir() if path.is_file()]
    assert logs
    for path in (*logs, server.output):
        data = path.read_bytes()
        assert holding(server, data) == [], path
        assert b"BEGIN" not in data
        assert b"tca_" not in data


def test_keys_stand_in_the_identity_alone_and_the_token_nowhere(server: Server) -> None:
    for path in server.layout.root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            found = holding(server, path.read_bytes())
            if path.is_relative_to(server.layout.identity):
                assert "token" not in found
                assert "a wrong token" not in found
            else:
                assert found == [], path


def test_nothing_below_the_directory_is_for_anybody_else(server: Server) -> None:
    for path in (server.layout.root, *server.layout.root.rglob("*"), server.context):
        if not path.is_symlink():
            assert path.lstat().st_mode & 0o077 == 0, f"{stat.filemode(path.lstat().st_mode)} {path}"


def joining(
    server: Server, line: str, at: str, directory: pathlib.Path, *more: str
) -> "subprocess.Popen[bytes]":
    """The real command, the line said as people say it."""
    command = pathlib.Path(sys.executable).with_name("tiercast")
    words = [str(command), "server", "join", line, "--at", at, "--dir", str(directory), *more]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def line_made(server: Server) -> str:
    headers = {"Authorization": f"Bearer {server.made.token.text}", "Content-Type": "application/json"}
    connection = http.client.HTTPSConnection(
        ADDRESS, 8443, context=tls.pinned_client_context(server.made.ca_pem), timeout=DEADLINE_S
    )
    try:
        connection.request("POST", "/api/admin/v1/tokens", body=b"{}", headers=headers)
        return str(msgspec.json.decode(connection.getresponse().read())["line"])
    finally:
        connection.close()


def test_a_join_line_is_hidden_while_it_is_used_and_leaves_no_trace(
    server: Server, tmp_path: pathlib.Path
) -> None:
    line = line_made(server)
    secret = joinlines.parse(line).secret
    spellings = [secret.encode(), bytes.fromhex(secret), base64.b64encode(bytes.fromhex(secret)).rstrip(b"=")]
    with socket.create_server((ADDRESS, 0)) as silent:
        silent.settimeout(DEADLINE_S)
        waiting = joining(
            server, line, f"{ADDRESS}:{silent.getsockname()[1]}", tmp_path / "never", "--timeout", "1s"
        )
        with silent.accept()[0]:  # it has begun to ask, and waits
            for name in ("cmdline", "environ"):
                seen = pathlib.Path(f"/proc/{waiting.pid}/{name}").read_bytes()
                assert not any(one in seen for one in spellings), name
    told = waiting.communicate(timeout=DEADLINE_S)[0]
    assert waiting.returncode == 8, told
    joined = joining(server, line, f"{ADDRESS}:7401", tmp_path / "n1")
    told += joined.communicate(timeout=DEADLINE_S)[0]
    assert joined.returncode == 0, told
    below = (server.layout.root, tmp_path)
    files = [path for root in below for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    for data, where in [
        (told, "output"),
        *((path.read_bytes(), str(path)) for path in (*files, server.output)),
    ]:
        assert not any(one in data for one in spellings), where
    for path in (tmp_path / "n1", *(tmp_path / "n1").rglob("*")):
        assert path.lstat().st_mode & 0o077 == 0, path


def test_what_holds_secrets_does_not_show_them(server: Server) -> None:
    root = disk.DirectoryDisk(server.layout.root)
    for held in (
        authority.Identity.load(root),
        authority.Authority.load(root),
        server.made.token,
        server.made,
    ):
        for text in (repr(held), str(held), f"{held!r:.5000}"):
            assert holding(server, text.encode()) == [], type(held)
