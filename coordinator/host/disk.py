"""Small files below one directory, each replaced whole and durable on return: `effects.Disk` of this machine.

Directories are 0700, files 0600. Names are walked one directory descriptor at a time without following a link, so no
name leads out of the root. Law: after `write` returns, a power cut leaves the new bytes; before, the old or the new ones
whole. A failing fsync is passed on and never retried: the kernel may have dropped the pages it failed to write.
One process writes below a root (`host.lock`), one thread at a time per name.
"""

import contextlib
import os
import pathlib
import stat
from collections.abc import Iterator, Sequence

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TEMPORARY_SUFFIX = ".tmp~"


class DirectoryDisk:
    """Everything below `root`, which is made if it is missing."""

    def __init__(self, root: str | pathlib.Path) -> None:
        self.root = pathlib.Path(root)
        _make_directories(self.root)

    def read(self, name: str) -> bytes | None:
        """The file's bytes, or None if there is none."""
        *folders, last = _parts(name)
        try:
            with self._directory(folders, create=False) as directory:
                descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        except FileNotFoundError:
            return None
        with open(descriptor, "rb") as file:
            return file.read()

    def write(self, name: str, data: bytes) -> None:
        """Replace: temporary file, fsync, rename, fsync of the directory."""
        *folders, last = _parts(name)
        temporary = last + _TEMPORARY_SUFFIX
        with self._directory(folders, create=True) as directory:
            try:
                _write_durably(directory, temporary, data)
                os.replace(temporary, last, src_dir_fd=directory, dst_dir_fd=directory)
            except OSError:
                with contextlib.suppress(OSError):  # a full disk gets its space back
                    os.unlink(temporary, dir_fd=directory)
                raise
            os.fsync(directory)

    def remove(self, name: str) -> None:
        """Durable; no error if there is none."""
        *folders, last = _parts(name)
        try:
            with self._directory(folders, create=False) as directory:
                os.unlink(last, dir_fd=directory)
                os.fsync(directory)
        except FileNotFoundError:
            return

    def names(self, prefix: str = "") -> Sequence[str]:
        """Sorted names of the files whose name starts with `prefix`; left-over temporary files are none."""
        folder = prefix.rpartition("/")[0]
        if folder:
            _parts(folder)
        found: list[str] = []
        for directory, _folders, files in os.walk(self.root / folder):
            paths = [pathlib.Path(directory) / file for file in files if not file.endswith(_TEMPORARY_SUFFIX)]
            found += [path.relative_to(self.root).as_posix() for path in paths if not path.is_symlink()]
        return sorted(name for name in found if name.startswith(prefix))

    @contextlib.contextmanager
    def _directory(self, folders: Sequence[str], *, create: bool) -> Iterator[int]:
        """A descriptor of the directory that `folders` lead to."""
        current = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder in folders:
                below = _opened(current, folder, create=create)
                os.close(current)
                current = below
            yield current
        finally:
            os.close(current)


def _opened(parent: int, folder: str, *, create: bool) -> int:
    try:
        return os.open(folder, _DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        if not create:
            raise
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700, dir_fd=parent)
    os.fsync(parent)
    return os.open(folder, _DIRECTORY, dir_fd=parent)


def _write_durably(directory: int, name: str, data: bytes) -> None:
    with contextlib.suppress(FileNotFoundError):  # what a crash left may be a link or have other permissions
        os.unlink(name, dir_fd=directory)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, stat.S_IRUSR | stat.S_IWUSR, dir_fd=directory)
    with open(descriptor, "wb", buffering=0) as file:
        left = memoryview(data)
        while left:
            left = left[file.write(left) :]
        os.fsync(descriptor)


def _make_directories(path: pathlib.Path) -> None:
    """Make the missing ones, 0700 and durable, from the top."""
    if path.is_dir():
        return
    _make_directories(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _parts(name: str) -> list[str]:
    """The steps of a name. Raises `ValueError` where one of them leads anywhere but down."""
    parts = name.split("/")
    if any(part in {"", ".", ".."} or "\0" in part or part.endswith(_TEMPORARY_SUFFIX) for part in parts):
        raise ValueError(f"not a name below the directory (got {name[:200]!r})")
    return parts
