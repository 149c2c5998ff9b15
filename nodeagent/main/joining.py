"""`server join`: this machine becomes a server, by a line that somebody gave it.

The key is made here and on disk before anything is asked, so that a lost answer costs nothing: the same line again asks
with the same key, and is given the same identity. Laws: the secret never leaves this machine; nothing is asked of anybody
whose root the line does not pin; the directory becomes a server's by its last file, or not at all.
"""

from collections.abc import Callable

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from coordinator import effects, errors, names
from coordinator.host import disk, settings
from coordinator.propagation import joining, mirror, objects
from coordinator.trust import authority, certificates, joinlines, signing
from nodeagent.main import knocking, leaving, running

KEY_FILE = "joining/server.key"
LINE_FILE = "identity/line"
"""Id of the line by which this server joined."""
LEFT_OVER = frozenset({"joining", "lock", "logs", "state"})
"""What may lie in a directory that is to become a server's; `server leave` leaves the last ones."""
PAUSE_MIN_S, PAUSE_MAX_S = 0.2, 5.0
PASSING = frozenset(
    {
        "unreachable",
        "lost",
        "timed_out",
        "busy",
        "no_coordinator",
        "no_quorum",
        "needs_recovery",
        "unknown_outcome",
    }
)
"""Codes that say nothing about the line: it is asked again."""
_BY_CODE: dict[str, type[errors.TiercastError]] = {
    kind.code: kind
    for kind in (
        errors.UnauthenticatedError,
        errors.NotAllowedError,
        errors.ConflictError,
        errors.ClockSkewError,
        errors.UsageError,
        errors.NoSpaceError,
        errors.ProtocolError,
    )
}


class Wanted(msgspec.Struct, frozen=True):
    """What the owner of this machine says."""

    line: joinlines.Line
    places: tuple[knocking.Place, ...]
    """Where to ask, in order."""
    timeout_s: float
    any_clock: bool = False
    local_address: str | None = None


class Means(msgspec.Struct, frozen=True):
    """What a join is given of its process."""

    clock: effects.Clock
    random: effects.Random
    sleep: Callable[[float], None]
    tell: Callable[[str], None]


class Joined(msgspec.Struct, frozen=True):
    server_id: names.ServerId
    name: str
    state: str
    again: bool = False
    """It had joined by this very line before."""


def as_json(joined: Joined) -> str:
    """For programs."""
    return msgspec.json.encode(joined).decode()


class _PassingError(Exception):
    """Not now; the reason for people."""


def join(layout: settings.Layout, wanted: Wanted, means: Means) -> Joined:
    """Raises `InUseError`, `IdentityError`, `NoCoordinatorError` after the time-out, and what MIC says of the line."""
    before = _before(layout, wanted.line)
    root = disk.DirectoryDisk(layout.root)
    if before is not None:
        root.remove(KEY_FILE)
        return before
    key_pem = root.read(KEY_FILE)
    if key_pem is None:
        key_pem = certificates.new_key()
        root.write(KEY_FILE, key_pem)
    place, cluster, grant = _granted(wanted, key_pem, means)
    identity = authority.Identity(grant.server_id, cluster, key_pem, grant.certificate_pem, grant.ca_pem)
    others = tuple(one for one in wanted.places if one != place)
    points = ((place.address, place.port), *((one.address, one.port) for one in others), *grant.parents)
    bundle = authority.Bundle(identity, grant.trust, grant.admission, tuple(dict.fromkeys(points)))
    root.write(LINE_FILE, wanted.line.id.encode())
    running.adopt(layout, bundle)
    root.remove(KEY_FILE)
    return Joined(grant.server_id, grant.name, grant.state)


def _before(layout: settings.Layout, line: joinlines.Line) -> Joined | None:
    """What came of this line in this directory before. Raises `InUseError` where something else lives here."""
    if not layout.root.exists():
        return None
    hint = "name another directory with --dir, or remove it if it is really not needed"
    if not layout.root.is_dir():
        raise errors.InUseError(f"{layout.root} is no directory", hint=hint)
    leaving.check_not_begun(layout)
    root = disk.DirectoryDisk(layout.root)
    if root.read(authority.DIRECTORY + "server.pem") is None:
        found = {one.name for one in layout.root.iterdir()} - LEFT_OVER - {"identity"}
        if found:
            raise errors.InUseError(
                f"{layout.root} is not empty (got {', '.join(sorted(found)[:5])})", hint=hint
            )
        return None
    identity = authority.Identity.load(root)
    if root.read(LINE_FILE) != line.id.encode():
        raise errors.InUseError(f"{layout.root} belongs to server {identity.server_id} already", hint=hint)
    trust, admission = root.read(authority.TRUST_FILE), root.read(authority.ADMISSION_FILE)
    keyring = signing.Keyring.trusting(trust or b"", identity.cluster)
    seat = _seat(keyring, admission or b"", identity.server_id)
    return Joined(identity.server_id, seat.name, seat.state.value, again=True)


