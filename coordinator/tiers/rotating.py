"""Another CA, another signing key: begun by a person, taken over by everybody, and the old one given up when nobody needs it.

The next authority is sealed to every member of MIC and stands in the store before anybody is told of it, in the transaction
that announces it: whoever takes office next can open it. Then everything that the old key signed is signed anew, and when
every server has said that it holds all of it (and a certificate of the new CA), the old ones are retired.
Law: at every moment each member of MIC can reach the keys that the last `trust` announces; nothing is retired while a server
that is not expelled has not said that it can do without.
"""

from collections.abc import Iterable, Mapping

import msgspec

from coordinator import errors, names
from coordinator.host import logs
from coordinator.propagation import mirror, objects
from coordinator.store import commands
from coordinator.tiers import asking, desk, keys, parking, revoking
from coordinator.trust import authority, certificates, sealing, signing

AT_ONCE = 1000  # objects signed anew in one transaction
AT_A_TIME = 16  # CAs, and signing keys, that count side by side while somebody is away
NAMED = 20  # servers told by name that are waited for

_LOG = logs.Log("mic")


class Waited(msgspec.Struct, frozen=True):
    """A server that has not taken the newest yet."""

    name: str
    server_id: names.ServerId
    parked: bool
    link: str
    """Where that ends, for people; empty where it has none."""


class Progress(msgspec.Struct, frozen=True):
    """How far rotations are."""

    roots: int
    """CAs that are trusted."""
    keys: int
    """Signing keys that are trusted."""
    waits_for: tuple[Waited, ...]
    """Who has not taken the newest, by name; at most `NAMED`."""
    waiting: int
    """So many have not."""
    newest_ca: str = ""
    """PEM; all certificates from now on are of it."""


Publics = Mapping[names.ServerId, bytes]
"""Public key (PEM) of the server of every member of MIC, to which the keys are sealed."""


class _Shown(msgspec.Struct, frozen=True):
    """What a ServerShell's status says of its key."""

    public_key: str = ""


async def publics(at: desk.Desk, members: Iterable[names.ServerId], own_pem: bytes) -> Publics:
    """Of every member, asked over the tree and compared with its admission; `own_pem` is this server's.

    Raises `UnreachableError` where one cannot be asked: keys that it could not open would end it as a member.
    """
    found = {at.means.server_id: own_pem}
    for server in members:
        if server not in found:
            found[server] = await _asked(at, server)
    return found


async def _asked(at: desk.Desk, server: names.ServerId) -> bytes:
    seat = at.past.content.admissions.get(server)
    name = server if seat is None else seat.content.name
    code, data = await at.ask(server, "status")
    if code:
        raise errors.UnreachableError(
            f"the keys cannot be sealed to {name}, which runs a member of MIC: {code}",
            hint="bring it back, or take it out of the store's members first",
        )
    try:
        public = msgspec.json.decode(data, type=_Shown).public_key.encode()
        digest = certificates.key_digest(certificates.public_key(public))
    except (msgspec.DecodeError, UnicodeDecodeError, errors.IdentityError) as wrong:
        raise errors.IdentityError(f"{name} does not show its key", hint="upgrade it first") from wrong
    if seat is None or not seat.content.key_digest or not seat.content.names_key(digest):
        raise errors.IdentityError(f"{name} shows another key than its admission names")
    return public


async def rotate_ca(at: desk.Desk, publics: Publics, caller: desk.Caller) -> None:
    """Announce another CA. Raises `RefusedError` where too many are under way, and what a commit raises."""
    async with at.turn:
        at.may_change()
        body = at.past.content.trust.content
        if len(body.roots) >= AT_A_TIME:
            raise errors.RefusedError(_too_many("CAs", len(body.roots)), hint=_EXPEL)
        after = at.means.authority.with_new_ca(at.clock.wall())
        announced = msgspec.structs.replace(body, roots=(*body.roots, after.ca_pem))
        await _announce(at, announced, after, publics, caller, "another CA")


async def rotate_keys(at: desk.Desk, publics: Publics, caller: desk.Caller) -> None:
    """Announce another signing key, sign with it from now on, and everything anew. Raises as `rotate_ca`."""
    async with at.turn:
        at.may_change()
        body = at.past.content.trust.content
        active = len(body.keys) - len(body.retired)
        if active >= AT_A_TIME or len(body.keys) >= signing.KEYS:
            raise errors.RefusedError(_too_many("signing keys", active), hint=_EXPEL)
        after = at.means.authority.with_new_signer()
        endorsed = at.signer.endorse(after.signer().public)
        announced = msgspec.structs.replace(body, keys=(*body.keys, endorsed))
        await _announce(at, announced, after, publics, caller, "another signing key")
    await sign_anew(at)


_EXPEL = (
    "wait until everybody has taken the last ones, or expel who is gone for good: `tiercast server rotation`"
)


def _too_many(what: str, count: int) -> str:
    return f"too many {what} are in use (got {count}, have room for {AT_A_TIME})"


