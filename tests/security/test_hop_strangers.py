"""Hostile peers on real sockets, all of them at once against one listener, beside a good client that must not notice.

Each is closed within `CLOSED_S`, or answered with a refusal and then closed; afterwards no task and no descriptor is left.
"""

import asyncio
import contextlib
import pathlib
import random
import resource
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

import pytest

from coordinator import limits, names
from coordinator.hop import credentials, dial, door, driver, link
from coordinator.host import clock
from coordinator.propagation import asks, messages, objects, wire
from coordinator.trust import authority, certificates, tls
from nodeagent.servershell import core
from tests import pace
from tests.security import cluster

ADDRESS = "127.0.88.1"
CLOSED_S = 10.0
CROWD = 2_000
LATENCY_S = 2.0  # two shared cores, and a thousand handshakes at once
WALL = clock.SystemClock().wall()
KINDS = cluster.KINDS
BEAT = messages.Heartbeat(b"", objects.Numbers(), 0)

Raw = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(scope="module")
def made() -> cluster.Cluster:
    """With servers of `north` for the attackers: h0, h1, ..."""
    plain = cluster.Cluster()
    for number in range(40):
        seat = plain.admission(f"h{number}", 100 + number, cluster.STATE.PLACED, "north")
        plain.admissions[seat.content.server_id] = seat
    plain.content = plain.issued(1)
    return plain