def _seat(keyring: signing.Keyring, raw: bytes, server_id: names.ServerId) -> objects.Admission:
    """The server's own. Raises `SignatureError`."""
    signed = mirror.verify(raw, keyring)
    if not isinstance(signed, mirror.SignedAdmission) or signed.content.server_id != server_id:
        raise errors.SignatureError("the admission is another server's")
    return signed.content


def _granted(
    wanted: Wanted, key_pem: bytes, means: Means
) -> tuple[knocking.Place, names.ClusterId, joining.Grant]:
    """Ask one place after the other, again and again. Raises as `join` does."""
    end, pause_s, passing = means.clock.monotonic() + wanted.timeout_s, PAUSE_MIN_S, ""
    while True:
        fatal: errors.TiercastError | None = None
        for place in wanted.places:
            try:
                cluster, grant = _asked(place, wanted, key_pem, means.clock)
            except _PassingError as reason:
                if str(reason) != passing:
                    passing = str(reason)
                    means.tell(f"{passing}, will retry")
            except errors.TiercastError as problem:
                fatal = fatal or problem
            else:
                return place, cluster, grant
        if fatal is not None:
            raise fatal
        wait_s = means.random.uniform(pause_s / 2, pause_s)
        if means.clock.monotonic() + wait_s > end:
            hint = "say the same line again: the key that it asks with is kept"
            raise errors.NoCoordinatorError(f"{passing} (waited {wanted.timeout_s:g} s)", hint=hint)
        means.sleep(wait_s)
        pause_s = min(PAUSE_MAX_S, pause_s * 2)


def _asked(
    place: knocking.Place, wanted: Wanted, key_pem: bytes, clock: effects.Clock
) -> tuple[names.ClusterId, joining.Grant]:
    """Raises `_PassingError`, `IdentityError`, and what MIC says."""
    try:
        with knocking.Knock(place, wanted.local_address) as knock:
            cluster, ca_pem = knock.vouched(wanted.line.pin)
            request, public = _request(wanted, key_pem, cluster, clock)
            answer = knock.ask(request)
    except errors.UnreachableError as problem:
        raise _PassingError(problem.message) from problem
    if answer.code:
        raise _refusal(place, answer)
    grant = _opened(wanted.line, cluster, public, answer.data)
    if grant.ca_pem != ca_pem:
        raise errors.IdentityError(f"{place}: the certificate is of another CA than the line pins")
    return cluster, grant


def _request(
    wanted: Wanted, key_pem: bytes, cluster: names.ClusterId, clock: effects.Clock
) -> tuple[joining.Request, bytes]:
    csr = x509.load_pem_x509_csr(certificates.signing_request(key_pem, "joining"))
    public = csr.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    wall = 0.0 if wanted.any_clock else clock.wall()
    proof = joinlines.request_proof(wanted.line, cluster, public, wall)
    der = csr.public_bytes(serialization.Encoding.DER)
    return joining.Request(wanted.line.id, der, wall, proof), public


def _refusal(place: knocking.Place, answer: joining.Answer) -> Exception:
    """What MIC, or whoever could not reach it, says."""
    try:
        told = msgspec.json.decode(answer.data, type=joining.Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = joining.Problem()
    if answer.code in PASSING:
        return _PassingError(f"{place}: no coordinator" + (f" ({told.detail})" if told.detail else ""))
    kind = _BY_CODE.get(answer.code, errors.NotAllowedError)
    return kind(told.detail or f"{place} answers {answer.code}", hint=told.hint)


def _opened(line: joinlines.Line, cluster: names.ClusterId, public: bytes, data: bytes) -> joining.Grant:
    """The grant, if it is of whoever knows the line's secret. Raises `SignatureError`."""
    try:
        sealed = msgspec.json.decode(data, type=joining.Sealed)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise errors.ProtocolError(f"the answer cannot be read: {wrong}") from wrong
    if not joinlines.same(joinlines.grant_proof(line, cluster, public, sealed.grant), sealed.proof):
        raise errors.SignatureError("the answer is not of whoever made this join line")
    grant = joining.grant(sealed.grant)
    _seat(signing.Keyring.trusting(grant.trust, cluster), grant.admission, grant.server_id)
    return grant
