"""Roles hosted by a node, with real programs: started, reloaded, restarted, refused, looping, stopped, left over."""

import functools
import pathlib
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from bench import ports
from coordinator import names, role
from nodeagent.roles import greeter_params
from nodeagent.supervision import leftovers
from tests.integration import nodes, processes

pytestmark = pytest.mark.integration

SERVICE = """
import os, pathlib, signal, socket, sys, time
path = pathlib.Path(sys.argv[2])
def show(*_):
    print("pid", os.getpid(), "config", path.read_text(), flush=True)
signal.signal(signal.SIGHUP, show)
show()  # before it is ready, for a test reads what it said then
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    listener.accept()[0].close()
"""
FAMILY = """
import subprocess, time
subprocess.Popen(["sleep", "1000"])
subprocess.Popen(["sleep", "1000"], start_new_session=True)
print("up", flush=True)
time.sleep(1000)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True:
    time.sleep(1000)
"""
QUICK = {"after": "20ms"}


def asynchronous(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        anyio.run(functools.partial(test, **fixtures))

    return run


def service(port: int, config: str, **more: Any) -> tuple[str, str, dict[str, Any]]:
    return (
        "web1",
        "process",
        {
            "command": [*processes.python(SERVICE), str(port), "{files}/service.conf"],
            "files": {"service.conf": config},
            "reload": "SIGHUP",
            "ready": {"tcp": port},
            **more,
        },
    )


def plain(script: str, **more: Any) -> tuple[str, str, dict[str, Any]]:
    return ("web1", "process", {"command": list(processes.python(script)), "ready": QUICK, **more})


def shown(node: nodes.Node) -> list[tuple[str, str]]:
    """(pid, configuration) each time the service read its file."""
    lines = [line.split(" ", 3) for line in node.output("web1").splitlines() if line.startswith("pid ")]
    return [(words[1], words[3].removeprefix("config ")) for words in lines]


@asynchronous
async def test_files_alone_are_taken_hot_and_anything_else_restarts(tmp_path: pathlib.Path) -> None:
    port = ports.free()
    async with nodes.Node(tmp_path).life() as node:
        node.take(service(port, "on {server} at {address} {as it is}"))
        await node.reaches("ready")
        node.take(service(port, "two"))
        await node.reaches("ready")
        await processes.eventually(lambda: len(shown(node)) == 2)
        (first, one), (second, two) = shown(node)
        assert (one, two) == ("on c1 at 127.0.0.1 {as it is}", "two")
        assert first == second
        node.take(service(port, "two", environment={"ROLE": "{role}"}))
        await node.reaches("ready")
        assert shown(node)[2][0] != first


@asynchronous
async def test_a_new_revision_with_the_same_parameters_touches_nothing(tmp_path: pathlib.Path) -> None:
    port = ports.free()
    async with nodes.Node(tmp_path).life() as node:
        for _ in range(3):
            node.take(service(port, "one"))
            await node.reaches("ready")
        assert len(shown(node)) == 1


@asynchronous
async def test_a_crash_loop_goes_back_to_the_last_good_parameters_and_says_so(tmp_path: pathlib.Path) -> None:
    port = ports.free()
    async with nodes.Node(tmp_path).life() as node:
        node.take(service(port, "good"))
        await node.reaches("ready")
        node.take(service(port, "bad", command=["/bin/sh", "-c", "echo fatal: bad word; exit 7"]))
        ack = await node.reaches("accepted", "failed", "crash_loop")
        assert "exited with status 7" in ack.detail
        assert "fatal: bad word" in ack.detail
        await processes.eventually(lambda: node.acks[-1].detail.endswith("the last good parameters run"))
        await processes.eventually(lambda: [config for _, config in shown(node)] == ["good", "good"])
        node.take(service(port, "better"))
        await node.reaches("ready")


@asynchronous
async def test_last_good_parameters_outlive_the_node(tmp_path: pathlib.Path) -> None:
    port = ports.free()
    node = nodes.Node(tmp_path)
    bad = service(port, "bad", command=["/no/such/program"])
    async with node.life():
        node.take(service(port, "good"))
        await node.reaches("ready")
        node.take(bad)
        await node.reaches("accepted", "refused", "command_missing")
    async with node.life():
        node.take(bad)
        await node.reaches("accepted", "refused", "command_missing")
        await processes.eventually(lambda: node.acks[-1].detail.endswith("the last good parameters run"))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"command": ["/no/such/command"]}, "command_missing"),
        ({"command": ["no-such-command"]}, "command_missing"),
        ({"command": ["/etc/passwd"]}, "command_not_executable"),
        ({"directory": "/no/such/directory"}, "directory_missing"),
        ({"ready": {"exec": ["/no/such/probe"]}}, "command_missing"),
        ({"files": {"../../evil": "x"}}, "params"),
        ({"command": 7}, "params"),
    ],
)
def test_what_cannot_run_here_is_refused_before_anything_is_touched(
    tmp_path: pathlib.Path, change: dict[str, Any], code: str
) -> None:
    async def story() -> None:
        port = ports.free()
        async with nodes.Node(tmp_path).life() as node:
            node.take(service(port, "good"))
            await node.reaches("ready")
            node.take(service(port, "good", **change))
            await node.reaches("accepted", "refused", code)
            assert len(shown(node)) == 1
            assert len(processes.marked(tmp_path)) == 1

    anyio.run(story)


