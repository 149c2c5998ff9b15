"""The door: what a machine without an identity may say at a hop's port, and everything that it may not.

Real sockets against a real listener with its mutual TLS; behind the door stands a MIC that only writes down what it hears.
"""

import contextlib
import random
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import pytest

from coordinator import errors, limits, names
from coordinator.hop import credentials, door, link, serve
from coordinator.host import clock
from coordinator.propagation import asks, joining, messages, objects, wire
from coordinator.trust import authority, joinlines, passphrases, tls
from nodeagent.main import knocking

ADDRESS = "127.0.90.1"
WALL = clock.SystemClock().wall()
CLUSTER = names.ClusterId("acme")
GOOD = joining.Request("0a1b2c3d4e5f", b"csr", 0.0, b"proof")
PATIENCE_S = 2.0
CLOSED_S = 10.0


@pytest.fixture(scope="module", autouse=True)
def impatient() -> Iterator[None]:
    """Who says nothing is waited for in vain; here for less long."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(limits, "HELLO_S", PATIENCE_S)
        yield


class Slow:
    """A clock whose seconds do not pass: allowances do not grow."""

    def monotonic(self) -> float:
        return 1000.0

    def wall(self) -> float:
        return WALL


class Stage:
    """One listener with a door, what came through it, and which links were made."""

    def __init__(self) -> None:
        self.authority = authority.create_authority(CLUSTER, WALL)
        self.identity = authority.enrolled(self.authority, names.ServerId("id-c1"), WALL)
        self.pin = joinlines.pin(self.authority.ca_pem)
        self.heard: list[joining.Carried] = []
        self.links: list[str] = []
        self.answer: tuple[str, bytes] = ("unauthenticated", b"{}")
        self.wait: anyio.Event | None = None
        self.place = knocking.Place(ADDRESS, 0)

    async def ask(self, carried: bytes) -> tuple[str, bytes]:
        self.heard.append(joining.carried(carried))
        if self.wait is not None:
            await self.wait.wait()
        return self.answer

    def opened(self, made: link.Link) -> None:
        self.links.append(str(made.peer))

    def received(self, made: link.Link, frame: messages.AnyFrame) -> None:
        raise AssertionError(f"nobody greets here: {frame}")

    def closed(self, made: link.Link, reason: str) -> None:
        pass

    def connect(self, source: str = ADDRESS) -> socket.socket:
        made = socket.create_connection((ADDRESS, self.place.port), 5.0, (source, 0))
        made.settimeout(CLOSED_S)
        return made

    def encrypted(self, source: str = ADDRESS) -> ssl.SSLSocket:
        """Inside: greeted."""
        made = self.connect(source)
        made.sendall(joining.PREFACE)
        inside = tls.stranger_context().wrap_socket(made)
        size = int.from_bytes(exactly(inside, 4), "big")
        joining.greeting(exactly(inside, size))
        return inside

    def knock(self, source: str = ADDRESS) -> joining.Answer:
        with knocking.Knock(self.place, source) as knocked:
            assert knocked.vouched(self.pin)[0] == CLUSTER
            return knocked.ask(GOOD)


def exactly(connected: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connected.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def ends(connected: socket.socket) -> bool:
    """Whether the other side closes without another word."""
    with connected:
        try:
            return connected.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True


@contextlib.asynccontextmanager
async def standing(**changes: Any) -> AsyncIterator[Stage]:
    stage = Stage()
    stage.answer = changes.get("answer", stage.answer)
    own = credentials.Credentials(stage.identity, clock.SystemClock())
    shown = door.Shown(stage.identity)
    strangers = door.Door(lambda: shown, stage.ask, changes.get("clock", clock.SystemClock()))
    listening = await serve.serve(ADDRESS, 0, own, stage, strangers=strangers)
    stage.place = knocking.Place(ADDRESS, listening.port)
    try:
        yield stage
    finally:
        await listening.close("the test ends")
        assert listening.connections == 0


def played(act: Callable[[Stage], object], **changes: Any) -> Stage:
    """`act` in a thread, for the strangers here are blocking ones."""

    async def main() -> Stage:
        async with standing(**changes) as stage:
            await anyio.to_thread.run_sync(act, stage)
            return stage

    return anyio.run(main)


def test_a_stranger_is_greeted_asks_once_and_is_answered() -> None:
    stage = played(lambda stage: stage.knock(), answer=("", b'{"grant":""}'))
    assert [(one.source, one.body) for one in stage.heard] == [(ADDRESS, joining.encode(GOOD))]
    assert stage.links == []


def test_the_mutual_tls_of_the_port_is_what_it_was() -> None:
    """With an identity one is a link; without one, or with another system's, one is nothing."""

    def act(stage: Stage) -> None:
        child = authority.enrolled(stage.authority, names.ServerId("id-n1"), WALL)
        with stage.connect() as plain, tls.client_context(child).wrap_socket(plain) as known:
            assert known.version() == "TLSv1.3"
            foreign = authority.create_authority(CLUSTER, WALL)
            stranger = authority.enrolled(foreign, names.ServerId("id-n1"), WALL)
            for context in (tls.stranger_context(), _trusting_all(stranger)):
                with contextlib.suppress(OSError), context.wrap_socket(stage.connect()) as unknown:
                    unknown.sendall(wire.encode(_hello()))
                    assert ends(unknown)

    stage = played(act)
    assert len(stage.links) == 1
    assert "id-n1" in stage.links[0]
    assert stage.heard == []