@pytest.fixture(scope="module", autouse=True)
def descriptors() -> Iterator[None]:
    """Both ends of every connection are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 3 * CROWD + 1000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_files() -> int:
    return len(list(pathlib.Path("/proc/self/fd").iterdir()))


class Stage:
    """One tier, listening, and how to come to it."""

    def __init__(self, made: cluster.Cluster, machine: cluster.Machine, name: str) -> None:
        self.made = made
        self.machine = machine
        own = made.identity(name, WALL)
        ground = driver.Ground(
            clock.SystemClock(),
            clock.SystemRandom(),
            credentials.Credentials(own, clock.SystemClock()),
            ADDRESS,
        )
        self.driver = driver.Driver(machine, ground, self._perform)
        self.door = door.Door(lambda: door.Shown(own), self._join, clock.SystemClock())
        self.port = 0
        self.parent = cluster.sid(name)

    async def _join(self, _carried: bytes) -> tuple[str, bytes]:
        raise AssertionError("nobody here knows how to ask")

    def _perform(self, output: object) -> None:
        if isinstance(output, asks.Asked):
            now = clock.SystemClock().monotonic()
            self.driver.act(self.machine.answer(output.link, output.id, "not_allowed", b"", now))

    def identity(self, name: str) -> authority.Identity:
        return self.made.identity(name, WALL)

    async def raw(self, context: ssl.SSLContext | None = None) -> Raw:
        if context is None:
            return await asyncio.open_connection(ADDRESS, self.port)
        return await asyncio.open_connection(ADDRESS, self.port, ssl=context, server_hostname="")

    async def known(self, name: str) -> Raw:
        """TLS as a server of this cluster."""
        return await self.raw(tls.client_context(self.identity(name)))

    async def child(self, name: str) -> Raw:
        """Welcomed."""
        reader, writer = await self.known(name)
        writer.write(wire.encode(self.made.hello(KINDS.SHELL, "", name)))
        assert isinstance(await heard(reader), messages.Welcome)
        return reader, writer


async def heard(reader: asyncio.StreamReader) -> messages.AnyFrame:
    size = int.from_bytes(await reader.readexactly(4), "big")
    return wire.decode(await reader.readexactly(size))


@contextlib.asynccontextmanager
async def standing(made: cluster.Cluster, kind: str) -> AsyncIterator[Stage]:
    makers: dict[str, Callable[[], cluster.Machine]] = {"mic": made.mic, "ic": made.ic, "shell": made.shell}
    machine = makers[kind]()
    stage = Stage(made, machine, "c1" if kind == "mic" else "n1")
    stage.port = (await stage.driver.listen(ADDRESS, 0, stage.door)).port
    stage.driver.start()
    try:
        yield stage
    finally:
        await stage.driver.close("test ends")
    assert not stage.driver.failed.done(), stage.driver.failed


class Good:
    """A child that behaves: counts the signs of life it gets, and how long its requests take."""

    def __init__(self) -> None:
        self.beats = 0
        self.answers = 0
        self.slowest_s = 0.0
        self.reason = ""
        self.welcomed = asyncio.Event()
        self._answered = asyncio.Event()

    def opened(self, made: link.Link) -> None:
        pass

    def received(self, made: link.Link, frame: messages.AnyFrame) -> None:
        match frame:
            case messages.Welcome():
                made.authenticated()
                self.welcomed.set()
            case messages.Heartbeat():
                self.beats += 1
                made.send(BEAT)
            case messages.Answer():
                self._answered.set()
            case _:
                pass

    def closed(self, made: link.Link, reason: str) -> None:
        self.reason = reason

    def good(self, lasted_s: float, waited_s: float) -> bool:
        """Whether it was served well all the time, but for that in which the machine had no time for anybody."""
        lasted_s -= waited_s
        served = self.slowest_s - waited_s < LATENCY_S and self.answers > lasted_s
        return served and self.beats >= int(lasted_s / limits.HEARTBEAT_S) - 1

    async def go_on(self, up: link.Link, over: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while not over.is_set():
            began = loop.time()
            self._answered.clear()
            up.send(messages.Ask(self.answers + 1, "nonsense", "", True, b""))
            async with pace.waiting(CLOSED_S):
                await self._answered.wait()
            self.slowest_s = max(self.slowest_s, loop.time() - began)
            self.answers += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await over.wait()


@contextlib.asynccontextmanager
async def undisturbed(stage: Stage) -> AsyncIterator[None]:
    """A good client, before, during and after."""
    events_of, over = Good(), asyncio.Event()
    own = credentials.Credentials(stage.identity("n2"), clock.SystemClock())
    up = await dial.dial(ADDRESS, stage.port, own, events_of)
    up.send(stage.made.hello(KINDS.SHELL, "", "n2"))
    async with pace.waiting(CLOSED_S):
        await events_of.welcomed.wait()
    task = asyncio.create_task(events_of.go_on(up, over))
    pressure = pace.Pressure()
    began = asyncio.get_running_loop().time()
    try:
        yield
    finally:
        over.set()
        await task
        lasted = asyncio.get_running_loop().time() - began
        assert events_of.reason == ""
        up.close("done")
        await up.lost()
    if not events_of.good(lasted, 0.0):
        assert events_of.good(lasted, pressure.waited_s()), f"after {lasted:.1f} s: {vars(events_of)}"


# --- attacks: each returns when the other side has closed -----------------------------------------------------------


async def ended(connection: Raw) -> list[messages.AnyFrame]:
    """What came before the end; raises where there is none in time."""
    reader, writer = connection
    frames: list[messages.AnyFrame] = []
    try:
        async with pace.waiting(CLOSED_S):
            while True:
                frames.append(await heard(reader))
    except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        return frames
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
            async with pace.waiting(CLOSED_S):
                await writer.wait_closed()


def say(data: bytes) -> Callable[[Stage, str], Coroutine[None, None, None]]:
    """Without TLS."""

    async def attack(stage: Stage, _name: str) -> None:
        reader, writer = await stage.raw()
        with contextlib.suppress(OSError):
            writer.write(data)
            await writer.drain()
        try:
            async with pace.waiting(CLOSED_S):
                while await reader.read(65536):
                    pass
        except ConnectionError:
            pass
        finally:
            writer.close()

    return attack


def say_known(*pieces: bytes, pause_s: float = 0.0) -> Callable[[Stage, str], Coroutine[None, None, None]]:
    """As a server of the cluster, before any hello."""

    async def attack(stage: Stage, name: str) -> None:
        connection = await stage.known(name)
        with contextlib.suppress(OSError):
            for piece in pieces:
                connection[1].write(piece)
                await asyncio.sleep(pause_s)
        await ended(connection)

    return attack


def say_welcomed(*pieces: bytes) -> Callable[[Stage, str], Coroutine[None, None, None]]:
    """As a child, which then falls silent if it is not thrown out before."""

    async def attack(stage: Stage, name: str) -> None:
        connection = await stage.child(name)
        with contextlib.suppress(OSError):
            for piece in pieces:
                connection[1].write(piece)
                await connection[1].drain()
        await ended(connection)

    return attack


def with_context(
    make: Callable[[Stage, str], ssl.SSLContext], *, refused: bool = True
) -> Callable[[Stage, str], Coroutine[None, None, None]]:
    async def attack(stage: Stage, name: str) -> None:
        try:
            connection = await stage.raw(make(stage, name))
        except (ssl.SSLError, ConnectionError):
            assert refused
            return
        with contextlib.suppress(OSError):
            connection[1].write(wire.encode(stage.made.hello(KINDS.SHELL, "", name)))
        frames = await ended(connection)
        assert any(isinstance(frame, messages.Welcome) for frame in frames) is not refused

    return attack


def without_certificate(_stage: Stage, _name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def of_foreign_root(_stage: Stage, name: str) -> ssl.SSLContext:
    foreign = authority.create_authority(cluster.CLUSTER, WALL)
    context = tls.client_context(authority.enrolled(foreign, cluster.sid(name), WALL))
    context.verify_mode = ssl.CERT_NONE
    return context


def of_another_cluster(stage: Stage, name: str) -> ssl.SSLContext:
    held = stage.made.authority
    other = authority.Authority(names.ClusterId("other"), held.ca_key_pem, held.ca_pem, held.signing_private)
    return tls.client_context(authority.enrolled(other, cluster.sid(name), WALL))


def of_the_web(stage: Stage, name: str) -> ssl.SSLContext:
    held, key = stage.made.authority, certificates.new_key()
    pem = authority.issue_https(held, certificates.public_pem(key), [ADDRESS], [], WALL)
    return tls.client_context(authority.Identity(cluster.sid(name), cluster.CLUSTER, key, pem, held.ca_pem))


def expired(stage: Stage, name: str) -> ssl.SSLContext:
    long_ago = WALL - 400 * 86_400
    return tls.client_context(stage.made.identity(name, long_ago))


def of_a_unix_peer(stage: Stage, _name: str) -> ssl.SSLContext:
    odd = names.ServerId("process 1")
    return tls.client_context(authority.enrolled(stage.made.authority, odd, WALL))


def old_tls(stage: Stage, name: str) -> ssl.SSLContext:
    context = tls.client_context(stage.identity(name))
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


async def refused_by_name(stage: Stage, _name: str) -> None:
    """Known to TLS, and not to the gate: a reason, then the end."""
    for name in ("x1", "r1", "u1"):
        connection = await stage.known(name)
        connection[1].write(wire.encode(stage.made.hello(KINDS.SHELL, "", name)))
        frames = await ended(connection)
        assert [type(frame) for frame in frames] == [messages.Bye]


async def with_another_key(stage: Stage, name: str) -> None:
    """A certificate of the cluster's own CA for that server, over a key that its admission does not name."""
    stolen = authority.enrolled(stage.made.authority, cluster.sid(name), WALL)
    connection = await stage.raw(tls.client_context(stolen))
    connection[1].write(wire.encode(stage.made.hello(KINDS.SHELL, "", name)))
    frames = await ended(connection)
    assert [type(frame) for frame in frames] == [messages.Bye]


