"""Frames that keep to the form and to nothing else: every field from the edges of what its type can hold."""

import random

from coordinator import names
from coordinator.propagation import messages, objects
from tests.security import cluster

INTEGERS = (0, 1, 2, 3, 7, 400, 2**31, 2**40, 2**40 + 1, 2**63 - 1, 2**63, 2**64 - 1, -1, -(2**63))
TEXTS = (
    "",
    "id-n1",
    "id-n2",
    "id-c2",
    "id-u1",
    "status",
    "servers.enroll",
    "boot",
    "r5",
    "\0",
    "\u202e\n",
    "ä" * 900,
    "x" * 20_000,
)
FLOATS = (0.0, -1.0, 1e308, float("nan"), float("inf"), float("-inf"))


class Writer:
    """Draws frames; some hold what MIC has really signed."""

    def __init__(self, made: cluster.Cluster, rng: random.Random) -> None:
        self._made = made
        self._rng = rng
        content = made.content
        assert content.target is not None
        assert content.record is not None
        newer = [one.raw for number in (2, 3, 9) for one in made.pair(number, made.digest, len(made.body))]
        strange = [one.raw for one in made.pair(5, names.Digest("d" * 64), 10)]
        huge = [one.raw for one in made.pair(6, names.Digest("e" * 64), 2**62)]
        self._raws = [
            b"",
            b"\xc1",
            b"x" * 3000,
            content.target.raw,
            content.record.raw,
            content.trust.raw,
            content.target.raw[:-1] + b"!",
            *newer,
            *strange,
            *huge,
            *(one.raw for one in content.admissions.values()),
        ]

    def integer(self) -> int:
        return self._rng.choice(INTEGERS)

    def text(self) -> str:
        return self._rng.choice(TEXTS)

    def raw(self) -> bytes:
        return self._rng.choice(self._raws)

    def digest(self) -> names.Digest:
        return names.Digest(self._rng.choice([self._made.digest, "d" * 64, self.text()]))

    def numbers(self) -> objects.Numbers:
        return objects.Numbers(*(names.Serial(self.integer(), self.integer()) for _ in range(3)))

    def ack(self) -> messages.AckState:
        rng = self._rng
        role = messages.RoleAck(
            names.RoleName(self.text()),
            messages.Level.HELD,
            messages.Outcome.FAILED,
            self.text(),
            self.text(),
            self.text(),
        )
        version = rng.choice([names.Version(1, 1), names.Version(self.integer(), self.integer())])
        epoch = rng.choice([names.Epoch(1, rng.randrange(1000)), names.Epoch(self.integer(), self.integer())])
        return messages.AckState(
            version,
            self.digest(),
            rng.choice(list(messages.Level)),
            rng.choice(list(messages.Outcome)),
            epoch,
            self.text(),
            self.text(),
            (role,) * rng.choice([0, 1, 5]),
        )

    def row(self) -> messages.Row:
        ack = self.ack() if self._rng.random() < 0.7 else None
        return messages.Row(names.ServerId(self.text()), self._rng.random() < 0.5, ack)

    def chunk(self) -> messages.Chunk:
        data = self._rng.choice([b"", b"x", b"\x28\xb5\x2f\xfd" + b"\0" * 40, b"x" * 3000])
        return messages.Chunk(
            self.digest(), self.digest(), self.integer(), self.integer(), self.integer(), data
        )

    def hello(self) -> messages.Hello:
        rng = self._rng
        ack = self.ack() if rng.random() < 0.5 else None
        kind = rng.choice(list(messages.ChildKind))
        cluster_id = rng.choice([cluster.CLUSTER, names.ClusterId(self.text())])
        name = rng.choice(["", "icn1", "ws1", self.text()])
        return messages.Hello(
            rng.choice([1, self.integer()]),
            cluster_id,
            kind,
            name,
            self.integer(),
            self.numbers(),
            self.digest(),
            self.raw(),
            ack,
        )

    def frame(self) -> messages.AnyFrame:
        rng = self._rng
        data = rng.choice([b"", b"x", b"1" * 30, b"x" * 50_000])
        last = rng.random() < 0.6
        welcome = rng.choice([cluster.CLUSTER, names.ClusterId(self.text())])
        makers = (
            self.hello,
            lambda: messages.Welcome(1, welcome, self.integer(), self.numbers(), self.raw()),
            self.chunk,
            lambda: messages.Offer(
                tuple(self.raw() for _ in range(rng.choice([0, 1, 3, 4, 5, 30]))),
                rng.choice([None, self.chunk()]),
            ),
            lambda: messages.Pull(self.digest(), self.digest(), self.integer()),
            lambda: messages.Ack(self.ack()),
            lambda: messages.Rollup(
                rng.choice([rng.randrange(1, 100), self.integer()]),
                rng.random() < 0.5,
                tuple(self.row() for _ in range(rng.choice([0, 1, 8]))),
            ),
            lambda: messages.Heartbeat(self.raw(), self.numbers(), self.integer()),
            lambda: messages.Ask(self.integer(), self.text(), self.text(), last, data),
            lambda: messages.Answer(rng.choice([1, 2, 3, self.integer()]), self.text(), last, data),
            lambda: messages.Newest(self.numbers()),
            lambda: messages.Bye(self.text(), rng.choice(FLOATS)),
        )
        return rng.choice(makers)()
