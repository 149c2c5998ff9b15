"""Real sockets on loopback: links over TLS and Unix sockets, on asyncio's loop and on uvloop."""

import asyncio
import os
import pathlib
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager

import pytest
import uvloop

from coordinator import errors, limits, names
from coordinator.hop import credentials, dial, link, serve
from coordinator.host import clock
from coordinator.propagation import messages, objects, wire
from coordinator.trust import authority, peers
from tests.integration import linkends

pytestmark = pytest.mark.integration

CLUSTER = names.ClusterId("c1")
ADDRESS = "127.0.9.1"
WALL = clock.SystemClock().wall()
BEAT = messages.Heartbeat(b"", objects.Numbers(), 7)
Run = Callable[[Callable[[], Coroutine[None, None, None]]], None]


@pytest.fixture(scope="module")
def ours() -> authority.Authority:
    return authority.create_authority(CLUSTER, WALL)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
    complaints: list[str] = []

    def loop() -> asyncio.AbstractEventLoop:
        made = factory()
        made.set_exception_handler(lambda _, context: complaints.append(str(context)))
        return made

    with asyncio.Runner(loop_factory=loop) as runner:
        yield lambda main: runner.run(linkends.tidied(main))
    assert complaints == []


def of(ours: authority.Authority, name: str) -> credentials.Credentials:
    return credentials.Credentials(authority.enrolled(ours, names.ServerId(name), WALL), clock.SystemClock())


@asynccontextmanager
async def listening(
    ours: authority.Authority, links_max: int = limits.LINKS
) -> AsyncIterator[tuple[serve.Server, linkends.Recorder]]:
    events = linkends.Recorder()
    server = await serve.serve(ADDRESS, 0, of(ours, "parent"), events, links_max=links_max)
    try:
        yield server, events
    finally:
        await server.close("test ends")


def large(size: int) -> messages.Chunk:
    return messages.Chunk(names.Digest("d"), "", 0, size, size, b"x" * size)


def test_frames_go_both_ways_between_peers_who_know_each_other(run: Run, ours: authority.Authority) -> None:
    async def main() -> None:
        async with listening(ours) as (server, parent):
            parent.echo, child = True, linkends.Recorder()
            up = await dial.dial(ADDRESS, server.port, of(ours, "child"), child, local_address="127.0.9.2")
            assert child.links == [up]
            assert isinstance(up.peer, peers.PeerIdentity)
            assert (up.peer.server_id, up.peer.cluster, up.peer.expired) == ("parent", CLUSTER, False)
            for _ in range(100):
                up.send(BEAT)
            await child.until(lambda: len(child.frames) == 100)
            down = parent.links[0]
            assert isinstance(down.peer, peers.PeerIdentity)
            assert down.peer.server_id == "child"
            assert down._transport.get_extra_info("peername")[0] == "127.0.9.2"
            sent = len(wire.encode(BEAT)) * 100
            for one in (up, down):
                counted = one.counters
                assert (counted.frames_in, counted.frames_out) == (100, 100)
                assert (counted.bytes_in, counted.bytes_out) == (sent, sent)
            up.close("done")
            await parent.until(lambda: parent.reasons)
            await child.until(lambda: child.reasons)
            assert child.reasons == ["done"]
            up.send(BEAT)
            up.close("again")
            await linkends.eventually(lambda: server.connections == 0)
            assert len(parent.reasons) == 1

    run(main)


def test_large_frames_pass_only_after_authentication(run: Run, ours: authority.Authority) -> None:
    async def main() -> None:
        async with listening(ours) as (server, parent):
            child = linkends.Recorder()
            up = await dial.dial(ADDRESS, server.port, of(ours, "child"), child)
            up.send(large(limits.FRAME_BYTES_UNAUTHENTICATED + 1))
            await child.until(lambda: child.reasons)
            await parent.until(lambda: parent.reasons)
            assert "too large" in parent.reasons[0]
            assert parent.frames == []
            again = await dial.dial(ADDRESS, server.port, of(ours, "child"), child)
            await parent.until(lambda: len(parent.links) == 2)
            parent.links[1].authenticated()
            again.send(large(limits.CHUNK_BYTES))
            await parent.until(lambda: parent.frames)
            assert parent.frames == [large(limits.CHUNK_BYTES)]

    run(main)


