"""The active MIC: serves the tree, answers requests. The shell around `propagation.master`.

It performs what the machine decides and what people ask; what may be issued is decided in `standing` and
`taking`, what a change contains in `applying`. It knows no sockets: whoever runs it attaches a driver.
Laws: it issues nothing without office, and nothing while the store is not the newest there is (I1, I7); whatever makes
its picture of the store doubtful ends it, and the next one reads the store anew.
"""

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio
import anyio.abc
import msgspec

from coordinator import errors, limits, names
from coordinator.config import pair
from coordinator.host import logs
from coordinator.propagation import asks, children, events, joining, master, messages, objects
from coordinator.tiers import (
    desk,
    enrolling,
    guessing,
    library,
    office,
    permissions,
    receiving,
    requests,
    requests_joining,
    requests_people,
    rolling,
    roster,
    rotating,
    seeing,
    standing,
    verbs,
    web,
)

RETIRE_LOOK_S = 5.0  # nobody waits for it, and it asks the picture in memory
BY_LINK = frozenset({web.CERTIFICATE, requests_people.ROSTER})
"""Verbs for which no person's token is asked: the link has proved the role."""
AGAIN_S = 0.5  # for children of a MIC that ends: another one, or it again, is there soon

_LOG = logs.Log("mic")


Act = Callable[[Iterable[object]], None]
_Answer = TypeVar("_Answer")


class _Noticing:
    """The machine as its driver sees it: whoever waits for news is woken after every input."""

    def __init__(self, at: desk.Desk) -> None:
        self._at = at

    @property
    def deadline(self) -> float:
        return self._at.master.deadline

    def handle(self, event: events.Input, now: float) -> tuple[object, ...]:
        before = self._at.master.convergence.index
        outputs = self._at.master.handle(event, now)
        if self._at.master.convergence.index != before:
            self._at.news.tell()
        return outputs

    def drained(self, link: names.LinkId, now: float) -> tuple[object, ...]:
        return self._at.master.drained(link, now)