def _trusting_all(identity: authority.Identity) -> ssl.SSLContext:
    context = tls.client_context(identity)
    context.verify_mode = ssl.CERT_NONE
    return context


def _hello() -> messages.Hello:
    numbers = objects.Numbers()
    return messages.Hello(1, CLUSTER, messages.ChildKind.SHELL, "", 1, numbers, "", b"", None)


SPEECHES: dict[str, tuple[bytes, bytes]] = {
    "nothing": (b"", b""),
    "half a preface": (joining.PREFACE[:5], b""),
    "another preface": (b"GET / HTTP/1.1\r\n\r\n", b""),
    "a wrong end of the preface": (joining.PREFACE[:-1] + b"!", b""),
    "a preface and noise": (joining.PREFACE + bytes(range(256)), b""),
    "nothing behind tls": (b"", b"+"),
    "half a length": (b"", b"\0\0"),
    "a length and nothing": (b"", b"\0\0\0\x10"),
    "too large": (b"", (joining.REQUEST_BYTES + 1).to_bytes(4, "big")),
    "far too large": (b"", b"\xff\xff\xff\xff" + bytes(5000)),
    "no request": (b"", b"\0\0\0\x04nope"),
    "a frame of the hop": (b"", wire.encode(_hello())),
    "an ask of the hop": (b"", wire.encode(messages.Ask(1, "status", "", True, b""))),
    "a request with more in it": (b"", joining.framed(joining.Carried("x", b"y"))),
}


def test_whatever_else_is_said_is_closed_and_goes_nowhere() -> None:
    def speak(stage: Stage, name: str) -> bool:
        plain, inside = SPEECHES[name]
        if not inside:
            connected: socket.socket = stage.connect()
            with contextlib.suppress(OSError):
                connected.sendall(plain)
        else:
            connected = stage.encrypted()
            if inside != b"+":
                connected.sendall(inside)
        return ends(connected)

    async def main() -> tuple[Stage, dict[str, bool]]:
        closed: dict[str, bool] = {}

        async def one(stage: Stage, name: str) -> None:
            closed[name] = await anyio.to_thread.run_sync(speak, stage, name)

        async with standing() as stage:
            async with anyio.create_task_group() as tasks:
                for name in SPEECHES:
                    tasks.start_soon(one, stage, name)
            answer = await anyio.to_thread.run_sync(stage.knock)
            assert answer.code == "unauthenticated", "the door goes on"
            return stage, closed

    stage, closed = anyio.run(main)
    assert closed == dict.fromkeys(SPEECHES, True)
    assert [one.body for one in stage.heard] == [joining.encode(GOOD)]
    assert stage.links == []


