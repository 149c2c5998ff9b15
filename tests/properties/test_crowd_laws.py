"""Who has to give way where strangers crowd: never one whose source holds fewer than the others."""

import collections
import functools

from hypothesis import given
from hypothesis import strategies as st

from coordinator.trust import crowd

ACTS = st.lists(st.tuples(st.sampled_from("abcde"), st.booleans(), st.integers(0, 30)), max_size=120)


@given(st.integers(1, 8), ACTS)
def test_there_are_never_more_than_the_room_and_the_pushiest_goes(
    room: int, acts: list[tuple[str, bool, int]]
) -> None:
    one = crowd.Crowd(room)
    inside: dict[int, str] = {}
    gone: list[str] = []
    for source, comes, which in acts:
        if comes:
            before = collections.Counter(inside.values())
            gone.clear()
            ticket = one.enter(source, functools.partial(gone.append, source))
            if len(inside) < room:
                assert gone == []
            else:
                assert len(gone) == 1
                assert before[gone[0]] == max(before.values())
                assert before[source] < before[gone[0]] or gone[0] == source
                oldest = min(number for number, whose in inside.items() if whose == gone[0])
                del inside[oldest]
            inside[ticket] = source
        elif inside:
            ticket = sorted(inside)[which % len(inside)]
            one.leave(ticket)
            one.leave(ticket)
            del inside[ticket]
        assert len(one) == len(inside) <= room


def test_one_network_is_one_source() -> None:
    assert crowd.of_one("2001:db8::1") == crowd.of_one("2001:db8::ffff:1") != crowd.of_one("2001:db8:1::1")
    assert crowd.of_one("fe80::1%eth0") == crowd.of_one("fe80::2")
    assert crowd.of_one("10.0.0.1") != crowd.of_one("10.0.0.2")
    assert crowd.of_one("") == ""


def test_peers_of_ipv4_are_told_apart_also_at_a_socket_that_serves_both() -> None:
    assert crowd.of_one("::ffff:10.0.0.1") == crowd.of_one("10.0.0.1") != crowd.of_one("::ffff:10.0.0.2")


def test_one_that_comes_again_does_not_send_away_whoever_has_come_once() -> None:
    gone: list[str] = []
    one = crowd.Crowd(2)
    for source in ("good", "pushy", "pushy", "pushy"):
        one.enter(source, functools.partial(gone.append, source))
    assert gone == ["pushy", "pushy"]
