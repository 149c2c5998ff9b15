"""One call to the cluster, whatever happens to its members: failover, tokens, deadlines, and what may be said twice.

Laws: a write is sent again only if it is known not to have been done, or where doing it twice is doing it once; an answer
that is older than one given before is never handed out, and nothing is asked any more after it.
"""

import asyncio
import enum
from typing import Final, TypeVar

from coordinator import effects, errors
from coordinator.store.backends.etcd import access, members, messages, refusals

CALL_S: Final = 1.8  # all of one call: that there is no quorum is to be told within two seconds
TURN_S: Final = 0.8  # of one member where there are others
BYTES_A_SECOND: Final = (
    1024 * 1024
)  # a large request is given as long as a slow line and a slow disk need for it
PAUSE_S: Final = 0.05
_LEADER: Final = "Grpc-Metadata-hasleader"

A = TypeVar("A")


class Sending(enum.Enum):
    """What may be done where no answer came."""

    READ = "read"
    REPEATABLE = "repeatable"
    """Done twice is done once."""
    ONCE = "once"


class DoneBeforeError(Exception):
    """An earlier try of the same call has done it, or somebody else meanwhile."""


class Gateway:
    """The cluster as one thing to ask."""

    def __init__(self, used: access.Access, clock: effects.Clock) -> None:
        self.members = members.Members(used, clock)
        self.access = used
        self.clock = clock
        self._token = ""
        self._logging_in = asyncio.Lock()
        self._newest = messages.Header()
        self.over: errors.TiercastError | None = None
        """Why nothing is asked any more."""
        self.doubtful = False
        """The last call found no majority; whether there is one is better asked before something is written."""

    @property
    def revision(self) -> int:
        """The newest that was ever told."""
        return self._newest.revision

    async def call(
        self,
        path: str,
        message: messages.Message,
        answer: type[A],
        sending: Sending = Sending.READ,
        done: type[errors.TiercastError] | None = None,
    ) -> A:
        """Raises `NoQuorumError` (nothing was done), `UnknownOutcomeError`, and what etcd refuses.

        After a try without an answer, a refusal of the kind `done` raises `DoneBeforeError`.
        """
        body = messages.encode(message)
        call = _Call(self, sending, len(body) / BYTES_A_SECOND)
        call.done = done
        while True:
            if self.over is not None:
                raise self.over
            member = self.members.now
            try:
                return await self._asked(call, member, path, body, answer)
            except members.NotSentError as wrong:
                call.turned_away(member, wrong.error)
            except members.UnansweredError as wrong:
                call.last, call.doubt = wrong.error, call.doubt or call.sent
            except members.RefusedError as refused:
                call.refused(refused)
            except (errors.IdentityError, errors.RefusedError) as wrong:
                call.turned_away(member, wrong)
            self.members.failed(member)
            await call.pause()

    async def _asked(
        self, call: "_Call", member: members.Member, path: str, body: bytes, answer: type[A]
    ) -> A:
        call.sent = False
        if not member.known:
            await self.members.look(member, call.turn_s)
        headers = await self.headers(call, member)
        before, call.sent = self._newest, True
        found = await self.members.ask(member, path, body, answer, headers=headers, limit_s=call.turn_s)
        self.doubtful = False
        header = getattr(found, "header", None)
        if path in {messages.RANGE, messages.TXN} and isinstance(header, messages.Header):
            self._check(before, header, member)
        return found

    def _check(self, before: messages.Header, header: messages.Header, member: members.Member) -> None:
        """Raises `NeedsRecoveryError`; what was asked after an answer is never answered from before it."""
        if header.revision < before.revision or header.raft_term < before.raft_term:
            got, have = (f"{one.revision} in term {one.raft_term}" for one in (header, before))
            self.over = errors.NeedsRecoveryError(
                f"etcd at {member.endpoint} holds older data than it has shown (got revision {got}, have {have})",
                hint="it was restored from a copy or lost its disk; see `tiercast store recover`",
            )
            raise self.over
        if header.revision > self._newest.revision:
            self._newest = header

    async def local(self, member: members.Member, path: str, message: messages.Message, answer: type[A]) -> A:
        """One request to this very member, which may know no majority. Raises what `members.ask` raises."""
        call = _Call(self, Sending.READ)
        headers = await self.headers(call, member)
        headers.pop(_LEADER)
        body = messages.encode(message)
        return await self.members.ask(member, path, body, answer, headers=headers, limit_s=call.turn_s)

    # --- who we are -----------------------------------------------------------------------------------------------------

    async def headers(self, call: "_Call", member: members.Member) -> dict[str, str]:
        """With a token where there is a user; a member without a leader is to say so at once."""
        sent = {_LEADER: "true"}
        if self.access.user:
            async with self._logging_in:
                if not self._token:
                    self._token = await self._login(call, member)
            sent["Authorization"] = self._token
        return sent

    async def stream_headers(self, member: members.Member) -> dict[str, str]:
        """Of a watch. Raises what `members.ask` raises."""
        return await self.headers(_Call(self, Sending.READ), member)

    async def _login(self, call: "_Call", member: members.Member) -> str:
        body = messages.encode({"name": self.access.user, "password": self.access.password})
        found = await self.members.ask(
            member, messages.LOGIN, body, messages.Login, headers={}, limit_s=call.turn_s
        )
        return found.token

    def forget_token(self) -> None:
        """The next request logs in anew."""
        self._token = ""

    async def close(self) -> None:
        await self.members.close()


