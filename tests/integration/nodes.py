"""A worker node's host in a test: real launcher, clock and disk, role types of one's choice, acks kept."""

import contextlib
import pathlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio

from coordinator import names, role
from coordinator.host import clock, disk
from nodeagent.basedrole import acks, events, host, lane
from nodeagent.roles import greeter_type, process_type
from nodeagent.supervision import launcher
from tests.integration import processes

CATALOGUE: role.Catalogue = {kind.name: kind for kind in (process_type.TYPE, greeter_type.TYPE)}


class Node:
    """One node directory; may host one life after another."""

    def __init__(self, directory: pathlib.Path, catalogue: role.Catalogue = CATALOGUE) -> None:
        self.directory = directory
        self.catalogue = catalogue
        self.acks: list[acks.NodeAck] = []
        self.revision = 0
        self.host: host.Host | None = None

    def context(self, wanted: events.WantedRole, hooks: lane.Hooks) -> role.Context:
        return role.Context(
            role=wanted.name,
            server=wanted.server,
            site=wanted.site,
            address=wanted.address,
            node_directory=str(self.directory),
            state_directory=str(self.directory),
            server_directory=str(self.directory),
            log_path=str(self.log(wanted.name)),
            socket=str(self.directory / "socket"),
            clock=clock.SystemClock(),
            random=clock.SystemRandom(),
            launcher=launcher.LinuxLauncher(bound=True),
            view=hooks.view,
            changed=hooks.changed,
            background=hooks.background,
        )

    @contextlib.asynccontextmanager
    async def life(self) -> AsyncIterator["Node"]:
        """Stopped at the end; afterwards nothing of it runs."""
        self.host = host.Host(
            self.catalogue,
            self.context,
            self.acks.append,
            clock.SystemClock(),
            disk.DirectoryDisk(self.directory),
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.host.run)
            yield self
            await self.host.stop()
        assert not processes.marked(self.directory)

    def take(self, *roles: tuple[str, str, Mapping[str, Any]]) -> int:
        """Configure roles (name, type, params) as the next revision."""
        assert self.host is not None
        self.revision += 1
        view = role.View(names.Version(1, self.revision), names.Digest("0" * 64), b"{}")
        wanted = [
            events.WantedRole(
                names.RoleName(name),
                names.RoleTypeName(kind),
                dict(params),
                names.ServerName("c1"),
                names.SiteName("central"),
                "127.0.0.1",
            )
            for name, kind, params in roles
        ]
        self.host.take(view, wanted)
        return self.revision

    def log(self, name: str) -> pathlib.Path:
        return self.directory / f"{name}.log"

    def output(self, name: str) -> str:
        return self.log(name).read_text(encoding="utf-8") if self.log(name).exists() else ""

    def state(self) -> tuple[int, str, str, str]:
        """Revision, level, outcome and code said last."""
        if not self.acks:
            return (0, "", "", "")
        last = self.acks[-1]
        return (last.version.revision, last.level.word, str(last.outcome), last.code)

    async def reaches(self, level: str, outcome: str = "ok", code: str = "") -> acks.NodeAck:
        """Of the newest revision."""
        wanted = (self.revision, level, outcome, code)
        try:
            await processes.eventually(lambda: self.state() == wanted)
        except AssertionError:
            raise AssertionError(f"{wanted} not reached, have {self.acks[-1:]}") from None
        return self.acks[-1]


async def asked(port: int) -> str:
    """What a greeter answers."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        return (await stream.receive()).decode().strip()
