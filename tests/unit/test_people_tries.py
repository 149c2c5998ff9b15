"""Whoever guesses is slowed down, and nobody else is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.domains import tries

ATTACKER, HOME = "192.0.2.66", "198.51.100.7"


def test_one_source_gets_a_few_tries_at_an_account_and_then_one_every_half_minute() -> None:
    held = tries.Tries()
    assert [held.take("alice", ATTACKER, 0.0) for _ in range(5)] == [0.0] * 5
    assert held.take("alice", ATTACKER, 0.0) == pytest.approx(30.0)
    assert held.take("alice", ATTACKER, 29.0) == pytest.approx(1.0)
    assert held.take("alice", ATTACKER, 30.1) == 0.0


def test_one_source_may_not_go_through_all_accounts_either() -> None:
    held = tries.Tries()
    through = [account for account in range(100) if held.take(f"a{account}", ATTACKER, 0.0) == 0.0]
    assert len(through) == tries.OF_SOURCE.burst
    assert held.take("bob", HOME, 0.0) == 0.0


@settings(max_examples=30)
@given(st.lists(st.floats(0.0, 5.0), min_size=50, max_size=400))
def test_whoever_hammers_an_account_from_one_or_two_places_never_keeps_others_out(
    pauses: list[float],
) -> None:
    held, now = tries.Tries(), 0.0
    for pause in pauses:
        now += pause
        held.take("alice", ATTACKER, now)
        held.take("alice", "192.0.2.67", now)
        assert tries.Tries().take("alice", HOME, now) == 0.0
    assert held.take("alice", HOME, now) == 0.0


def test_where_the_account_was_entered_before_a_thousand_places_do_not_keep_its_owner_out() -> None:
    held = tries.Tries()
    assert held.take("alice", HOME, 0.0) == 0.0
    held.entered("alice", HOME, 0.0)
    blocked = [n for n in range(1000) if held.take("alice", f"10.0.{n // 250}.{n % 250}", 1.0)]
    assert len(blocked) > 900
    assert held.take("alice", HOME, 1.0) == 0.0


def test_a_right_password_costs_nothing() -> None:
    held = tries.Tries()
    for n in range(200):
        assert held.take("alice", HOME, 0.0) == 0.0, n
        held.entered("alice", HOME, 0.0)


def test_what_is_remembered_is_bounded() -> None:
    held = tries.Tries(kept=64)
    for n in range(1000):
        held.take(f"a{n}", f"10.1.{n // 250}.{n % 250}", float(n))
        held.entered(f"a{n}", f"10.1.{n // 250}.{n % 250}", float(n))
    assert len(held._spent) <= 64
    assert len(held._entered) <= 64


def test_a_network_of_one_person_is_one_place() -> None:
    assert tries.place("2001:db8:1:2:3::4") == tries.place("2001:db8:1:2::9%eth0") == "2001:db8:1:2::/64"
    assert tries.place("::ffff:192.0.2.66") == ATTACKER
    assert tries.place("nonsense" * 100) == ("nonsense" * 100)[:64]
