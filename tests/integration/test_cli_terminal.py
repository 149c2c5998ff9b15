"""Commands in a terminal of their own, with a person who types Ctrl-C; and a context with several servers."""

import contextlib
import os
import pathlib
import subprocess
import sys
from collections.abc import AsyncIterator

import anyio
import anyio.to_thread
import msgspec
import pytest

from coordinator import errors
from coordinator.api import server
from coordinator.host import clock, metrics
from coordinator.tiers import requests, requests_looking
from tests import upstream
from tests.integration import test_cli_process as process

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

CTRL_C = "\x03"
Verb = requests.Verb
OWN_TERMINAL = """\
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from coordinator.cli.main import main
main()
"""


@contextlib.asynccontextmanager
async def typed_at(
    asked: process.System, *words: str
) -> AsyncIterator[tuple[process.Screen, subprocess.Popen[str]]]:
    """The command with a terminal that is its own: what is typed there may be a signal."""
    screen = process.Screen()
    running = subprocess.Popen(
        [sys.executable, "-c", OWN_TERMINAL, *words],
        env={**asked.environment, "NO_COLOR": "1"},
        stdin=screen.theirs,
        stdout=subprocess.PIPE,
        stderr=screen.theirs,
        text=True,
    )
    with process.ended(running):
        os.close(screen.theirs)
        try:
            yield screen, running
        finally:
            screen.close()


async def left(running: subprocess.Popen[str]) -> str:
    out: str = await anyio.to_thread.run_sync(lambda: running.communicate(timeout=process.WITHIN_S)[0])
    return out


async def test_ctrl_c_while_waiting_detaches_and_says_how_to_go_on(tmp_path: pathlib.Path) -> None:
    async with process.system(tmp_path) as asked:
        asked.mic.answers[Verb.ROLLOUT] = process.RUNNING
        async with typed_at(asked, "apply", "d-7f3a") as (screen, running):
            await process.until(lambda: screen.shows("apply on top of revision 41? [y/N]"))
            screen.type("y\n")
            await process.until(lambda: screen.shows("n2 (north): applying, role web2 is not ready yet"))
            screen.type(CTRL_C)
            await process.until(
                lambda: screen.shows("detached; the rollout goes on: tiercast status ro-7 -w")
            )
            await left(running)
        assert running.returncode == 130
        assert {verb for verb, _ in asked.mic.calls} == {Verb.PLAN, Verb.APPLY, Verb.ROLLOUT}


class Journal(upstream.FakeUpstream):
    """Tells its events once, and is silent after them."""

    async def ask(self, verb: str, data: bytes) -> tuple[str, bytes]:
        call = msgspec.msgpack.decode(data, type=requests.Call)
        if verb == Verb.EVENTS:
            asked = msgspec.json.decode(call.body, type=requests_looking.Events)
            if not asked.after:
                view = requests_looking.EventsView("3.10", False, (), upstream.STATUS)
                return "", msgspec.json.encode(view)
            if asked.after != "3.10":
                await anyio.sleep(asked.wait_s)
                return "", msgspec.json.encode(requests_looking.EventsView("3.14", False, ()))
        return await super().ask(verb, data)


async def test_events_are_followed_until_ctrl_c_and_gone_on_with_after_it(tmp_path: pathlib.Path) -> None:
    async with process.system(tmp_path, Journal()) as asked:
        async with typed_at(asked, "events", "-f", "-o", "json") as (screen, running):
            await process.until(lambda: screen.shows("revision 42  failed"))
            stdout = running.stdout
            assert stdout is not None
            lines = [await anyio.to_thread.run_sync(stdout.readline) for _ in range(4)]
            screen.type(CTRL_C)
            await process.until(lambda: screen.shows("to go on: tiercast events -f --after 3.14"))
            await anyio.to_thread.run_sync(lambda: running.wait(timeout=process.WITHIN_S))
        assert running.returncode == 130
        assert [msgspec.json.decode(line)["id"] for line in lines] == ["3.11", "3.12", "3.13", "3.14"]


async def test_a_server_without_a_coordinator_is_passed_over_for_one_that_has_one(
    tmp_path: pathlib.Path,
) -> None:
    async with process.system(tmp_path) as asked:
        lonely = upstream.FakeUpstream()
        away = errors.NoCoordinatorError("no coordinator (MIC) answers now")
        lonely.answers = dict.fromkeys(lonely.answers, away)
        app = server.application(lonely, clock.SystemClock(), clock.SystemRandom(), metrics.Metrics())
        runner = await server.serve(app, "127.0.0.1", 0, asked.tls)
        try:
            url = f"https://127.0.0.1:{runner.addresses[0][1]}"
            asked.known_as(url, asked.url)
            assert (await asked.run("status"))[0] == 0
            code, out, _ = await asked.run("apply", "d-7f3a", "--yes", "--wait", "none")
            assert (code, out) == (0, "started: rollout ro-7\n")
            asked.known_as(url)
            code, _, talk = await asked.run("status")
            assert (code, "no coordinator (MIC) answers now" in talk) == (8, True)
        finally:
            await runner.cleanup()
    assert len(lonely.calls) >= 3