async def _announce(
    at: desk.Desk,
    body: signing.TrustBody,
    after: authority.Authority,
    publics: Publics,
    caller: desk.Caller,
    detail: str,
) -> None:  # the old key signs: whoever knows it alone must be able to verify this very object
    signed = revoking.trust(at, body)
    boxes = tuple(
        commands.put(keys.sealed(server), sealing.sealed(public, after.encode(), server))
        for server, public in publics.items()
    )
    past = msgspec.structs.replace(at.past, content=at.past.content.take(signed))
    change = desk.Change((*boxes, *revoking.puts([signed])), past, caller=caller, detail=detail, publish=True)
    await at.commit(change)
    at.rekey(after)
    _LOG.info("authority rotated", number=after.number, what=detail)


# --- everything under the newest key ------------------------------------------------------------------------------------


async def sign_anew(at: desk.Desk) -> None:
    """Whatever another key than ours has signed; to be repeated at will. Raises what a commit raises."""
    await _records(at)
    while True:
        async with at.turn:
            at.may_change()
            content = at.past.content
            stale = [a.content for a in content.admissions.values() if _old(at, a.raw)][:AT_ONCE]
            signed: list[mirror.AnySigned] = [
                mirror.SignedAdmission(at.sign(objects.Kind.ADMISSION, one), one)
                for one in asking.numbered(content, tuple(stale))
            ]
            if not stale and content.target is not None and _old(at, content.target.raw):
                signed += _target(at, content.target.content)
            if not signed:
                return
            past = msgspec.structs.replace(at.past, content=content.take_all(tuple(signed)))
            await at.commit(desk.Change(revoking.puts(signed), past, publish=True))


def _target(at: desk.Desk, held: objects.Target) -> list[mirror.AnySigned]:
    """The same revision under the next number, with its record."""
    record = at.past.content.record
    assert record is not None
    again = msgspec.structs.replace(held, seq=held.seq + 1)
    return [
        mirror.SignedRecord(at.sign(objects.Kind.RECORD, record.content), record.content),
        mirror.SignedTarget(at.sign(objects.Kind.TARGET, again), again),
    ]


async def _records(at: desk.Desk) -> None:
    """Those of the history too, or the next MIC could not read it once the old key is retired."""
    async with at.turn:
        at.may_change()
        raws = [item.value for item in (await at.store.scan(keys.RECORDS)).items]
        stale = [at.past.records.get(_revision(raw)) for raw in raws if _old(at, raw)]
        puts = tuple(
            commands.put(keys.record(one.revision), at.sign(objects.Kind.RECORD, one))
            for one in stale
            if one is not None
        )
        if puts:
            await at.commit(desk.Change(puts, at.past))


def _revision(raw: bytes) -> int:
    return objects.decode_record(signing.opened(raw).payload).revision


def _old(at: desk.Desk, raw: bytes) -> bool:
    return signing.opened(raw).key != at.signer.key_id


# --- the old ones go ----------------------------------------------------------------------------------------------------


def progress(at: desk.Desk) -> Progress:
    """What is in use, and who has not taken the newest."""
    body = at.past.content.trust.content
    active = len(body.keys) - len(body.retired)
    under_way = len(body.roots) > 1 or active > 1
    live = sorted(asking.by_name(at.past.content).values(), key=lambda one: one.name) if under_way else []
    missing = [one for one in live if not _has_taken(at, one)]
    named = tuple(_waited(at, one) for one in missing[:NAMED])
    newest = at.means.authority.ca_pem.decode()
    return Progress(len(body.roots), active, named, len(missing), newest)


def _waited(at: desk.Desk, seat: objects.Admission) -> Waited:
    parked = seat.state is objects.AdmissionState.PARKED
    return Waited(seat.name, seat.server_id, parked, parking.place(at, seat.server_id))


def _has_taken(at: desk.Desk, seat: objects.Admission) -> bool:
    """Whether this server has said that it holds everything as it is now, and a certificate of the newest CA."""
    content = at.past.content
    ack = parking.ack(at, seat.server_id)
    if ack is None:
        return False
    placed = seat.state is objects.AdmissionState.PLACED
    return (
        ack.holds.trust >= content.trust.content.serial
        and ack.holds.admission >= seat.serial
        and (not placed or ack.holds.target >= content.numbers.target)
        and ack.issuer == signing.root_id(at.means.authority.ca_pem)
    )


async def retire(at: desk.Desk) -> bool:
    """Give up what nobody needs any more; whether there was something. Raises what a commit raises."""
    body = at.past.content.trust.content
    newest = at.signer.key_id
    retired = tuple(key.id for key in body.keys if key.id != newest)
    if body.roots == (at.means.authority.ca_pem,) and set(retired) == set(body.retired):
        return False
    await sign_anew(at)  # in case that was cut short
    async with at.turn:
        if progress(at).waiting:
            return False
        body = at.past.content.trust.content
        alone = msgspec.structs.replace(body, roots=(at.means.authority.ca_pem,), retired=retired)
        signed = revoking.trust(at, alone)
        past = msgspec.structs.replace(at.past, content=at.past.content.take(signed))
        await at.commit(desk.Change(revoking.puts([signed]), past, publish=True))
    _LOG.info("old keys retired", roots=1, retired=len(retired))
    return True
