"""ServerShell, the root process of a server: performs what its machine (`core`) decides, on this machine.

It starts worker nodes in sessions of their own and remembers each on disk, so that a ServerShell that comes back adopts
the nodes that still run instead of restarting them.
Law: what concerns one node is done in the order in which it was decided; what may take long (looking through all
processes, removing a directory) is done in a thread, and delays neither other nodes nor any link.
"""

import contextlib
import functools
import pathlib
import shutil
import sys
from collections.abc import Callable

import anyio
import anyio.abc
import anyio.to_thread
import msgspec

from coordinator import effects, errors, limits, names, role
from coordinator.config import topology
from coordinator.hop import credentials, door, driver, ledger, serve, upward
from coordinator.host import catalogue, disk, logs, settings
from coordinator.propagation import asks, bodies, joining, messages, mirror, subscriber
from coordinator.propagation import events as hop
from coordinator.trust import authority, signing
from nodeagent.servershell import checking, core, events, outlook, renewing, window
from nodeagent.supervision import leftovers, machine, spec

_LOG = logs.Log("servershell")
PROCESS_FILE = "process.json"
LISTEN_RETRY_S = 5.0
SOCKET = "shell"
_BOOTS_PER_START = 1 << 20  # starts of nodes within one life of a ServerShell


class Place(msgspec.Struct, frozen=True):
    """What a ServerShell stands on."""

    layout: settings.Layout
    identity: authority.Identity
    trust: bytes
    """The signed `trust` of the identity; a newer one may stand in the ledger."""
    joined: tuple[hop.Parent, ...]
    ground: driver.Ground
    launcher: effects.Launcher


def open_book(layout: settings.Layout) -> ledger.Ledger:
    """The server's ledger. Raises `DamagedError`, `OSError`."""
    return ledger.Ledger(disk.DirectoryDisk(layout.ledger))


def load(place: Place, book: ledger.Ledger) -> tuple[mirror.Content, bodies.Shelf, names.Version]:
    """The own copy, verified; what cannot be verified or read counts as not there, and is fetched again.

    The third is the version below which nothing may be taken.
    """
    stored = book.load()
    keyring = signing.Keyring.trusting(place.trust, place.identity.cluster)
    first = mirror.Content(mirror.SignedTrust(place.trust, keyring.body))
    shelf = bodies.Shelf()
    try:
        content = mirror.from_ledger({mirror.TRUST_KEY: place.trust, **stored.objects}, keyring)
    except errors.SignatureError as problem:
        _LOG.error("ledger does not verify", reason=problem.message)
        return first, shelf, stored.accepted
    if content.target is None:
        return content, shelf, stored.accepted
    body = book.body(content.digest)
    if body is None or content.record is None:
        _LOG.error("body of the accepted revision is lost", revision=content.version.revision)
        return msgspec.structs.replace(content, target=None, record=None), shelf, stored.accepted
    shelf.add(content.digest, body)
    held = content.target.content.prepared
    if held is not None and (kept := book.body(held.digest)) is not None:
        shelf.add(held.digest, kept)
    return content, shelf, stored.accepted