class _Call:
    """One call's patience, and what it has learnt."""

    def __init__(self, gateway: Gateway, sending: Sending, more_s: float = 0.0) -> None:
        self._gateway = gateway
        self._sending = sending
        self._more_s = more_s
        self._until = gateway.clock.monotonic() + CALL_S + more_s
        self.last: errors.TiercastError = errors.NoQuorumError("etcd was not asked")
        self.sent = False
        self.doubt = False
        """One of the members may have done it."""
        self.done: type[errors.TiercastError] | None = None
        self._strangers: set[str] = set()

    @property
    def turn_s(self) -> float:
        left = max(0.05, self.left_s)
        return left if len(self._gateway.members) == 1 else min(left, TURN_S + self._more_s)

    @property
    def left_s(self) -> float:
        return self._until - self._gateway.clock.monotonic()

    def turned_away(self, member: members.Member, error: errors.TiercastError) -> None:
        """Nothing was sent to it. Raises why, where no member is one that may be asked."""
        self.last = error
        if not isinstance(error, errors.NoQuorumError):
            self._strangers.add(member.endpoint)
            if len(self._strangers) == len(self._gateway.members):
                raise self._told(error)

    def refused(self, refused: members.RefusedError) -> None:
        """Go on where another try may help. Raises what it is, where none does."""
        self.last = refused.error
        match refused.fate:
            case refusals.Fate.REFUSED:
                if self.doubt and self.done is not None and isinstance(refused.error, self.done):
                    raise DoneBeforeError
                raise self._told(refused.error)
            case refusals.Fate.UNKNOWN:
                self.doubt = self.doubt or self.sent
            case refusals.Fate.LOGIN:
                self._gateway.forget_token()
                if not self._gateway.access.user:
                    raise self._told(refused.error)
            case refusals.Fate.NOT_NOW:
                pass

    async def pause(self) -> None:
        """Before the next try. Raises why there is none."""
        if self.doubt and self._sending is Sending.ONCE:
            raise self._told(self.last)
        if self.left_s <= PAUSE_S:
            self._gateway.doubtful = True
            raise self._told(self.last)
        await asyncio.sleep(PAUSE_S)

    def _told(self, last: errors.TiercastError) -> errors.TiercastError:
        """After a doubt no error says that nothing was done."""
        if not self.doubt or self._sending is Sending.READ:
            return last
        return errors.UnknownOutcomeError(f"it is not known whether etcd has done it: {last.message}")
