"""Servers that come by a join line, wait for a name, and go: what MIC does about each.

The authority is MIC's alone: relays only carry a request here and its answer back. Law: a line is used by one key, which may
say it again and gets the same identity; the admission and the use of the line are one transaction, committed before anybody
is told. Whoever does not know a line's secret learns nothing of the line.
"""

import datetime as dt

import msgspec
from cryptography import exceptions, x509

from coordinator import errors, names
from coordinator.config import topology
from coordinator.host import durations
from coordinator.propagation import joining, objects
from coordinator.store import commands
from coordinator.tiers import asking, desk, enrolling, joins, requests_joining, seats
from coordinator.trust import authority, joinlines

TTL_MIN_S, TTL_MAX_S = 60.0, 30 * 86400.0
SKEW_S = 300.0  # beyond it logs and ages of the new server would mislead whoever reads them
ID_SHORT = 4  # characters of an id that are enough where no other id begins so


# --- join lines -----------------------------------------------------------------------------------------------------


async def create(
    at: desk.Desk, caller: desk.Caller, asked: requests_joining.CreateLine
) -> requests_joining.LineMade:
    """A new line. Raises `UsageError`, `ConflictError` on a name that is taken, `NoSpaceError`."""
    if asked.server:
        enrolling.check_name(asked.server)
    if not TTL_MIN_S <= asked.ttl_s <= TTL_MAX_S:
        raise errors.UsageError(
            f"a join line is good for a minute up to 30 days (got {asked.ttl_s:.0f} s)", hint="--ttl 1h"
        )
    name, wall = names.ServerName(asked.server), at.clock.wall()
    async with at.turn:
        at.may_change()
        _check_free(at, name)
        gone = joins.pruned(await joins.scan(at.store), wall)
        line_id = at.means.random.token(joinlines.ID_BYTES)
        made = joins.Join(line_id, name, caller.name, wall, wall + asked.ttl_s)
        detail = f"join line {line_id} for {name or 'any server'}"
        fresh = commands.absent(made.key)
        await at.commit(desk.Change((*gone, joins.put(made)), at.past, (fresh,), caller, detail))
    line = _line(at, line_id)
    return requests_joining.LineMade(line_id, line.text, name, made.expires, _places(at))


def _places(at: desk.Desk) -> tuple[str, ...]:
    """Where MIC's instances listen."""
    found = topology.coordinator_parents(at.past.expanded)
    return tuple(written(one.address, one.port) for one in found)


