"""Snapshots on a timer: whole under their names, and only the last few stay."""

import pathlib

import anyio
import pytest

from coordinator import errors
from coordinator.runtime import saving
from tests import micworld


class Store:
    def __init__(self) -> None:
        self.revision = 0
        self.failures = 0

    async def snapshot(self, target: pathlib.Path) -> int:
        if self.failures:
            self.failures -= 1
            raise errors.NoQuorumError("no majority")
        with target.open("xb") as file:
            file.write(b"%d" % self.revision)
        return self.revision


def test_the_last_few_stay_and_what_was_left_half_made_is_no_obstacle(tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        store, directory = Store(), tmp_path / saving.DIRECTORY
        for store.revision in (8, 9, 10, 10, 11):
            await saving.save(store, directory)
            (directory / "part").write_bytes(b"torn")
        kept = sorted(one.read_bytes() for one in directory.glob("store-*"))
        assert kept == [b"10", b"11", b"9"]

    anyio.run(main)


def test_a_store_that_cannot_be_saved_now_is_saved_the_next_time(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "FIRST_S", 0.0)
    monkeypatch.setattr(saving, "EVERY_S", 0.01)

    async def main() -> None:
        store = Store()
        store.failures = 2
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(saving.keep_saving, store, tmp_path)
            await micworld.until(lambda: list(tmp_path.glob("snapshots/store-*")))
            tasks.cancel_scope.cancel()
        assert store.failures == 0

    anyio.run(main)
