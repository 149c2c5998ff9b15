"""Programs that look at their server's own view: over a real socket, many of them, some of whom never read."""

import json
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc
import msgspec
import pytest

from coordinator import limits, names
from nodeagent.servershell import outlook, window
from tests.integration import processes

pytestmark = [pytest.mark.anyio, pytest.mark.integration]
EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "local_watch.py"


def view(revision: int, **roles: str) -> outlook.Outlook:
    seen = {
        names.RoleName(name): outlook.SeenRole(kind, f"{name}@n1", "10.2.0.11", {})
        for name, kind in roles.items()
    }
    return outlook.Outlook(1, revision, f"{revision:064x}", "n1", "north", "placed", "10.2.0.11", seen)


class Server:
    """What a ServerShell shows."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.now = view(1, web1="process")
        self.document = b'{"schema":"tiercast/1"}'
        self.window = window.Window(lambda: (self.now, self.document))

    def accept(self, now: outlook.Outlook) -> None:
        self.now = now
        self.window.tell()


@asynccontextmanager
async def serving(directory: pathlib.Path, left: int = 0) -> AsyncIterator[Server]:
    """`left` programs still look when it ends."""
    made = Server(str(directory / "view.sock"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.window.serve, made.path)
        await processes.eventually(lambda: pathlib.Path(made.path).exists())
        yield made
        # anyio ends a reader that is cancelled in the very turn in which its peer hangs up with a complaint of the loop.
        await processes.eventually(lambda: made.window._open == left)
        tasks.cancel_scope.cancel()


class Program:
    """One that reads lines."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self.stream = stream
        self._data = b""

    async def line(self) -> Any:
        with anyio.fail_after(processes.WAIT_S):
            while b"\n" not in self._data:
                self._data += await self.stream.receive()
        one, _, self._data = self._data.partition(b"\n")
        return json.loads(one)


async def asking(path: str, asked: bytes) -> Program:
    stream = await anyio.connect_unix(path)
    await stream.send(asked + b"\n")
    return Program(stream)


async def test_a_program_sees_the_view_now_and_after_every_change(tmp_path: pathlib.Path) -> None:
    async with serving(tmp_path) as server:
        program = await asking(server.path, b'{"watch": "view"}')
        first = await program.line()
        assert (first["revision"], list(first["roles"]), "document" in first) == (1, ["web1"], False)
        server.accept(view(1, web1="process"))  # nothing new: nobody is told
        server.accept(view(2, web1="process", web2="process"))
        assert list((await program.line())["roles"]) == ["web1", "web2"]
        await program.stream.aclose()


async def test_the_whole_document_comes_on_request_and_get_ends(tmp_path: pathlib.Path) -> None:
    async with serving(tmp_path) as server:
        program = await asking(server.path, b'{"get": "document"}')
        assert (await program.line())["document"] == {"schema": "tiercast/1"}
        with pytest.raises(anyio.EndOfStream):
            await program.stream.receive()
        await program.stream.aclose()


@pytest.mark.parametrize(
    "asked", [b"", b"[]", b'{"watch": "all"}', b"{}", b'{"get":"view","watch":"view"}', b"x" * 5000]
)
async def test_a_line_that_cannot_be_used_is_answered_with_what_to_write(
    tmp_path: pathlib.Path, asked: bytes
) -> None:
    async with serving(tmp_path) as server:
        program = await asking(server.path, asked)
        assert "one line asks" in (await program.line())["error"]
        await program.stream.aclose()


async def test_whoever_does_not_read_gets_the_newest_and_delays_nobody(tmp_path: pathlib.Path) -> None:
    """64 changes of a large document: the reader follows, the other one's queue is one line, not 64."""
    async with serving(tmp_path) as server:
        server.document = json.dumps({"filler": "x" * 300_000}).encode()
        lazy = await asking(server.path, b'{"watch": "document"}')
        program = await asking(server.path, b'{"watch": "document"}')
        assert (await program.line())["revision"] == 1
        for revision in range(2, 66):
            server.accept(view(revision))
            assert (await program.line())["revision"] == revision
        seen = [(await lazy.line())["revision"]]
        while seen[-1] != 65:
            seen.append((await lazy.line())["revision"])
        assert len(seen) <= 3
        await lazy.stream.aclose()
        await program.stream.aclose()


async def test_two_hundred_programs_are_told_and_forgotten_when_they_go(tmp_path: pathlib.Path) -> None:
    async with serving(tmp_path) as server:
        programs = [await asking(server.path, b'{"watch": "view"}') for _ in range(200)]
        for one in programs:
            await one.line()
        server.accept(view(2))
        assert {(await one.line())["revision"] for one in programs} == {2}
        for one in programs:
            await one.stream.aclose()
        await processes.eventually(lambda: server.window._open == 0)


async def test_too_many_are_refused_by_name(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOCAL_WATCHERS", 1)
    async with serving(tmp_path) as server:
        first = await asking(server.path, b'{"watch": "view"}')
        await first.line()
        second = await asking(server.path, b'{"watch": "view"}')
        assert "too many programs" in (await second.line())["error"]
        await first.stream.aclose()
        await second.stream.aclose()


async def test_the_socket_is_for_this_user_alone(tmp_path: pathlib.Path) -> None:
    async with serving(tmp_path) as server:
        assert pathlib.Path(server.path).stat().st_mode & 0o777 == 0o600


async def test_the_example_follows_through_a_server_that_goes_and_comes_back(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "view.sock")
    out = tmp_path / "out"
    with out.open("wb") as sink:
        program = subprocess.Popen(
            [sys.executable, str(EXAMPLE)], stdout=sink, env={**os.environ, "TIERCAST_SOCKET": path}
        )
    try:
        async with serving(tmp_path, left=1):
            await processes.eventually(lambda: out.read_text() == "revision 1: web1\n")
        async with serving(tmp_path, left=1) as server:
            await processes.eventually(lambda: server.window._open == 1)
            server.accept(view(2))
            await processes.eventually(lambda: out.read_text().splitlines()[-1] == "revision 2: nothing here")
        assert out.read_text().count("revision 1") == 1
    finally:
        program.send_signal(signal.SIGTERM)
        await anyio.to_thread.run_sync(program.wait)


def test_the_view_of_a_document_names_the_roles_of_this_server_alone() -> None:
    line = outlook.line(view(3, web1="process"), b'{"schema":"tiercast/1"}')
    assert line.endswith(b"}\n")
    assert msgspec.json.decode(line)["document"] == {"schema": "tiercast/1"}
    assert "document" not in msgspec.json.decode(outlook.line(view(3), None))
