"""A store in an interpreter that cannot pickle: writes, snapshots, restarts and reads, alone and as a group of three.

`python -m tests.storewithoutpickle SIDE DIRECTORY`. What reads and writes pickles is made to raise before anything of
ours, or of the stock library, is imported. Says how many keys it read again; or, once something was to be pickled or
unpickled, whether somebody caught that or not, that it was.
"""

import asyncio  # noqa: TID251 the backends are asyncio's
import importlib
import pathlib
import sys
from typing import Any, Final

READERS: Final = ("load", "loads", "_load", "_loads")
WRITERS: Final = ("dump", "dumps", "_dump", "_dumps")
CLASSES: Final = ("Unpickler", "_Unpickler", "Pickler", "_Pickler")
KEYS: Final = 20
LIMIT_S: Final = 50.0


class PickledError(Exception):
    """Somebody pickled, or unpickled."""


attempts: list[None] = []


def _refuse(*_args: object, **_keywords: object) -> None:
    attempts.append(None)
    raise PickledError


def forbid() -> None:
    """Make every way to pickle raise, in the module of C and in the one of Python; the classes stay classes."""
    for module in map(importlib.import_module, ("pickle", "_pickle")):
        for name in (*READERS, *WRITERS):
            if hasattr(module, name):
                setattr(module, name, _refuse)
        for name in CLASSES:
            if hasattr(module, name):
                real = getattr(module, name)
                setattr(module, name, type(name, (real,), {"__init__": _refuse}))


def check_forbidden() -> None:
    """See that it works: each of these reads a None."""
    io = importlib.import_module("io")
    for module in map(importlib.import_module, ("pickle", "_pickle")):
        unpickler: Any = module.Unpickler
        for reader, given in ((module.loads, b"N."), (unpickler, io.BytesIO(b"N."))):
            try:
                reader(given)
            except PickledError:
                continue
            raise AssertionError(f"{module.__name__} still reads")
    attempts.clear()


async def alone(side: str, directory: pathlib.Path) -> int:
    from tests.contracts import stores  # noqa: PLC0415 after the ban

    one = stores.SIDES[side]
    async with await one.opening(directory) as store:
        for number in range(KEYS):
            await stores.put(store, b"/%d" % number)
        await one.snapshot(store)
        await stores.put(store, b"/behind")
    async with await one.opening(directory) as store:
        read = len((await store.scan(b"/")).items)
    assert read == KEYS + 1
    return read


async def three(directory: pathlib.Path) -> int:
    from coordinator.store.backends.raft import member  # noqa: PLC0415 after the ban
    from tests import storegroup  # noqa: PLC0415

    member.KEEP_ENTRIES = 5
    group = storegroup.Group(directory)
    await group.make()
    await group.open()
    leader = await group.leader()
    away = next(name for name in group.members if name != leader)
    await group.close(away)
    for number in range(KEYS):
        await group.put(leader, f"/{number}", bytes(1000))
    await group.stores[leader].take_snapshot()
    await group.open(away)
    for name in group.members:
        await group.put(name, f"/from {name}")
    await group.close()
    await group.open()
    read = [len((await store.scan(b"/")).items) for store in group.stores.values()]
    await group.close()
    assert group.stops == []
    assert read == [KEYS + 3] * 3
    return sum(read)


async def work(side: str, directory: pathlib.Path) -> int:
    read = await alone(side, directory / "alone")
    return read + await three(directory / "three") if side == "raft" else read


async def run(side: str, directory: pathlib.Path) -> str:
    async with asyncio.timeout(LIMIT_S):
        working = asyncio.get_running_loop().create_task(work(side, directory))
        while not attempts and not working.done():
            await asyncio.wait([working], timeout=0.01)
        if not attempts:
            return f"{await working} keys"
        working.cancel()
        await asyncio.wait([working])
        return "pickled"


def main(side: str, directory: str) -> None:
    forbid()
    check_forbidden()
    sys.stdout.write(asyncio.run(run(side, pathlib.Path(directory))) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
