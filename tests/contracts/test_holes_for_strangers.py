"""What whoever reaches a member's port can do there: nothing, and at little cost to the member."""

import pathlib
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator

import pytest

from tests import storewithoutpickle
from tests.contracts import holes, ports, stores

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),  # the library's own
]

BOMB_BYTES = 32 << 20
CHEAP_BYTES = 2 << 20
TWO_GIB = (1 << 31) - 1


@pytest.fixture
def memory() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def peak_bytes() -> int:
    """The most memory that was held at once since the last call, above what is held now."""
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    return peak - held


def asking_for(member: str) -> bytes:
    """The library's message that adds a member, as `pickle` writes it."""
    return b"(lS'add'\naS'" + member.encode() + b"'\na."


async def test_no_stranger_has_code_run(side: str, tmp_path: pathlib.Path) -> None:
    made = tmp_path / "made by a stranger"
    code = b"cposix\nmkdir\n(S'" + str(made).encode() + b"'\ntR."
    async with ports.PORTS[side](tmp_path / "store") as port:
        for stranger in port.strangers:
            await stranger.say(stranger.frame(code))
        with holes.decisive():
            assert not made.exists()


def test_a_store_works_where_nothing_can_be_pickled(side: str, tmp_path: pathlib.Path) -> None:
    program = [sys.executable, "-m", storewithoutpickle.__name__, side, str(tmp_path)]
    said = subprocess.run(program, stdout=subprocess.PIPE, check=True, text=True).stdout
    with holes.decisive():
        assert said != "pickled\n"
    assert said == f"{(storewithoutpickle.KEYS + 1) + 3 * (storewithoutpickle.KEYS + 3)} keys\n"


async def test_a_small_frame_of_a_stranger_takes_little_memory(
    side: str, tmp_path: pathlib.Path, memory: None
) -> None:
    async with ports.PORTS[side](tmp_path / "store") as port:
        for stranger in port.strangers:
            bomb = stranger.frame(bytes(BOMB_BYTES))
            peak_bytes()
            await stranger.say(bomb)
            with holes.decisive():
                assert peak_bytes() < CHEAP_BYTES


async def test_a_length_of_two_gib_is_not_waited_for(side: str, tmp_path: pathlib.Path, memory: None) -> None:
    async with ports.PORTS[side](tmp_path / "store") as port:
        for stranger in port.strangers:
            peak_bytes()
            piece = bytes(ports.PIECE_BYTES)
            await stranger.say(stranger.head(TWO_GIB), *[piece] * (2 * CHEAP_BYTES // len(piece)))
            with holes.decisive():
                assert peak_bytes() < CHEAP_BYTES


async def test_no_stranger_makes_a_member(side: str, tmp_path: pathlib.Path) -> None:
    async with ports.PORTS[side](tmp_path / "store") as port:
        for stranger in port.strangers:
            await stranger.say(stranger.frame(asking_for("127.0.0.1:9")))
        await port.join()
        with holes.decisive():
            assert await stores.SIDES[side].acknowledges(port.store, b"/k")


async def test_members_are_not_added_three_at_a_time(side: str, tmp_path: pathlib.Path) -> None:
    async with ports.PORTS[side](tmp_path / "store") as port:
        before = len((await port.store.status()).members)
        for stranger in port.strangers:
            await stranger.say(*[stranger.frame(asking_for(f"127.0.0.1:{at}")) for at in (9, 10, 11)])
        with holes.decisive():
            assert len((await port.store.status()).members) <= before + 1
