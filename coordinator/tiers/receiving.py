"""At MIC's door: whose token this is, and what is remembered of those who are refused.

Of people every refused change is kept, and every refusal for want of a right. Strangers could fill the audit: of their
failed logins one a second is kept, and one of everything else, with the number of those passed over.
"""

import contextlib
import hashlib

import anyio.to_thread
import msgspec

from coordinator import errors
from coordinator.domains import people
from coordinator.host import logs
from coordinator.tiers import desk, requests

STRANGERS_AUDITED_S = 1.0  # more often only strangers would stand in the audit
INLINE_DIGEST_BYTES = 1024 * 1024  # 2 ms

_LOG = logs.Log("mic")


class Reception:
    """See the module."""

    def __init__(self, at: desk.Desk) -> None:
        self._at = at
        self._next: dict[bool, float] = {}
        """When a refusal of a stranger is kept again: of a login, of anything else."""
        self._passed_over = {True: 0, False: 0}

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
        told = error.message
        if not caller.name:
            more = self._of_stranger(caller)
            if more is None:
                return
            told += more
        elif not mutates and not isinstance(error, errors.NotAllowedError):
            return
        if self._at.recovery or self._at.fallen is not None:
            return
        with contextlib.suppress(errors.TiercastError):
            await self._at.audit_refusal(caller, error.code, told)

    def _of_stranger(self, caller: desk.Caller) -> str | None:
        """What else there is to tell; None where this one is passed over."""
        now, login = self._at.clock.monotonic(), caller.verb == requests.Verb.LOGIN
        if now < self._next.get(login, now):
            self._passed_over[login] += 1
            return None
        self._next[login] = now + STRANGERS_AUDITED_S
        passed, self._passed_over[login] = self._passed_over[login], 0
        return f"; and {passed} more refusals of strangers before it" if passed else ""


async def digest(body: bytes) -> str:
    """Of a request, for the audit; a large one in a thread."""
    if len(body) < INLINE_DIGEST_BYTES:
        return hashlib.sha256(body).hexdigest()
    return await anyio.to_thread.run_sync(lambda: hashlib.sha256(body).hexdigest())
