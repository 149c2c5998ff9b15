"""The law of signed objects: only these bytes, as this kind, for this cluster, by a key reached through endorsements."""

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator import errors, names
from coordinator.trust import signing

CLUSTER = names.ClusterId("c1")
KINDS = st.sampled_from(["target", "record", "trust", "admission", "fresh"])
SEEDS = st.binary(min_size=32, max_size=32)


def signer(seed: int) -> signing.Signer:
    return signing.Signer(CLUSTER, bytes([seed]) * 32)


def trust(by: signing.Signer, seq: int, keys: tuple[signing.SigningKey, ...]) -> bytes:
    return by.sign(signing.TRUST, msgspec.msgpack.encode(signing.TrustBody(1, seq, keys, ())))


def keyring(*keys: signing.SigningKey, seq: int = 1) -> signing.Keyring:
    return signing.Keyring(CLUSTER, signing.TrustBody(1, seq, keys, ()))


@given(SEEDS, KINDS, st.binary(max_size=200))
def test_what_a_trusted_key_signed_comes_back_byte_for_byte(seed: bytes, kind: str, payload: bytes) -> None:
    by = signing.Signer(CLUSTER, seed)
    assert keyring(by.unendorsed()).verify(by.sign(kind, payload), kind, CLUSTER) == payload


@given(st.binary(max_size=60), st.data())
@settings(max_examples=200)
def test_no_changed_byte_passes_as_another_payload(payload: bytes, data: st.DataObject) -> None:
    by = signer(1)
    raw = bytearray(by.sign("target", payload))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = keyring(by.unendorsed()).verify(bytes(raw), "target", CLUSTER)
    except errors.SignatureError:
        return
    assert found == payload  # another spelling of the same envelope is the same statement


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_a_signature_error_and_nothing_else(raw: bytes) -> None:
    ring = keyring(signer(1).unendorsed())
    with pytest.raises(errors.SignatureError):
        ring.verify(raw, "target", CLUSTER)
    with pytest.raises(errors.SignatureError):
        ring.renewed(raw)
    with pytest.raises(errors.SignatureError):
        signing.Keyring.trusting(raw, CLUSTER)


def test_an_object_of_another_kind_cluster_or_key_is_refused() -> None:
    by = signer(1)
    ring = keyring(by.unendorsed())
    with pytest.raises(errors.SignatureError, match="another kind"):
        ring.verify(by.sign("record", b"x"), "target", CLUSTER)
    foreign = signing.Signer(names.ClusterId("c2"), bytes([1]) * 32)
    with pytest.raises(errors.SignatureError, match="another cluster"):
        ring.verify(foreign.sign("target", b"x"), "target", CLUSTER)
    with pytest.raises(errors.SignatureError, match="nobody vouches"):
        ring.verify(signer(2).sign("target", b"x"), "target", CLUSTER)


def test_parts_cannot_slide_into_each_other() -> None:
    by = signer(1)
    envelope = signing.opened(by.sign("target", b"x"))
    slid = msgspec.structs.replace(envelope, kind="targe", payload=b"tx")
    with pytest.raises(errors.SignatureError):
        keyring(by.unendorsed()).verify(msgspec.msgpack.encode(slid), "targe", CLUSTER)


@given(st.integers(1, 6))
def test_a_chain_of_endorsements_carries_trust_over_missed_rotations(steps: int) -> None:
    line = [signer(number) for number in range(1, steps + 2)]
    entries = (
        line[0].unendorsed(),
        *(old.endorse(new.public) for old, new in itertools.pairwise(line)),
    )
    ring = keyring(entries[0]).renewed(trust(line[-1], 2, entries))
    assert ring.verify(line[-1].sign("target", b"x"), "target", CLUSTER) == b"x"
    retired = ring.renewed(trust(line[-1], 3, entries[-1:]))
    with pytest.raises(errors.SignatureError):
        retired.verify(line[0].sign("target", b"x"), "target", CLUSTER)


def test_a_key_nobody_endorsed_does_not_become_trusted() -> None:
    old, thief = signer(1), signer(9)
    ring = keyring(old.unendorsed())
    false = msgspec.structs.replace(old.endorse(signer(2).public), id=thief.key_id, public=thief.public)
    for entry in (thief.unendorsed(), thief.endorse(thief.public), false):
        for by in (old, thief):
            with pytest.raises(errors.SignatureError):
                ring.renewed(trust(by, 2, (old.unendorsed(), entry)))


def test_a_key_may_not_carry_the_id_of_another() -> None:
    old, thief = signer(1), signer(9)
    entry = signing.SigningKey(old.key_id, thief.public)
    with pytest.raises(errors.SignatureError):
        keyring(old.unendorsed()).renewed(trust(old, 2, (entry,)))


def test_trust_never_goes_back_and_the_same_is_taken_again() -> None:
    by = signer(1)
    ring = keyring(by.unendorsed(), seq=5)
    assert ring.renewed(trust(by, 5, (by.unendorsed(),))).body.seq == 5
    with pytest.raises(errors.SignatureError, match="older"):
        ring.renewed(trust(by, 4, (by.unendorsed(),)))


def test_the_trust_of_an_identity_file_must_verify_itself() -> None:
    by, other = signer(1), signer(2)
    assert signing.Keyring.trusting(trust(by, 1, (by.unendorsed(),)), CLUSTER).body.seq == 1
    with pytest.raises(errors.SignatureError):
        signing.Keyring.trusting(trust(other, 1, (by.unendorsed(),)), CLUSTER)
    with pytest.raises(errors.SignatureError):
        signing.Keyring.trusting(trust(by, 1, (by.unendorsed(),)), names.ClusterId("c2"))


def test_a_malformed_key_in_trust_is_a_signature_error() -> None:
    by = signer(1)
    short = b"short"
    entry = by.endorse(short)
    with pytest.raises(errors.SignatureError):
        keyring(by.unendorsed()).renewed(trust(by, 2, (by.unendorsed(), entry)))
    with pytest.raises(errors.SignatureError):
        signing.Keyring.trusting(trust(by, 1, (by.unendorsed(), entry)), CLUSTER)