def test_a_frame_over_the_bound_closes_an_authenticated_link_too(run: Run, ours: authority.Authority) -> None:
    async def main() -> None:
        async with listening(ours) as (server, parent):
            child = linkends.Recorder()
            up = await dial.dial(ADDRESS, server.port, of(ours, "child"), child)
            await parent.until(lambda: parent.links)
            parent.links[0].authenticated()
            up.send_encoded((limits.FRAME_BYTES + 1).to_bytes(4, "big"))
            await parent.until(lambda: parent.reasons)
            assert "too large" in parent.reasons[0]

    run(main)


@pytest.mark.parametrize(
    "bad", [b"\0\0\0\0", b"\0\0\0\1\xc1", b"\0\0\0\2\x91\x63", b"\0\0\0\4\x93\x08\xa1\xff", b"\xff" * 9]
)
def test_what_is_no_frame_ends_the_link_and_nothing_else(
    run: Run, ours: authority.Authority, bad: bytes
) -> None:
    async def main() -> None:
        async with listening(ours) as (server, parent):
            one, other = linkends.Recorder(), linkends.Recorder()
            stays = await dial.dial(ADDRESS, server.port, of(ours, "good"), other)
            hostile = await dial.dial(ADDRESS, server.port, of(ours, "bad"), one)
            hostile.send_encoded(wire.encode(BEAT) + bad + wire.encode(BEAT))
            await one.until(lambda: one.reasons)
            await parent.until(lambda: parent.reasons)
            assert "broke the protocol" in parent.reasons[0]
            assert parent.frames == [BEAT]
            stays.send(BEAT)
            await parent.until(lambda: len(parent.frames) == 2)
            assert other.reasons == []

    run(main)


def test_frames_survive_any_cutting_up_of_the_stream(run: Run, ours: authority.Authority) -> None:
    async def main() -> None:
        async with listening(ours) as (server, parent):
            up = await dial.dial(ADDRESS, server.port, of(ours, "child"), linkends.Recorder())
            stream = wire.encode(BEAT) * 3
            for at in range(len(stream)):
                up._transport.write(stream[at : at + 1])
                if at % 7 == 0:
                    await asyncio.sleep(0)
            await parent.until(lambda: len(parent.frames) == 3)

    run(main)


def test_a_peer_that_does_not_read_is_dropped_as_slow(run: Run, ours: authority.Authority) -> None:
    async def main() -> None:
        async with listening(ours) as (server, parent):
            child = linkends.Recorder()
            up = await dial.dial(ADDRESS, server.port, of(ours, "child"), child)
            await parent.until(lambda: parent.links)
            up._transport.pause_reading()
            down, data, sent = parent.links[0], wire.encode(large(limits.CHUNK_BYTES)), 0
            while down.open:
                down.send_encoded(data)
                sent += len(data)
                assert sent < 100 * limits.WRITE_BUFFER_BYTES
                await asyncio.sleep(0)
            await parent.until(lambda: parent.reasons)
            assert parent.reasons == ["slow"]
            await asyncio.wait_for(down.drained(), linkends.WAIT_S)

    run(main)


def test_a_sender_that_waits_for_drained_may_send_any_amount(run: Run, ours: authority.Authority) -> None:
    async def main() -> None:
        async with listening(ours) as (server, parent):
            up = await dial.dial(ADDRESS, server.port, of(ours, "child"), linkends.Recorder())
            await parent.until(lambda: parent.links)
            parent.links[0].authenticated()
            for _ in range(100):
                up.send(large(limits.CHUNK_BYTES))
                await up.drained()
            await parent.until(lambda: len(parent.frames) == 100)
            assert parent.reasons == []

    run(main)


def test_a_whole_document_is_asked_at_once_and_heartbeats_overtake_it(
    run: Run, ours: authority.Authority
) -> None:
    async def main() -> None:
        async with listening(ours) as (server, parent):
            child = linkends.Recorder()
            up = await dial.dial(ADDRESS, server.port, of(ours, "child"), child)
            await parent.until(lambda: parent.links)
            parent.links[0].authenticated()
            up.authenticated(documents=True)
            part = b"x" * limits.ASK_PART_BYTES
            count = limits.DOCUMENT_BYTES // len(part)
            for number in range(count):
                up.send(messages.Ask(number, "upload", "", number == count - 1, part))
            up.send(BEAT)
            await parent.until(lambda: len(parent.frames) == count + 1)
            asks = [frame for frame in parent.frames if isinstance(frame, messages.Ask)]
            assert [ask.id for ask in asks] == list(range(count))
            assert parent.frames.index(BEAT) < count / 2
            assert child.reasons == []

    run(main)


