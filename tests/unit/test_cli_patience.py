"""How long a command tries where nobody listens, and what never makes it try again."""

import socket
import ssl

import pytest

from coordinator import limits
from coordinator.cli import patience
from tests import terminal


def test_it_tries_again_soon_and_for_a_bounded_time() -> None:
    clock = terminal.Clock()
    tried = patience.Patience(clock, clock.sleep, limits.CONNECT_PATIENCE_S)
    while tried.again():
        pass
    assert set(clock.slept) == {limits.CONNECT_AGAIN_S}
    assert limits.CONNECT_PATIENCE_S - limits.CONNECT_AGAIN_S <= clock.now <= limits.CONNECT_PATIENCE_S
    assert tried.told() == ", tried for 5.0 s"


def test_the_time_that_a_try_takes_counts() -> None:
    clock = terminal.Clock()
    tried = patience.Patience(clock, clock.sleep, 1.0)
    assert tried.again()
    clock.now += 0.8  # a machine under load refuses slowly too
    assert not tried.again()


def test_who_has_none_tries_once_and_tells_of_no_time() -> None:
    clock = terminal.Clock()
    tried = patience.Patience(clock, clock.sleep, 0.0)
    assert not tried.again()
    assert (clock.slept, tried.told()) == ([], "")


@pytest.mark.parametrize(
    "wrong",
    [
        TimeoutError(),
        socket.gaierror(),
        OSError(),
        ssl.SSLError(),
        ssl.SSLCertVerificationError(),
        BrokenPipeError(),
    ],
)
def test_what_does_not_pass_by_itself_is_not_tried_again(wrong: Exception) -> None:
    assert not isinstance(wrong, patience.PASSING)
