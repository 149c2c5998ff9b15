"""Whatever is read before or in place of trust: garbage is refused by name, and nothing else happens."""

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator import errors, names
from coordinator.trust import authority, certificates, renewals, sealing
from tests import micworld

EXAMPLES = settings(max_examples=150, deadline=None)
CLUSTER, SERVER = names.ClusterId("c1"), names.ServerId("n1")
OLD, NEW = certificates.new_key(), certificates.new_key()
REQUEST = renewals.request(CLUSTER, SERVER, OLD, NEW, uses=False)
BOX = sealing.sealed(certificates.public_pem(OLD), b"keys", "c1")
HELD = authority.create_authority(CLUSTER, 1_800_000_000.0).with_new_ca(1_800_000_000.0)
CURRENT = micworld.Disk()
authority.enrolled(HELD, SERVER, 1_800_000_000.0).replace(CURRENT)


def near(whole: bytes) -> st.SearchStrategy[bytes]:
    """Anything, and the real thing with a few bytes changed, cut or added."""

    def changed(cuts: tuple[int, int, bytes]) -> bytes:
        at, gone, added = cuts
        at %= len(whole)
        return whole[:at] + added + whole[at + gone :]

    cuts = st.tuples(st.integers(0, len(whole)), st.integers(0, 8), st.binary(max_size=8))
    return st.one_of(st.binary(max_size=300), cuts.map(changed))


@EXAMPLES
@given(near(REQUEST))
def test_a_request_for_a_certificate_proves_itself_or_is_refused(data: bytes) -> None:
    with contextlib.suppress(errors.UnauthenticatedError):
        found = renewals.read(CLUSTER, data)
        assert found == renewals.read(CLUSTER, REQUEST)


@EXAMPLES
@given(near(BOX))
def test_a_box_opens_to_what_was_sealed_or_not_at_all(data: bytes) -> None:
    with contextlib.suppress(errors.DamagedError):
        assert sealing.opened(OLD, data, "c1") == b"keys"


@EXAMPLES
@given(near(HELD.encode()))
def test_an_authority_is_read_or_damaged(data: bytes) -> None:
    with contextlib.suppress(errors.DamagedError):
        authority.Authority.decode(data)


@EXAMPLES
@given(near(CURRENT.files[authority.CURRENT_FILE]))
def test_a_renewed_identity_is_read_or_damaged(data: bytes) -> None:
    disk = micworld.Disk()
    disk.write(authority.CURRENT_FILE, data)
    with contextlib.suppress(errors.DamagedError):
        assert authority.Identity.load(disk).server_id == SERVER
