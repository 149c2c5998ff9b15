"""The process of a worker node: BasedRole with its roles, connected to the ServerShell of its server.

It outlives a ServerShell that restarts, and ends on SIGTERM once its roles have stopped.
"""

import os
import pathlib
import signal

import anyio
import anyio.abc

from coordinator import errors, role
from coordinator.hop import driver
from coordinator.host import catalogue, clock, disk, logs, loop, settings
from nodeagent.basedrole import acks, events, follower, host, lane
from nodeagent.supervision import launcher, spec

_LOG = logs.Log("node")


class Node:
    """The two halves, joined: what the follower hears goes to the host, what the host says goes up."""

    def __init__(self, given: spec.Spec) -> None:
        """Raises `SignatureError`. To be made inside the running event loop."""
        self._spec = given
        self._layout = settings.Layout(given.server_directory)
        self._clock = clock.SystemClock()
        self._random = clock.SystemRandom()
        self._launcher = launcher.LinuxLauncher(bound=True)
        self._follower = follower.Follower(
            follower.NodeIdentity(
                given.cluster, given.server, given.node, given.boot, given.trust, given.socket
            )
        )
        ground = driver.Ground(self._clock, self._random, None)
        self._driver = driver.Driver(self._follower, ground, self._perform)
        memory = disk.DirectoryDisk(given.node_directory)
        self._host = host.Host(catalogue.load(), self._context, self._acked, self._clock, memory)

    async def run(self) -> None:
        """Until the roles are stopped by SIGTERM. Raises what ends the driver."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._end_on_signal)
            tasks.start_soon(self._watch_driver)
            self._driver.act(self._follower.begin(self._clock.monotonic()))
            self._driver.start()
            await self._host.run()
            tasks.cancel_scope.cancel()
        await self._driver.close("the node stops")

    async def _end_on_signal(self) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
            async for _ in received:
                _LOG.info("node stops")
                await self._host.stop()
                return

    async def _watch_driver(self) -> None:
        problem = await self._driver.failed
        raise problem

    def _perform(self, output: object) -> None:
        match output:
            case follower.Configure(view, roles):
                fallen = self._spec.given_up and view.version == self._spec.version
                given_up = events.GivenUp("node_crash", self._spec.given_up) if fallen else None
                self._host.take(view, roles, given_up)
            case follower.Retry():
                self._host.retry()
            case _:
                raise AssertionError(f"unknown output {output!r}")

    def _acked(self, ack: acks.NodeAck) -> None:
        facts = {"revision": str(ack.version), "reached": ack.level.word, "outcome": ack.outcome.value}
        _LOG.info("node acks", **facts)
        self._driver.act(self._follower.tell(ack, self._clock.monotonic()))

    def _context(self, wanted: events.WantedRole, hooks: lane.Hooks) -> role.Context:
        state = self._layout.state / wanted.name
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        return role.Context(
            role=wanted.name,
            server=wanted.server,
            site=wanted.site,
            address=wanted.address,
            node_directory=self._spec.node_directory,
            state_directory=str(state),
            server_directory=self._spec.server_directory,
            log_path=str(self._layout.logs / f"{wanted.name}.log"),
            socket=self._spec.window,
            clock=self._clock,
            random=self._random,
            launcher=self._launcher,
            view=hooks.view,
            changed=hooks.changed,
            background=hooks.background,
        )


def main(path: str) -> int:
    """Exit status: 0 stopped as asked, 1 crashed, 10 the file or the trust in it is damaged."""
    os.umask(0o077)  # whatever is made here is for this user alone
    given = spec.read(path)
    logs.configure(form="json", facts={"server": given.server, "node": given.node})
    pathlib.Path(given.server_directory, "logs").mkdir(mode=0o700, exist_ok=True)

    async def run() -> None:
        await Node(given).run()

    try:
        loop.run(run)
    except errors.SignatureError as problem:
        _LOG.error("node cannot start", reason=problem.message)
        return 10
    return 0
