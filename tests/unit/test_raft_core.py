"""Stories of single messages, each a way in which a Raft library has lost data; the simulated world tells the long ones."""

import pytest

from coordinator.store.backends.raft import core, leading, log, messages

ONE, TWO, THREE, FOUR, FIVE = ("m1", "m2", "m3", "m4", "m5")


def entries(first: int, *terms: int) -> tuple[log.Entry, ...]:
    return tuple(log.Entry(first + at, term, log.COMMAND, b"%d" % term) for at, term in enumerate(terms))


def member(
    *terms: int, members: tuple[str, ...] = (ONE, TWO, THREE), term: int = 0, vote: str | None = None
) -> core.Core:
    """A member whose log holds entries of these terms."""
    held = log.Log(log.NOTHING, entries(1, *terms))
    made = core.Core(ONE, members, held, (term or max(terms, default=0), vote), lambda: 0.5)
    made.start(0.0)
    return made


def got(
    machine: core.Core, sender: str, message: messages.Message, now: float = 0.1
) -> tuple[messages.Output, ...]:
    return machine.handle(messages.Received(sender, message), now)


def sent(outputs: tuple[messages.Output, ...]) -> list[tuple[str, messages.Message]]:
    return [(o.to, o.message) for o in outputs if isinstance(o, messages.Send)]


def append(
    term: int, prev: tuple[int, int], *terms: int, commit: int = 0, round_: int = 0
) -> messages.Append:
    return messages.Append(term, log.Position(*prev), entries(prev[0] + 1, *terms), commit, round_)


def leader(*terms: int, members: tuple[str, ...] = (ONE, TWO, THREE)) -> core.Core:
    """A member that was just elected; its opening entry is durable."""
    made = member(*terms, members=members)
    made.handle(messages.Tick(), 9.0)
    needed = len(members) // 2
    for other in members[1 : 1 + needed]:
        got(made, other, messages.Voted(made.term + 1, granted=True, pre=True), 9.0)
    for other in members[1 : 1 + needed]:
        got(made, other, messages.Voted(made.term, granted=True), 9.0)
    assert made.lead is not None
    made.handle(messages.Persisted(made.log.last), 9.0)
    return made


@pytest.mark.parametrize("commit", [0, 1, 3])
def test_a_repeated_old_message_does_not_cut_what_came_after_it(commit: int) -> None:
    follower = member()
    got(follower, TWO, append(1, (0, 0), 1, 1, 1, commit=commit))
    outputs = got(follower, TWO, append(1, (0, 0), 1))
    assert follower.log.last == log.Position(3, 1)
    assert not any(isinstance(o, messages.Persist) for o in outputs)
    assert sent(outputs) == [(TWO, messages.Appended(1, success=True, index=1, round=0))]


def test_only_a_contradiction_cuts_and_the_cut_is_written() -> None:
    follower = member(1, 1, 1)
    outputs = got(follower, TWO, append(2, (1, 1), 2))
    assert follower.log.last == log.Position(2, 2)
    (persist,) = (o for o in outputs if isinstance(o, messages.Persist) and o.entries)
    assert persist.cut == log.Position(1, 1)


def test_a_commit_beyond_what_was_matched_is_not_believed() -> None:
    follower = member(1, 1, 1)
    outputs = got(follower, TWO, append(2, (1, 1), commit=3))
    assert [o.entries for o in outputs if isinstance(o, messages.Commit)] == [entries(1, 1)]


def test_a_vote_is_durable_before_it_is_given_and_given_once_a_term() -> None:
    voter = member(1)
    outputs = got(voter, TWO, messages.Vote(2, log.Position(1, 1)))
    persist = next(o for o in outputs if isinstance(o, messages.Persist) and o.vote == TWO)
    assert outputs.index(persist) < len(outputs) - 1
    assert sent(outputs)[-1] == (TWO, messages.Voted(2, granted=True))
    assert sent(got(voter, THREE, messages.Vote(2, log.Position(9, 1)))) == [
        (THREE, messages.Voted(2, granted=False))
    ]
    again = member(1, term=2, vote=TWO)
    assert sent(got(again, THREE, messages.Vote(2, log.Position(9, 1)))) == [
        (THREE, messages.Voted(2, granted=False))
    ]


@pytest.mark.parametrize(
    ("last", "granted"), [((2, 1), False), ((3, 1), True), ((1, 2), True), ((9, 0), False)]
)
def test_a_candidate_whose_log_lacks_something_gets_no_vote(last: tuple[int, int], granted: bool) -> None:
    voter = member(1, 1, 1)
    assert sent(got(voter, TWO, messages.Vote(2, log.Position(*last))))[-1] == (
        TWO,
        messages.Voted(2, granted=granted),
    )


