"""After a rotation of the CA has ended: a certificate of the old one opens nothing, and what it had opened ends, with no restart.

The other ports have the same in other places: those where no certificate is asked for (the door, WS) show a certificate
of the newest CA (`test_ws_certificate`), and the sockets of a machine know no certificates.
"""

import asyncio  # noqa: TID251 links are asyncio's
import contextlib
import pathlib
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from coordinator import errors, names
from coordinator.api.etcd import service
from coordinator.hop import credentials, dial, driver, link, serve
from coordinator.host import clock, disk
from coordinator.propagation import events, messages, mirror
from coordinator.runtime import home, mic_store
from coordinator.store import membership
from coordinator.store.backends.raft import journal, transport
from coordinator.store.backends.raft import messages as raft
from coordinator.trust import authority, certificates, signing
from tests import micworld
from tests.security import test_store_strangers

ADDRESS = "127.0.88.5"
WAIT_S = 60.0
WALL = clock.SystemClock().wall()
PARENT, CHILD = names.ServerId("id-parent"), names.ServerId("id-child")
CLUSTER = names.ClusterId("c1")


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 nobody tells
            await asyncio.sleep(0.02)


class Rotation:
    """Two CAs, the second certified by the first."""

    def __init__(self) -> None:
        self.old = authority.create_authority(CLUSTER, WALL)
        self.new = self.old.with_new_ca(WALL)
        self.roots = (self.old.ca_pem, self.new.ca_pem)
        self.keys = {PARENT: certificates.new_key(), CHILD: certificates.new_key()}

    def identity(self, of: authority.Authority, server: names.ServerId) -> authority.Identity:
        key = self.keys[server]
        made = authority.issue(of, server, certificates.public_pem(key), WALL)
        return authority.Identity(server, CLUSTER, key, made, of.ca_pem)

    def own(self, of: authority.Authority, server: names.ServerId) -> credentials.Credentials:
        return credentials.Credentials(self.identity(of, server), clock.SystemClock(), self.roots)


class Told:
    """What a tier hears of its links."""

    def __init__(self) -> None:
        self.links: list[link.Link] = []
        self.reasons: list[str] = []

    def opened(self, made: link.Link) -> None:
        self.links.append(made)
        made.authenticated()

    def received(self, made: link.Link, frame: messages.AnyFrame) -> None: ...

    def closed(self, made: link.Link, reason: str) -> None:
        self.reasons.append(reason)


class Silent:
    """A machine that only lets links stand."""

    deadline = float("inf")

    def __init__(self) -> None:
        self.heard: list[object] = []

    def handle(self, event: object, _now: float) -> tuple[object, ...]:
        self.heard.append(event)
        return (
            (events.Authenticated(event.link),) if isinstance(event, events.Arrived | events.Opened) else ()
        )

    def drained(self, _link: names.LinkId, _now: float) -> tuple[object, ...]:
        return ()

    def gone(self) -> list[str]:
        return [one.reason for one in self.heard if isinstance(one, events.Gone)]


@contextlib.asynccontextmanager
async def parent_of(own: credentials.Credentials) -> AsyncIterator[tuple[Silent, serve.Server]]:
    machine = Silent()
    ground = driver.Ground(clock.SystemClock(), clock.SystemRandom(), own)
    one = driver.Driver(machine, ground, lambda _output: None)
    server = await one.listen(ADDRESS, 0)
    try:
        yield machine, server
    finally:
        await one.close("the test ends")
        assert not own._watching


def test_a_port_of_a_hop_gives_up_an_old_ca_with_all_that_it_has_opened() -> None:
    """The links that stand are the one thing that a new context does not reach."""

    async def main() -> None:
        rotation = Rotation()
        own = rotation.own(rotation.new, PARENT)
        async with parent_of(own) as (machine, server):
            old, new = (rotation.own(one, CHILD) for one in (rotation.old, rotation.new))
            ends = [Told(), Told()]
            for who, told in zip((old, new), ends, strict=True):
                await dial.dial(ADDRESS, server.port, who, told)
            await until(lambda: server.connections == 2 and not server.unknown)
            own.trust(rotation.roots[1:])
            await until(lambda: ends[0].reasons)
            assert machine.gone() == ["its certificate is of a CA that counts no more"]
            late = Told()
            with contextlib.suppress(errors.TiercastError):  # in TLS 1.3 the child is done first
                await dial.dial(ADDRESS, server.port, old, late)
                await until(lambda: late.reasons)
            await dial.dial(ADDRESS, server.port, new, Told())
            await until(lambda: server.connections == 2)
            assert ends[1].reasons == []

    asyncio.run(main())


def test_a_child_leaves_a_parent_whose_certificate_is_of_a_ca_that_has_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver, "WEED_S", 0.05)

    async def main() -> None:
        rotation = Rotation()
        server = await serve.serve(ADDRESS, 0, rotation.own(rotation.old, PARENT), Told())
        own, machine = rotation.own(rotation.new, CHILD), Silent()
        ground = driver.Ground(clock.SystemClock(), clock.SystemRandom(), own)
        one = driver.Driver(machine, ground, lambda _output: None)
        parent = events.Parent(names.ServerName("parent"), ADDRESS, server.port)
        one.act((events.Dial(1, parent, 0.0),))
        await until(lambda: any(isinstance(event, events.Opened) for event in machine.heard))
        own.trust(rotation.roots[1:])
        await until(machine.gone)
        one.act((events.Dial(2, parent, 0.0),))
        await until(lambda: any(isinstance(event, events.DialFailed) for event in machine.heard))
        await one.close("the test ends")
        await server.close("the test ends")

    asyncio.run(main())