@asynchronous
async def test_a_taken_port_is_refused_and_tried_again_until_it_is_free(tmp_path: pathlib.Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        node = nodes.Node(tmp_path)
        async with node.life():
            node.take(service(port, "one"), ("g1", "greeter", {"port": port}))
            ack = await node.reaches("accepted", "refused", "port_taken")
            assert {one.code for one in ack.roles} <= {"port_taken", ""}
            taken.close()
            await processes.eventually(lambda: any(one.level.word == "ready" for one in node.acks[-1].roles))


@asynchronous
async def test_a_program_that_ignores_the_stop_signal_is_killed(tmp_path: pathlib.Path) -> None:
    async with nodes.Node(tmp_path).life() as node:
        node.take(plain(STUBBORN, stop={"timeout": "200ms"}))
        await node.reaches("ready")
        await processes.eventually(lambda: "up" in node.output("web1"))


@asynchronous
async def test_a_program_ends_with_all_that_it_started(tmp_path: pathlib.Path) -> None:
    async with nodes.Node(tmp_path).life() as node:
        node.take(plain(FAMILY))
        await node.reaches("ready")
        await processes.eventually(lambda: len(processes.marked(tmp_path)) == 3)


@asynchronous
async def test_leftovers_of_a_killed_node_are_ended_before_anything_is_started(
    tmp_path: pathlib.Path,
) -> None:
    port = ports.free()
    (tmp_path / "service.conf").write_text("left over", encoding="utf-8")
    left = subprocess.Popen(
        [*processes.python(SERVICE), str(port), str(tmp_path / "service.conf")],
        env=leftovers.mark(tmp_path, "web1"),
        stdout=subprocess.DEVNULL,
    )
    try:
        async with nodes.Node(tmp_path).life() as node:
            node.take(service(port, "fresh"))
            await node.reaches("ready")
            assert left.wait(timeout=processes.WAIT_S) == -9
    finally:
        left.kill()
        left.wait()


@asynchronous
async def test_a_probe_command_decides_when_it_is_ready(tmp_path: pathlib.Path) -> None:
    flag = tmp_path / "flag"
    async with nodes.Node(tmp_path).life() as node:
        node.take(plain(STUBBORN, ready={"exec": ["test", "-e", str(flag)]}, stop={"signal": "SIGKILL"}))
        await node.reaches("applied")
        flag.touch()
        await node.reaches("ready")


@asynchronous
async def test_a_program_knows_its_place_and_nothing_else(tmp_path: pathlib.Path) -> None:
    script = "import os, time; print(sorted(os.environ.items()), flush=True); time.sleep(1000)"
    async with nodes.Node(tmp_path).life() as node:
        node.take(plain(script, environment={"MINE": "{site}"}))
        await node.reaches("ready")
        await processes.eventually(lambda: node.output("web1").strip())
        environment = node.output("web1")
        for name in ("'MINE', 'central'", "'TIERCAST_SOCKET'", "'TIERCAST_ROLE', 'web1'", "'PATH'"):
            assert name in environment
        assert "TIERCAST_TEST_RUN" not in environment


@asynchronous
async def test_a_greeter_takes_a_greeting_hot_and_a_port_by_restart(tmp_path: pathlib.Path) -> None:
    one, two = ports.free(), ports.free()
    async with nodes.Node(tmp_path).life() as node:
        node.take(("g1", "greeter", {"port": one}))
        await node.reaches("ready")
        assert await nodes.asked(one) == "hello from g1 revision 1"
        node.take(("g1", "greeter", {"port": one, "greeting": "good day"}))
        await node.reaches("ready")
        assert await nodes.asked(one) == "good day from g1 revision 2"
        node.take(("g1", "greeter", {"port": two, "greeting": "good day", "delay": "50ms"}))
        await node.reaches("ready")
        assert await nodes.asked(two) == "good day from g1 revision 3"
        with pytest.raises(OSError, match=r".*"):
            await nodes.asked(one)


class Rough:
    """Breaks wherever its parameters say."""

    def __init__(self) -> None:
        self._where = ""

    async def start(self, params: greeter_params.GreeterParams, context: role.Context) -> None:
        self._where = params.greeting
        self.fail("start")
        context.background(self.work)

    async def apply(self, old: Any, new: greeter_params.GreeterParams) -> role.Applied:
        if new.greeting in ("start", "work"):
            return role.RestartNeeded()
        self._where = new.greeting
        self.fail("apply")
        return role.AppliedHot()

    async def configured(self, view: role.View) -> None:
        self.fail("configured")

    async def stop(self) -> None:
        self.fail("stop")

    def report(self) -> role.Report:
        self.fail("report")
        return role.Report(role.Health.HEALTHY)

    async def work(self) -> None:
        self.fail("work")

    def fail(self, where: str) -> None:
        if where == self._where:
            raise ValueError(f"broken in {where}")


@pytest.mark.parametrize("where", ["start", "apply", "work", "report", "configured"])
def test_a_role_that_breaks_is_reported_and_hurts_no_neighbour(tmp_path: pathlib.Path, where: str) -> None:
    rough = role.RoleType(names.RoleTypeName("rough"), greeter_params.GreeterParams, lambda: Rough)

    async def story() -> None:
        port = ports.free()
        async with nodes.Node(tmp_path, {**nodes.CATALOGUE, rough.name: rough}).life() as node:
            neighbour = ("g1", "greeter", {"port": port})
            node.take(neighbour, ("r1", "rough", {"port": 1, "greeting": "well"}))
            await node.reaches("ready")
            node.take(neighbour, ("r1", "rough", {"port": 1, "greeting": where}))
            await processes.eventually(
                lambda: any(ack.code == "exception" and where in ack.detail for ack in node.acks)
            )
            await processes.eventually(lambda: node.acks[-1].roles[0].level.word == "ready")
            assert await nodes.asked(port) == "hello from g1 revision 2"

    anyio.run(story)


@asynchronous
async def test_an_unknown_type_is_refused(tmp_path: pathlib.Path) -> None:
    async with nodes.Node(tmp_path).life() as node:
        node.take(("x1", "nobody", {}))
        await node.reaches("accepted", "refused", "unknown_type")


def test_a_worker_node_imports_nothing_heavy() -> None:
    script = (
        "import sys; from nodeagent.basedrole import host; from coordinator.host import catalogue; from nodeagent.roles import process, greeter\n"
        "print(sorted({'pydantic', 'yaml', 'aiohttp', 'pysyncobj'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
