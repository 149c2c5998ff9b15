"""What the tests rely on of the library that our store is held against."""

import pathlib
import re
import threading

import pysyncobj
import pytest

from tests import stockstore
from tests.contracts import holes


def test_it_is_the_version_that_was_measured_with_the_inside_that_was_read() -> None:
    assert pysyncobj.version.VERSION == "0.3.17"
    stockstore.verify()


def test_a_private_name_that_is_gone_is_named() -> None:
    with pytest.raises(LookupError, match=r"missing SyncObj\._gone, SyncObj\._too"):
        stockstore.verify({pysyncobj.SyncObj: ("_gone", "_applyCommand", "_too")})


def test_every_hole_has_its_test() -> None:
    files = pathlib.Path(__file__).parent.glob("test_holes_*.py")
    tests = set(re.findall(r"def (test_\w+)\(", "".join(path.read_text() for path in files)))
    assert tests == set(holes.HOLES)


@pytest.mark.anyio
async def test_it_runs_in_the_thread_of_the_test(tmp_path: pathlib.Path) -> None:
    before = threading.active_count()
    async with await stockstore.open_store(tmp_path / "store"):
        assert threading.active_count() == before
