"""Every hole that stock pysyncobj 0.3.17 was measured to have: what it does instead, by the name of the test.

A test of a hole is one scenario, run on our store, where it must pass, and on the stock library, where the same
assertion must fail: a hole that closes there is noticed, and so is a test that would not see it open here.
"""

import contextlib
from collections.abc import Iterator
from typing import Final


class OpenError(AssertionError):
    """The assertion that a hole is about does not hold."""


@contextlib.contextmanager
def decisive() -> Iterator[None]:
    """Around the assertion that the stock library must fail; any other one must hold there as well."""
    try:
        yield
    except AssertionError as error:
        raise OpenError(str(error)) from error


HOLES: Final = {
    # On the disk.
    "test_a_power_cut_loses_nothing_that_was_acknowledged": (
        "nothing is ever synced: after a power cut of the machine all 21,046 of 21,046 acknowledged puts were gone"
    ),
    "test_kills_while_snapshots_are_taken_lose_nothing_that_was_acknowledged": (
        "at start the whole journal is cleared unless its first entries are those of the dump, and the forked dumper "
        "outlives its parent: acknowledged puts were lost in 11 of 12 kills"
    ),
    "test_a_vote_outlives_a_power_cut": "term and vote are written and never synced",
    "test_a_vote_whose_record_is_damaged_is_never_given_again": (
        "a damaged file of term and vote is ignored in silence, and the member votes twice in a term"
    ),
    "test_a_flipped_byte_is_never_read_as_what_was_put": "no record has a digest: a flipped byte is applied",
    "test_a_snapshot_without_its_journal_is_no_store": (
        "a missing journal is made anew: what was acknowledged behind the dump is gone without a word"
    ),
    "test_a_store_with_other_members_is_not_opened": (
        "who is a member stands in the settings alone: one of three, opened alone, acknowledges alone"
    ),
    "test_an_empty_disk_is_no_member": (
        "a member is its address: with an empty disk it is back as the same voter, having forgotten how it voted"
    ),
    "test_a_later_program_reads_the_log_of_an_earlier_one": (
        "methods are addressed by their place in the alphabet: one more of them gives the old log another meaning"
    ),
    # Single messages.
    "test_a_repeated_old_message_does_not_cut_what_was_committed": (
        "every append cuts all that follows it: a repeated old one cut committed entries, and the member then voted "
        "for a candidate that lacked them"
    ),
    "test_one_member_that_votes_twice_counts_once": "votes are counted without identity",
    "test_an_answer_from_an_earlier_term_commits_nothing": "the answer to an append carries no term",
    # Answers.
    "test_a_command_that_nobody_can_do_stops_nothing": (
        "a replicated method that raises is tried again for ever, on every member, also after a restart"
    ),
    "test_a_caller_that_fails_on_its_answer_has_its_command_done_once": (
        "an exception in a callback leaves the entry unapplied in the books, so that it is applied again"
    ),
    "test_what_one_member_acknowledged_every_other_reads_at_once": (
        "reads are local: 38 of 100 on a follower, right after the acknowledgement, were stale"
    ),
    "test_a_leader_that_was_cut_off_does_not_answer_with_what_is_over": (
        "a leader that was cut off answers as one for another 30 s"
    ),
    "test_an_error_that_says_that_nothing_was_done_is_true": (
        "`the leader has changed without command commit` was said of 57 commands in 1,720 that had been committed"
    ),
    "test_a_value_of_any_size_reaches_every_member_in_one_piece": (
        "an entry over 64 KiB is sent in parts by the size of its command, not of its frame: its receivers take the "
        "first of several last parts for the end, and fail until the real one comes"
    ),
    # Strangers.
    "test_no_stranger_has_code_run": "whatever reaches the port is unpickled before anything is checked",
    "test_a_store_works_where_nothing_can_be_pickled": (
        "wire, log, dumps and the file of term and vote are all pickles"
    ),
    "test_a_small_frame_of_a_stranger_takes_little_memory": "frames are inflated without a bound",
    "test_a_length_of_two_gib_is_not_waited_for": "any length is believed, and what comes is kept until it is there",
    "test_no_stranger_makes_a_member": (
        "anybody may ask for a new member; a store of one that took an unreachable one never answers again"
    ),
    "test_members_are_not_added_three_at_a_time": (
        "the guard `one change at a time` is never set: three additions at once were all taken"
    ),
}
