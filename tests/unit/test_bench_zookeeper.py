"""The lean client of ZooKeeper against what the protocol says; no server is started."""

import pathlib
import struct
from typing import Any, cast

import pytest

from bench.peers import crowd, jars, systems
from bench.peers import zookeeper_clients as clients

STAT = bytes(68)


class Wire:
    """A transport that keeps what was sent, as frames."""

    def __init__(self) -> None:
        self.sent = b""

    def write(self, data: bytes) -> None:
        self.sent += data

    def frames(self) -> list[bytes]:
        found, at = [], 0
        while at < len(self.sent):
            (size,) = struct.unpack_from(">i", self.sent, at)
            found.append(self.sent[at + 4 : at + 4 + size])
            at += 4 + size
        self.sent = b""
        return found


def plugged(session: clients.Session) -> Wire:
    """Connected, greeted and answered."""
    wire = Wire()
    session.connection_made(cast("Any", wire))
    (greeting,) = wire.frames()
    assert struct.unpack_from(">iqiq", greeting) == (0, 0, clients.SESSION_MS, 0)
    session.data_received(
        framed(struct.pack(">iiq", 0, clients.SESSION_MS, 7) + clients.buffer(bytes(16)) + b"\0")
    )
    assert session.opened.is_set()
    return wire


def framed(payload: bytes) -> bytes:
    return struct.pack(">i", len(payload)) + payload


def answer(xid: int, body: bytes = b"", wrong: int = 0) -> bytes:
    return framed(struct.pack(">iqi", xid, 1, wrong) + body)


def event(kind: int, path: bytes) -> bytes:
    return answer(-1, struct.pack(">ii", kind, 3) + clients.buffer(path))


def test_an_agent_reads_again_when_told_and_acks_by_name_what_it_read() -> None:
    receipts = crowd.Receipts()
    agent = clients.Agent(12, receipts)
    wire = plugged(agent)
    agent.read()
    agent.data_received(answer(1, clients.buffer(bytes(4)) + STAT))
    assert agent.watching.is_set()
    told = event(3, b"/config")
    agent.data_received(told[:9])
    agent.data_received(told[9:])  # bytes come as they come
    assert wire.frames()[-1] == struct.pack(">ii", 2, 4) + clients.buffer(b"/config") + b"\1"
    agent.data_received(answer(2, clients.buffer(struct.pack(">i", 5) + b"body") + STAT))
    (made,) = wire.frames()
    assert made.startswith(struct.pack(">ii", 3, 1) + clients.buffer(b"/acks/5/12"))
    receipts.note(b"body")
    assert receipts._count == 2


def test_a_publisher_counts_what_is_created_below_its_revision_alone() -> None:
    acks = crowd.Acks(3)
    publisher = clients.Publisher(acks)
    plugged(publisher)
    acks.expect(2)
    for path in (b"/acks/2", b"/acks/1/0", b"/acks/2/0", b"/acks/2/1"):
        publisher.data_received(event(1, path))
    publisher.data_received(event(2, b"/acks/2/0"))  # a deletion
    assert acks.count == 2


def test_a_revision_is_one_transaction() -> None:
    sent = clients.together(((1, b"one"), (5, b"two")))
    assert sent == (
        struct.pack(">ibi", 1, 0, -1)
        + b"one"
        + struct.pack(">ibi", 5, 0, -1)
        + b"two"
        + struct.pack(">ibi", -1, 1, -1)
    )


def test_a_server_that_hangs_up_while_it_starts_is_no_session() -> None:
    session = clients.Session()
    session.connection_made(cast("Any", Wire()))
    session.connection_lost(None)
    assert session.opened.is_set()
    assert session.lost


def test_a_peer_that_is_not_installed_says_so(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(jars, "DEBIAN", tmp_path / "none.jar")
    said = {name: one.missing() for name, one in systems.PEERS.items()}
    assert said.pop("tree-c") == "no C compiler"
    assert said.pop("tree-python") == ""
    assert set(said.values()) == {"not installed"}
    assert jars.version() == ""


def test_the_archive_of_zookeeper_is_found_by_its_script(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, library = tmp_path / "bin" / "zkServer.sh", tmp_path / "lib" / "zookeeper-3.9.2.jar"
    for made in (script, library):
        made.parent.mkdir()
        made.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(script.parent))
    monkeypatch.setattr(jars, "DEBIAN", tmp_path / "none.jar")
    assert jars.classpath() == f"{library.parent}/*"
    assert jars.version() == "zookeeper-3.9.2"
    assert systems.PEERS["zookeeper"].missing() == "no java"
