"""The limits of other tests: strict on a quiet machine, and a port is given once."""

import pathlib
import time

import pytest

from bench import ports
from tests import pace


@pytest.fixture(autouse=True)
def told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_TOLD_AGAIN_S", 0.0)


def test_what_is_slow_by_itself_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "PRESSURE", pathlib.Path("/"))
    monkeypatch.setattr(pace, "_some_s", lambda _kind: 0.0)
    with pytest.raises(AssertionError, match="are allowed"), pace.within(0.0):
        _pass(0.02)


def test_it_counts_however_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "PRESSURE", pathlib.Path("/"))
    monkeypatch.setattr(pace, "_some_s", lambda _kind: 0.0)
    with pytest.raises(AssertionError, match="are allowed"), pace.within(0.0):
        raise ConnectionError
    with pytest.raises(ConnectionError), pace.within(60.0):
        raise ConnectionError


def test_what_had_to_wait_for_others_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "PRESSURE", pathlib.Path("/"))
    monkeypatch.setattr(pace, "_some_s", lambda kind: time.monotonic() if kind == "cpu" else 0.0)
    with pace.within(0.01) as span:
        _pass(0.02)
    assert span.took_s >= 0.02


def test_no_port_is_given_twice() -> None:
    given = ports.several(20)
    assert len(set(given)) == 20
    assert all(ports.FIRST <= one < ports.LAST for one in given)


def _pass(span_s: float) -> None:
    end = time.monotonic() + span_s
    while time.monotonic() < end:
        pass