def test_bulk_that_piles_up_without_end_is_slow_too(
    run: Run, ours: authority.Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "SMALL_BULK_BYTES", 2**21)

    async def main() -> None:
        async with listening(ours) as (server, parent):
            up = await dial.dial(ADDRESS, server.port, of(ours, "child"), linkends.Recorder())
            await parent.until(lambda: parent.links)
            parent.links[0]._transport.pause_reading()
            for number in range(1000):
                up.send(messages.Ask(number, "upload", "", False, b"x" * limits.ASK_PART_BYTES))
                await asyncio.sleep(0)
            await linkends.eventually(lambda: not up.open)
            await up.lost()

    run(main)


def test_a_peer_that_says_no_hello_loses_its_place(
    run: Run, ours: authority.Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HELLO_S", 0.3)

    async def main() -> None:
        async with listening(ours) as (server, parent):
            silent, known = linkends.Recorder(), linkends.Recorder()
            await dial.dial(ADDRESS, server.port, of(ours, "known"), known)
            await parent.until(lambda: parent.links)
            parent.links[0].authenticated()
            await dial.dial(ADDRESS, server.port, of(ours, "silent"), silent)
            raw = [socket.create_connection((ADDRESS, server.port)) for _ in range(3)]  # not even a handshake
            await linkends.eventually(lambda: server.connections == 5)
            await silent.until(lambda: silent.reasons)
            await parent.until(lambda: parent.reasons)
            assert parent.reasons == ["no hello"]
            await linkends.eventually(lambda: server.connections == 1)
            for one in raw:
                one.close()
            assert known.reasons == []

    run(main)


def test_a_full_listener_turns_new_ones_away_and_recovers(run: Run, ours: authority.Authority) -> None:
    async def main() -> None:
        async with listening(ours, links_max=2) as (server, parent):
            children = [
                await dial.dial(ADDRESS, server.port, of(ours, f"c{n}"), linkends.Recorder())
                for n in range(2)
            ]
            await parent.until(lambda: len(parent.links) == 2)
            for one in parent.links:
                one.authenticated()
            await linkends.eventually(lambda: server.unknown == 0)
            with pytest.raises(errors.UnreachableError):
                await dial.dial(ADDRESS, server.port, of(ours, "child"), linkends.Recorder())
            for one in children:
                one.close("done")
            await linkends.eventually(lambda: server.connections == 0)
            await dial.dial(ADDRESS, server.port, of(ours, "child"), linkends.Recorder())
            await parent.until(lambda: len(parent.links) == 3)

    run(main)


def test_strangers_are_refused_at_both_ends(run: Run, ours: authority.Authority) -> None:
    async def main() -> None:
        other = authority.create_authority(CLUSTER, WALL)
        async with listening(ours) as (server, parent):
            with pytest.raises(errors.IdentityError, match="not of this cluster"):
                await dial.dial(ADDRESS, server.port, of(other, "stranger"), linkends.Recorder())
            foreign = credentials.Credentials(of(other, "s").identity, clock.SystemClock(), [ours.ca_pem])
            events = linkends.Recorder()
            await dial.dial(ADDRESS, server.port, foreign, events)  # in TLS 1.3 the child is done first
            await events.until(lambda: events.reasons)
            plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            plain.check_hostname, plain.verify_mode = False, ssl.CERT_NONE
            reader, writer = await asyncio.open_connection(ADDRESS, server.port, ssl=plain)
            with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
                assert await reader.read()
            writer.transport.abort()
            await linkends.eventually(lambda: server.connections == 0)
            assert parent.links == []

    run(main)


def test_a_peer_of_another_cluster_under_the_same_root_is_refused(
    run: Run, ours: authority.Authority
) -> None:
    async def main() -> None:
        elsewhere = authority.Authority(
            names.ClusterId("c2"), ours.ca_key_pem, ours.ca_pem, ours.signing_private
        )
        async with listening(ours) as (server, parent):
            events = linkends.Recorder()
            with pytest.raises(errors.IdentityError, match="another cluster"):
                await dial.dial(ADDRESS, server.port, of(elsewhere, "stranger"), events)
            await linkends.eventually(lambda: server.connections == 0)
            assert (parent.links, parent.reasons, events.links, events.reasons) == ([], [], [], [])

    run(main)


def test_an_expired_identity_is_let_in_and_shows(run: Run, ours: authority.Authority) -> None:
    async def main() -> None:
        old = authority.enrolled(ours, names.ServerId("old"), WALL - 400 * 86_400)
        async with listening(ours) as (server, parent):
            await dial.dial(
                ADDRESS, server.port, credentials.Credentials(old, clock.SystemClock()), linkends.Recorder()
            )
            await parent.until(lambda: parent.links)
            peer = parent.links[0].peer
            assert isinstance(peer, peers.PeerIdentity)
            assert peer.expired

    run(main)


def test_nobody_there_and_nobody_answering_are_unreachable(
    run: Run, ours: authority.Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DIAL_TIMEOUT_S", 0.3)

    async def main() -> None:
        with socket.create_server((ADDRESS, 0)) as mute:
            port = mute.getsockname()[1]
            with pytest.raises(errors.UnreachableError):
                await dial.dial(ADDRESS, port, of(ours, "child"), linkends.Recorder())
        monkeypatch.setattr(limits, "DIAL_TIMEOUT_S", linkends.WAIT_S)  # a refusal comes first, however late
        with pytest.raises(errors.UnreachableError, match="cannot be reached"):
            await dial.dial(ADDRESS, port, of(ours, "child"), linkends.Recorder())

    run(main)


def test_a_taken_port_and_a_foreign_address_are_named(run: Run, ours: authority.Authority) -> None:
    async def main() -> None:
        async with listening(ours) as (server, _parent):
            with pytest.raises(errors.InUseError, match=f"{ADDRESS}:{server.port} is taken"):
                await serve.serve(ADDRESS, server.port, of(ours, "p"), linkends.Recorder())
        with pytest.raises(errors.UnreachableError, match="not an address of this machine"):
            await serve.serve("192.0.2.1", 0, of(ours, "p"), linkends.Recorder())

    run(main)


def test_a_closing_server_says_so_and_frees_its_port(run: Run, ours: authority.Authority) -> None:
    async def main() -> None:
        async with listening(ours) as (server, parent):
            child = linkends.Recorder()
            await dial.dial(ADDRESS, server.port, of(ours, "child"), child)
            await parent.until(lambda: parent.links)
            parent.links[0].send(messages.Bye("draining", 1.0))
            port = server.port
            await server.close("draining")
            assert parent.reasons == ["draining"]
            await child.until(lambda: child.reasons)
            assert child.frames == [messages.Bye("draining", 1.0)]
            again = await serve.serve(ADDRESS, port, of(ours, "p"), linkends.Recorder())
            await again.close("done")

    run(main)


def test_a_unix_socket_is_private_and_shows_the_process(run: Run, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        path, parent, child = str(tmp_path / "s"), linkends.Recorder(), linkends.Recorder()
        parent.echo = True
        server = await serve.serve_unix(path, parent)
        assert stat.S_IMODE(pathlib.Path(path).stat().st_mode) == 0o600
        up = await dial.dial_unix(path, child)
        up.send(BEAT)
        await child.until(lambda: child.frames)
        assert parent.links[0].peer == link.UnixPeer(os.getuid(), os.getpid())
        assert up.peer == link.UnixPeer(os.getuid(), os.getpid())
        with pytest.raises(errors.InUseError):
            await serve.serve_unix(path, linkends.Recorder())
        await server.close("done")
        await child.until(lambda: child.reasons)
        assert not pathlib.Path(path).exists()
        with pytest.raises(errors.UnreachableError):
            await dial.dial_unix(path, child)

    run(main)


def test_a_socket_left_by_a_dead_process_is_taken_over(run: Run, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "s")
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
        server = await serve.serve_unix(path, linkends.Recorder())
        await dial.dial_unix(path, linkends.Recorder())
        await server.close("done")
        with pytest.raises(errors.UsageError):
            await serve.serve_unix("/" + "x" * 200, linkends.Recorder())

    run(main)


def test_another_user_at_the_socket_is_refused(
    run: Run, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        path, parent = str(tmp_path / "s"), linkends.Recorder()
        server = await serve.serve_unix(path, parent)
        monkeypatch.setattr(link, "_ROOT_UID", -1)
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(errors.IdentityError):
            await dial.dial_unix(path, linkends.Recorder())
        await linkends.eventually(lambda: server.connections == 0)
        assert parent.links == []
        await server.close("done")

    run(main)


def test_sixty_children_at_once_are_all_served(run: Run, ours: authority.Authority) -> None:
    async def main() -> None:
        async with listening(ours) as (server, parent):
            parent.echo, child, own = True, linkends.Recorder(), of(ours, "child")

            async def one() -> None:
                (await dial.dial(ADDRESS, server.port, own, child)).send(BEAT)

            await asyncio.gather(*(one() for _ in range(60)))
            await child.until(lambda: len(child.frames) == 60)

    run(main)
