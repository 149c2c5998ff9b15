"""What one message more, twice, or late may do to a member: nothing that was promised goes."""

import pytest

from coordinator.store.backends.raft import log
from tests.contracts import holes, machines

pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # the library's own


def test_a_repeated_old_message_does_not_cut_what_was_committed(member: machines.Maker) -> None:
    follower = member()
    follower.follow("m2", 1, log.NOTHING, (1,), 0)
    follower.follow("m2", 1, log.Position(1, 1), (1, 1), 1)
    follower.follow("m2", 1, log.Position(3, 1), (), 3)
    assert follower.committed == 3
    follower.follow("m2", 1, log.NOTHING, (1,), 0)
    with holes.decisive():
        assert not follower.gives_vote("m3", 2, log.Position(1, 1))


def test_one_member_that_votes_twice_counts_once(member: machines.Maker) -> None:
    candidate = member(machines.FIVE)
    candidate.stand()
    candidate.voted("m2")
    assert not candidate.leads, "two of five are no majority"
    candidate.voted("m2")
    with holes.decisive():
        assert not candidate.leads
    candidate.voted("m3")
    assert candidate.leads


def test_an_answer_from_an_earlier_term_commits_nothing(member: machines.Maker) -> None:
    leader = member()
    leader.stand()
    leader.voted("m2")
    index = leader.propose()
    before = leader.committed
    leader.agreed("m2", leader.term - 1, index)
    with holes.decisive():
        assert leader.committed == before
    leader.agreed("m2", leader.term, index)
    assert leader.committed == index