def test_a_source_that_comes_too_often_is_turned_away_and_others_are_not() -> None:
    def act(stage: Stage) -> None:
        for _ in range(int(door.BURST)):
            assert stage.knock().code == "unauthenticated"
        for _ in range(5):
            with pytest.raises(errors.UnreachableError):
                stage.knock()
        assert stage.knock("127.0.90.2").code == "unauthenticated"

    assert len(played(act, clock=Slow()).heard) == int(door.BURST) + 1


def test_no_more_than_so_many_are_inside_at_once_however_many_sources_they_have() -> None:
    async def main() -> None:
        async with standing(clock=Slow()) as stage:
            stage.wait = anyio.Event()
            codes: list[str] = []

            def come(source: str) -> None:
                try:
                    codes.append(stage.knock(source).code)
                except errors.UnreachableError:
                    codes.append("away")

            async with anyio.create_task_group() as tasks:
                for number in range(door.ROOM):
                    tasks.start_soon(anyio.to_thread.run_sync, come, f"127.0.91.{number + 1}")
                with anyio.fail_after(CLOSED_S):
                    while len(stage.heard) < door.ROOM:  # noqa: ASYNC110 they come in other threads
                        await anyio.sleep(0.01)
                await anyio.to_thread.run_sync(come, "127.0.91.99")
                assert codes == [asks.BUSY]
                stage.wait.set()
            assert codes == [asks.BUSY, *["unauthenticated"] * door.ROOM]
            await anyio.to_thread.run_sync(come, "127.0.91.99")
            assert codes[-1] == "unauthenticated"

    anyio.run(main)


def test_whoever_comes_in_and_asks_nothing_gives_way_to_whoever_does() -> None:
    """Sixteen of them kept a site from being set up, five seconds at a time."""

    def act(stage: Stage) -> None:
        with contextlib.ExitStack() as held:
            for number in range(door.ROOM + 4):
                raw = held.enter_context(stage.connect(f"127.0.91.{number % 2 + 1}"))
                raw.sendall(joining.PREFACE[: 1 + number % 3])
            assert stage.knock("127.0.91.99").code == "unauthenticated"

    assert len(played(act, clock=Slow()).heard) == 1


def test_a_listener_that_stops_does_not_wait_for_whoever_waits_for_mic() -> None:
    async def main() -> None:
        told: list[str] = []

        def come(stage: Stage) -> None:
            try:
                stage.knock()
            except errors.UnreachableError as problem:
                told.append(problem.message)

        async with anyio.create_task_group() as tasks:
            async with standing() as stage:
                stage.wait = anyio.Event()
                tasks.start_soon(anyio.to_thread.run_sync, come, stage)
                with anyio.fail_after(CLOSED_S):
                    while not stage.heard:  # noqa: ASYNC110 it comes in another thread
                        await anyio.sleep(0.01)
                begun = anyio.current_time()
            assert anyio.current_time() - begun < CLOSED_S
        assert len(told) == 1

    anyio.run(main)


def test_sources_are_bounded() -> None:
    sources = door.Sources(Slow())
    for number in range(3 * door.SOURCES):
        assert sources.admits(f"10.{number // 65536}.{number // 256 % 256}.{number % 256}")
    assert len(sources._left) == door.SOURCES


def test_who_is_of_another_system_is_told_nothing() -> None:
    """The machine looks before it speaks: what it would prove itself with never leaves it."""

    def act(stage: Stage) -> None:
        with knocking.Knock(stage.place, ADDRESS) as knocked, pytest.raises(errors.IdentityError) as told:
            knocked.vouched("0" * 64)
        assert stage.pin in told.value.message
        assert "0" * 64 in told.value.message

    assert played(act).heard == []


