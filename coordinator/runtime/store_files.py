"""A member's store as its files tell it, while no process runs it: read whole, with nothing changed.

Blocking. It may not write: whatever a start would mend (a torn tail, a snapshot on its way) is left to the start.
Law: the directory is held alone meanwhile, so that nobody reads what somebody else is writing.
"""

import contextlib
import pathlib
from collections.abc import Iterator

import msgspec

from coordinator import errors, names
from coordinator.store import commands, mvcc, port
from coordinator.store.backends.raft import files, journal, log, recovery, snapshot


class Image(msgspec.Struct, frozen=True):
    """What stands in the directory."""

    identity: journal.Identity
    term: int
    vote: str | None
    last: log.Position
    state: mvcc.State
    """After everything in the log; of a group of several its very end may not be committed."""
    records: int
    bytes_read: int

    @property
    def items(self) -> tuple[port.KeyValue, ...]:
        """All keys, in order."""
        return tuple(item for _key, item in self.state.keys.pairs())


@contextlib.contextmanager
def held(directory: pathlib.Path) -> Iterator[files.DiskFiles]:
    """The directory, alone. Raises `NotFoundError`, `InUseError`."""
    if not directory.is_dir():
        raise errors.NotFoundError(f"there is no store in {directory}", hint="name the server with --dir")
    found = files.DiskFiles(directory)
    try:
        yield found
    finally:
        found.close()


def read(directory: files.Files, cluster: names.ClusterId) -> Image:
    """Every record, with every checksum and digest. Raises `NotFoundError`, `DamagedError`, `IdentityError`."""
    if not journal.exists(directory):
        if snapshot.newest(directory) is not None:
            raise errors.DamagedError("the journal is missing beside a snapshot")
        raise errors.NotFoundError("there is no store in this directory")
    found = journal.check(directory)
    if found.identity.cluster != cluster:
        raise errors.IdentityError(
            f"the store belongs to another cluster (got {found.identity.cluster}, have {cluster})"
        )
    loaded = recovery.load(directory)
    end = loaded.header.end if loaded else log.NOTHING
    records = found.records + (loaded.chunks if loaded else 0)
    held_log = recovery.join(found, end)
    state = loaded.state if loaded else mvcc.State()
    for entry in held_log.entries:
        if entry.kind == log.COMMAND:
            state, _result = mvcc.apply(state, commands.decode(entry.data))
    size = sum(len(directory.read(name)) for name in directory.names())
    return Image(found.identity, found.term, found.vote, held_log.last, state, records, size)


def load_snapshot(file: pathlib.Path) -> snapshot.Loaded:
    """A snapshot in a file of its own. Raises `NotFoundError`, `DamagedError`."""
    try:
        return snapshot.decode(file.name, file.read_bytes())
    except (FileNotFoundError, IsADirectoryError) as wrong:
        raise errors.NotFoundError(f"there is no file {file}") from wrong
