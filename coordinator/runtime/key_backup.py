"""The keys of a system as one sealed file: written on the master's server, put back on a machine that takes its place.

It holds all of `identity/`: the authority (CA and signing keys), and the server that holds it. It does not hold the
store: history, people and tokens have their own snapshots, and the configuration itself comes back from the field.
"""

import pathlib
import shutil

import msgspec

from coordinator import effects, errors, names
from coordinator.host import disk, settings
from coordinator.runtime import initialise
from coordinator.trust import authority, passphrases

FORMAT = 1


class Backup(msgspec.Struct, frozen=True):
    """What the file holds, opened."""

    format: int
    cluster: names.ClusterId
    server_id: names.ServerId
    made: float
    """Wall seconds."""
    files: dict[str, bytes]
    """Below the server's directory."""

    def __repr__(self) -> str:
        return f"Backup(cluster={self.cluster!r}, server_id={self.server_id!r})"


def export(layout: settings.Layout, output: pathlib.Path, passphrase: str, clock: effects.Clock) -> Backup:
    """Write the sealed file. Raises `NotFoundError` where no authority is, `InUseError` on an existing file, `OSError`."""
    passphrases.check(passphrase)
    if output.exists():
        raise errors.InUseError(f"{output} exists already", hint="a backup is never overwritten")
    if not layout.identity.is_dir():
        raise errors.NotFoundError(
            f"no server lives in {layout.root}", hint="name the server's directory with --dir"
        )
    root = disk.DirectoryDisk(layout.root)
    try:
        authority.Authority.load(root)
    except errors.NotFoundError as problem:
        hint = "the authority is on the servers of MIC; run it there"
        raise errors.NotFoundError(f"{layout.root} holds no authority", hint=hint) from problem
    identity = authority.Identity.load(root)
    files = {name: root.read(name) or b"" for name in root.names(authority.DIRECTORY)}
    backup = Backup(FORMAT, identity.cluster, identity.server_id, clock.wall(), files)
    data = passphrases.sealed(msgspec.msgpack.encode(backup), passphrase)
    disk.DirectoryDisk(output.absolute().parent).write(output.name, data)
    return backup


def restore(layout: settings.Layout, file: bytes, passphrase: str) -> Backup:
    """Lay out the directory, whole or not at all.

    Raises `InUseError` where it is not empty, `NotAllowedError` on a wrong passphrase, `DamagedError`, `OSError`.
    """
    initialise.check_unused(layout.root)
    backup = _opened(passphrases.unsealed(file, passphrase))
    fresh = layout.root.with_name(layout.root.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    root = disk.DirectoryDisk(fresh)
    for name, data in backup.files.items():
        root.write(name, data)
    held, identity = authority.Authority.load(root), authority.Identity.load(root)
    if held.cluster != identity.cluster:
        shutil.rmtree(fresh)
        raise errors.DamagedError("the backup holds the keys of two systems")
    if layout.root.is_dir():
        layout.root.rmdir()  # empty: checked above
    fresh.rename(layout.root)
    return backup


def _opened(data: bytes) -> Backup:
    try:
        backup = msgspec.msgpack.decode(data, type=Backup)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise errors.DamagedError(f"the backup cannot be read: {wrong}") from wrong
    if backup.format != FORMAT:
        raise errors.DamagedError(f"the backup is of another kind (got {backup.format}, have {FORMAT})")
    if not all(name.startswith(authority.DIRECTORY) for name in backup.files):
        raise errors.DamagedError("the backup holds files that are no keys")
    return backup
