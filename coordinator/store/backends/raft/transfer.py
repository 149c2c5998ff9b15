"""A snapshot on its way from the leader to a member that needs more than the log still holds.

Blocking; runs in the disk's thread. Laws: what arrives is on disk, checked from its first byte to its last, before the
log is told that it was replaced; a crash between any two acts leaves the old state or the new one.
"""

from typing import Final, NamedTuple

from coordinator import errors
from coordinator.store.backends.raft import files, journal, log, messages, snapshot

PIECE_BYTES: Final = 256 * 1024
PREFIX: Final = "incoming-"


class _Open(NamedTuple):
    end: log.Position
    reader: files.Reader


class Outgoing:
    """Reads pieces of the snapshot that each member was begun with; newer ones do not make it begin anew."""

    def __init__(self, directory: files.Files, piece_bytes: int = PIECE_BYTES) -> None:
        self._files = directory
        self._piece_bytes = piece_bytes
        self._open: dict[str, _Open] = {}

    def piece(self, wanted: messages.SendPiece) -> messages.Install | None:
        """The piece asked for, or the first of the newest snapshot; None where there is no snapshot."""
        held = self._open.get(wanted.to)
        offset = wanted.offset
        if held is None or held.end != wanted.end:
            held, offset = self._begin(wanted.to), 0
        if held is None:
            return None
        data = held.reader.read(offset, self._piece_bytes + 1)
        last = len(data) <= self._piece_bytes
        return messages.Install(wanted.term, held.end, offset, data[: self._piece_bytes], last)

    def close(self) -> None:
        for held in self._open.values():
            held.reader.close()
        self._open.clear()

    def _begin(self, to: str) -> _Open | None:
        name = snapshot.newest(self._files)
        if name is None:
            return None
        before = self._open.pop(to, None)
        if before is not None:
            before.reader.close()
        reader = self._files.reader(name)
        held = _Open(snapshot.end_of(name, reader.read(0, snapshot.HEADER_BYTES)), reader)
        self._open[to] = held
        return held


class Incoming:
    """Collects pieces in a file; one snapshot at a time."""

    def __init__(self, directory: files.Files) -> None:
        self._files = directory
        self._end: log.Position | None = None
        self._file: files.Appender | None = None

    def keep(self, term: int, piece: messages.Install) -> messages.Installed | snapshot.Loaded | None:
        """How far it has come, or all of it once it is whole. None on a full disk, where it has come nowhere.

        To say so would have it sent again at once, over and over; a sender that hears nothing asks again in a while.
        """
        try:
            return self._keep(term, piece)
        except OSError as error:
            if error.errno not in files.FULL:
                raise
            self.close()
            drop(self._files)
            return None

    def _keep(self, term: int, piece: messages.Install) -> messages.Installed | snapshot.Loaded:
        if self._file is None or self._end != piece.end:
            if piece.offset:
                return messages.Installed(term, piece.end, 0)
            self._begin(piece.end)
        file = self._file
        assert file is not None, "begun above"
        if piece.offset == file.offset:
            file.write([piece.data])
            if piece.last:
                return self._finish(term, piece.end, file)
        return messages.Installed(term, piece.end, file.offset)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self, end: log.Position) -> None:
        self.close()
        self._file = self._files.open(_name(end), 0)
        self._file.cut(0)
        self._end = end

    def _finish(
        self, term: int, end: log.Position, file: files.Appender
    ) -> messages.Installed | snapshot.Loaded:
        file.sync()
        self.close()
        try:
            loaded = snapshot.decode(_name(end), self._files.read(_name(end)))
        except errors.DamagedError:
            return messages.Installed(term, end, 0)
        return loaded if loaded.header.end == end else messages.Installed(term, end, 0)


def install(directory: files.Files, writer: journal.Journal, end: log.Position, last: log.Position) -> None:
    """Let the snapshot that arrived take the place of the log up to `end`; `last` is where the log ends then."""
    directory.sync_directory()
    writer.replace(end, last)
    finish(directory, end)


def finish(directory: files.Files, end: log.Position) -> bool:
    """Give the snapshot its name; also what a start does after a crash. False if there is none that ends at `end`."""
    name = _name(end)
    if name not in directory.names():
        return False
    snapshot.decode(name, directory.read(name))
    directory.rename(name, snapshot.name_of(end.index))
    directory.sync_directory()
    return True


def drop(directory: files.Files) -> None:
    """Remove what never became whole."""
    for name in directory.names():
        if name.startswith(PREFIX):
            directory.remove(name)


def _name(end: log.Position) -> str:
    return f"{PREFIX}{end.index:020d}-{end.term:020d}"
