"""The CA that a context knows its system by: another one is taken once the system has shown it, and the old one is forgotten.

After a rotation contexts went on with the old CA for ever, and whoever had its key could be the system to them.
"""

import contextlib
import pathlib
import socket
import threading
from collections.abc import Iterator

import pytest

from coordinator import errors, names
from coordinator.cli import https
from coordinator.host import clock, contexts
from coordinator.trust import authority, certificates, tls
from tests import terminal

WALL = clock.SystemClock().wall()
CLUSTER = names.ClusterId("acme")


class Shop:
    """A web role that shakes hands and says nothing, and the CAs of its system."""

    def __init__(self, listener: socket.socket) -> None:
        self.old = authority.create_authority(CLUSTER, WALL)
        self.new = self.old.with_new_ca(WALL)
        self.url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        key = certificates.new_key()
        made = authority.issue_https(self.new, certificates.public_pem(key), ["127.0.0.1"], [], WALL)
        self._context = tls.https_context(made, key)
        self._listener = listener
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            with (
                contextlib.suppress(OSError),
                connected,
                self._context.wrap_socket(connected, server_side=True) as end,
            ):
                end.recv(1)


@pytest.fixture
def shop() -> Iterator[Shop]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Shop(listener)
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def driven(tmp_path: pathlib.Path) -> terminal.Terminal:
    return terminal.Terminal(tmp_path)


def test_the_system_shows_a_certificate_of_its_newest_ca_to_old_and_new_contexts_alike(shop: Shop) -> None:
    foreign = authority.create_authority(CLUSTER, WALL)
    for ca in (shop.old, shop.new):
        assert https.shows([shop.url], ca.ca_pem.decode()) == shop.url
    with pytest.raises(errors.IdentityError, match="not the system of this context"):
        https.shows([shop.url], foreign.ca_pem.decode())
    with pytest.raises(errors.UnreachableError, match="no answer from"):
        https.shows(["https://127.0.0.1:1"], shop.new.ca_pem.decode())
    with pytest.raises(errors.UsageError, match="cannot be read"):
        https.shows([shop.url], "nothing")


def test_a_context_takes_another_ca_only_once_its_system_has_shown_it(
    shop: Shop, driven: terminal.Terminal, tmp_path: pathlib.Path
) -> None:
    place = contexts.path(driven.environment)
    held = contexts.read(place)
    before = held.contexts[held.current]
    contexts.write_context(place, held.current, shop.url, shop.old.ca_pem, before.token)
    file = tmp_path / "ca.pem"
    file.write_bytes(authority.create_authority(CLUSTER, WALL).ca_pem)
    done = driven.run("context", "ca", str(file))
    assert done.exit == 9, done
    assert contexts.read(place).contexts[held.current].ca == shop.old.ca_pem.decode()
    file.write_bytes(shop.new.ca_pem)
    done = driven.run("context", "ca", str(file))
    assert (done.exit, done.out) == (0, ""), done
    after = contexts.read(place).contexts[held.current]
    assert (after.ca, after.token) == (shop.new.ca_pem.decode(), before.token)


@pytest.mark.parametrize("data", [b"\x90\x00\xff", "CA für uns".encode(), b"no PEM", b""])
def test_a_file_that_is_no_ca_is_wrong_usage(
    data: bytes, driven: terminal.Terminal, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(data)
    done = driven.run("context", "ca", str(file))
    assert (done.exit, done.out) == (64, ""), done
    assert " CA " in done.talk
