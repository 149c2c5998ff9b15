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


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.booleans()), max_size=80),
    st.floats(0.0, 100.0),
)
def test_a_successor_counts_what_was_counted_and_what_time_has_given_back(
    made: list[tuple[str, int, bool]], later: float
) -> None:
    held, heir = tries.Tries(), tries.Tries()
    for account, where, right in made:
        if held.take(account, f"10.0.0.{where}", 0.0) == 0.0 and right:
            held.entered(account, f"10.0.0.{where}", 0.0)
    heir.restore(held.kept(0.0), 5000.0, later)
    for account in "abcd":
        for where in range(6):
            source = f"10.0.0.{where}"
            wanted = held.take(account, source, later)
            assert heir.take(account, source, 5000.0) == pytest.approx(wanted, abs=1e-6)


def test_a_clock_that_was_set_back_gives_nothing_back_and_nonsense_is_passed_over() -> None:
    held, heir = tries.Tries(), tries.Tries()
    assert [held.take("alice", ATTACKER, 0.0) for _ in range(5)] == [0.0] * 5
    kept = held.kept(0.0)
    heir.restore(tries.Kept((*kept.spent, ((), 3.0), (("else", "x"), 3.0)), kept.entered), 0.0, -1e9)
    assert heir.take("alice", ATTACKER, 0.0) == pytest.approx(30.0)


def test_only_what_a_successor_must_know_is_marked() -> None:
    held = tries.Tries()
    held.take("alice", HOME, 0.0)
    held.entered("alice", HOME, 0.0)
    before = held.marks
    for _ in range(10):
        held.take("alice", HOME, 0.0)
        held.entered("alice", HOME, 0.0)
    assert held.marks == before
    held.take("alice", ATTACKER, 0.0)
    assert held.marks > before


def test_what_is_kept_is_bounded_and_what_waits_longest_is_kept() -> None:
    held = tries.Tries()
    for _ in range(5):
        held.take("alice", ATTACKER, 0.0)
    for n in range(1300):
        held.take(f"a{n}", f"10.1.{n // 250}.{n % 250}", 0.0)
    kept = held.kept(0.0)
    assert len(kept.spent) == tries.KEPT_MOST
    assert ("here", "alice", ATTACKER) in dict(kept.spent)


def test_what_a_successor_was_told_of_first_it_forgets_last() -> None:
    """Else whoever comes from many places has the account that he tried forgotten before all else."""
    held, heir = tries.Tries(), tries.Tries(kept=12)
    for _ in range(5):
        held.take("alice", ATTACKER, 0.0)
    for n in range(3):
        held.take(f"a{n}", f"10.1.0.{n}", 0.0)
    heir.restore(held.kept(0.0), 0.0, 0.0)
    for n in range(3):
        heir.take(f"b{n}", f"10.2.0.{n}", 0.0)
    assert heir.take("alice", ATTACKER, 0.0) > 0
