"""A worker node's side of its hop, as one machine: mirrors the ServerShell of its server and finds its own roles.

Pure. The same subscriber and intake as on every hop, so the signature is verified here once more, at the leaf itself;
a node keeps nothing on disk of it (its server's ledger is beside it), so what it takes counts at once.
Law: roles are configured only by a body that MIC signed and this node's server has accepted.
"""

from collections.abc import Iterable

import msgspec

from coordinator import names, role
from coordinator.config import topology
from coordinator.propagation import asks, bodies, gates, intake, messages, mirror, subscriber
from coordinator.propagation import events as hop
from coordinator.trust import signing
from nodeagent.basedrole import acks, events


class Configure(msgspec.Struct, frozen=True):
    """Output: the server has accepted this; `roles` are all of this node in it."""

    view: role.View
    roles: tuple[events.WantedRole, ...]


class Retry(msgspec.Struct, frozen=True):
    """Output: the server asks to try again what was refused or failed."""


class NodeIdentity(msgspec.Struct, frozen=True):
    """What a node is told when it is started."""

    cluster: names.ClusterId
    server: names.ServerName
    node: names.NodeName
    boot: int
    """Rises with every start of this node."""
    trust: bytes
    """The signed `trust` that its server holds."""
    socket: str


Output = hop.Dial | hop.Send | hop.Authenticated | hop.Close | hop.Note | Configure | Retry


class Follower:
    """See the module."""

    def __init__(self, identity: NodeIdentity) -> None:
        """Raises `errors.SignatureError` on a trust that does not verify itself."""
        self.identity = identity
        self._reader = gates.Reader()
        keyring = signing.Keyring.trusting(identity.trust, identity.cluster)
        content = mirror.Content(mirror.SignedTrust(identity.trust, keyring.body))
        self.intake = intake.Intake(content, bodies.Shelf(), identity.cluster, lambda _body: None)
        me = subscriber.Me(identity.cluster, messages.ChildKind.NODE, identity.node, names.ServerId(""))
        self.subscriber = subscriber.Subscriber(me, self.intake, identity.boot)
        self.asks = asks.Asks()
        self._seq = 0

    @property
    def deadline(self) -> float:
        """When `Tick` is due."""
        return self.subscriber.deadline

    def begin(self, now: float) -> tuple[Output, ...]:
        """Look for the ServerShell."""
        return self._through(
            self.subscriber.follow((hop.Parent(self.identity.server, self.identity.socket, 0),), now), now
        )

    def handle(self, event: hop.Input, now: float) -> tuple[Output, ...]:
        """Inputs of the one link, and time."""
        match event:
            case hop.Heard(link, messages.Ask() as ask) if link == self.subscriber.link:
                return tuple(out for one in self.asks.asked(link, ask) for out in self._asked(one))
            case hop.Gone(link):
                self.asks.gone(link)
            case _:
                pass
        return self._through(self.subscriber.handle(event, now), now)

    def drained(self, _link: names.LinkId, _now: float) -> tuple[Output, ...]:
        """Nothing large is ever sent upwards."""
        return ()

    def tell(self, ack: acks.NodeAck, now: float) -> tuple[Output, ...]:
        """What the roles run has changed."""
        self._seq += 1
        epoch = names.Epoch(self.identity.boot, self._seq)
        state = messages.AckState(
            ack.version, ack.digest, ack.level, ack.outcome, epoch, ack.code, ack.detail, ack.roles
        )
        return self._through(self.subscriber.tell(state), now)

    def _through(self, inner: Iterable[subscriber.Output], now: float) -> tuple[Output, ...]:
        outputs: list[Output] = []
        for one in inner:
            match one:
                case hop.Store(ticket):
                    outputs += self._through(self.subscriber.handle(hop.Stored(ticket), now), now)
                case hop.Accepted(version, digest, body):
                    outputs.append(self._configure(version, digest, body))
                case subscriber.TellAgain():
                    outputs += self._again(now)
                case hop.Dial() | hop.Send() | hop.Authenticated() | hop.Close() | hop.Note():
                    outputs.append(one)
                case _:
                    pass
        return tuple(outputs)

    def _asked(self, one: asks.Output) -> tuple[Output, ...]:
        """The table of verbs: one, and only from the ServerShell of this server."""
        match one:
            case asks.Asked(verb=asks.RETRY):
                return (*self._answer(one, ""), Retry())
            case asks.Asked():
                return self._answer(one, "not_allowed")
            case hop.Send():
                return (one,)
            case asks.Answered():
                return ()

    def _answer(self, asked: asks.Asked, code: str) -> tuple[Output, ...]:
        sent = self.asks.answer(asked.link, asked.id, code, b"")
        return tuple(one for one in sent if isinstance(one, hop.Send))

    def _again(self, now: float) -> tuple[Output, ...]:
        said = self.subscriber.ack
        if said is None:
            return ()
        self._seq += 1
        again = msgspec.structs.replace(said, epoch=names.Epoch(self.identity.boot, self._seq))
        return self._through(self.subscriber.tell(again), now)

    def _configure(self, version: names.Version, digest: names.Digest, body: bytes) -> Configure:
        expanded = self._reader.read(digest, body)
        assert expanded is not None
        mine = [n for n in topology.nodes(expanded, self.identity.server) if n.name == self.identity.node]
        roles = tuple(
            events.WantedRole(
                name=one.name,
                type=one.type,
                params=dict(one.params),
                server=self.identity.server,
                site=one.site or names.SiteName(""),
                address=one.address,
            )
            for node in mine
            for one in node.roles
        )
        return Configure(role.View(version, digest, body), roles)