def test_the_same_vote_twice_counts_once() -> None:
    candidate = member(members=(ONE, TWO, THREE, FOUR, FIVE))
    candidate.handle(messages.Tick(), 9.0)
    for _ in range(3):
        got(candidate, TWO, messages.Voted(1, granted=True, pre=True), 9.0)
    assert candidate.term == 0
    got(candidate, THREE, messages.Voted(1, granted=True, pre=True), 9.0)
    assert candidate.term == 1
    for _ in range(3):
        got(candidate, TWO, messages.Voted(1, granted=True), 9.0)
    assert candidate.lead is None
    got(candidate, FOUR, messages.Voted(1, granted=True), 9.0)
    assert candidate.lead is not None


def test_votes_of_another_term_or_of_a_stranger_count_for_nothing() -> None:
    candidate = member()
    candidate.handle(messages.Tick(), 9.0)
    assert got(candidate, "stranger", messages.Voted(1, granted=True, pre=True), 9.0) == ()
    got(candidate, TWO, messages.Voted(7, granted=True, pre=True), 9.0)
    got(candidate, TWO, messages.Voted(1, granted=True, pre=False), 9.0)
    assert candidate.term == 0


def test_a_member_that_was_cut_off_does_not_unseat_a_leader_that_the_rest_hear() -> None:
    follower = member(1)
    got(follower, TWO, append(1, (1, 1)), 5.0)
    assert got(follower, THREE, messages.Vote(9, log.Position(5, 1)), 5.1) == ()
    assert got(follower, THREE, messages.Vote(9, log.Position(5, 1), pre=True), 5.1) == ()
    assert follower.term == 1
    assert sent(got(follower, THREE, messages.Vote(9, log.Position(5, 1)), 5.1 + core.ELECTION_S)) != []


def test_asking_whether_one_would_be_elected_binds_nobody() -> None:
    voter = member(1)
    outputs = got(voter, TWO, messages.Vote(2, log.Position(1, 1), pre=True))
    assert sent(outputs) == [(TWO, messages.Voted(2, granted=True, pre=True))]
    assert not any(isinstance(o, messages.Persist) for o in outputs)
    assert voter.term == 1


def test_an_answer_of_another_term_is_no_confirmation() -> None:
    chief = leader(1)
    outputs = got(chief, TWO, messages.Appended(chief.term - 1, success=True, index=2, round=9))
    assert outputs == ()
    outputs = got(chief, TWO, messages.Appended(chief.term, success=True, index=2, round=0))
    assert any(isinstance(o, messages.Commit) for o in outputs)


def test_entries_of_older_terms_are_not_committed_by_counting() -> None:
    chief = leader(1, 1, members=(ONE, TWO, THREE, FOUR, FIVE))
    for other in (TWO, THREE, FOUR):
        outputs = got(chief, other, messages.Appended(chief.term, success=True, index=2, round=0))
        assert not any(isinstance(o, messages.Commit) for o in outputs)
    got(chief, TWO, messages.Appended(chief.term, success=True, index=3, round=0))
    outputs = got(chief, THREE, messages.Appended(chief.term, success=True, index=3, round=0))
    (commit,) = (o for o in outputs if isinstance(o, messages.Commit))
    assert [e.index for e in commit.entries] == [1, 2, 3]


def test_the_own_disk_counts_only_once_it_has_answered() -> None:
    chief = leader()
    got(chief, TWO, messages.Appended(chief.term, success=True, index=1, round=0))
    outputs = chief.handle(messages.Propose(((1, b"x"),)), 9.1)
    assert [type(o) for o in outputs][:2] == [messages.Persist, messages.Accepted]
    lone = leader(members=(ONE, TWO, THREE, FOUR, FIVE))
    for other in (TWO, THREE):
        got(lone, other, messages.Appended(lone.term, success=True, index=1, round=0))
    lone.handle(messages.Propose(((1, b"x"),)), 9.1)
    for other in (TWO, THREE):
        outputs = got(lone, other, messages.Appended(lone.term, success=True, index=2, round=0))
    assert not any(isinstance(o, messages.Commit) for o in outputs)
    assert any(isinstance(o, messages.Commit) for o in lone.handle(messages.Persisted(lone.log.last), 9.1))


