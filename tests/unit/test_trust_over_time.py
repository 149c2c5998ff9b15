"""Keys that follow one another: CAs, signing keys, identities, and what is sealed to a server."""

import ssl

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator import errors, names
from coordinator.trust import authority, certificates, renewals, sealing, signing, tls
from tests import micworld

CLUSTER = names.ClusterId("c1")
NOW = 1_800_000_000.0
YEAR_S = 366 * 86_400.0
P, C = names.ServerId("p"), names.ServerId("c")


def shake(server: ssl.SSLContext, client: ssl.SSLContext) -> list[ssl.SSLObject]:
    """Both ends after a handshake in memory, the client's first. Raises `ssl.SSLError`."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_side=False, server_hostname=None),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(ends)
    for _round in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(end)
    assert not waiting
    ends[1].write(b"x")  # under TLS 1.3 the client's certificate is judged with the first byte
    assert ends[0].read(1) == b"x"
    return ends


@pytest.fixture(scope="module")
def line() -> list[authority.Authority]:
    """An authority and its four successors, a year after one another."""
    made = [authority.create_authority(CLUSTER, NOW)]
    for year in range(1, 5):
        made.append(made[-1].with_new_ca(NOW + year * YEAR_S))
    return made


@pytest.mark.parametrize("ahead", range(1, 5))
def test_who_was_away_over_rotations_of_the_ca_meets_whoever_has_its_newest_certificate(
    line: list[authority.Authority], ahead: int
) -> None:
    newest = line[ahead]
    parent = authority.enrolled(newest, P, NOW + ahead * YEAR_S)
    child = authority.enrolled(line[0], C, NOW)
    roots = [one.ca_pem for one in line[: ahead + 1]]
    ends = shake(tls.server_context(parent, roots), tls.client_context(child, roots[:1]))
    assert tls.peer_identity(ends[0], CLUSTER, NOW + ahead * YEAR_S).server_id == P
    found = tls.peer_identity(ends[1], CLUSTER, NOW + ahead * YEAR_S)
    assert (found.server_id, found.expired) == (C, True)


def test_a_root_that_trust_does_not_name_any_more_opens_nothing(line: list[authority.Authority]) -> None:
    parent = authority.enrolled(line[1], P, NOW)
    old = authority.enrolled(line[0], C, NOW)
    context = tls.server_context(parent, [line[1].ca_pem])
    with pytest.raises(ssl.SSLError):
        shake(context, tls.client_context(old, [line[0].ca_pem, line[1].ca_pem]))
    renewed = authority.enrolled(line[1], C, NOW)
    shake(context, tls.client_context(renewed, [line[1].ca_pem]))


def test_a_foreign_ca_of_the_same_name_is_no_successor(line: list[authority.Authority]) -> None:
    foreign = authority.create_authority(CLUSTER, NOW)
    forged = msgspec.structs.replace(foreign, chain=line[1].chain)
    parent, child = authority.enrolled(forged, P, NOW), authority.enrolled(line[0], C, NOW)
    with pytest.raises(ssl.SSLError):
        shake(tls.server_context(parent, [foreign.ca_pem, line[0].ca_pem]), tls.client_context(child))


def test_an_identity_is_replaced_as_one_file_and_a_rotated_authority_keeps_no_old_key(
    line: list[authority.Authority],
) -> None:
    disk = micworld.Disk()
    first = authority.enrolled(line[0], C, NOW)
    line[0].save(disk)
    first.save(disk)
    before = set(disk.files)
    second = authority.enrolled(line[1], C, NOW + YEAR_S)
    second.replace(disk)
    assert set(disk.files) - before == {authority.CURRENT_FILE}
    assert authority.Identity.load(disk) == second
    line[1].save(disk)
    assert authority.Authority.load(disk) == line[1]
    kept = b"".join(disk.files.values())
    assert line[0].ca_key_pem not in kept
    assert line[1].ca_key_pem in kept


# --- signing keys -------------------------------------------------------------------------------------------------------


def trust(held: authority.Authority, seq: int, keys: list[signing.SigningKey], retired: int = 0) -> bytes:
    """A `trust` object of these keys, the first `retired` of which sign nothing any more."""
    gone = tuple(key.id for key in keys[:retired])
    body = signing.TrustBody(1, seq, tuple(keys), (held.ca_pem,), retired=gone)
    return held.signer().sign(signing.TRUST, msgspec.msgpack.encode(body))


@given(st.integers(1, 6), st.data())
def test_whatever_was_retired_meanwhile_the_newest_trust_is_reached_from_any_before_it(
    rotations: int, data: st.DataObject
) -> None:
    held, retired = authority.create_authority(CLUSTER, NOW), 0
    keys, raws = [held.signer().unendorsed()], [held.first_trust()]
    for seq in range(2, rotations + 2):
        after = held.with_new_signer()
        keys.append(held.signer().endorse(after.signer().public))
        retired = data.draw(st.integers(retired, len(keys) - 1))
        raws.append(trust(after, seq, keys, retired=retired))
        held = after
    begun = data.draw(st.integers(0, rotations - 1))
    reached = signing.Keyring.trusting(raws[begun], CLUSTER).renewed(raws[-1])
    assert reached.verify(held.signer().sign("target", b"x"), "target") == b"x"


def test_a_retired_key_signs_nothing_and_vouches_for_nobody() -> None:
    first = authority.create_authority(CLUSTER, NOW)
    second = first.with_new_signer()
    keys = [first.signer().unendorsed(), first.signer().endorse(second.signer().public)]
    ring = signing.Keyring.trusting(first.first_trust(), CLUSTER).renewed(trust(second, 2, keys, retired=1))
    with pytest.raises(errors.SignatureError, match="nobody vouches"):
        ring.verify(first.signer().sign("target", b"x"), "target")
    stolen = first.with_new_signer()
    forged = [keys[0], first.signer().endorse(stolen.signer().public)]
    with pytest.raises(errors.SignatureError):
        ring.renewed(trust(stolen, 99, forged))
    with pytest.raises(errors.SignatureError):
        ring.renewed(trust(stolen, 99, [*keys, forged[1]], retired=1))
    with pytest.raises(errors.SignatureError):
        ring.renewed(trust(first, 99, keys, retired=1))


# --- requests and boxes ---------------------------------------------------------------------------------------------------


def test_a_request_for_a_certificate_says_who_signed_and_for_which_key() -> None:
    old, new = certificates.new_key(), certificates.new_key()
    found = renewals.read(CLUSTER, renewals.request(CLUSTER, C, old, new, uses=False))
    digests = [certificates.key_digest(certificates.private_key(pem).public_key()) for pem in (old, new)]
    assert (found.server_id, found.signer, found.digest, found.uses) == (C, *digests, False)


def test_an_altered_request_or_one_for_another_cluster_proves_nothing() -> None:
    old, new, mine = (certificates.new_key() for _ in range(3))
    made = msgspec.msgpack.decode(renewals.request(CLUSTER, C, old, new, uses=False), type=renewals.Request)
    other = msgspec.msgpack.decode(renewals.request(CLUSTER, C, old, mine, uses=False), type=renewals.Request)
    for changed in (
        msgspec.structs.replace(made, csr=other.csr),
        msgspec.structs.replace(made, server_id=P),
        msgspec.structs.replace(made, uses=True),
        msgspec.structs.replace(made, public=certificates.public_pem(mine)),
    ):
        with pytest.raises(errors.UnauthenticatedError):
            renewals.read(CLUSTER, msgspec.msgpack.encode(changed))
    with pytest.raises(errors.UnauthenticatedError):
        renewals.read(names.ClusterId("c2"), msgspec.msgpack.encode(made))


@given(st.binary(max_size=300))
def test_what_is_sealed_to_a_server_opens_for_it_alone(data: bytes) -> None:
    pem = KEYS[0]
    box = sealing.sealed(certificates.public_pem(pem), data, "c1")
    assert sealing.opened(pem, box, "c1") == data
    assert data not in box or len(data) < 4
    for key, altered, to in (
        (KEYS[1], box, "c1"),
        (pem, box[:-1] + bytes([box[-1] ^ 1]), "c1"),
        (pem, box, "c2"),
    ):
        with pytest.raises(errors.DamagedError):
            sealing.opened(key, altered, to)


KEYS = [certificates.new_key() for _ in range(2)]
