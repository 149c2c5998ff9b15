"""Both sides of a hole as three members in this process, one of which can be cut off from the others."""

import contextlib
import pathlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from coordinator import errors
from coordinator.store import port
from coordinator.store.backends.raft import messages
from tests import stockgroup, stockstore, storegroup

Opening = Callable[[pathlib.Path], contextlib.AbstractAsyncContextManager["Trio"]]


class Trio(NamedTuple):
    """Three members that are up, and how to cut one off."""

    stores: Mapping[str, port.Store]
    cut_off: Callable[[str], None]
    deafen: Callable[[str], None]
    """From here on nothing reaches it, though what it says arrives."""
    failures: Callable[[], Sequence[BaseException]]
    """What went wrong inside any of them."""

    async def leader(self, *without: str) -> str:
        """The one that leads, once all agree, or all but those."""
        found: set[str | None] = set()

        async def agreed() -> bool:
            found.clear()
            found.update(
                [(await s.status()).leader for name, s in self.stores.items() if name not in without]
            )
            return len(found) == 1 and found.isdisjoint({None, *without})

        await storegroup.until(agreed, stockstore.OPENED_S)
        name = found.pop()
        assert name is not None
        return name


async def read(store: port.Store, key: bytes) -> bytes | None:
    """What it answers now; None where it says that it cannot know, or has nothing."""
    try:
        item = await store.get(key)
    except errors.NoQuorumError:
        return None
    return item.value if item is not None else None


@contextlib.asynccontextmanager
async def raft_trio(directory: pathlib.Path) -> AsyncIterator[Trio]:
    group = storegroup.Group(directory)
    await group.make()

    def lose(is_lost: Callable[[str, str], bool]) -> None:
        for name, store in group.stores.items():
            assert store._links is not None
            links: Any = store._links[0]
            links.send = _unless(is_lost, name, links.send)

    def cut_off(victim: str) -> None:
        lose(lambda sender, to: victim in (sender, to))

    def deafen(victim: str) -> None:
        lose(lambda _sender, to: to == victim)

    try:
        await group.open()
        yield Trio(group.stores, cut_off, deafen, lambda: group.stops)
    finally:
        await group.close()


def _unless(
    is_lost: Callable[[str, str], bool], own: str, send: Callable[[str, messages.Frame], None]
) -> Callable[[str, messages.Frame], None]:
    """Send as before, but what is lost on the way."""

    def sending(to: str, frame: messages.Frame) -> None:
        if not is_lost(own, to):
            send(to, frame)

    return sending


@contextlib.asynccontextmanager
async def stock_trio(directory: pathlib.Path) -> AsyncIterator[Trio]:
    group = stockgroup.Group(directory)
    try:
        await group.open()
        yield Trio(
            group.stores,
            lambda victim: group.wire.cut_off(stockgroup.named(victim)),
            lambda victim: group.wire.deaf.add(stockgroup.named(victim)),
            lambda: [error for store in group.stores.values() for error in store.failures],
        )
    finally:
        await group.close()


TRIOS: Final[Mapping[str, Opening]] = {"raft": raft_trio, "pysyncobj": stock_trio}