def test_a_handshake_that_began_before_the_ca_went_opens_nothing_after_it() -> None:
    async def main() -> None:
        rotation = Rotation()
        own = rotation.own(rotation.new, PARENT)
        before = own.server
        own.trust(rotation.roots[1:])
        own.__dict__["server"] = before
        told = Told()
        server = await serve.serve(ADDRESS, 0, own, told)
        late = Told()
        await dial.dial(ADDRESS, server.port, rotation.own(rotation.old, CHILD), late)
        await until(lambda: late.reasons)
        assert told.links == []
        await server.close("the test ends")

    asyncio.run(main())


class Member:
    """One member of a store at its port, and the other one as it comes to it."""

    def __init__(self, directory: pathlib.Path, rotation: Rotation) -> None:
        seats = [
            membership.Seat(f"t{number}", server, ADDRESS) for number, server in enumerate((PARENT, CHILD), 1)
        ]
        self.members = tuple(one.member for one in seats)
        self.rotation = rotation
        self.own = rotation.own(rotation.new, PARENT)
        first = rotation.old.first_trust()
        body = signing.Keyring.trusting(first, CLUSTER).body
        content = mirror.Content(
            mirror.SignedTrust(first, msgspec.structs.replace(body, roots=rotation.roots))
        )
        root = disk.DirectoryDisk(directory)
        here = home.Home(root, self.own.identity, first, content, None, self.own)
        group = mic_store.group_of(
            journal.Identity(CLUSTER, self.members[0], self.members), here, clock.SystemClock()
        )
        self.port, other = test_store_strangers.free_port(), test_store_strangers.free_port()
        addresses = {self.members[0]: (ADDRESS, self.port), self.members[1]: (ADDRESS, other)}
        placed = msgspec.structs.replace(group, addresses=addresses)
        self.heard = test_store_strangers.Heard()
        self.transport = transport.Transport(
            self.members[0], CLUSTER, placed, self.heard, clock.SystemRandom()
        )

    async def come(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """As the other one, with a certificate of the old CA."""
        context = self.rotation.own(self.rotation.old, CHILD).client
        reader, writer = await asyncio.open_connection(ADDRESS, self.port, ssl=context, server_hostname="")
        said = transport.Hello(transport.PROTOCOL, CLUSTER, self.members[1])
        for frame in (said, raft.Ask(7)):
            writer.write(test_store_strangers.framed(msgspec.msgpack.encode(frame)))
        return reader, writer


TROUBLES: dict[str, Callable[[Member], object]] = {
    "its CA has gone": lambda one: one.own.trust(one.rotation.roots[1:]),
    "it is revoked": lambda one: one.own.trust(one.rotation.roots, (CHILD,)),
    "its key has changed": lambda one: one.own.pins.update({CHILD: lambda _key: False}),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_the_port_of_the_store_gives_up_whoever_is_no_member_any_more(
    trouble: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "LOOK_S", 0.05)

    async def closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(WAIT_S):
            with contextlib.suppress(OSError):
                assert await reader.read() == b""
        writer.transport.abort()

    async def main() -> None:
        one = Member(tmp_path, Rotation())
        await one.transport.start()
        try:
            ends = await one.come()
            async with asyncio.timeout(WAIT_S):
                await one.heard.first.wait()
            TROUBLES[trouble](one)
            await closed(*ends)
            with contextlib.suppress(OSError):
                await closed(*await one.come())
            assert len(one.heard.frames) == 1
        finally:
            await one.transport.close()

    asyncio.run(main())


class Context:
    """Of a request in gRPC, what is looked at."""

    def __init__(self, pem: bytes) -> None:
        self._pem = pem

    def auth_context(self) -> dict[str, tuple[bytes, ...]]:
        return {service.CERTIFICATE: (self._pem,)}


@pytest.mark.anyio
async def test_etcds_api_asks_with_every_request_for_the_key_and_the_ca_of_the_machine() -> None:
    """Whoever had the old CA's key could make itself a certificate of any server; of that only the name was looked at."""
    world = micworld.World()
    async with world.running() as (served, _tree):
        key = certificates.new_key()
        server = await world.enroll(served, "c2", certificates.signing_request(key, "c2").decode())
        asked = service.Service(served)

        def ask(of: authority.Authority, private: bytes) -> None:
            pem = authority.issue(of, server, certificates.public_pem(private), WALL)
            asked._check_machine(Context(pem))

        ask(world.authority, key)
        with pytest.raises(errors.NotAllowedError, match="another key"):
            ask(world.authority, certificates.new_key())
        later = world.authority.with_new_ca(WALL)
        with pytest.raises(errors.NotAllowedError, match="a CA that counts no more"):
            ask(later, key)
