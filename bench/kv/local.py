"""What many programs cost that look at their server's own view: the window in a process of its own, and they in this one."""

import asyncio
import pathlib
import sys
import tempfile
import time

import anyio

from bench import measures
from bench.kv import load
from coordinator import names
from coordinator.host import loop
from nodeagent.servershell import outlook, window

TOLD_S = 60.0
_ROLES = 10


def view(revision: int) -> outlook.Outlook:
    """Of a server with a few roles."""
    roles = {
        names.RoleName(f"web{number}"): outlook.SeenRole("process", f"web{number}@n1", "10.2.0.11", {"command": ["/bin/true"]})
        for number in range(_ROLES)
    }  # fmt: skip
    return outlook.Outlook(1, revision, f"{revision:064x}", "n1", "north", "placed", "10.2.0.11", roles)


async def measure(watchers: int, changes: int) -> list[measures.Measure]:
    """Memory, CPU for a change, and the time until all have been told of it."""
    with tempfile.TemporaryDirectory(prefix="tiercast-bench-") as directory:
        path = str(pathlib.Path(directory) / "view.sock")
        served = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.kv.local", path, stdin=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(TOLD_S):
                while not await _listens(path):  # noqa: ASYNC110 another process does
                    await asyncio.sleep(0.01)
            return await _measured(served, path, watchers, changes)
        finally:
            served.kill()
            await served.wait()


async def _listens(path: str) -> bool:
    """Its file is there before it listens."""
    try:
        _reader, writer = await asyncio.open_unix_connection(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    writer.close()
    return True


async def _measured(
    served: asyncio.subprocess.Process, path: str, watchers: int, changes: int
) -> list[measures.Measure]:
    pids, used = [served.pid], load.Used([served.pid])
    alone = load.rss_bytes(pids)
    links = []
    for _ in range(watchers):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"watch": "view"}\n')
        await reader.readline()
        links.append((reader, writer))
    with_all = load.rss_bytes(pids)
    assert served.stdin is not None
    told, before = [], load.cpu_s(pids)
    for _ in range(changes):
        began = time.monotonic()
        served.stdin.write(b"\n")
        async with asyncio.timeout(TOLD_S):
            await asyncio.gather(*(reader.readline() for reader, _writer in links))
        told.append(time.monotonic() - began)
    figures = {
        "all_told_ms": sorted(told)[len(told) // 2] * 1000,
        "server_cpu_ms_per_change": (load.cpu_s(pids) - before) * 1000 / changes,
        "rss_bytes_per_watcher": (with_all - alone) / watchers,
    }
    foreign = used.foreign()
    for _reader, writer in links:
        writer.close()
    return [
        measures.Measure(
            bench="kv", case=f"{watchers} local watchers", figure=name, value=round(value, 3), foreign=foreign
        )
        for name, value in figures.items()
    ]


async def serve(path: str) -> None:
    """A window whose view changes with every line of standard input, until that ends."""
    revision = 1
    made = window.Window(lambda: (view(revision), b"{}"))
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.serve, path)
        while await reader.readline():
            revision += 1
            made.tell()
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    loop.tune()
    with asyncio.Runner(loop_factory=loop.factory()) as runner:
        runner.run(serve(sys.argv[1]))
