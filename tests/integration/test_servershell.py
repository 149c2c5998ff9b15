"""A real ServerShell with real nodes and no parent anywhere: it boots from its own verified copy."""

import json
import os
import pathlib
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from coordinator import errors, limits, names
from coordinator.config import model
from coordinator.host import clock, disk, lock, settings
from coordinator.runtime import initialise
from coordinator.trust import authority
from nodeagent.main import local, running
from nodeagent.servershell import shell
from nodeagent.supervision import leftovers, procfs

ADDRESS = "127.0.77.1"
DEADLINE_S = 60.0


def document() -> model.Document:
    """Two greeters on one server."""
    roles = {
        names.RoleName(f"hello{n}"): model.Role(
            type=names.RoleTypeName("greeter"), params={"port": 9600 + n, "greeting": f"hi {n}"}
        )
        for n in (1, 2)
    }
    return model.Document(
        schema=model.SCHEMA,
        general=model.General(master_domain="acme"),
        domains={"acme": model.Domain(fqdn="acme.example")},
        sites={names.SiteName("central"): model.Site(type="master", domains=("acme",))},
        servers={names.ServerName("c1"): model.Server(interfaces={"lan": ADDRESS})},
        roles=roles,
        structure={names.SiteName("central"): {names.ServerName("c1"): tuple(roles)}},
    )


class Server:
    """One directory and the ServerShell that runs on it."""

    def __init__(self, root: pathlib.Path) -> None:
        self.layout = settings.Layout(root)
        first = initialise.First(
            name="c1", address=ADDRESS, site="central", master_domain="acme", fqdn="acme.example"
        )
        made = initialise.initialise(
            self.layout, first, document(), clock.SystemClock(), clock.SystemRandom()
        )
        self.cluster = made.cluster
        self.patience_s = limits.READY_TIMEOUT_S
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def command(self) -> list[str]:
        code = f"from coordinator import limits; limits.READY_TIMEOUT_S = {self.patience_s}; "
        code += "from nodeagent.main.commands import server; server()"
        return [sys.executable, "-P", "-c", code, "run", "--dir", str(self.layout.root)]

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def status(self) -> dict[str, object]:
        code, answer = local.ask(self.layout, self.cluster, "status")
        assert not code
        found: dict[str, object] = json.loads(answer)
        return found

    def pids(self) -> dict[str, int]:
        nodes = self.status()["nodes"]
        assert isinstance(nodes, list)
        return {node["node"]: node["pid"] for node in nodes}


def greeting(port: int) -> str:
    with socket.create_connection((ADDRESS, port), timeout=DEADLINE_S) as connected:
        return connected.makefile().readline().strip()


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except (OSError, Exception):  # noqa: BLE001 not there yet, in whatever way
            pass
        time.sleep(0.05)
    pytest.fail(f"not within {DEADLINE_S:.0f} s: {what}")


@pytest.fixture
def server(tmp_path: pathlib.Path) -> Iterator[Server]:
    made = Server(tmp_path / "c1")
    made.start()
    try:
        until(lambda: made.status()["level"] == "ready", "ready from its own copy")
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            local.ask(made.layout, made.cluster, "stop")
            made.process.wait(DEADLINE_S)


def alive(pid: int) -> bool:
    found = procfs.stat(pid)
    return found is not None and found.running


def test_a_server_boots_from_its_own_copy_without_any_parent(server: Server) -> None:
    assert greeting(9601) == "hi 1 from hello1 revision 1"
    assert server.status()["parent"] == ""
    assert len(server.pids()) == 2


def test_a_killed_servershell_adopts_its_healthy_nodes(server: Server) -> None:
    before = server.pids()
    server.kill()
    assert greeting(9602) == "hi 2 from hello2 revision 1"
    server.start()
    until(lambda: server.status()["level"] == "ready", "ready again")
    assert server.pids() == before


def test_a_killed_node_comes_back_and_is_counted(server: Server) -> None:
    before = server.pids()
    victim = next(name for name in before if name.startswith("hello1"))
    os.kill(before[victim], signal.SIGKILL)
    until(lambda: server.pids()[victim] not in (0, before[victim]), "another process of the node")
    until(lambda: server.status()["level"] == "ready", "ready again")
    assert greeting(9601) == "hi 1 from hello1 revision 1"
    others = {name: pid for name, pid in server.pids().items() if name != victim}
    assert others.items() <= before.items()


def test_a_node_that_ended_while_its_servershell_was_away_is_started_again(server: Server) -> None:
    before = server.pids()
    server.kill()
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    server.start()
    until(lambda: server.status()["level"] == "ready", "ready again")
    assert not set(server.pids().values()) & set(before.values())


def test_a_node_that_was_never_recorded_is_ended_before_another_is_started(server: Server) -> None:
    before = server.pids()
    victim = next(name for name in before if name.startswith("hello1"))
    server.kill()
    (server.layout.nodes / victim / shell.PROCESS_FILE).unlink()
    server.start()
    until(lambda: server.status()["level"] == "ready", "ready again")
    after = server.pids()
    assert after[victim] not in (0, before[victim])
    assert not alive(before[victim])
    marked = leftovers.find(server.layout.nodes / victim)
    assert [process.pid for process in marked] == [after[victim]]


