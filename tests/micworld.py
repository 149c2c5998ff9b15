"""A MIC over the memory store, with a tree of servers that say what a test wants, and no sockets."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from coordinator import names, role
from coordinator.config import first, model
from coordinator.propagation import events, messages, mirror, objects
from coordinator.store import commands, port
from coordinator.store.backends import memory
from coordinator.tiers import asking, desk, mic, requests, seed, standing, taking
from coordinator.trust import authority, passwords, tokens
from tests import builders

CLUSTER = names.ClusterId("acme")
FIRST = names.ServerId("id-c1")
C1 = names.ServerName("c1")
CHEAP = passwords.Cost(memory_kib=8, passes=1)
DEADLINE_S = 60.0


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1_700_000_000.0 + self.now


class Random:
    def __init__(self) -> None:
        self._next = 0

    def uniform(self, low: float, high: float) -> float:
        return low

    def token(self, size_bytes: int) -> str:
        self._next += 1
        return f"{self._next:0{2 * size_bytes}x}"


class Disk:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def read(self, name: str) -> bytes | None:
        return self.files.get(name)

    def write(self, name: str, data: bytes) -> None:
        self.files[name] = data

    def remove(self, name: str) -> None:
        self.files.pop(name, None)

    def names(self, prefix: str = "") -> Sequence[str]:
        return sorted(name for name in self.files if name.startswith(prefix))


class Store(memory.MemoryStore):
    """Lets a test do something just before a commit, and hide its outcome."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.before: Callable[[commands.Txn], None] = lambda _txn: None
        self.after: Callable[[commands.Txn], None] = lambda _txn: None
        self.commits: list[commands.Txn] = []

    async def commit(self, txn: commands.Txn) -> port.TxnResult:
        self.before(txn)
        self.commits.append(txn)
        result = await super().commit(txn)
        self.after(txn)
        return result


def catalogue() -> role.Catalogue:
    return builders.CATALOGUE


def basic() -> model.Document:
    return first.basic_document(
        server=C1,
        address="10.1.0.11",
        site=names.SiteName("central"),
        master_domain="acme",
        fqdn="acme.example",
    )


class Tree:
    """All servers at once: takes what MIC sends, and speaks for whoever a test wants."""

    def __init__(self, world: "World", served: mic.Mic) -> None:
        self._world = world
        self._mic = served
        self.sent: list[events.Send] = []
        self.links: dict[names.ServerId, names.LinkId] = {}
        self.answers: dict[str, tuple[str, bytes]] = {}
        self.relayed: tuple[str, bytes] = ("not_allowed", b"")
        """What an IC answers for itself."""
        self._epochs = 0
        self._made = 0

    def act(self, outputs: Iterable[object]) -> None:
        for output in outputs:
            match output:
                case events.Send(_, messages.Ask() as ask):
                    self.sent.append(output)
                    self._answer(output.links[0], ask)
                case events.Send():
                    self.sent.append(output)
                case events.Close() | events.Authenticated() | events.Note():
                    pass
                case _:
                    self._mic.perform(output)

    def _answer(self, link: names.LinkId, ask: messages.Ask) -> None:
        code, data = self.answers.get(ask.verb, ("not_allowed", b"")) if ask.server else self.relayed
        self.feed(events.Heard(link, messages.Answer(ask.id, code, True, data)))

    def feed(self, event: events.Input) -> None:
        self.act(self._mic.machine.handle(event, self._world.clock.now))

    def connect(self, server: names.ServerId) -> None:
        """Its ServerShell dials in."""
        self._made += 1
        link = names.LinkId(self._made)
        admission = self._mic.at.past.content.admissions[server]
        hello = messages.Hello(
            1, CLUSTER, messages.ChildKind.SHELL, "", 1, objects.Numbers(), "", admission.raw, None
        )
        self.links[server] = link
        self.feed(events.Arrived(link, server, events.Proof(admission.content.key_digest)))
        self.feed(events.Heard(link, hello))

    def connect_relay(self, role: str, server: names.ServerId, *below: names.ServerId) -> None:
        """The IC of that server dials in, and holds the links of those."""
        self._made += 1
        link = names.LinkId(self._made)
        admission = self._mic.at.past.content.admissions[server]
        hello = messages.Hello(
            1, CLUSTER, messages.ChildKind.IC, role, 1, objects.Numbers(), "", admission.raw, None
        )
        self.feed(events.Arrived(link, server, events.Proof(admission.content.key_digest)))
        self.feed(events.Heard(link, hello))
        rows = tuple(messages.Row(one, True, None) for one in below)
        self.feed(events.Heard(link, messages.Rollup(1, True, rows)))

    def ack(
        self,
        server: names.ServerId,
        level: messages.Level = messages.Level.READY,
        outcome: messages.Outcome = messages.Outcome.OK,
        roles: tuple[messages.RoleAck, ...] = (),
    ) -> None:
        """It acks the active revision; `roles` are those in trouble."""
        self._epochs += 1
        content, epoch = self._mic.at.past.content, names.Epoch(1, self._epochs)
        state = messages.AckState(content.version, content.digest, level, outcome, epoch, roles=roles)
        self.feed(events.Heard(self.links[server], messages.Ack(state)))

    def say(self, server: names.ServerId, state: messages.AckState) -> None:
        """Its ack, word for word."""
        self.feed(events.Heard(self.links[server], messages.Ack(state)))

    def leave(self, server: names.ServerId) -> None:
        self.feed(events.Gone(self.links.pop(server), "gone"))


