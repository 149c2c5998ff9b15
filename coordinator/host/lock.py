"""One process per directory: an advisory lock that ends with the process that holds it, however it ends."""

import fcntl
import os
import pathlib
import types
from typing import Self

from coordinator import errors

FILE = "lock"


class DirectoryLock:
    """Held from construction until `release` or the end of the process; children do not inherit it."""

    def __init__(self, directory: str | pathlib.Path) -> None:
        """Raises `InUseError` naming the process that holds it."""
        path = pathlib.Path(directory) / FILE
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            hint = "stop it with `tiercast server stop`, or name another directory with --dir"
            raise errors.InUseError(f"{directory} is in use by process {holder}", hint=hint) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next one in; the file stays, for removing it would let two in."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self.release()
