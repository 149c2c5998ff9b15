"""What was answered before and is told again while MIC is away: to nobody whom MIC has refused since."""

from typing import Any

import msgspec
import pytest

from coordinator import errors
from coordinator.api import kept, routes, upward
from coordinator.tiers import requests, requests_people
from tests import micworld, upstream

pytestmark = pytest.mark.anyio
Verb = requests.Verb
STATUS, HISTORY, LOGOUT = Verb.STATUS, Verb.HISTORY, Verb.LOGOUT
ANN, BOB = upward.Asking("ann's", "192.0.2.1", "q"), upward.Asking("bob's", "192.0.2.1", "q")


class Link:
    """To a MIC that answers everybody alike, until a test says otherwise."""

    def __init__(self) -> None:
        self.code = ""

    async def ask(self, verb: str, _data: bytes) -> tuple[str, bytes]:
        if self.code:
            return self.code, msgspec.json.encode(requests.Problem(self.code, "no"))
        return "", msgspec.json.encode(upstream.GOOD[requests.Verb(verb)])


@pytest.fixture
def link() -> Link:
    return Link()


@pytest.fixture
def way(link: Link) -> upward.Upward:
    return upward.Upward(link, micworld.Clock(), kept.Kept(kept.no_own))


async def told(way: upward.Upward, who: upward.Asking, verb: Verb) -> str:
    """`now`, `before`, or the code."""
    asked: Any = {
        STATUS: requests.Status(),
        HISTORY: requests.History(),
        LOGOUT: requests_people.Logout(),
    }[verb]
    route = next(one for one in routes.ROUTES if one.verb == verb)
    answer = await way.ask(route, who, asked)
    return answer.code or ("before" if answer.as_of else "now")


@pytest.mark.parametrize(
    ("code", "status", "history"),
    [
        (errors.UnauthenticatedError.code, "no_coordinator", "no_coordinator"),
        (errors.NotAllowedError.code, "no_coordinator", "before"),
        ("busy", "before", "before"),
    ],
)
async def test_whom_mic_has_refused_since_is_told_nothing(
    link: Link, way: upward.Upward, code: str, status: str, history: str
) -> None:
    for who in (ANN, BOB):
        assert [await told(way, who, verb) for verb in (STATUS, HISTORY)] == ["now", "now"]
    link.code = code
    assert await told(way, ANN, STATUS) == code
    link.code = "no_coordinator"
    assert [await told(way, ANN, verb) for verb in (STATUS, HISTORY)] == [status, history]
    assert [await told(way, BOB, verb) for verb in (STATUS, HISTORY)] == ["before", "before"], "nobody else"
    link.code = ""
    assert await told(way, ANN, STATUS) == "now"
    link.code = "no_coordinator"
    assert await told(way, ANN, STATUS) == "before", "let in again"


async def test_whoever_has_logged_out_is_told_nothing(link: Link, way: upward.Upward) -> None:
    assert await told(way, ANN, STATUS) == "now"
    assert await told(way, ANN, LOGOUT) == "now"
    link.code = "unreachable"
    assert await told(way, ANN, STATUS) == "unreachable"
