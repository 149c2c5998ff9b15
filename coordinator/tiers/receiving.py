"""At MIC's door: whose token this is, and what is remembered of those who are refused.

Of people every refused change is kept, and every refusal for want of a right. Whoever is refused again and again could
fill the audit: of one person's refusals of one verb for one reason one a second is kept, of strangers' failed logins one
a second, and one of everything else of theirs; with the number of those passed over.
"""

import collections
import contextlib
import hashlib

import anyio.to_thread
import msgspec

from coordinator import errors
from coordinator.domains import people
from coordinator.host import logs
from coordinator.tiers import desk, requests

ALIKE_AUDITED_S = 1.0  # more often nothing else would stand in the audit after some hours
KINDS_KEPT = 1024  # of refusals, each about 200 bytes; the one met longest ago is forgotten
INLINE_DIGEST_BYTES = 1024 * 1024  # 2 ms

_LOG = logs.Log("mic")


class Reception:
    """See the module."""

    def __init__(self, at: desk.Desk) -> None:
        self._at = at
        self._met: collections.OrderedDict[tuple[str, str, str], tuple[float, int]] = (
            collections.OrderedDict()
        )
        """Of refusals that are alike: when one is kept again, and how many were passed over since the last."""

    async def known(self, caller: desk.Caller, token: str) -> desk.Caller:
        """With the person whose token it is. Raises `UnauthenticatedError`."""
        at = self._at
        person = await people.whose(at.store, token, at.clock.wall(), at.fallback)
        master, domains = at.master_domain, at.past.document.domains
        if person.domain != master and person.domain not in domains:
            raise errors.UnauthenticatedError(
                f"the domain {person.domain} is not in the document any more",
                hint=f"ask an administrator of {master}",
            )
        return msgspec.structs.replace(caller, name=person.called(master), person=person)

    async def refused(self, caller: desk.Caller, error: errors.TiercastError, *, mutates: bool) -> None:
        """Into the audit, as far as the module says; never raises."""
        _LOG.info("refused", who=caller.name, source=caller.source, verb=caller.verb, code=error.code)
        if caller.name and not mutates and not isinstance(error, errors.NotAllowedError):
            return
        more = self._more(_kind(caller, error))
        if more is None or self._at.recovery or self._at.fallen is not None:
            return
        with contextlib.suppress(errors.TiercastError):
            await self._at.audit_refusal(caller, error.code, error.message + more)

    def _more(self, kind: tuple[str, str, str]) -> str | None:
        """What else there is to tell; None where this one is passed over."""
        now = self._at.clock.monotonic()
        due, passed = self._met.get(kind, (now, 0))
        if now < due:
            self._met[kind] = (due, passed + 1)
            return None
        self._met[kind] = (now + ALIKE_AUDITED_S, 0)
        self._met.move_to_end(kind)
        if len(self._met) > KINDS_KEPT:
            self._met.popitem(last=False)
        return f"; and {passed} more like it before" if passed else ""


def _kind(caller: desk.Caller, error: errors.TiercastError) -> tuple[str, str, str]:
    """Strangers are all one, for what they say of themselves is theirs to choose."""
    if caller.name:
        return caller.name, caller.verb, error.code
    return "", requests.Verb.LOGIN if caller.verb == requests.Verb.LOGIN else "", ""


async def digest(body: bytes) -> str:
    """Of a request, for the audit; a large one in a thread."""
    if len(body) < INLINE_DIGEST_BYTES:
        return hashlib.sha256(body).hexdigest()
    return await anyio.to_thread.run_sync(lambda: hashlib.sha256(body).hexdigest())
