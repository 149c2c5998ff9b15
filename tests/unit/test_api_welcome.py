"""What a browser is shown at `/`."""

import pytest
from aiohttp import test_utils, web

from coordinator.api import routes, server, welcome
from coordinator.host import clock, metrics
from tests import upstream


def test_it_names_every_path_that_is_open_and_fits_on_a_terminal() -> None:
    text = welcome.text()
    assert all(f"    {path} " in text for path in routes.OPEN)
    assert all(len(line) <= 100 for line in text.splitlines())


@pytest.mark.anyio
async def test_whoever_comes_without_a_token_is_told_where_to_go() -> None:
    app = server.application(
        upstream.FakeUpstream(), clock.SystemClock(), clock.SystemRandom(), metrics.Metrics()
    )
    asking: test_utils.TestClient[web.Request, web.Application] = test_utils.TestClient(
        test_utils.TestServer(app)
    )
    async with asking:
        answer = await asking.get("/")
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        assert await answer.text() == welcome.text()