async def drip_after_welcome(stage: Stage, name: str) -> None:
    """A frame that never becomes whole is no sign of life."""
    reader, writer = await stage.child(name)

    async def drip() -> None:
        with contextlib.suppress(OSError):
            for byte in wire.encode(BEAT)[:-1] + b"\0" * 40:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.4)

    task = asyncio.create_task(drip())
    await ended((reader, writer))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def flood_and_never_read(stage: Stage, name: str) -> None:
    """10,000 requests, pulls and forged answers, none of their answers read, with signs of life between."""
    own = credentials.Credentials(stage.identity(name), clock.SystemClock())
    good = Good()
    up = await dial.dial(ADDRESS, stage.port, own, good)
    up.send(stage.made.hello(KINDS.SHELL, "", name))
    async with pace.waiting(CLOSED_S):
        await good.welcomed.wait()
    up._transport.pause_reading()
    noise: list[messages.AnyFrame] = [
        messages.Ask(1, "nonsense", "", True, b""),
        messages.Answer(1, "", True, b"never asked for"),
        messages.Pull(stage.made.digest, "", 0),
        messages.Pull(stage.made.digest, "", -5),
        messages.Pull(names.Digest("d" * 64), "", 2**63),
        messages.Chunk(stage.made.digest, "", 0, 9, 9, b"never pull"),
        messages.Offer((b"junk", b""), None),
        messages.Rollup(1, True, ()),
        messages.Newest(objects.Numbers()),
        stage.made.hello(KINDS.SHELL, "", "n2"),
        BEAT,
    ]
    data = b"".join(wire.encode(frame) for frame in noise)
    for _ in range(1000):
        if not up.open:
            break
        up._transport.write(data)
        await up.drained()
        await asyncio.sleep(0)
    up._transport.resume_reading()
    up.close("done")
    await up.lost()


