"""What ServerShell does with a node's directory and processes: in order for one node, and never in the way of links."""

import pathlib
import threading
from collections.abc import Sequence

import anyio
import pytest

from coordinator import effects, names
from coordinator.host import clock, settings
from coordinator.runtime import initialise
from nodeagent.main import running
from nodeagent.servershell import events, shell
from nodeagent.supervision import leftovers
from tests.integration import test_servershell

pytestmark = pytest.mark.integration
NODE = names.NodeName("hello1")
PATIENCE_S = 20.0


class Launcher:
    """Starts nothing, and nothing of it ends."""

    def __init__(self) -> None:
        self.started: list[effects.Command] = []

    def spawn(self, command: effects.Command) -> effects.ProcessId:
        self.started.append(command)
        return effects.ProcessId(len(self.started), 1, "boot")

    def alive(self, process: effects.ProcessId) -> bool:
        return True

    def kill(self, process: effects.ProcessId, signal: int, *, group: bool) -> None:
        raise AssertionError("nobody is to be killed")

    async def wait(self, process: effects.ProcessId) -> effects.Exit:
        await anyio.sleep_forever()
        raise AssertionError


def act(root: pathlib.Path, outputs: Sequence[object], released: threading.Event) -> tuple[Launcher, float]:
    """Let a ServerShell perform these; returns how long its event loop was held up at most."""
    layout = settings.Layout(root)
    first = initialise.First(
        name="c1",
        address=test_servershell.ADDRESS,
        site="central",
        master_domain="acme",
        fqdn="acme.example",
    )
    system = clock.SystemClock()
    initialise.initialise(layout, first, test_servershell.document(), system, clock.SystemRandom())
    for folder in (layout.run, layout.logs, layout.nodes):
        folder.mkdir(exist_ok=True)
    (layout.nodes / NODE).mkdir()
    (layout.nodes / NODE / "old").touch()
    launcher = Launcher()
    gaps: list[float] = []

    async def perform() -> None:
        place = running.place(layout, None)
        at = shell.Place(layout, place.identity, place.trust, place.joined, place.ground, launcher)
        one = shell.ServerShell(at, shell.open_book(layout))
        async with anyio.create_task_group() as one._tasks:
            for output in outputs:
                one._perform(output)
            for _ in range(10):
                before = system.monotonic()
                await anyio.sleep(0.01)
                gaps.append(system.monotonic() - before)
            released.set()
            with anyio.fail_after(PATIENCE_S):
                while not (layout.nodes / NODE / shell.PROCESS_FILE).exists():
                    await anyio.sleep(0.01)
            one._tasks.cancel_scope.cancel()
        await one.driver.close("the test ends")

    anyio.run(perform)
    return launcher, max(gaps)


def test_looking_for_leftovers_holds_up_nobody(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def slow(_directory: pathlib.Path) -> tuple[effects.ProcessId, ...]:
        assert released.wait(PATIENCE_S)
        return ()

    monkeypatch.setattr(leftovers, "end", slow)
    launcher, gap = act(tmp_path / "c1", [events.SpawnNode(NODE, "", b"")], released)
    assert len(launcher.started) == 1
    assert gap < PATIENCE_S / 2


def test_a_node_that_goes_and_comes_back_finds_its_directory_empty(tmp_path: pathlib.Path) -> None:
    outputs = [events.NodeGone(NODE), events.SpawnNode(NODE, "", b"")]
    launcher, _gap = act(tmp_path / "c1", outputs, threading.Event())
    assert len(launcher.started) == 1
    assert not (tmp_path / "c1" / "nodes" / NODE / "old").exists()
    assert (tmp_path / "c1" / "nodes" / NODE / shell.PROCESS_FILE).exists()
