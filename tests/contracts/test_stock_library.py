"""What the tests rely on of the library that our store is held against."""

import pysyncobj
import pytest

from tests import stockstore


def test_it_is_the_version_that_was_measured_with_the_inside_that_was_read() -> None:
    assert pysyncobj.version.VERSION == "0.3.17"
    stockstore.verify()


def test_a_private_name_that_is_gone_is_named() -> None:
    with pytest.raises(LookupError, match=r"missing SyncObj\._gone, SyncObj\._too"):
        stockstore.verify({pysyncobj.SyncObj: ("_gone", "_applyCommand", "_too")})