class ServerShell:
    """See the module."""

    def __init__(self, place: Place, book: ledger.Ledger) -> None:
        """To be made inside the running event loop."""
        self._place = place
        self._layout = place.layout
        self._book = book
        content, shelf, floor = load(place, self._book)
        me = subscriber.Me(place.identity.cluster, messages.ChildKind.SHELL, "", place.identity.server_id)
        boot = self._book.next_boot()
        self.machine = core.Shell(me, content, shelf, boot, place.joined, floor)
        self.driver = driver.Driver(self.machine, place.ground, self._perform, self._book)
        self._node_boots = boot * _BOOTS_PER_START
        self._window = window.Window(self._outlook)
        self._upward = upward.Upward(self._ask)
        papers = (place.layout, place.ground, self.machine, self.driver)
        self._renewing = renewing.Renewing(*papers, self._upward.ask)
        join = functools.partial(self._upward.ask, joining.JOIN)
        self._door = door.Door(self._shown, join, place.ground.clock)
        self._tasks: anyio.abc.TaskGroup
        self._stopped = anyio.Event()
        self._listening: serve.Server | None = None
        self._address = ""
        self._orders: dict[names.NodeName, anyio.Lock] = {}

    async def run(self, ready: Callable[[], None]) -> None:
        """Until every node is stopped on request, or cancelled (then nodes go on). Raises what ends the driver."""
        await self.driver.listen_unix(self._layout.socket(SOCKET))
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                gone = self._adopt()
                self.driver.start()
                for (
                    directory
                ) in gone:  # before anything is started: what still runs there may run elsewhere now
                    await anyio.to_thread.run_sync(leftovers.end, directory)
                self.driver.feed(events.Begin())
                tasks.start_soon(self._window.serve, self._layout.socket(window.SOCKET))
                tasks.start_soon(self._listen)
                tasks.start_soon(self._renewing.run)
                tasks.start_soon(self._watch_driver)
                ready()
                await self._stopped.wait()
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await self.driver.close("ServerShell stops")

    def _ask(self, number: int, verb: str, data: bytes) -> None:
        now = self._place.ground.clock.monotonic()
        self.driver.act(self.machine.ask(number, verb, data, now))

    def _shown(self) -> door.Shown:
        """To machines that have no identity yet."""
        own = self._place.ground.own
        identity = own.identity if isinstance(own, credentials.Credentials) else self._place.identity
        return door.Shown(identity, self.machine.content.trust.content.roots)

    def _outlook(self) -> tuple[outlook.Outlook, bytes]:
        """For programs on this machine."""
        content = self.machine.content
        body = self.machine.intake.shelf.get(content.digest) if content.target is not None else None
        return outlook.of(self.machine.admission, content, self.machine.expanded), body or b""

    async def _check(self, asked: asks.Asked) -> None:
        """How far the prepared revision has come here, and what of it cannot work."""
        own, body = self.machine.admission, self.machine.prepared
        told = self.machine.intake.holding.told()  # another revision may be prepared before the look is over
        if body is not None and own is not None:
            now = self.machine.expanded
            found = await anyio.to_thread.run_sync(checking.look, own.name, body, now, self._catalogue)
            told = msgspec.structs.replace(told, troubles=found)
        answer = msgspec.json.encode(told)
        now_s = self._place.ground.clock.monotonic()
        self.driver.act(self.machine.answer(asked.link, asked.id, "", answer, now_s))

    @functools.cached_property
    def _catalogue(self) -> role.Catalogue:
        return catalogue.load()

    def stop(self) -> None:
        """Stop every node, then this."""
        self.driver.feed(events.StopNodes())

    async def _watch_driver(self) -> None:
        problem = await self.driver.failed
        raise problem

    # --- listening ------------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Answer other servers (`newest`) at the address that the accepted document gives this one."""
        while True:
            wanted = self._control_address()
            if wanted != self._address:
                await self._move(wanted)
            self._window.tell()  # what changes without a revision: parked, expelled
            await anyio.sleep(LISTEN_RETRY_S if wanted != self._address else 1.0)

    def _control_address(self) -> str:
        own, expanded = self.machine.admission, self.machine.expanded
        if own is None or expanded is None:
            return ""
        placed = topology.place(expanded.document, own.name)
        return "" if placed is None else placed.control_address

    async def _move(self, address: str) -> None:
        if self._listening is not None:
            await self._listening.close("the address changed")
            self._listening, self._address = None, ""
        if not address:
            return
        try:
            self._listening = await self.driver.listen(address, limits.PORT_SHELL, self._door)
            self._address = address
        except errors.TiercastError as problem:
            _LOG.warning("cannot listen", address=address, port=limits.PORT_SHELL, reason=problem.message)

    # --- nodes ----------------------------------------------------------------------------------------------------

    def _directory(self, name: names.NodeName) -> pathlib.Path:
        return self._layout.nodes / name

    def _adopt(self) -> tuple[pathlib.Path, ...]:
        """Take over what an earlier ServerShell started and what still runs; returns the places to sweep."""
        self._layout.nodes.mkdir(mode=0o700, exist_ok=True)
        gone = []
        for directory in sorted(self._layout.nodes.iterdir()):
            process = _recorded(directory)
            name = names.NodeName(directory.name)
            if process is not None and self._place.launcher.alive(process):
                _LOG.info("node adopted", node=name, pid=process.pid)
                self.driver.feed(events.NodeAdopted(name, process))
                self._tasks.start_soon(self._await_end, name, process)
            else:
                gone.append(directory)
        return tuple(gone)

    def _order(self, name: names.NodeName) -> anyio.Lock:
        """Whoever asks first goes first."""
        return self._orders.setdefault(name, anyio.Lock())

    def _perform(self, output: object) -> None:
        match output:
            case events.SpawnNode():
                self._tasks.start_soon(self._spawn, output, self.machine.content.version)
            case events.SignalNode(name, process, signal, group):
                _LOG.info("node signalled", node=name, pid=process.pid, signal=signal)
                self._place.launcher.kill(process, signal, group=group)
            case events.NodeGone(name):
                self._tasks.start_soon(self._remove, name)
            case events.RaiseBoot(known):
                self.driver.act(self.machine.booted(self._book.raise_boot(known + 1)))
            case events.AllStopped():
                self._stopped.set()
            case events.Renew(new_key):
                self._renewing.ask_now(new_key=new_key)
            case asks.Answered(number, code, data):
                self._upward.answered(number, code, data)
            case hop.Accepted():
                self._window.tell()
            case asks.Asked():
                self._tasks.start_soon(self._check, output)
            case _:
                raise AssertionError(f"unknown output {output!r}")

    async def _remove(self, name: names.NodeName) -> None:
        async with self._order(name):
            await anyio.to_thread.run_sync(_remove_tree, self._directory(name))

    async def _spawn(self, wanted: events.SpawnNode, version: names.Version) -> None:
        """`version` was accepted when it was decided: what was given up, was given up under it."""
        async with self._order(wanted.name):
            await self._start(wanted, version)

    async def _start(self, wanted: events.SpawnNode, version: names.Version) -> None:
        name, directory = wanted.name, self._directory(wanted.name)
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
            await anyio.to_thread.run_sync(leftovers.end, directory)
            process = self._place.launcher.spawn(self._command(wanted, version))
            self._record(directory, process)
        except OSError as problem:
            _LOG.error("node not started", node=name, reason=str(problem))
            self.driver.feed(events.NodeNotStarted(name, str(problem)))
            return
        _LOG.info("node started", node=name, pid=process.pid)
        self.driver.feed(events.NodeStarted(name, process))
        self._tasks.start_soon(self._await_end, name, process)

    def _command(self, wanted: events.SpawnNode, version: names.Version) -> effects.Command:
        self._node_boots += 1
        own = self.machine.admission
        assert own is not None
        directory = self._directory(wanted.name)
        written = spec.write(
            spec.Spec(
                cluster=self._place.identity.cluster,
                server=own.name,
                node=wanted.name,
                boot=self._node_boots,
                trust=wanted.trust or self._place.trust,
                socket=self._layout.socket(SOCKET),
                window=self._layout.socket(window.SOCKET),
                server_directory=str(self._layout.root),
                node_directory=str(directory),
                version=version,
                given_up=wanted.given_up,
            )
        )
        return effects.Command(
            argv=(sys.executable, "-P", "-m", "nodeagent", "node", str(written)),
            environment={**_ENVIRONMENT, **leftovers.mark(directory)},
            directory=str(directory),
            log_path=str(self._layout.logs / f"{wanted.name}.log"),
        )

    def _record(self, directory: pathlib.Path, process: effects.ProcessId) -> None:
        """Raises `OSError`; the process does not run then: nobody would know of it."""
        fresh = directory / f"{PROCESS_FILE}.new"
        try:
            fresh.write_bytes(msgspec.json.encode(process))
            fresh.replace(directory / PROCESS_FILE)
        except OSError:
            self._place.launcher.kill(process, machine.SIGKILL, group=True)
            self._tasks.start_soon(self._place.launcher.wait, process)
            raise

    async def _await_end(self, name: names.NodeName, process: effects.ProcessId) -> None:
        ended = await self._place.launcher.wait(process)
        _LOG.info("node ended", node=name, pid=process.pid, status=ended.status)
        async with self._order(name):
            await anyio.to_thread.run_sync(leftovers.end, self._directory(name))
            with contextlib.suppress(FileNotFoundError):
                (self._directory(name) / PROCESS_FILE).unlink()
        self.driver.feed(events.NodeExited(name, ended))


_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


def _remove_tree(directory: pathlib.Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)


def _recorded(directory: pathlib.Path) -> effects.ProcessId | None:
    try:
        return msgspec.json.decode((directory / PROCESS_FILE).read_bytes(), type=effects.ProcessId)
    except (OSError, msgspec.DecodeError):
        return None
