"""A digest that is hashed only from where two bodies part is that of the whole body."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator import errors
from coordinator.propagation import bodies, messages, trails

STEP = 8


@given(st.binary(max_size=80), st.binary(max_size=80), st.integers(0, 80))
def test_the_digest_is_that_of_all_of_it_however_much_is_like_the_base(
    base: bytes, rest: bytes, shared: int
) -> None:
    body = base[:shared] + rest
    known, trail = trails.walk(base, step=STEP)
    digest, its_own = trails.walk(body, base, trail, step=STEP)
    assert known == hashlib.sha256(base).hexdigest()
    assert digest == hashlib.sha256(body).hexdigest()
    assert [one.hexdigest() for one in its_own] == [
        hashlib.sha256(body[: n * STEP]).hexdigest() for n in range(1, len(body) // STEP + 1)
    ]


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(min_size=1, max_size=20)), min_size=1, max_size=6))
def test_a_shelf_takes_one_change_after_the_other(changes: list[tuple[int, bytes]]) -> None:
    parent, child = bodies.Shelf(), bodies.Shelf()
    body, base = b"begin".ljust(4 * trails.STEP_BYTES, b"."), ""
    for place, change in (0, b"b"), *changes:
        at = place * trails.STEP_BYTES
        body = body[:at] + change + body[at + len(change) :]
        digest = bodies.digest_of(body)
        parent.add(digest, body)
        chunk = parent.chunk(digest, base, 0)
        assert chunk is not None
        assert child.put_together(bodies.Assembly(digest, len(body)), chunk) == body
        child.add(digest, body)
        child.keep(frozenset({digest}))
        base = digest


def test_a_body_that_is_not_what_its_record_says_leaves_no_trail() -> None:
    body = b"." * (2 * trails.STEP_BYTES)
    other = b"!" + body[1:]
    assembly = bodies.Assembly(bodies.digest_of(body), len(body))
    shelf = bodies.Shelf()
    shelf.add(bodies.digest_of(other), other)
    piece = shelf.chunk(bodies.digest_of(other), "", 0)
    assert piece is not None
    false = messages.Chunk(assembly.digest, "", 0, piece.total, piece.size, piece.data)
    with pytest.raises(errors.ProtocolError):
        bodies.Shelf().put_together(assembly, false)
    assert assembly.trail == ()