class Mic:
    """See the module; made by `taking.open_mic`."""

    def __init__(self, at: desk.Desk) -> None:
        self.at = at
        self.machine = _Noticing(at)
        self._inbox: deque[asks.Asked | master.Released] = deque()
        self._wake = anyio.Event()
        self._drained = anyio.Event()
        self._reception = receiving.Reception(at)

    @property
    def recovery(self) -> str:
        """Why nothing can be changed; empty where all is well."""
        return self.at.recovery

    @property
    def fallen(self) -> errors.TiercastError | None:
        """Why this MIC is ending, if it is."""
        return self.at.fallen

    def attach(self, act: Act) -> None:
        """The driver is there: what the machine says goes to `act` from here on."""
        self.at.act = act
        self.at.publish()
        wall, now = self.at.clock.wall(), self.at.clock.monotonic()
        self.at.master.convergence.seen(seeing.remembered(self.at), now, wall)

    def perform(self, output: object) -> None:
        """What the machine wants done and is not of the hop."""
        match output:
            case asks.Asked() | master.Released():
                self._inbox.append(output)
                self._wake.set()
            case asks.Answered(number, code, data):
                self.at.answered(number, code, data)
            case master.NeedsRecovery(version, reason):
                self._recover(version, reason)
            case master.Drained():
                self._drained.set()
            case _:
                raise AssertionError(f"not an output of MIC: {output}")

    def _recover(self, version: names.Version, reason: str) -> None:
        """From here on nothing is issued, and not after a restart either."""
        _LOG.error("needs recovery", reason=reason)
        self.at.recovery = reason
        if self.at.mark is not None:
            have = self.at.past.content.numbers.target
            self.at.mark.raise_to(standing.Mark(version, names.Serial(have.generation, have.seq + 1)))
        self.at.news.tell()

    async def drain(self) -> None:
        """Serve on until every linked server has accepted the newest, at most `limits.DRAIN_S`."""
        self.at.act(self.at.master.drain(self.at.clock.monotonic()))
        with anyio.move_on_after(limits.DRAIN_S):
            await self._drained.wait()

    async def run(self) -> None:
        """Until cancelled. Raises why this MIC must end."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._settle)
            tasks.start_soon(self._renew)
            tasks.start_soon(self._freshen)
            tasks.start_soon(self._see)
            tasks.start_soon(self._work, tasks)
            tasks.start_soon(self._count)
            tasks.start_soon(self._retire)
            tasks.start_soon(guessing.keep, self.at)
            while (problem := self.at.fallen) is None:
                await self.at.news.wait()
            self._dismiss()
            tasks.cancel_scope.cancel()
        assert problem is not None
        raise problem

    def _dismiss(self) -> None:
        """Whoever is deposed closes its links at once (I7); what that means for acks is its successor's to judge."""
        said = self.at.master.publisher.say_bye("this MIC has lost its office", AGAIN_S)
        self.at.act(tuple(one for one in said if isinstance(one, events.Send | events.Close)))

    # --- by itself ------------------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        await anyio.sleep(limits.SILENT_S)
        self.at.settled = True
        self.at.news.tell()

    async def _renew(self) -> None:
        """Keep the lease; when it cannot be kept in time, this MIC is not the active one any more."""
        held = self.at.office
        while held is not None and self.at.fallen is None:
            await anyio.sleep(office.RENEW_S)
            try:
                with anyio.fail_after(held.left_s):
                    await self._renewed(held)
            except TimeoutError:
                self.at.fall(office.DeposedError("the lease could not be renewed in time"))
            except errors.TiercastError as problem:
                self.at.fall(problem)

    async def _renewed(self, held: office.Office) -> None:
        while True:
            try:
                return await held.renew()
            except (errors.NoQuorumError, errors.UnknownOutcomeError) as problem:
                _LOG.warning("lease not renewed yet", reason=problem.message)
                await anyio.sleep(office.RETRY_S)

    async def _retire(self) -> None:
        """Old CAs and signing keys go once nobody needs them."""
        while True:
            await anyio.sleep(RETIRE_LOOK_S)
            if self.at.recovery or not self.at.settled:
                continue
            try:
                await rotating.retire(self.at)
            except errors.TiercastError as problem:
                _LOG.warning("old keys not retired", reason=problem.message)

    async def _count(self) -> None:
        """What the users' keys take of their quota."""
        if self.at.kv is not None:
            with contextlib.suppress(errors.NoQuorumError):  # the store has closed, and this MIC ends
                await self.at.kv.usage.follow()

    async def _freshen(self) -> None:
        count = 0
        while True:
            held, content = self.at.office, self.at.past.content
            if held is not None and held.left_s and not self.at.recovery:
                count += 1
                numbers = content.numbers
                fresh = objects.Fresh(
                    content.version.generation,
                    held.term,
                    count,
                    numbers.target,
                    numbers.trust,
                    self.at.clock.wall(),
                )
                self.at.master.freshen(self.at.sign(objects.Kind.FRESH, fresh))
            await anyio.sleep(limits.FRESH_S)

    async def _see(self) -> None:
        """After a second of news, or when the rollout has ended; never while a new one begins to spread."""
        watcher = seeing.Watcher(self.at)
        while True:
            while not watcher.has_news:
                await self.at.news.wait()
            with anyio.move_on_after(limits.SEEN_COMMIT_S):
                while not rolling.ended(self.at):
                    await self.at.news.wait()
            try:
                await watcher.commit()
            except errors.TiercastError as problem:
                _LOG.warning("what was seen is not committed", reason=problem.message)
                await anyio.sleep(
                    limits.SEEN_COMMIT_S
                )  # whatever has ended meanwhile: the store cannot, for now

    async def _work(self, tasks: anyio.abc.TaskGroup) -> None:
        while True:
            while self._inbox:
                match self._inbox.popleft():
                    case asks.Asked() as asked:
                        tasks.start_soon(self._answer, asked)
                    case master.Released(server):
                        tasks.start_soon(self._park, server)
            self._wake = anyio.Event()
            await self._wake.wait()

    async def _park(self, server: names.ServerId) -> None:
        try:
            await enrolling.park(self.at, server)
        except errors.TiercastError as problem:
            _LOG.warning("server not parked", server=server, reason=problem.message)

    # --- asked ----------------------------------------------------------------------------------------------------

    async def _answer(self, asked: asks.Asked) -> None:
        child = self.at.master.publisher.children.get(asked.link)
        over = None if child is None else child.hello.kind
        if asked.verb in BY_LINK:
            code, data = await self._of_role(asked.verb, child, asked.data)
        else:
            code, data = await self.answered(asked.verb, over, asked.data, _entry(child))
        now = self.at.clock.monotonic()
        self.at.act(self.at.master.answer(asked.link, asked.id, code, data, now))
        self.at.publish_owed()

    async def _of_role(self, verb: str, child: children.Child | None, data: bytes) -> tuple[str, bytes]:
        """For a web role or a domain centre, known by its link."""
        try:
            if verb == web.CERTIFICATE:
                return "", msgspec.json.encode(web.issue(self.at, child, data))
            return "", msgspec.json.encode(await roster.told(self.at, child))
        except errors.TiercastError as error:
            _LOG.warning("role refused", verb=verb, server=child.peer if child else "", reason=error.message)
            return error.code, msgspec.json.encode(library.problem(error))

    async def answered(
        self, verb: str, over: str | None, data: bytes, entry: pair.Entry | None = None
    ) -> tuple[str, bytes]:
        """(code, JSON) for one request; never raises."""
        try:
            return "", msgspec.json.encode(await self._asked(verb, over, data, entry or pair.Entry()))
        except errors.TiercastError as error:
            problem = library.problem(error)
        except Exception:  # noqa: BLE001 one bad request must not end MIC
            _LOG.crashed("request failed", verb=verb[:64])
            problem = requests.Problem("internal", "MIC failed at this request", "see its log")
        return problem.code, msgspec.json.encode(problem)

    async def _asked(self, verb: str, over: str | None, data: bytes, entry: pair.Entry) -> msgspec.Struct:
        if (own_proof := permissions.proven(verb, over)) is not None:
            return await self._proven(own_proof, data)
        try:
            call = msgspec.msgpack.decode(data, type=requests.Call)
        except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
            raise errors.ProtocolError(f"the request cannot be read: {wrong}") from wrong

        async def act(at: desk.Desk, caller: desk.Caller) -> msgspec.Struct:
            known = requests.Verb(verb)
            caller = msgspec.structs.replace(caller, entry=entry)
            if known is requests.Verb.WHOAMI:
                return library.whoami(at, caller.person)
            return await verbs.VERBS[known](at, caller, call.body)

        return await self.on_behalf(call, verb, act, over)

    async def on_behalf(
        self,
        call: requests.Call,
        verb: str,
        act: Callable[[desk.Desk, desk.Caller], Awaitable[_Answer]],
        over: str | None = messages.ChildKind.WS,
    ) -> _Answer:
        """Do it for whoever shows the token, if the table allows it; a refusal is remembered. Raises `TiercastError`."""
        caller = desk.Caller("", call.source, verb[:64], call.request_id)
        mutates = False
        try:
            known, row = permissions.row(verb, over)
            mutates = row.mutates and not row.busy
            if row.least is not None:
                caller = await self._reception.known(caller, call.token)
            if mutates and not row.secret:
                caller = msgspec.structs.replace(caller, digest=await receiving.digest(call.body))
            permissions.check(caller.person, known, self.at.master_domain)
            return await act(self.at, caller)
        except errors.TiercastError as error:
            await self._reception.refused(caller, error, mutates=mutates)
            raise

    async def _proven(self, verb: requests_joining.Proven, data: bytes) -> msgspec.Struct:
        """Of a machine: its request is its own proof, and a refusal of it is one of a stranger."""
        carried = joining.carried(data)
        caller = desk.Caller("", carried.source[: limits.NAME_CHARACTERS], verb, "")
        try:
            return await verbs.PROVEN[verb](self.at, caller, carried.body)
        except errors.TiercastError as error:
            await self._reception.refused(caller, error, mutates=True)
            raise


def _entry(child: children.Child | None) -> pair.Entry:
    """By which ws a request came; which server that is the link has proved, and its role can lie about nothing but itself."""
    if child is None or child.hello.kind is not messages.ChildKind.WS:
        return pair.Entry()
    return pair.Entry(pair.Through(child.admit.server, names.RoleName(child.hello.name)))
