"""What the commands of `tiercast store` do, apart from their words and options. Blocking.

Law: nothing here writes to a store that a process has open; what changes one is whole or was not begun.
"""

import pathlib
from collections.abc import Iterator

import msgspec

from coordinator import errors, names
from coordinator.host import clock, disk, settings
from coordinator.runtime import store_files, store_socket
from coordinator.store import port
from coordinator.store.backends.raft import journal, recovery, snapshot
from coordinator.tiers import inspection, standing
from coordinator.trust import authority

MEMBER_BYTES = 8


class StoreAt(msgspec.Struct, frozen=True):
    """The store of one server."""

    layout: settings.Layout
    identity: authority.Identity

    @property
    def directory(self) -> pathlib.Path:
        return self.layout.store

    @property
    def cluster(self) -> names.ClusterId:
        return self.identity.cluster

    # --- looking --------------------------------------------------------------------------------------------------

    def status(self) -> Iterator[str]:
        """Lines. Raises `NotFoundError`, `InUseError`, `DamagedError` and what MIC answers."""
        answer = self._asked(store_socket.Ask("status"))
        if answer is None:
            yield from _offline(self._read())
            return
        assert answer.status is not None
        yield f"asked     the running MIC ({answer.mic})"
        yield from told(answer.status, answer.member)

    def check(self) -> Iterator[str]:
        """Lines, where all is well. Raises `DamagedError` naming what is not, `InUseError` while MIC runs."""
        image = self._read()
        yield f"records   {image.records}, {image.bytes_read} bytes: every checksum is right"
        yield f"keys      {len(image.items)} at revision {image.state.revision} of the store"
        yield from inspected(inspection.inspect(image.items, self.cluster))

    def _read(self) -> store_files.Image:
        with store_files.held(self.directory) as held:
            return store_files.read(held, self.cluster)

    def _asked(self, ask: store_socket.Ask) -> store_socket.Answer | None:
        return store_socket.ask(self.layout.socket(store_socket.NAME), ask)

    # --- saving and putting back ------------------------------------------------------------------------------------

    def snapshot(self, file: pathlib.Path) -> str:
        """A sentence. Raises `InUseError` where the file exists."""
        if file.exists():
            raise errors.InUseError(f"{file} exists already", hint="name another file")
        answer = self._asked(store_socket.Ask("snapshot", str(file)))
        if answer is not None:
            file.chmod(0o600)
            return f"revision {answer.revision} of the store is in {file}, written by the running MIC"
        image = self._read()
        header = snapshot.Header(snapshot.FORMAT, self.cluster, image.last, image.identity.members)
        disk.DirectoryDisk(file.parent).write(file.name, b"".join(snapshot.encode(header, image.state)))
        return f"revision {image.state.revision} of the store is in {file}, read from the files"

    def restore(self, file: pathlib.Path) -> Iterator[str]:
        """Lines. Raises `DamagedError`, `IdentityError`, `InUseError` where a store is there already."""
        loaded = store_files.load_snapshot(file)
        if loaded.header.cluster != self.cluster:
            raise errors.IdentityError(
                f"the snapshot is of another cluster (got {loaded.header.cluster}, have {self.cluster})"
            )
        items = tuple(item for _key, item in loaded.state.keys.pairs())
        found = inspection.inspect(items, self.cluster)
        if found.findings:
            raise errors.DamagedError(f"the snapshot cannot be used: {found.findings[0]}")
        member = clock.SystemRandom().token(MEMBER_BYTES)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with store_files.held(self.directory) as held:
            made = journal.Identity(self.cluster, member, (member,))
            recovery.begin_from(held, made, clock.SystemRandom(), loaded)
        yield f"restored  {found.version}, {found.keys} keys, one member ({member})"
        yield from self._older_than_issued(found.version)

    def _older_than_issued(self, version: names.Version) -> Iterator[str]:
        """What MIC will say of it, said beforehand."""
        for state in sorted(self.layout.state.glob(f"*/{standing.NAME}")):
            mark = standing.HighWater(disk.DirectoryDisk(state.parent)).mark
            if mark is not None and mark.version > version:
                yield f"warning   {mark.version} was issued: MIC will say `needs recovery` and serve read-only"


def find(layout: settings.Layout) -> StoreAt:
    """Raises `NotFoundError` where no server lives there, `DamagedError`."""
    if not layout.identity.is_dir():
        raise errors.NotFoundError(
            f"no server lives in {layout.root}", hint="name the server's directory with --dir"
        )
    return StoreAt(layout, authority.Identity.load(disk.DirectoryDisk(layout.root)))


def inspected(found: inspection.Inspected) -> Iterator[str]:
    """Lines. Raises `DamagedError` where something is wrong."""
    yield f"signed    {found.signed} objects, {found.bodies} documents"
    yield f"active    {found.version}"
    for finding in found.findings:
        yield f"wrong     {finding}"
    if found.findings:
        raise errors.DamagedError(
            f"the store holds what MIC cannot have written ({len(found.findings)} findings)",
            hint="restore a snapshot: `tiercast store restore`",
        )


def told(status: port.StoreStatus, member: str) -> Iterator[str]:
    """Lines on a store that runs."""
    yield f"revision  {status.revision} (compacted before {status.compacted})"
    yield f"size      {status.size_bytes} bytes in {status.keys} keys"
    yield f"log       term {status.term}, committed {status.committed}, applied {status.applied}"
    yield f"leader    {status.leader or 'none: there is no quorum'}"
    for one in status.members:
        notes = [
            word
            for word, holds in (("this", one.member == member), ("leader", one.member == status.leader))
            if holds
        ]
        if one.matched is not None:
            notes.append(f"{max(0, status.committed - one.matched)} entries behind")
        if one.silent_s is not None:
            notes.append(f"heard {one.silent_s:.1f} s ago")
        place = f" {one.address}" if one.address else ""
        yield f"member    {one.member}{place}" + (f"  ({', '.join(notes)})" if notes else "")
    for alarm in status.alarms:
        yield f"alarm     {alarm}"
    if status.sealed:
        yield "sealed    this group has ended; another one goes on"


def _offline(image: store_files.Image) -> Iterator[str]:
    yield "read      from the files: no MIC runs here, so leader and lag are not known"
    yield f"revision  {image.state.revision} (compacted before {image.state.compacted})"
    yield f"size      {image.state.size_bytes} bytes in {len(image.state.keys)} keys"
    yield f"log       term {image.term}, ends at {image.last.index}"
    for member in image.identity.members:
        yield f"member    {member}" + ("  (this)" if member == image.identity.member else "")
    if image.state.sealed:
        yield f"sealed    handed over to {', '.join(image.state.sealed)}"
