"""Another certificate for a server that is one: for the same key, or for a new one that the old one vouches for.

Law: the id never changes; for a key other than the admission's a certificate is issued only once a newer admission names it,
committed before anybody is told; the key before it counts until the server says, with the new one, that it uses it. For the
same key nothing is written, so that certificates are renewed while nothing can be changed.
"""

import msgspec

from coordinator import errors, names
from coordinator.propagation import objects
from coordinator.tiers import asking, desk, seats
from coordinator.trust import authority, renewals


async def renew(at: desk.Desk, caller: desk.Caller, body: bytes) -> renewals.Renewed:
    """Raises `UnauthenticatedError` where it is not the word of a live server, and what a commit raises."""
    wanted = renewals.read(at.means.cluster, body)
    async with at.turn:
        held = _live(at, wanted)
        after = _after(held, wanted)
        if after != held:
            at.may_change()
            numbered = asking.numbered(at.past.content, (after,))
            named = desk.Caller(held.name, caller.source, caller.verb, caller.request)
            detail = f"server {held.name} ({held.server_id}): {_told(held, after)}"
            await at.commit(seats.change(at, numbered, named, detail))
        return _issued(at, wanted)


def _live(at: desk.Desk, wanted: renewals.Wanted) -> objects.Admission:
    content = at.past.content
    held = content.admissions.get(wanted.server_id)
    if (
        held is None
        or wanted.server_id in content.trust.content.revoked
        or held.content.state is objects.AdmissionState.EXPELLED
        or not held.content.names_key(wanted.signer)
    ):
        raise errors.UnauthenticatedError("this is not the word of a server of this cluster")
    return held.content


def _after(held: objects.Admission, wanted: renewals.Wanted) -> objects.Admission:
    """What the admission says once this is granted. Raises `UnauthenticatedError`."""
    if not held.key_digest:  # pinned from its first renewal on
        return msgspec.structs.replace(held, key_digest=wanted.digest)
    if wanted.digest == held.key_digest:
        done = wanted.uses and wanted.signer == held.key_digest
        return msgspec.structs.replace(held, former="") if done else held
    if wanted.signer != held.key_digest:
        raise errors.UnauthenticatedError("a key that was replaced already vouches for no other")
    return msgspec.structs.replace(held, key_digest=wanted.digest, former=held.key_digest)


def _told(held: objects.Admission, after: objects.Admission) -> str:
    if after.key_digest != held.key_digest and held.key_digest:
        return "another key"
    return "its key is pinned" if not held.key_digest else "uses its new key"


def _issued(at: desk.Desk, wanted: renewals.Wanted) -> renewals.Renewed:
    content, keys = at.past.content, at.means.authority
    server: names.ServerId = wanted.server_id
    certificate = authority.issue(keys, server, wanted.public_pem, at.clock.wall())
    return renewals.Renewed(certificate, keys.ca_pem, content.trust.raw, content.admissions[server].raw)