RANDOM = random.Random(5)
DEEP = b"\x91" * 3000
ATTACKS: dict[str, Callable[[Stage, str], Coroutine[None, None, None]]] = {
    "says nothing": say(b""),
    "newlines": say(b"\n" * 100),
    "random bytes": say(RANDOM.randbytes(4096)),
    "a length of 4 GiB": say(b"\xff" * 4 + b"A" * 100),
    "eight megabytes": say(b"\0" * (8 << 20)),
    "http": say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "half a client hello": say(bytes.fromhex("16030100f8010000f40303") + b"A" * 20),
    "a pickle": say(b"\x80\x04cbuiltins\nprint\n(S'run'\ntR."),
    "no certificate": with_context(without_certificate),
    "a foreign root": with_context(of_foreign_root),
    "another cluster": with_context(of_another_cluster),
    "a web certificate": with_context(of_the_web),
    "called like a unix peer": with_context(of_a_unix_peer),
    "old tls": with_context(old_tls),
    "expired, which is let in": with_context(expired, refused=False),
    "no hello": say_known(b""),
    "length bomb": say_known(b"\xff\xff\xff\xff"),
    "a byte over the bound": say_known((limits.FRAME_BYTES_UNAUTHENTICATED + 1).to_bytes(4, "big")),
    "junk": say_known(b"\0\0\0\x04\xc1\xc1\xc1\xc1"),
    "an empty frame": say_known(b"\0\0\0\0"),
    "nesting": say_known(len(DEEP).to_bytes(4, "big") + DEEP),
    "an unknown tag": say_known(b"\0\0\0\x02\x91\x63"),
    "a heartbeat first": say_known(wire.encode(BEAT)),
    "a request first": say_known(wire.encode(messages.Ask(1, "servers.enroll", "", True, b"x"))),
    "a slow header": say_known(*[b"\0"] * 4, pause_s=0.5),
    "not welcome": refused_by_name,
    "another key": with_another_key,
    "silent child": say_welcomed(),
    "length bomb of a child": say_welcomed((limits.FRAME_BYTES + 1).to_bytes(4, "big")),
    "junk of a child": say_welcomed(b"\0\0\0\x04\xc1\xc1\xc1\xc1"),
    "nesting of a child": say_welcomed(struct.pack(">I", 900_000) + b"\x91" * 900_000),
    "too many offers": say_welcomed(wire.encode(messages.Offer((b"",) * 100_000, None))),
    "a huge roll-up": say_welcomed(
        wire.encode(
            messages.Rollup(
                1, True, tuple(messages.Row(names.ServerId(f"{n}"), True, None) for n in range(50_000))
            )
        )
    ),
    "a child that drips": drip_after_welcome,
    "a child that floods and does not read": flood_and_never_read,
}


@pytest.mark.parametrize("kind", ["mic", "ic", "shell"])
def test_hostile_peers_are_closed_and_a_good_one_goes_on(made: cluster.Cluster, kind: str) -> None:
    complaints: list[str] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(str(context)))
        files = open_files()
        async with standing(made, kind) as stage, undisturbed(stage):
            tasks_before = len(asyncio.all_tasks())
            async with asyncio.TaskGroup() as group:
                for number, (name, attack) in enumerate(ATTACKS.items()):
                    group.create_task(attack(stage, f"h{number}"), name=name)
            assert served(stage) == 1
            assert len(asyncio.all_tasks()) <= tasks_before + 2
        assert len(asyncio.all_tasks()) == 1
        await asyncio.sleep(0)
        assert open_files() <= files + 1

    asyncio.run(main())
    assert complaints == []


def served(stage: Stage) -> int:
    machine = stage.machine
    return len((machine.peers if isinstance(machine, core.Shell) else machine.publisher).children)


def test_two_thousand_connections_leave_the_good_one_alone(made: cluster.Cluster) -> None:
    async def main() -> None:
        files = open_files()
        async with standing(made, "ic") as stage, undisturbed(stage):
            crowd = [await stage.raw() for _ in range(CROWD)]
            async with pace.waiting(CLOSED_S + limits.HELLO_S):
                await asyncio.gather(*(reader.read() for reader, _ in crowd), return_exceptions=True)
            for _, writer in crowd:
                writer.close()
            assert served(stage) == 1
        await asyncio.sleep(0)
        assert open_files() <= files + 1

    asyncio.run(main())
