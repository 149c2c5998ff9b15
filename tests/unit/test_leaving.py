"""`server leave`, killed at every point of it: said again it goes on, and nothing is left half-done.

Killed after MIC's answer it could never be said again, for nobody answers a server that is out.
"""

import functools
import itertools
import pathlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from coordinator import errors, names
from coordinator.host import disk, settings
from coordinator.propagation import asks, gates, joining
from coordinator.trust import authority, joinlines
from nodeagent.main import joining as mechanics
from nodeagent.main import leaving, local, running

WALL = 1_700_000_000.0
CLUSTER = names.ClusterId("acme")
STAYS = {"logs", "state", "lock"}


class KilledError(BaseException):
    """The command ends here."""


@functools.cache
def cluster_authority() -> authority.Authority:
    return authority.create_authority(CLUSTER, WALL)


class Machine:
    """A server's directory, its ServerShell and MIC, and somebody who kills the command at point `until`."""

    def __init__(self, root: pathlib.Path, until: int | None = None) -> None:
        self.layout = settings.Layout(root)
        self.until = until
        self.points = 0
        self.runs = True
        self.nodes = "running"
        self.left = 0
        self.lost = False
        """MIC's next answer."""
        held = cluster_authority()
        own = disk.DirectoryDisk(root)
        authority.enrolled(held, names.ServerId("id-n1"), WALL).save(own)
        own.write(authority.TRUST_FILE, held.first_trust())
        for name in ("ledger/head", "nodes/a/process.json", "logs/a.log", "state/db/x", "run/x"):
            own.write(name, b"x")

    def point(self) -> None:
        self.points += 1
        if self.points == self.until:
            raise KilledError

    def ask(self, _layout: settings.Layout, _cluster: str, verb: str, data: bytes = b"") -> tuple[str, bytes]:
        self.point()
        if not self.runs:
            raise errors.UnreachableError("no ServerShell answers")
        code, answer = self._answer(verb, data)
        self.point()
        return code, answer

    def _answer(self, verb: str, data: bytes) -> tuple[str, bytes]:
        match verb:
            case "rest":
                self.nodes = "stopped"
            case "stop":
                self.runs = False
            case "status":
                away = f"10.0.0.1:7401: {gates.REVOKED}" if self.left else ""
                told = {"nodes": [{"node": "a", "state": self.nodes}], "server": "n1", "turned_away": away}
                return "", msgspec.json.encode(told)
            case joining.LEAVE:
                if self.left:
                    return asks.UNREACHABLE, b""  # its parents have closed their links
                if not joining.leave(joining.carried(data).body).rehearse:
                    self.left += 1
                    if self.lost:
                        return asks.LOST, b""
                return "", msgspec.json.encode(joining.Left("n1", True, names.Version(1, 2)))
            case _:
                raise AssertionError(verb)
        return "", b""

    def leave(self) -> joining.Left:
        """The command, as a person says it."""
        told = leaving.rehearsed(self.layout)
        leaving.leave(self.layout, lambda _text: None)
        return told

    def is_gone(self) -> bool:
        return {one.name for one in self.layout.root.iterdir()} <= STAYS


@pytest.fixture
def make(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], Machine]:
    numbers = itertools.count()

    def made(until: int | None) -> Machine:
        machine = Machine(tmp_path / str(next(numbers)), until)
        remove, write = leaving._remove, disk.DirectoryDisk.write

        def removes(place: pathlib.Path) -> None:
            machine.point()
            kept(place)
            machine.point()

        def writes(self: disk.DirectoryDisk, name: str, data: bytes) -> None:
            machine.point()
            written(self, name, data)
            machine.point()

        kept, written = getattr(remove, "plain", remove), getattr(write, "plain", write)
        removes.plain, writes.plain = kept, written  # type: ignore[attr-defined]
        monkeypatch.setattr(leaving, "_remove", removes)
        monkeypatch.setattr(disk.DirectoryDisk, "write", writes)
        monkeypatch.setattr(local, "ask", machine.ask)
        return machine

    return made


def test_it_leaves_and_what_its_roles_kept_stays(make: Callable[[int | None], Machine]) -> None:
    machine = make(None)
    assert machine.leave().name == "n1"
    assert machine.is_gone()
    assert machine.left == 1
    assert not machine.runs
    assert (machine.layout.root / "state/db/x").exists()


def test_killed_at_any_point_it_is_said_again_and_goes_on(make: Callable[[int | None], Machine]) -> None:
    whole = make(None)
    whole.leave()
    assert whole.points > 20
    for until in range(1, whole.points + 1):
        machine = make(until)
        with pytest.raises(KilledError):
            machine.leave()
        if machine.left == 0:
            assert leaving.begun(machine.layout) is None
        if not machine.is_gone():
            assert machine.leave().name == "n1", until
        assert machine.is_gone(), until
        assert machine.left == 1, until


def test_an_answer_that_is_lost_is_taken_from_what_its_parents_say(
    make: Callable[[int | None], Machine],
) -> None:
    machine = make(None)
    machine.lost = True
    machine.leave()
    assert machine.is_gone()
    assert machine.left == 1


def test_one_whose_parents_are_merely_away_keeps_its_identity(
    make: Callable[[int | None], Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = make(None)

    def away(layout: settings.Layout, cluster: str, verb: str, data: bytes = b"") -> tuple[str, bytes]:
        return (asks.UNREACHABLE, b"") if verb == joining.LEAVE else machine.ask(layout, cluster, verb, data)

    monkeypatch.setattr(local, "ask", away)
    with pytest.raises(errors.NoCoordinatorError, match="MIC cannot be told"):
        machine.leave()
    assert (machine.layout.identity / "server.pem").exists()


def test_one_that_has_left_is_not_run_again_and_no_other_joins_before_it_is_gone(
    make: Callable[[int | None], Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = make(None)

    def stuck(_place: Any) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(leaving, "_remove", stuck)
        with pytest.raises(OSError, match="Read-only"):
            machine.leave()
    with pytest.raises(errors.InUseError, match="has left") as told:
        running.run(machine.layout, None, "info")
    assert "server leave" in told.value.hint
    with pytest.raises(errors.InUseError, match="has left"):
        mechanics._before(machine.layout, joinlines.Line("0" * 64, "1" * 16, "2" * 64))
    machine.leave()
    assert machine.is_gone()
