import os
import pathlib
import stat

import pytest

from coordinator.host import disk


def mode(path: pathlib.Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_are_private_and_replaced_whole(tmp_path: pathlib.Path) -> None:
    one = disk.DirectoryDisk(tmp_path / "a" / "b")
    assert one.read("x/y/z") is None
    one.write("x/y/z", b"old")
    one.write("x/y/z", b"")
    assert one.read("x/y/z") == b""
    assert mode(tmp_path / "a" / "b" / "x" / "y" / "z") == 0o600
    assert {mode(tmp_path / path) for path in ("a", "a/b", "a/b/x", "a/b/x/y")} == {0o700}


def test_permissions_do_not_depend_on_what_a_crash_left(tmp_path: pathlib.Path) -> None:
    (tmp_path / "x.tmp~").write_bytes(b"half")
    (tmp_path / "x.tmp~").chmod(0o666)
    one = disk.DirectoryDisk(tmp_path)
    assert one.names() == []
    one.write("x", b"new")
    assert mode(tmp_path / "x") == 0o600
    assert one.names() == ["x"]


def test_names_are_sorted_and_filtered_by_prefix(tmp_path: pathlib.Path) -> None:
    one = disk.DirectoryDisk(tmp_path)
    for name in ("b", "bodies/2", "bodies/1", "bodies/deep/3", "a"):
        one.write(name, b"")
    assert one.names() == ["a", "b", "bodies/1", "bodies/2", "bodies/deep/3"]
    assert one.names("bodies/") == ["bodies/1", "bodies/2", "bodies/deep/3"]
    assert one.names("b") == ["b", "bodies/1", "bodies/2", "bodies/deep/3"]
    assert one.names("none/") == []


def test_removing_is_quiet_about_what_is_not_there(tmp_path: pathlib.Path) -> None:
    one = disk.DirectoryDisk(tmp_path)
    one.write("x/y", b"1")
    for _again in range(2):
        one.remove("x/y")
        one.remove("none/none")
    assert one.names() == []


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x", "a/../../x", "a//b", ".", "a/.", "a/", "a\0b", "x.tmp~"]
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: pathlib.Path, name: str) -> None:
    one = disk.DirectoryDisk(tmp_path)
    for act in (one.read, one.remove, lambda name: one.write(name, b"")):
        with pytest.raises(ValueError, match="not a name"):
            act(name)


def test_links_are_not_followed(tmp_path: pathlib.Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"s")
    one = disk.DirectoryDisk(tmp_path / "root")
    (one.root / "folder").symlink_to(outside)
    (one.root / "file").symlink_to(outside / "secret")
    for name in ("folder/secret", "file"):
        with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
            one.read(name)
    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        one.write("folder/new", b"")
    one.write("file", b"ours")
    assert (outside / "secret").read_bytes() == b"s"
    assert one.names() == ["file"]


def test_bytes_are_synced_before_the_rename_and_the_directory_after(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, calls = disk.DirectoryDisk(tmp_path), []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        calls.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_fsync(descriptor)

    def replace(old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        calls.append("rename")
        real_replace(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    one.write("x", b"1")
    assert calls == ["file", "rename", "directory"]


def test_a_failing_fsync_is_told_not_retried_and_the_old_bytes_stand(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, calls = disk.DirectoryDisk(tmp_path), []
    one.write("x", b"old")

    def failing(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(5, "input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="input/output"):
        one.write("x", b"new")
    assert len(calls) == 1
    assert one.read("x") == b"old"
    assert one.names() == ["x"]
