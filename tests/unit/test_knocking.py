"""A conversation at a door that goes wrong on the other side."""

import contextlib
import socket
import threading

import pytest

from coordinator import errors
from coordinator.propagation import joining
from coordinator.trust import tls
from nodeagent.main import knocking
from tests.security import cluster


def _closes_within_its_first_word(listener: socket.socket) -> None:
    identity = cluster.Cluster().identity("c1", cluster.WALL)
    connected, _ = listener.accept()
    with connected, contextlib.suppress(OSError):
        connected.recv(len(joining.PREFACE), socket.MSG_WAITALL)
        with tls.door_context(identity).wrap_socket(connected, server_side=True) as inside:
            inside.sendall(b"\0\0")
            inside.unwrap().close()


def test_a_server_that_takes_its_leave_within_a_word_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        other = threading.Thread(target=_closes_within_its_first_word, args=(listener,), daemon=True)
        other.start()
        with pytest.raises(errors.UnreachableError, match="it closed the connection"):
            knocking.Knock(knocking.Place("127.0.0.1", listener.getsockname()[1]))
        other.join()
