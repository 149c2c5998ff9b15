"""Starting a server: a clock that is certainly wrong is said, and stops nothing; so is a disk without room, which is waited for."""

import errno
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from coordinator import errors, names
from coordinator.host import disk, loop, settings
from coordinator.trust import authority, certificates
from nodeagent.main import room, running

WALL = 1_790_000_000.0
DAY = 86_400.0


def test_a_clock_behind_the_making_of_the_own_identity_is_found() -> None:
    ours = authority.create_authority(names.ClusterId("aa"), WALL)
    identity = authority.enrolled(ours, names.ServerId("bb"), WALL)
    assert running.clock_behind_s(identity, WALL) == 0
    assert running.clock_behind_s(identity, WALL + 400 * DAY) == 0
    assert running.clock_behind_s(identity, WALL - 30 * DAY) == 30 * DAY - certificates.BACKDATED_S


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def layout(tmp_path: pathlib.Path) -> settings.Layout:
    held = authority.create_authority(names.ClusterId("aa"), WALL)
    root = disk.DirectoryDisk(tmp_path)
    authority.enrolled(held, names.ServerId("bb"), WALL).save(root)
    root.write(authority.TRUST_FILE, held.first_trust())
    return settings.Layout(tmp_path)


def played(monkeypatch: pytest.MonkeyPatch, *lives: BaseException | bool | None) -> list[int]:
    """Each life of a ServerShell: how it ends, after it had begun; True: it ends well; a bare error: before it began."""
    left = list(lives)
    lived: list[int] = []

    def life(main: Any) -> None:
        how = left.pop(0)
        lived.append(len(lived))
        begun: Callable[[], None] = main.args[2]
        if isinstance(how, BaseExceptionGroup) or how is True:
            begun()
        if isinstance(how, BaseException):
            raise how

    monkeypatch.setattr(loop, "run", life)
    monkeypatch.setattr(running, "ROOM_S", 0.0)
    return lived


def test_a_disk_that_fills_up_while_it_runs_is_waited_for(
    layout: settings.Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ended with nothing but the word ExceptionGroup, and nobody was left to see to its nodes."""
    group = BaseExceptionGroup("in a task", [BaseExceptionGroup("in a task", [FULL])])
    lived = played(monkeypatch, group, FULL, FULL, group, True)
    assert running.run(layout, None, "info") == 0
    assert len(lived) == 5
    said = capsys.readouterr().err
    assert said.count("no room left on the disk") == 2, "once for each time that it filled up"
    assert str(layout.root) in said


def test_a_disk_that_is_full_at_the_start_is_an_error_that_says_what_to_do(
    layout: settings.Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    played(monkeypatch, FULL)
    with pytest.raises(errors.NoSpaceError, match="no room left on the disk of") as told:
        running.run(layout, None, "info")
    assert "server run --dir" in told.value.hint


def test_whatever_else_is_wrong_ends_it(layout: settings.Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    played(monkeypatch, BaseExceptionGroup("in a task", [OSError(errno.EIO, "Input/output error")]))
    with pytest.raises(BaseExceptionGroup):
        running.run(layout, None, "info")


def test_want_of_room_is_told_with_the_directory_and_what_to_say_again(tmp_path: pathlib.Path) -> None:
    with pytest.raises(errors.NoSpaceError) as told, room.wanted(tmp_path, "say it again"):
        raise FULL
    assert str(tmp_path) in told.value.message
    assert told.value.hint == "make room there, then say it again"
    with pytest.raises(OSError, match="Read-only"), room.wanted(tmp_path, "say it again"):
        raise OSError(errno.EROFS, "Read-only file system")