def test_a_root_that_is_merely_shown_vouches_for_nobody() -> None:
    """A liar shows the pinned root, which anybody may have, and a certificate of its own."""
    honest, liar = (authority.create_authority(CLUSTER, WALL) for _ in range(2))
    forged = authority.enrolled(liar, names.ServerId("id-c1"), WALL)
    der = ssl.PEM_cert_to_DER_cert(forged.cert_pem.decode())
    with pytest.raises(errors.IdentityError, match="not of the CA"):
        joinlines.vouched(joinlines.pin(honest.ca_pem), (liar.ca_pem, honest.ca_pem), der)
    itself = ssl.PEM_cert_to_DER_cert(honest.ca_pem.decode())
    with pytest.raises(errors.IdentityError, match="names no server"):
        joinlines.vouched(joinlines.pin(honest.ca_pem), (honest.ca_pem,), itself)


# --- parsers before authentication ------------------------------------------------------------------------------------

PARSERS: dict[str, Callable[[bytes], object]] = {
    "greeting": joining.greeting,
    "request": joining.request,
    "carried": joining.carried,
    "answer": joining.answer,
    "grant": joining.grant,
    "leave": joining.leave,
}
SEEDS = (
    joining.encode(GOOD),
    joining.encode(joining.Greeting(1, (b"pem",), WALL)),
    joining.encode(joining.Carried("10.0.0.1", b"body")),
    joining.encode(joining.Answer("", b"{}")),
    joining.encode(joining.Leave(names.ServerId("id"), b"key", b"signature", True)),
    msgspec.msgpack.encode([[[[]]] * 40]),
    b"\x91" * 3000,
)


def mutants(rng: random.Random) -> Iterator[bytes]:
    for seed in SEEDS:
        yield seed
        for _ in range(150):
            data = bytearray(seed)
            for _ in range(rng.randrange(1, 4)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            yield bytes(data[: rng.randrange(len(data) + 1)]) if rng.random() < 0.5 else bytes(data)


@pytest.mark.parametrize("name", PARSERS)
def test_whatever_comes_is_read_or_refused(name: str) -> None:
    for data in mutants(random.Random(name)):
        with contextlib.suppress(errors.ProtocolError):
            PARSERS[name](data)


def test_texts_that_people_paste_are_read_or_refused() -> None:
    rng = random.Random("lines")
    good = f"tc1.{'a' * 64}.{'b' * 12}.{'c' * 64}"
    assert joinlines.parse(f" {good}\n").text == good
    for _ in range(500):
        text = list(good)
        text[rng.randrange(len(text))] = chr(rng.choice([0, 10, 46, 0x41, 0x660, 0x1F600]))
        with pytest.raises(errors.UsageError) as told:
            joinlines.parse("".join(text)[: rng.randrange(1, len(text))])
        assert "cccc" not in told.value.message + told.value.hint
        with contextlib.suppress(errors.UsageError):
            knocking.place("".join(text)[:30])


def test_files_of_sealed_keys_are_read_or_refused_and_cost_no_more_than_they_may() -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(passphrases, "COST", 2**4)
        good = passphrases.sealed(b"secret" * 10, "long enough for this")
    greedy = passphrases._Header(2**30, passphrases.BLOCK, passphrases.LANES, b"s" * 16, b"n" * 12)
    asks = passphrases._File(msgspec.msgpack.encode(greedy), b"x" * 40)
    with pytest.raises(errors.DamagedError, match="at a cost"):
        passphrases.unsealed(passphrases.MAGIC + msgspec.msgpack.encode(asks), "long enough for this")
    rng = random.Random("sealed")
    for _ in range(200):
        data = bytearray(good)
        at = rng.randrange(len(passphrases.MAGIC) + 8, len(data))
        data[at] ^= 1 << rng.randrange(8)
        with pytest.raises((errors.DamagedError, errors.NotAllowedError)):
            passphrases.unsealed(bytes(data), "long enough for this")
