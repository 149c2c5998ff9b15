"""Laws of what crosses a hop: frames, bodies in pieces, and the mirror as it is kept on disk."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator import errors, limits, names
from coordinator.propagation import bodies, messages, mirror, objects, wire
from coordinator.trust import signing

CLUSTER = names.ClusterId("c1")
SIGNER = signing.Signer(CLUSTER, bytes([1]) * 32)
NUMBER = st.integers(0, 2**62)
WORD = st.text(max_size=20)
SERIAL = st.builds(names.Serial, NUMBER, NUMBER)
NUMBERS = st.builds(objects.Numbers, SERIAL, SERIAL, SERIAL)
ROLE_ACK = st.builds(
    messages.RoleAck, WORD, st.sampled_from(messages.Level), st.sampled_from(messages.Outcome), WORD, WORD
)
ACK = st.builds(
    messages.AckState,
    version=st.builds(names.Version, NUMBER, NUMBER),
    digest=WORD,
    level=st.sampled_from(messages.Level),
    outcome=st.sampled_from(messages.Outcome),
    epoch=st.builds(names.Epoch, NUMBER, NUMBER),
    code=WORD,
    detail=WORD,
    roles=st.lists(ROLE_ACK, max_size=3).map(tuple),
)
ROW = st.builds(messages.Row, WORD, st.booleans(), st.none() | ACK)
DATA = st.binary(max_size=100)
CHUNK = st.builds(messages.Chunk, WORD, WORD, NUMBER, NUMBER, NUMBER, DATA)
FRAME: st.SearchStrategy[messages.AnyFrame] = st.one_of(
    st.builds(
        messages.Hello,
        NUMBER,
        WORD,
        st.sampled_from(messages.ChildKind),
        WORD,
        NUMBER,
        NUMBERS,
        WORD,
        DATA,
        st.none() | ACK,
    ),
    st.builds(messages.Welcome, NUMBER, WORD, NUMBER, NUMBERS, DATA),
    CHUNK,
    st.builds(messages.Offer, st.lists(DATA, max_size=3).map(tuple), st.none() | CHUNK, SERIAL),
    st.builds(messages.Pull, WORD, WORD, NUMBER),
    st.builds(messages.Ack, ACK),
    st.builds(messages.Rollup, NUMBER, st.booleans(), st.lists(ROW, max_size=3).map(tuple)),
    st.builds(messages.Heartbeat, DATA, NUMBERS, NUMBER),
    st.builds(messages.Ask, NUMBER, WORD, WORD, st.booleans(), DATA),
    st.builds(messages.Answer, NUMBER, WORD, st.booleans(), DATA),
    st.builds(messages.Newest, NUMBERS),
    st.builds(messages.Bye, WORD, st.floats(0, 1000)),
)


@given(FRAME)
def test_a_frame_comes_back_as_it_was(frame: messages.AnyFrame) -> None:
    encoded = wire.encode(frame)
    assert int.from_bytes(encoded[: wire.HEADER_BYTES], "big") == len(encoded) - wire.HEADER_BYTES
    assert wire.decode(encoded[wire.HEADER_BYTES :]) == frame


@given(st.binary(max_size=300))
def test_junk_is_a_protocol_error_and_nothing_else(junk: bytes) -> None:
    with contextlib.suppress(errors.ProtocolError):
        wire.decode(junk)


@given(FRAME, st.data())
def test_a_damaged_frame_is_another_frame_or_a_protocol_error(
    frame: messages.AnyFrame, data: st.DataObject
) -> None:
    payload = bytearray(wire.encode(frame)[wire.HEADER_BYTES :])
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    cut = bytes(payload[: data.draw(st.integers(0, len(payload)))])
    with contextlib.suppress(errors.ProtocolError):
        wire.decode(cut)


# --- bodies -------------------------------------------------------------------------------------------------------

BODY = st.one_of(
    st.binary(max_size=2000),
    st.integers(0, 3).map(lambda n: bytes((n * i * i) % 251 for i in range(limits.CHUNK_BYTES // 50)) * 60),
)


def pieces(body: bytes, base: bytes | None) -> list[messages.Chunk]:
    """As a parent sends them to a child that asks for one after the other."""
    shelf = bodies.Shelf()
    digest = bodies.digest_of(body)
    shelf.add(digest, body)
    known = ""
    if base is not None:
        known = bodies.digest_of(base)
        shelf.add(bodies.digest_of(base), base)
    made: list[messages.Chunk] = []
    while not made or made[-1].offset + len(made[-1].data) < made[-1].total:
        chunk = shelf.chunk(digest, known, sum(len(one.data) for one in made))
        assert chunk is not None
        made.append(chunk)
    return made


@given(BODY, st.none() | BODY)
def test_all_pieces_in_order_give_the_body(body: bytes, base: bytes | None) -> None:
    assembly = bodies.Assembly(bodies.digest_of(body), len(body))
    *before, last = pieces(body, base)
    assert all(assembly.add(chunk, base) is None for chunk in before)
    assert assembly.add(last, base) == body


@given(BODY, st.none() | BODY, st.lists(st.integers(0, 5), max_size=12))
def test_pieces_in_any_order_give_the_body_or_nothing(
    body: bytes, base: bytes | None, order: list[int]
) -> None:
    assembly = bodies.Assembly(bodies.digest_of(body), len(body))
    made = pieces(body, base)
    for number in order:
        found = assembly.add(made[number % len(made)], base)
        assert found in (None, body)
        if found is not None:
            return


@given(BODY, st.none() | BODY, st.data())
def test_a_damaged_piece_never_gives_another_body(
    body: bytes, base: bytes | None, data: st.DataObject
) -> None:
    chunk, *_ = pieces(body, base)
    damaged = bytearray(chunk.data)
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    assembly = bodies.Assembly(bodies.digest_of(body), len(body))
    try:
        found = assembly.add(msgspec.structs.replace(chunk, data=bytes(damaged)), base)
    except errors.ProtocolError:
        return
    assert found in (None, body)


def test_a_delta_without_its_base_is_a_protocol_error() -> None:
    body, base = b"b" * 5000 + b"x", b"b" * 5000
    (chunk,) = pieces(body, base)
    assert len(chunk.data) < 100
    with pytest.raises(errors.ProtocolError):
        bodies.Assembly(bodies.digest_of(body), len(body)).add(chunk, None)


# --- the mirror ---------------------------------------------------------------------------------------------------


def signed(kind: objects.Kind, content: msgspec.Struct) -> bytes:
    return SIGNER.sign(kind, objects.encode(content))


def trust(seq: int) -> mirror.SignedTrust:
    body = signing.TrustBody(1, seq, (SIGNER.unendorsed(),), ())
    return mirror.SignedTrust(signed(objects.Kind.TRUST, body), body)


def admission(number: int, seq: int) -> mirror.SignedAdmission:
    made = objects.Admission(
        1,
        seq,
        names.ServerId(f"s{number}"),
        "",
        objects.AdmissionState.PLACED,
        names.ServerName(f"n{number}"),
        names.SiteName("north"),
        (),
    )
    return mirror.SignedAdmission(signed(objects.Kind.ADMISSION, made), made)


def issued(revision: int, seq: int) -> tuple[mirror.SignedRecord, mirror.SignedTarget]:
    digest = names.Digest(f"{revision:064x}")
    record = objects.Record(1, revision, "", digest, 10, "a", "m", 0.0)
    target = objects.Target(1, seq, objects.Pointer(revision, digest), None, names.RolloutId("ro"), 1)
    return (
        mirror.SignedRecord(signed(objects.Kind.RECORD, record), record),
        mirror.SignedTarget(signed(objects.Kind.TARGET, target), target),
    )


@given(
    st.integers(1, 9), st.dictionaries(st.integers(0, 5), st.integers(1, 99)), st.none() | st.integers(1, 99)
)
def test_the_mirror_comes_back_from_its_ledger(
    trust_seq: int, admissions: dict[int, int], revision: int | None
) -> None:
    held = tuple(admission(number, seq) for number, seq in admissions.items())
    content = mirror.Content(trust(trust_seq)).take_all(held)
    if revision is not None:
        content = content.take_all(issued(revision, revision))
    keyring = signing.Keyring(CLUSTER, content.trust.content)
    assert mirror.from_ledger(mirror.to_ledger(content), keyring) == content
