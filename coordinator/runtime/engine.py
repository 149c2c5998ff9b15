"""Which engine keeps the store of this server's MIC: our own raft, or an etcd cluster that its settings name.

The settings stand in one file of the server's directory, 0600, for the password of etcd is in them. Law: whichever it is,
one process of this server has the store open at a time.
"""

import pathlib
from typing import Final, Protocol

import anyio
import msgspec

from coordinator import effects, errors
from coordinator.host import lock, settings
from coordinator.runtime import home, mic_store
from coordinator.store import port
from coordinator.store.backends.etcd import access
from coordinator.tiers import seed

FILE: Final = "store.json"
_FORMAT: Final = 1
_FILE_BYTES: Final = 64 * 1024  # a chain of certificates is a few KiB
REFUSALS: Final = (
    errors.UnauthenticatedError, errors.NotAllowedError, errors.IdentityError, errors.RefusedError,
    errors.NeedsRecoveryError, errors.InUseError, errors.NotFoundError,
)  # fmt: skip
"""What an engine that runs elsewhere may say at any time, and unsay once somebody has mended it."""


class Settings(msgspec.Struct, frozen=True):
    """What the file holds; secret."""

    format: int
    etcd: access.Access


class MicStore(port.Store, Protocol):
    """A store with what MIC's own machine is told of it."""

    @property
    def member(self) -> str:
        """The own id, or where the engine is."""
        ...

    async def snapshot(self, target: pathlib.Path) -> int: ...


# --- the settings -----------------------------------------------------------------------------------------------------


def load(root: effects.Disk) -> access.Access | None:
    """None where the store is our own. Raises `DamagedError`."""
    data = root.read(FILE)
    if data is None:
        return None
    try:
        found = msgspec.json.decode(data, type=Settings)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise errors.DamagedError(
            f"{FILE} cannot be read", hint="write it anew: `tiercast store recover --into`"
        ) from wrong
    return found.etcd


def save(root: effects.Disk, used: access.Access | None) -> None:
    """Durable when it returns."""
    if used is None:
        root.remove(FILE)
    else:
        root.write(FILE, msgspec.json.format(msgspec.json.encode(Settings(_FORMAT, used))) + b"\n")


def wanted(
    address: str, ca_file: pathlib.Path | None, user_file: pathlib.Path | None
) -> access.Access | None:
    """What the options say; None for our own engine, `raft`. Raises `UsageError`."""
    if address == "raft":
        if ca_file is not None or user_file is not None:
            raise errors.UsageError(
                "a CA and a user are for etcd", hint="leave --store-ca and --store-user-file away"
            )
        return None
    parsed = access.parse_address(address)
    ca_pem = "" if ca_file is None else _text(ca_file)
    user, password = ("", "") if user_file is None else access.parse_user(_text(user_file))
    return access.check(access.Access(parsed, ca_pem, user, password))


def _text(file: pathlib.Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(_FILE_BYTES).decode()
    except (OSError, UnicodeDecodeError) as wrong:
        raise errors.UsageError(f"{file} cannot be read: {wrong}") from wrong


# --- the store --------------------------------------------------------------------------------------------------------


async def open_store(
    layout: settings.Layout, here: home.Home, clock: effects.Clock, random: effects.Random
) -> MicStore:
    """For MIC. Raises as `mic_store.open_store`; what etcd says against it is met by the first use, and at each again."""
    used = load(here.root)
    if used is None:
        return await mic_store.open_store(layout.store, here, clock, random)
    from coordinator.store.backends.etcd import store as etcd  # noqa: PLC0415 an HTTP client, for those who need one

    return etcd.EtcdStore(
        used,
        here.identity.cluster,
        clock,
        random,
        create=here.root.read(seed.FILE) is not None,
        held=await _held(layout.store),
    )


async def _held(directory: pathlib.Path) -> lock.DirectoryLock:
    """Once nobody holds it any more. Raises `InUseError`."""
    await anyio.Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    left = round(mic_store.WAIT_S / mic_store.LOOK_S)
    while True:
        left -= 1
        try:
            return lock.DirectoryLock(directory)
        except errors.InUseError:
            if not left:
                raise
            await anyio.sleep(mic_store.LOOK_S)
