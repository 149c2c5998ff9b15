"""Snapshots of the store on a timer, beside the ledger: what is there when nobody thought of making one.

It is a convenience against damage of the store's own files, on the same disk, and no backup of the machine.
Law: a file under its final name is whole; no more than `KEPT` of them stay.
"""

import pathlib
from typing import Protocol

import anyio
import anyio.to_thread

from coordinator import errors
from coordinator.host import logs

DIRECTORY = "snapshots"
EVERY_S = 3600.0
FIRST_S = 60.0  # a MIC that restarts again and again does not write one each time
KEPT = 3
PREFIX = "store-"
_PART = "part"

_LOG = logs.Log("store")


class Source(Protocol):
    """The part of a store that is needed."""

    async def snapshot(self, target: pathlib.Path) -> int: ...


async def keep_saving(store: Source, root: pathlib.Path) -> None:
    """Until cancelled."""
    await anyio.sleep(FIRST_S)
    while True:
        try:
            await save(store, root / DIRECTORY)
        except (errors.TiercastError, OSError) as problem:
            _LOG.warning("store not saved", reason=str(problem))
        await anyio.sleep(EVERY_S)


async def save(store: Source, directory: pathlib.Path) -> pathlib.Path:
    """One more, unless nothing has changed; the oldest go. Raises `NoQuorumError`, `OSError`."""
    await anyio.Path(directory).mkdir(mode=0o700, exist_ok=True)
    part = directory / _PART
    await anyio.Path(part).unlink(missing_ok=True)
    revision = await store.snapshot(part)
    return await anyio.to_thread.run_sync(_keep, directory, part, revision)


def _keep(directory: pathlib.Path, part: pathlib.Path, revision: int) -> pathlib.Path:
    name = directory / f"{PREFIX}{revision:016d}"
    part.replace(name)
    for old in sorted(directory.glob(f"{PREFIX}*"))[:-KEPT]:
        old.unlink()
    return name
