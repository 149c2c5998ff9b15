"""A disk in memory that can lose its power between two writes; the production ledger stands on it."""

from collections.abc import Sequence


class PowerCutError(Exception):
    """The power went while something was being written."""


class FullError(OSError):
    """There is no room for a file of that size."""


class MemoryDisk:
    """Whole files, each replaced at once and durable when the call returns, as `effects.Disk` promises."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut_in: int | None = None
        """How many more writes succeed before the power goes."""
        self.room: int | None = None
        """The largest body that there is room for; what is smaller always fits."""

    def read(self, name: str) -> bytes | None:
        return self.files.get(name)

    def write(self, name: str, data: bytes) -> None:
        self._spend()
        if self.room is not None and len(data) > self.room and name.startswith("bodies/"):
            raise FullError("no space left")
        self.files[name] = data

    def remove(self, name: str) -> None:
        self._spend()
        self.files.pop(name, None)

    def names(self, prefix: str = "") -> Sequence[str]:
        return sorted(name for name in self.files if name.startswith(prefix))

    def _spend(self) -> None:
        if self.cut_in is None:
            return
        if self.cut_in == 0:
            self.cut_in = None
            raise PowerCutError
        self.cut_in -= 1