def test_a_read_waits_for_a_majority_that_answered_after_it_was_asked() -> None:
    chief = leader()
    got(chief, TWO, messages.Appended(chief.term, success=True, index=1, round=0))
    outputs = chief.handle(messages.Read(7), 9.1)
    (beat, _other) = (m for _to, m in sent(outputs) if isinstance(m, messages.Append))
    assert not any(isinstance(o, messages.Readable) for o in outputs)
    outputs = got(chief, TWO, messages.Appended(chief.term, success=True, index=1, round=beat.round - 1))
    assert not any(isinstance(o, messages.Readable) for o in outputs)
    outputs = got(chief, TWO, messages.Appended(chief.term, success=True, index=1, round=beat.round))
    assert messages.Readable(7, 1) in outputs


def test_a_leader_reads_nothing_before_an_entry_of_its_own_is_committed() -> None:
    chief = leader(1)
    chief.handle(messages.Read(7), 9.1)
    outputs = got(chief, TWO, messages.Appended(chief.term, success=True, index=1, round=5))
    assert not any(isinstance(o, messages.Readable) for o in outputs)


def test_a_leader_without_a_majority_resigns_and_declines_the_reads_that_wait() -> None:
    chief = leader()
    got(chief, TWO, messages.Appended(chief.term, success=True, index=1, round=0))
    chief.handle(messages.Read(7), 9.1)
    outputs = chief.handle(messages.Tick(), 9.1 + core.QUORUM_S)
    assert messages.Declined(7) in outputs
    assert messages.Office(chief.term, None, leading=False) in outputs
    assert chief.handle(messages.Propose(((8, b"x"),)), 11.0) == (messages.Declined(8),)
    assert chief.handle(messages.Read(9), 11.0) == (messages.Declined(9),)


def test_a_slow_follower_has_a_bounded_amount_on_its_way() -> None:
    chief = leader()
    got(chief, TWO, messages.Appended(chief.term, success=True, index=1, round=0))
    big = bytes(leading.APPEND_BYTES)
    outputs = chief.handle(messages.Propose(tuple((at, big) for at in range(100))), 9.1)
    count = sum(len(m.entries) for to, m in sent(outputs) if to == TWO and isinstance(m, messages.Append))
    assert 0 < count <= leading.UNDER_WAY


def test_a_leader_that_goes_has_the_one_stand_that_holds_most() -> None:
    chief = leader(1)
    got(chief, TWO, messages.Appended(chief.term, success=True, index=1, round=0))
    got(chief, THREE, messages.Appended(chief.term, success=True, index=2, round=0))
    assert sent(chief.handle(messages.Resign(), 9.2)) == [(THREE, messages.Succeed(chief.term))]
    assert chief.lead is not None, "it goes on until another has won"
    assert member(1).handle(messages.Resign(), 9.2) == ()
    assert chief.handle(messages.Resign(TWO), 9.2) == (), "it lacks an entry, and would not be elected"
    assert sent(chief.handle(messages.Resign(THREE), 9.2)) == [(THREE, messages.Succeed(chief.term))]


def test_whoever_is_bidden_stands_at_once_and_is_heard_though_there_is_a_leader() -> None:
    heir = member(1)
    got(heir, TWO, append(1, (1, 1)), 5.0)
    outputs = got(heir, TWO, messages.Succeed(1), 5.1)
    ask = messages.Vote(2, log.Position(1, 1), bidden=True)
    assert sent(outputs) == [(TWO, ask), (THREE, ask)]
    voter = member(1)
    got(voter, TWO, append(1, (1, 1)), 5.0)
    assert sent(got(voter, ONE, ask, 5.1)) == []  # nobody hears itself
    assert sent(got(voter, THREE, ask, 5.1)) == [(THREE, messages.Voted(2, granted=True))]
    assert got(heir, TWO, messages.Succeed(1), 5.2) == (), "the word of a term that is over"


def test_a_group_of_one_leads_by_itself_and_commits_what_its_disk_holds() -> None:
    lone = core.Core(ONE, (ONE,), log.Log(log.NOTHING), (0, None), lambda: 0.0)
    outputs = lone.handle(messages.Tick(), 0.0)
    assert [type(o) for o in outputs] == [messages.Persist, messages.Office, messages.Persist]
    assert lone.handle(messages.Read(1), 0.0) == ()
    outputs = lone.handle(messages.Persisted(log.Position(1, 1)), 0.0)
    assert [type(o) for o in outputs] == [messages.Commit, messages.Readable]
    assert lone.handle(messages.Read(2), 0.0) == (messages.Readable(2, 1),)


def test_every_input_and_message_has_its_place() -> None:
    assert set(core._HANDLERS) == set(messages.Input.__args__)
    assert set(core._MESSAGES) == set(messages.Message.__args__)
