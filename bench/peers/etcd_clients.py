"""Clients of etcd over its own gRPC, lean: each agent watches and acks over one connection.

The publisher puts `config` and watches the prefix `acks/`; an ack is a put of `acks/<agent>`. Every put is a commit of
etcd's consensus, written durably.
"""

import asyncio
import sys
import time

from bench.peers import crowd, http2
from bench.propagation import program

CONFIG, ACKS, ACKS_END = b"config", b"acks/", b"acks0"
_WATCH, _PUT = b"/etcdserverpb.Watch/Watch", b"/etcdserverpb.KV/Put"
_CREATED, _EVENTS, _KV, _VALUE = 3, 11, 2, 5
_REVISION_BYTES = 4


class Watching(http2.Connection):
    """Watches one key or range from the moment it is connected."""

    def __init__(self, key: bytes, end: bytes = b"") -> None:
        super().__init__()
        self._key, self._end = key, end
        self.watching = asyncio.Event()
        self._watch = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        wanted = http2.field(1, self._key) + (http2.field(2, self._end) if self._end else b"")
        self._watch = self.call(_WATCH, http2.field(1, wanted), last=False)

    def put(self, key: bytes, value: bytes) -> int:
        return self.call(_PUT, http2.field(1, key) + http2.field(2, value), last=True)

    def message(self, stream: int, payload: bytes) -> None:
        if stream != self._watch:
            self.was_put()
            return
        for number, value in http2.fields(payload):
            if number == _CREATED:
                self.watching.set()
            elif number == _EVENTS and isinstance(value, memoryview):
                self._event(value)

    def _event(self, event: memoryview) -> None:
        for number, kv in http2.fields(event):
            if number == _KV and isinstance(kv, memoryview):
                for name, value in http2.fields(kv):
                    if name == _VALUE and isinstance(value, memoryview):
                        self.changed(value)

    def changed(self, value: memoryview) -> None:
        """A value of the watched range."""

    def was_put(self) -> None:
        """A put is done."""


class Agent(Watching):
    def __init__(self, number: int, receipts: crowd.Receipts) -> None:
        super().__init__(CONFIG)
        self._ack = ACKS + b"%d" % number
        self._receipts = receipts

    def changed(self, value: memoryview) -> None:
        self._receipts.note(value[_REVISION_BYTES:])
        self.put(self._ack, bytes(value[:_REVISION_BYTES]))


class Publisher(Watching):
    def __init__(self, acks: crowd.Acks) -> None:
        super().__init__(ACKS, ACKS_END)
        self._acks = acks
        self._done = asyncio.Event()

    def changed(self, value: memoryview) -> None:
        self._acks.add(int.from_bytes(value, "big"))

    def was_put(self) -> None:
        self._done.set()

    async def publish(self, revision: int, body: bytes) -> float:
        self._done.clear()
        self.put(CONFIG, revision.to_bytes(_REVISION_BYTES, "big") + body)
        await self._done.wait()
        return time.monotonic()


async def publisher(line: program.Line) -> None:
    """Arguments: port, agents."""
    acks = crowd.Acks(int(sys.argv[3]))
    made = await crowd.reached(lambda: Publisher(acks), int(sys.argv[2]))
    await made.watching.wait()
    await made.publish(0, b"")
    line.say(ready=True)
    await crowd.publishing(line, acks, made.publish)


async def agents(line: program.Line) -> None:
    """Arguments: port, first, last (not included)."""
    port, first, last = (int(one) for one in sys.argv[2:5])
    receipts = crowd.Receipts()
    made = [Agent(number, receipts) for number in range(first, last)]
    await crowd.connect_all(list(made), [port] * len(made))
    for one in made:
        await one.watching.wait()
    line.say(agents=len(made))
    await receipts.told(line)


PARTS = {"publisher": publisher, "agents": agents}

if __name__ == "__main__":
    program.run(PARTS[sys.argv[1]])
