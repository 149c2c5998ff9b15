"""The few acts on one directory that durability is built from, so that a test can lose, tear and refuse each of them.

It decides nothing: what is synced when is `journal` and `snapshot`. Law: a name is durable after `sync_directory`, bytes
after `sync`; an `OSError` of a sync is never retried by anyone, for the kernel forgets what it could not write.
"""

import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from coordinator import errors

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
IOV_MAX: Final = 1024  # what Linux takes in one call
LARGE_BYTES: Final = 16 * 1024  # beyond it a copy costs more than one more part does


class Appender(Protocol):
    """One open file that grows at `offset`."""

    @property
    def offset(self) -> int: ...

    @property
    def reserved(self) -> int:
        """Bytes from the start of the file for which the disk has promised room."""
        ...

    def write(self, parts: Sequence[bytes]) -> None:
        """Append; raises OSError, and may then have written a part."""
        ...

    def sync(self) -> None: ...

    def reserve(self, size_bytes: int) -> None:
        """Have the disk promise room up to `size_bytes`; what is not written yet reads as zeros. Raises OSError."""
        ...

    def cut(self, offset: int) -> None:
        """Drop everything from `offset` on and go on there."""
        ...

    def close(self) -> None: ...


class Reader(Protocol):
    """One open file, to read parts of."""

    def read(self, offset: int, size_bytes: int) -> bytes: ...

    def close(self) -> None: ...


class Files(Protocol):
    """One directory, flat."""

    def names(self) -> Sequence[str]: ...

    def read(self, name: str) -> bytes: ...

    def reader(self, name: str) -> Reader:
        """Open to read; goes on reading the same file when its name is given away."""
        ...

    def open(self, name: str, offset: int) -> Appender:
        """Open or create, to go on at `offset`."""
        ...

    def rename(self, old: str, new: str) -> None: ...

    def remove(self, name: str) -> None: ...

    def sync_directory(self) -> None: ...


def forget(directory: Files, name: str) -> None:
    """Remove a file that may not have come to be."""
    if name in directory.names():
        directory.remove(name)


class DiskAppender:
    """A file of the system."""

    def __init__(self, path: Path, offset: int) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._offset = offset
        self._reserved = os.fstat(self._fd).st_size

    @property
    def offset(self) -> int:
        return self._offset

    @property
    def reserved(self) -> int:
        return self._reserved

    def write(self, parts: Sequence[bytes]) -> None:
        waiting = _gathered(parts)
        while waiting:
            written = os.pwritev(self._fd, waiting[:IOV_MAX], self._offset)
            self._offset += written
            waiting = _behind(waiting, written)
        self._reserved = max(self._reserved, self._offset)

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def reserve(self, size_bytes: int) -> None:
        if size_bytes <= self._reserved:
            return
        try:
            os.posix_fallocate(self._fd, self._reserved, size_bytes - self._reserved)
        except OSError:
            os.ftruncate(self._fd, self._reserved)  # a part may have been had, and others need it
            raise
        self._reserved = size_bytes

    def cut(self, offset: int) -> None:
        os.ftruncate(self._fd, offset)
        self._offset = self._reserved = offset

    def close(self) -> None:
        os.close(self._fd)


def _gathered(parts: Sequence[bytes]) -> list[bytes | memoryview]:
    """The same bytes in fewer parts: small ones are joined, large ones are left where they are."""
    found: list[bytes | memoryview] = []
    small: list[bytes] = []
    for part in parts:
        if len(part) < LARGE_BYTES:
            small.append(part)
            continue
        found += (b"".join(small), part)
        small = []
    return [part for part in (*found, b"".join(small)) if part]


def _behind(parts: list[bytes | memoryview], written: int) -> list[bytes | memoryview]:
    """What is left after so many bytes."""
    for at, part in enumerate(parts):
        if written < len(part):
            return [memoryview(part)[written:], *parts[at + 1 :]]
        written -= len(part)
    return []


class DiskReader:
    """A file of the system."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, offset: int, size_bytes: int) -> bytes:
        return os.pread(self._fd, size_bytes, offset)

    def close(self) -> None:
        os.close(self._fd)


class DiskFiles:
    """A directory of the system, held by this process alone until `close`."""

    def __init__(self, directory: Path) -> None:
        """Raises InUseError when another process holds the directory."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise errors.InUseError(
                f"another process holds the store in {directory}",
                hint="stop it first, or give another directory",
            ) from error

    def names(self) -> Sequence[str]:
        return sorted(path.name for path in self._directory.iterdir() if path.name != "lock")

    def read(self, name: str) -> bytes:
        return (self._directory / name).read_bytes()

    def reader(self, name: str) -> DiskReader:
        return DiskReader(self._directory / name)

    def open(self, name: str, offset: int) -> DiskAppender:
        return DiskAppender(self._directory / name, offset)

    def rename(self, old: str, new: str) -> None:
        (self._directory / old).rename(self._directory / new)

    def remove(self, name: str) -> None:
        (self._directory / name).unlink()

    def sync_directory(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        os.close(self._lock)
