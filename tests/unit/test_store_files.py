"""The store's files on a real disk: what is written in many parts is there as a whole, whatever the system takes at once."""

import errno
import os
import pathlib
import random
from collections.abc import Sequence

import pytest

from coordinator.store.backends.raft import files, log


def parts(source: random.Random) -> list[bytes]:
    sizes = (0, 1, 40, files.LARGE_BYTES - 1, files.LARGE_BYTES, 3 * files.LARGE_BYTES)
    return [source.randbytes(source.choice(sizes)) for _ in range(source.randrange(60))]


@pytest.mark.parametrize("seed", range(5))
def test_parts_are_written_in_order_however_little_the_system_takes(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    source = random.Random(seed)
    real = os.pwritev

    def reluctant(descriptor: int, buffers: Sequence[bytes], offset: int) -> int:
        whole = b"".join(buffers)
        return real(descriptor, [whole[: source.randrange(1, len(whole) + 1)]], offset)

    monkeypatch.setattr(os, "pwritev", reluctant)
    file = files.DiskAppender(tmp_path / "f", 0)
    written = b""
    for _ in range(5):
        given = parts(source)
        file.write(given)
        written += b"".join(given)
    file.close()
    assert (tmp_path / "f").read_bytes() == written
    assert file.offset == len(written)


def test_more_parts_than_one_call_takes_are_written(tmp_path: pathlib.Path) -> None:
    file = files.DiskAppender(tmp_path / "f", 0)
    given = [bytes([at % 251]) * files.LARGE_BYTES for at in range(files.IOV_MAX + 3)]
    file.write(given)
    file.close()
    assert (tmp_path / "f").read_bytes() == b"".join(given)


def test_room_that_could_be_had_in_part_only_is_given_back(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.posix_fallocate

    def half(descriptor: int, offset: int, size: int) -> None:
        real(descriptor, offset, size // 2)
        raise OSError(errno.ENOSPC, "full")

    file = files.DiskAppender(tmp_path / "f", 0)
    file.reserve(8192)
    monkeypatch.setattr(os, "posix_fallocate", half)
    with pytest.raises(OSError, match="full"):
        file.reserve(1 << 20)
    assert file.reserved == (tmp_path / "f").stat().st_size == 8192
    file.close()


def test_what_is_kept_for_laggards_is_bounded_in_entries_and_in_bytes() -> None:
    held = log.Log(log.Position(10, 1), [log.Entry(at, 1, log.COMMAND, bytes(100)) for at in range(11, 31)])
    assert held.before(30, 5, 1_000_000) == 25
    assert held.before(30, 1000, 350) == 27
    assert held.before(30, 1000, 1_000_000) == 10
    assert held.before(30, 1000, 50) == 30
    assert held.before(20, 1000, 250) == 18