def test_a_node_that_cannot_be_recorded_does_not_run(server: Server) -> None:
    before = server.pids()
    victim = next(name for name in before if name.startswith("hello1"))
    directory = server.layout.nodes / victim
    blocked = directory / f"{shell.PROCESS_FILE}.new"
    blocked.mkdir()
    os.kill(before[victim], signal.SIGKILL)
    until(lambda: server.status()["outcome"] == "failed", "it is said")
    until(lambda: not leftovers.find(directory), "nothing of it runs")
    blocked.rmdir()
    until(lambda: server.status()["level"] == "ready", "ready once it can be recorded")


def test_a_frozen_node_is_killed_and_started_again(tmp_path: pathlib.Path) -> None:
    made = Server(tmp_path / "c1")
    made.patience_s = 4.0  # a start on a busy machine must not take as long
    made.start()
    try:
        until(lambda: made.status()["level"] == "ready", "ready")
        before = made.pids()
        victim = next(name for name in before if name.startswith("hello1"))
        os.kill(before[victim], signal.SIGSTOP)
        until(lambda: "node_silent" in str(made.status()["detail"]), "it is named")
        until(lambda: made.status()["level"] == "ready", "ready again")
        assert made.pids()[victim] != before[victim]
        assert not alive(before[victim])
    finally:
        local.ask(made.layout, made.cluster, "stop")
        assert made.process is not None
        made.process.wait(DEADLINE_S)


def test_sigterm_leaves_the_nodes_running_and_stop_ends_them(server: Server) -> None:
    before = server.pids()
    assert server.process is not None
    server.process.terminate()
    assert server.process.wait(DEADLINE_S) == 0
    assert greeting(9601) == "hi 1 from hello1 revision 1"
    server.start()
    until(lambda: server.pids() == before, "adopted")
    local.ask(server.layout, server.cluster, "stop")
    assert server.process.wait(DEADLINE_S) == 0
    assert not [pid for pid in before.values() if alive(pid)]


def ask_to_stop(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    code = "from nodeagent.main.commands import server; server()"
    asked = [sys.executable, "-P", "-c", code, "stop", "--dir", str(server.layout.root), *words]
    return subprocess.run(asked, capture_output=True, text=True, timeout=90, check=False)


def test_server_stop_returns_when_all_has_stopped(server: Server) -> None:
    before = server.pids()
    stopped = ask_to_stop(server)
    assert stopped.returncode == 0, stopped.stderr
    assert "waits up to 60 s" in stopped.stderr
    assert not [pid for pid in before.values() if alive(pid)]
    lock.DirectoryLock(server.layout.root).release()
    assert server.process is not None
    assert server.process.wait(DEADLINE_S) == 0


def test_server_stop_need_not_wait_and_waits_no_longer_than_it_says(server: Server) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(errors.TimedOutError, match="still runs"):
            local.wait_for_end(server.layout, 0.2)
    finally:
        server.process.send_signal(signal.SIGCONT)
    stopped = ask_to_stop(server, "--no-wait")
    assert stopped.returncode == 0
    assert "waits" not in stopped.stderr
    assert server.process.wait(DEADLINE_S) == 0


def test_a_second_servershell_on_the_same_directory_is_refused(server: Server) -> None:
    second = subprocess.run(server.command(), capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert second.returncode != 0
    assert "is in use by process" in second.stderr


def test_a_directory_without_a_server_is_named_and_left_as_it_is(tmp_path: pathlib.Path) -> None:
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(errors.NotFoundError, match="no server lives in") as found:
            running.run(settings.Layout(root), None, "info")
        assert "server init" in found.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_body_is_set_aside_and_never_run(tmp_path: pathlib.Path) -> None:
    made = Server(tmp_path / "c1")
    (body,) = (made.layout.ledger / "bodies").iterdir()
    body.write_bytes(body.read_bytes()[:-7] + b"garbage")
    made.start()
    try:
        until(lambda: made.status()["accepted"] != "", "an answer")
        assert made.status()["nodes"] == []
        assert body.with_name(body.name + ".damaged").exists()
    finally:
        local.ask(made.layout, made.cluster, "stop")
        assert made.process is not None
        made.process.wait(DEADLINE_S)


def test_private_files_are_for_their_owner_alone(server: Server) -> None:
    root = disk.DirectoryDisk(server.layout.root)
    assert authority.Identity.load(root).cluster == server.cluster
    assert [path for path in server.layout.root.rglob("*") if open_to_others(path)] == []


def open_to_others(path: pathlib.Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:  # what runs there writes on
        return False
    return bool(mode & 0o077) and not stat.S_ISLNK(mode) and not stat.S_ISSOCK(mode)