class World:
    """Everything that outlives one MIC."""

    def __init__(self, now: float = 1000.0) -> None:
        """`now` in seconds of its clock, which is late in 2023 where it is not given."""
        self.clock = Clock(now)
        self.random = Random()
        self.disk = Disk()
        self.store = Store(self.clock)
        self.authority = authority.create_authority(CLUSTER, self.clock.wall())
        self.token = tokens.new_token(self.random)
        self.seed: seed.Seed | None = seed.first_objects(
            self.authority, seed.First(FIRST, C1), basic(), self.token, self.clock.wall()
        )
        self.ledger: mirror.Content | None = None
        self.requests = 0

    @property
    def means(self) -> desk.Means:
        return desk.Means(CLUSTER, FIRST, C1, self.authority, catalogue, self.clock, self.random, CHEAP)

    async def open(self) -> tuple[mic.Mic, Tree]:
        remembered = taking.Memory(standing.HighWater(self.disk), self.seed, self.ledger)
        opened = await taking.open_mic(self.means, self.store, remembered)
        tree = Tree(self, opened)
        opened.attach(tree.act)
        return opened, tree

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[mic.Mic, Tree]]:
        """A MIC with its background work."""
        opened, tree = await self.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(opened.run)
            try:
                yield opened, tree
            finally:
                tasks.cancel_scope.cancel()

    async def ask(self, served: mic.Mic, verb: str, asked: msgspec.Struct | None = None, **how: Any) -> Any:
        """(code, answer as plain data) as WS would get it."""
        self.requests += 1
        token, request = how.get("token", self.token.text), how.get("request", f"q{self.requests}")
        body = b"{}" if asked is None else msgspec.json.encode(asked)
        call = msgspec.msgpack.encode(requests.Call(token, how.get("source", "10.9.9.9"), request, body))
        over = how.get("over", messages.ChildKind.WS)
        code, data = await served.answered(verb, over, call)
        return code, msgspec.json.decode(data)

    async def apply(self, served: mic.Mic, document: model.Document, **rest: Any) -> Any:
        how = {key: rest.pop(key) for key in ("token", "request") if key in rest}
        asked = requests.Apply(source=requests.Source(files=(file(document),)), **rest)
        return await self.ask(served, requests.Verb.APPLY, asked, **how)

    async def enroll(self, served: mic.Mic, name: str, pem: str = "") -> names.ServerId:
        asked = requests.Enroll(name, pem or signing_request())
        code, answer = await self.ask(served, requests.Verb.ENROLL, asked)
        assert code == "", answer
        return names.ServerId(answer["server_id"])


def file(document: model.Document) -> requests.File:
    return requests.File("system.json", model.canonical(document).decode())


def signing_request() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


async def until(holds: Callable[[], object]) -> None:
    with anyio.fail_after(DEADLINE_S):
        while not holds():  # noqa: ASYNC110 what is waited for is state of MIC, which has no event of its own
            await anyio.sleep(0.005)


def state_of(served: mic.Mic, name: str) -> objects.AdmissionState:
    return asking.by_name(served.at.past.content)[names.ServerName(name)].state