def written(address: str, port: int) -> str:
    """`address:port`, as people write it."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _line(at: desk.Desk, line_id: str) -> joinlines.Line:
    held = at.means.authority
    return joinlines.Line(
        joinlines.pin(held.ca_pem), line_id, joinlines.secret(held.ca_key_pem, at.means.cluster, line_id)
    )


def _check_free(at: desk.Desk, name: names.ServerName) -> None:
    """Raises `ConflictError` where a live server has this name."""
    if name and name in asking.by_name(at.past.content):
        raise errors.ConflictError(
            f"there is a server {name} already",
            hint=f"choose another name, or take the old one out first: `tiercast server expel {name}`",
        )


async def lines(
    at: desk.Desk, _caller: desk.Caller, asked: requests_joining.ListLines
) -> requests_joining.Lines:
    wall = at.clock.wall()
    shown = [_view(at, one, wall) for one in await joins.scan(at.store)]
    return requests_joining.Lines(tuple(one for one in shown if asked.every or one.state == "open"))


def _view(at: desk.Desk, one: joins.Join, wall: float) -> requests_joining.LineView:
    held = at.past.content.admissions.get(one.server_id)
    name = one.server if held is None else held.content.name
    return requests_joining.LineView(
        one.id, one.state(wall), name, one.server_id, one.author, one.made, one.expires
    )


async def revoke(
    at: desk.Desk, caller: desk.Caller, asked: requests_joining.RevokeLine
) -> requests_joining.LineView:
    """Nobody joins by it any more; a second time nothing. Raises `NotFoundError`, `ConflictError` on a used one."""
    async with at.turn:
        at.may_change()
        held = await joins.read(at.store, asked.id[: 2 * joinlines.ID_BYTES])
        if held is None or held.id != asked.id:
            raise errors.NotFoundError(
                f"there is no join line {asked.id[:40]!r}", hint="tiercast token list --all"
            )
        if held.key_digest:
            named = _view(at, held, 0.0).server
            raise errors.ConflictError(
                f"this join line was used by {named} already", hint=f"tiercast server expel {named}"
            )
        revoked = msgspec.structs.replace(held, revoked=True)
        detail = f"join line {held.id} revoked"
        await at.commit(desk.Change((joins.put(revoked),), at.past, caller=caller, detail=detail))
    return _view(at, revoked, at.clock.wall())


# --- a machine joins ------------------------------------------------------------------------------------------------


async def join(at: desk.Desk, caller: desk.Caller, body: bytes) -> joining.Sealed:
    """Its certificate and admission.

    Raises `UnauthenticatedError` where the secret does not fit, `ClockSkewError`, `NotAllowedError` where the line is
    unknown, revoked, expired or used by another key, `ConflictError` on a name that was taken meanwhile.
    """
    asked = joining.request(body)
    public, public_der = _requested(asked.csr)
    key_digest = joinlines.key_digest(public_der)
    line = _line(at, asked.line[: 2 * joinlines.ID_BYTES])
    proof = joinlines.request_proof(line, at.means.cluster, public_der, asked.wall)
    if line.id != asked.line or not joinlines.same(proof, asked.proof):
        raise errors.UnauthenticatedError(
            "the secret of this join line does not fit",
            hint="copy the whole line once more; or make a new one, if the CA was rotated since",
        )
    _check_clock(asked.wall, at.clock.wall())
    async with at.turn:
        at.may_change()
        held = _usable(await joins.read(at.store, line.id), key_digest, at.clock.wall())
        server_id = held.server_id if held.key_digest else await _admit(at, caller, held, key_digest)
        grant = _grant(at, server_id, public)
    return joining.Sealed(grant, joinlines.grant_proof(line, at.means.cluster, public_der, grant))


def _requested(csr: bytes) -> tuple[bytes, bytes]:
    """The public key (PEM, DER). Raises `UsageError`."""
    try:
        key = enrolling.proven_key(x509.load_der_x509_csr(csr))
    except (ValueError, TypeError, x509.InvalidVersion, exceptions.UnsupportedAlgorithm) as wrong:
        raise errors.UsageError("the certificate request cannot be read") from wrong
    return enrolling.public_pem(key), joinlines.public_der(key)


def _check_clock(theirs: float, ours: float) -> None:
    """Raises `ClockSkewError`; a machine that says 0 does not want to be asked."""
    if theirs and not abs(theirs - ours) <= SKEW_S:
        raise errors.ClockSkewError(
            f"the clocks are too far apart (got {_moment(theirs)}, have {_moment(ours)})",
            hint="set the new machine's clock and say the line again, or say --any-clock",
        )


def _moment(wall_s: float) -> str:
    try:
        return f"{dt.datetime.fromtimestamp(wall_s, dt.UTC):%Y-%m-%d %H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return f"{wall_s:g}"


def _usable(held: joins.Join | None, key_digest: str, wall: float) -> joins.Join:
    """Raises `NotAllowedError`, each with what became of the line."""
    again = "make a new line with `tiercast token create`"
    if held is None:
        raise errors.NotAllowedError("this join line is not known here any more", hint=again)
    if held.key_digest == key_digest:
        return held
    match held.state(wall):
        case "used":
            raise errors.NotAllowedError(
                f"this join line was used by another key {durations.written(max(0.0, wall - held.used))} ago (server {held.server_id})",
                hint=f"{again}; if that was not you: `tiercast server expel {held.server_id}`",
            )
        case "revoked":
            raise errors.NotAllowedError("this join line was revoked", hint=again)
        case "expired":
            raise errors.NotAllowedError(
                f"this join line expired {durations.written(max(0.0, wall - held.expires))} ago", hint=again
            )
        case _:
            return held


async def _admit(at: desk.Desk, caller: desk.Caller, held: joins.Join, key_digest: str) -> names.ServerId:
    """The first use of a line; `turn` is held. Raises `ConflictError`."""
    _check_free(at, held.server)
    new = enrolling.admission(at, held.server, key_digest)
    used = msgspec.structs.replace(held, key_digest=key_digest, server_id=new.server_id, used=at.clock.wall())
    detail = f"server {new.name} joined by line {held.id} of {held.author}"
    change = seats.change(at, (new,), caller, detail)
    both = (*change.operations, joins.put(used))
    await at.commit(msgspec.structs.replace(change, operations=both))
    return new.server_id


def _grant(at: desk.Desk, server_id: names.ServerId, public: bytes) -> bytes:
    content, means = at.past.content, at.means
    seat = content.admissions.get(server_id)
    if seat is None or seat.content.state is objects.AdmissionState.EXPELLED:
        raise errors.NotAllowedError(
            f"the server {server_id} that joined by this line is no longer one of us",
            hint="make a new line with `tiercast token create`",
        )
    certificate = authority.issue(means.authority, server_id, public, at.clock.wall())
    grant = joining.Grant(
        server_id,
        seat.content.name,
        seat.content.state.value,
        certificate,
        means.authority.ca_pem,
        content.trust.raw,
        seat.raw,
        tuple((one.address, one.port) for one in seat.content.parents),
    )
    return joining.encode(grant)


# --- a name for whoever has none --------------------------------------------------------------------------------------


async def accept(at: desk.Desk, caller: desk.Caller, asked: requests_joining.Accept) -> requests_joining.Seat:
    """Raises `NotFoundError`, `UsageError`, `ConflictError` where it has a name, or the name is taken."""
    enrolling.check_name(asked.name)
    name = names.ServerName(asked.name)
    async with at.turn:
        at.may_change()
        held = _by_id(at, asked.server)
        if held.name == name:
            return _seat(held)
        if not asking.is_unnamed(held.name):
            raise errors.ConflictError(
                f"server {held.server_id} has a name already (got {name}, have {held.name})"
            )
        _check_free(at, name)
        place = topology.place(at.past.document, name)
        parked, placed = objects.AdmissionState.PARKED, objects.AdmissionState.PLACED
        named = msgspec.structs.replace(
            held,
            name=name,
            state=parked if place is None else placed,
            site=names.SiteName("") if place is None else place.site,
        )
        new = asking.numbered(at.past.content, (named,))
        await at.commit(seats.change(at, new, caller, f"server {held.server_id} is named {name}"))
        return _seat(new[0])


def _by_id(at: desk.Desk, wanted: str) -> objects.Admission:
    """Of a live server. Raises `NotFoundError`, `ConflictError` where several begin so."""
    live = asking.by_name(at.past.content).values()
    fits = [one for one in live if one.server_id == wanted]
    if not fits and len(wanted) >= ID_SHORT:
        fits = [one for one in live if one.server_id.startswith(wanted)]
    if len(fits) > 1:
        raise errors.ConflictError(f"several ids begin with {wanted[:64]}", hint="write more of it")
    if not fits:
        raise errors.NotFoundError(
            f"no server has the id {wanted[:64]!r}", hint="`tiercast servers` names those that wait"
        )
    return fits[0]


def _seat(one: objects.Admission) -> requests_joining.Seat:
    return requests_joining.Seat(one.server_id, one.name, one.state.value, one.site)
