"""The two sides of every hole: our store, where it is closed, and the stock library, where it must be seen open."""

import pathlib
from collections.abc import Iterator

import pytest

from tests.contracts import holes, machines


@pytest.fixture(params=["raft", "pysyncobj"])
def side(request: pytest.FixtureRequest) -> str:
    """Which store a scenario runs on; on the stock library its decisive assertion must fail, and nothing else may."""
    side: str = request.param
    if side == "pysyncobj":
        reason = holes.HOLES[request.function.__name__]
        request.applymarker(pytest.mark.xfail(reason=reason, raises=holes.OpenError, strict=True))
    return side


@pytest.fixture
def member(side: str, tmp_path: pathlib.Path) -> Iterator[machines.Maker]:
    """Makes the member `m1` of a group, to say single messages to."""
    maker = machines.Maker(side, tmp_path / "member")
    yield maker
    maker.close()
