"""Opening a member's directory: from files to a state, a log and the journal that goes on.

Blocking; runs in a thread. Law: what was promised is found again, or opening is refused with the place and the reason;
nothing is ever made up for what is missing.
"""

from pathlib import Path

import msgspec

from coordinator import effects, errors, names
from coordinator.store import mvcc
from coordinator.store.backends.raft import files, journal, log, snapshot, transfer


class Opened(msgspec.Struct, frozen=True):
    """A member as its directory tells it."""

    directory: files.Files
    writer: journal.Journal
    identity: journal.Identity
    term: int
    vote: str | None
    held: log.Log
    state: mvcc.State


def begin(directory: files.Files, identity: journal.Identity, random: effects.Random) -> None:
    """Make a member in a directory that holds none; raises InUseError, DamagedError."""
    if journal.exists(directory):
        raise errors.InUseError("there is a store in this directory already")
    _refuse_strays(directory)
    journal.create(directory, identity, random).close()


def begin_from(
    directory: files.Files, identity: journal.Identity, random: effects.Random, loaded: snapshot.Loaded
) -> None:
    """Make a member of a new group that goes on from a snapshot, also one of a sealed group.

    Every member of the new group must be begun from the same snapshot. Raises InUseError, DamagedError.
    """
    if directory.names():
        raise errors.InUseError(
            "there is a store in this directory, or a part of one", hint="move the directory aside first"
        )
    end = loaded.header.end
    header = snapshot.Header(snapshot.FORMAT, identity.cluster, end, identity.members)
    state = msgspec.structs.replace(loaded.state, sealed=())
    # Without its journal a snapshot is refused, so a crash between the two leaves nothing that could be taken for a member.
    snapshot.write(directory, header, snapshot.encode(header, state))
    journal.create(directory, identity, random, end).close()


def resume(directory: files.Files, cluster: names.ClusterId, random: effects.Random) -> Opened:
    """Read everything; raises NotFoundError, DamagedError, IdentityError, NoSpaceError."""
    if not journal.exists(directory):
        _refuse_strays(directory)
        raise errors.NotFoundError(
            "there is no store in this directory", hint="is it the right one? an empty disk is no member"
        )
    written, found = journal.open_journal(directory, random)
    if found.identity.cluster != cluster:
        raise errors.IdentityError(
            f"the store belongs to another cluster (got {found.identity.cluster}, have {cluster})",
            hint="give the directory of this cluster",
        )
    loaded = load(directory)
    if found.held.prev.index > (loaded.header.end.index if loaded else 0) and transfer.finish(
        directory, found.held.prev
    ):
        loaded = load(directory)
    transfer.drop(directory)
    end = loaded.header.end if loaded else log.NOTHING
    held = join(found, end)
    snapshot.drop_before(directory, end.index)
    state = loaded.state if loaded else mvcc.State()
    return Opened(directory, written, found.identity, found.term, found.vote, held, state)


def load(directory: files.Files) -> snapshot.Loaded | None:
    """The newest snapshot, or None if there is none; raises DamagedError."""
    name = snapshot.newest(directory)
    return snapshot.decode(name, directory.read(name)) if name else None


def join(found: journal.Recovered, end: log.Position) -> log.Log:
    """The log behind the snapshot that ends at `end`; raises DamagedError where the two do not meet."""
    held = found.held
    if held.term_at(end.index) != end.term:
        raise errors.DamagedError(
            f"journal and snapshot do not meet (the journal holds entries {held.prev.index + 1} to "
            f"{held.last.index}, the snapshot ends at {end.index})",
            hint="a file of the store is missing; restore it, or `tiercast store recover`",
        )
    held.compact(end.index)
    return held


def lock(path: Path) -> files.DiskFiles:
    """The directory, held alone; raises InUseError."""
    return files.DiskFiles(path)


def _refuse_strays(directory: files.Files) -> None:
    if snapshot.newest(directory) is not None:
        raise errors.DamagedError(
            "the journal is missing beside a snapshot",
            hint="a snapshot alone may lack what was acknowledged after it; restore the journal, or "
            "`tiercast store recover`",
        )
