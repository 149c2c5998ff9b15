"""A directory that forgets what was not synced, refuses on request, and ends the program at any act: for the store."""

import errno
import random
from collections.abc import Callable, Sequence

PAGE_BYTES = 512


class PowerCutError(BaseException):
    """The program ends here; a BaseException, so that nothing in it takes it for an error it may handle."""


class SeededRandom:
    """`effects.Random` of one seed."""

    def __init__(self, seed: int) -> None:
        self.source = random.Random(seed)

    def uniform(self, low: float, high: float) -> float:
        return self.source.uniform(low, high)

    def token(self, size_bytes: int) -> str:
        return self.source.randbytes(size_bytes).hex()


class _Content:
    def __init__(self) -> None:
        self.volatile = bytearray()
        self.durable = b""


class FakeFiles:
    """`files.Files` in memory; every act that changes something is counted and may be the last."""

    def __init__(self) -> None:
        self.acts = 0
        self.stop_at: int | None = None
        self.full = False
        self.full_after: int | None = None
        """How many more acts find room."""
        self.failing_sync = False
        self._names: dict[str, _Content] = {}
        self._durable_names: dict[str, _Content] = {}
        self._changed: list[dict[str, _Content | None]] = []
        """Names given and taken since the directory was synced, by act."""

    def act(self) -> None:
        self.acts += 1
        if self.full_after is not None:
            self.full_after -= 1
            self.full = self.full or self.full_after < 0
        if self.acts == self.stop_at:
            raise PowerCutError

    def power_cut(self, source: random.Random) -> None:
        """Of the changes of names since the last sync of the directory any are kept, and of pages not synced any."""
        luck = source.random()
        share = 0.5 if luck < 0.3 else 0.0 if luck < 0.7 else 1.0
        each = random.Random(luck)
        self._names = dict(self._durable_names)
        for change in self._changed:
            if each.random() < share:
                self._change(change)
        self._changed.clear()
        for content in self._names.values():
            content.volatile = bytearray(_torn(content, source))
            content.durable = bytes(content.volatile)
        self._durable_names = dict(self._names)
        self.stop_at = None
        self.full = self.failing_sync = False

    def names(self) -> Sequence[str]:
        return sorted(self._names)

    def read(self, name: str) -> bytes:
        return bytes(self._names[name].volatile)

    def reader(self, name: str) -> "FakeReader":
        return FakeReader(self._names[name])

    def open(self, name: str, offset: int) -> "FakeAppender":
        if name not in self._names:
            self.act()
            if self.full:
                raise OSError(errno.ENOSPC, "full")
            self._rename({name: _Content()})
        return FakeAppender(self, self._names[name], offset)

    def rename(self, old: str, new: str) -> None:
        self.act()
        self._rename({old: None, new: self._names[old]})

    def remove(self, name: str) -> None:
        self.act()
        assert name in self._names
        self._rename({name: None})

    def sync_directory(self) -> None:
        self.act()
        self._durable_names = dict(self._names)
        self._changed.clear()

    def _rename(self, change: dict[str, _Content | None]) -> None:
        self._changed.append(change)
        self._change(change)

    def _change(self, change: dict[str, _Content | None]) -> None:
        for name, content in change.items():
            if content is None:
                self._names.pop(name, None)
            else:
                self._names[name] = content

    def change(self, name: str, act: Callable[[bytearray], None]) -> None:
        """Rot: change what lies on the disk."""
        act(self._names[name].volatile)
        self._names[name].durable = bytes(self._names[name].volatile)


class FakeReader:
    def __init__(self, content: _Content) -> None:
        self._content = content

    def read(self, offset: int, size_bytes: int) -> bytes:
        return bytes(self._content.volatile[offset : offset + size_bytes])

    def close(self) -> None:
        """Nothing is held."""


class FakeAppender:
    def __init__(self, files: FakeFiles, content: _Content, offset: int) -> None:
        self._files = files
        self._content = content
        self._offset = offset

    @property
    def offset(self) -> int:
        return self._offset

    @property
    def reserved(self) -> int:
        return len(self._content.volatile)

    def write(self, parts: Sequence[bytes]) -> None:
        self._files.act()
        data = b"".join(parts)
        if self._files.full and self._offset + len(data) > self.reserved:
            raise OSError(errno.ENOSPC, "full")
        self._content.volatile[self._offset : self._offset + len(data)] = data
        self._offset += len(data)

    def sync(self) -> None:
        self._files.act()
        if self._files.failing_sync:
            raise OSError(errno.EIO, "lost")
        self._content.durable = bytes(self._content.volatile)

    def reserve(self, size_bytes: int) -> None:
        self._files.act()
        missing = size_bytes - self.reserved
        if missing > 0:
            if self._files.full:
                raise OSError(errno.ENOSPC, "full")
            self._content.volatile.extend(bytes(missing))

    def cut(self, offset: int) -> None:
        self._files.act()
        del self._content.volatile[offset:]
        self._offset = offset

    def close(self) -> None:
        """Nothing is synced by closing."""


def _torn(content: _Content, source: random.Random) -> bytes:
    if bytes(content.volatile) == content.durable:
        return content.durable
    size = source.choice((len(content.durable), len(content.volatile)))
    new = bytes(content.volatile[:size]).ljust(size, b"\0")
    old = content.durable[:size].ljust(size, b"\0")
    pages = (
        (new if source.random() < 0.5 else old)[at : at + PAGE_BYTES] for at in range(0, size, PAGE_BYTES)
    )
    return b"".join(pages)
