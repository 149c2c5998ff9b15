"""Which encoding of a body a child is given."""

import random

from coordinator import names
from coordinator.propagation import bodies, messages


def body(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def touched(old: bytes) -> bytes:
    return old[:100] + b"another" + old[107:]


def shelved(*held: bytes) -> bodies.Shelf:
    shelf = bodies.Shelf()
    for one in held:
        shelf.add(bodies.digest_of(one), one)
    return shelf


def whole(shelf: bodies.Shelf, wanted: bytes, base: bytes) -> messages.Chunk:
    chunk = shelf.chunk(bodies.digest_of(wanted), bodies.digest_of(base), 0)
    assert chunk is not None
    return chunk


def came(chunk: messages.Chunk, base: bytes) -> bodies.Assembly:
    assembly = bodies.Assembly(chunk.digest, chunk.size)
    assert assembly.add(chunk, base if chunk.base else None) is not None
    return assembly


def test_a_small_body_travels_as_it_is() -> None:
    small = b'{"a": 1}' * 20
    chunk = whole(shelved(small), small, b"")
    assert chunk.data == small
    assert came(chunk, b"").frame == b""


def test_a_delta_is_used_where_it_saves_three_quarters() -> None:
    old, new = body(1, 20_000), body(2, 20_000)
    near = touched(old)
    assert whole(shelved(old, near), near, old).base == bodies.digest_of(old)
    assert whole(shelved(old, new), new, old).base == ""


def test_a_relay_passes_on_the_encoding_that_came() -> None:
    old = body(1, 20_000)
    new = touched(old)
    chunk = whole(shelved(old, new), new, old)
    relay = shelved(old, new)
    relay.learn(came(chunk, old), bodies.digest_of(old))
    assert whole(relay, new, old).data == chunk.data


def test_a_relay_that_was_given_the_whole_gives_the_whole() -> None:
    old = body(1, 20_000)
    new = touched(old)
    chunk = whole(shelved(new), new, b"")
    relay = shelved(old, new)
    relay.learn(came(chunk, b""), bodies.digest_of(old))
    assert whole(relay, new, old).base == ""


def test_a_delta_against_another_base_than_the_own_says_nothing_of_the_own() -> None:
    older, old = body(3, 20_000), body(1, 20_000)
    new = touched(older)
    chunk = whole(shelved(older, new), new, older)
    relay = shelved(older, old, new)
    relay.learn(came(chunk, older), bodies.digest_of(old))
    assert whole(relay, new, old).base == ""
    assert whole(relay, new, older).base == bodies.digest_of(older)


def test_a_base_that_a_child_invents_leaves_nothing_behind() -> None:
    new = body(1, 5_000)
    shelf = shelved(new)
    for number in range(100):
        assert shelf.chunk(bodies.digest_of(new), f"{number:064d}", 0) is not None
    assert not shelf._chosen
    shelf.keep(frozenset[names.Digest]())
    assert shelf.chunk(bodies.digest_of(new), "", 0) is None
