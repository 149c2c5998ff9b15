"""Clients of Redis: each agent subscribes and acks over one connection (RESP3), the publisher sets and publishes.

An ack is `SET ack:<agent> <revision>` and `INCR acks:<revision>` in one write; the agent whose INCR answers the number
of agents tells the publisher.
"""

import asyncio
import sys
import time
from typing import cast

from bench.peers import crowd
from bench.propagation import program

CONFIG, DONE = b"config", b"done"
_REVISION_BYTES = 4


def command(*words: bytes) -> bytes:
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


class Reader(asyncio.Protocol):
    """Pushes and integers of RESP3; everything else is passed over."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        at = 0
        while (found := self._value(at)) is not None:
            value, at = found
            self.value(value)
        del self._buffer[:at]

    def value(self, value: object) -> None:
        """One answer or push."""

    def _value(self, at: int) -> tuple[object, int] | None:
        """The value at `at` and where the next begins; None where it is not whole."""
        end = self._buffer.find(b"\r\n", at)
        if end < 0:
            return None
        kind, word, at = self._buffer[at], bytes(self._buffer[at + 1 : end]), end + 2
        match chr(kind):
            case ":":
                return int(word), at
            case "$":
                size = int(word)
                if size < 0:
                    return None, at
                return (
                    (bytes(self._buffer[at : at + size]), at + size + 2)
                    if len(self._buffer) >= at + size + 2
                    else None
                )
            case "*" | ">" | "%" | "~":
                return self._several(int(word) * (2 if kind == ord("%") else 1), at)
            case _:
                return word, at

    def _several(self, count: int, at: int) -> tuple[object, int] | None:
        values = []
        for _ in range(count):
            found = self._value(at)
            if found is None:
                return None
            value, at = found
            values.append(value)
        return values, at


class Agent(Reader):
    def __init__(self, number: int, wanted: int, receipts: crowd.Receipts) -> None:
        super().__init__()
        self._key = b"ack:%d" % number
        self._wanted = wanted
        self._receipts = receipts
        self._revision = 0
        self.subscribed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(command(b"HELLO", b"3") + command(b"SUBSCRIBE", CONFIG))

    def value(self, value: object) -> None:
        if isinstance(value, int):
            if value == self._wanted:
                self.transport.write(command(b"PUBLISH", DONE, b"%d" % self._revision))
        elif isinstance(value, list) and value[0] == b"message":
            self._take(value[2])
        elif isinstance(value, list) and value[0] == b"subscribe":
            self.subscribed.set()

    def _take(self, message: bytes) -> None:
        self._revision = int.from_bytes(message[:_REVISION_BYTES], "big")
        self._receipts.note(memoryview(message)[_REVISION_BYTES:])
        revision = b"%d" % self._revision
        self.transport.write(command(b"SET", self._key, revision) + command(b"INCR", b"acks:" + revision))


class Publisher(Reader):
    def __init__(self, acks: crowd.Acks) -> None:
        super().__init__()
        self._acks = acks
        self.subscribed = asyncio.Event()
        self.answered = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(command(b"HELLO", b"3") + command(b"SUBSCRIBE", DONE))

    def value(self, value: object) -> None:
        if isinstance(value, list) and value[0] == b"message":
            self._acks.add(int(value[2]), self._acks.wanted)
        elif isinstance(value, list) and value[0] == b"subscribe":
            self.subscribed.set()
        elif value == b"OK":
            self.answered.set()

    async def put(self, revision: int, body: bytes) -> float:
        self.answered.clear()
        message = revision.to_bytes(_REVISION_BYTES, "big") + body
        self.transport.write(command(b"SET", CONFIG, message) + command(b"PUBLISH", CONFIG, message))
        await self.answered.wait()
        return time.monotonic()


async def publisher(line: program.Line) -> None:
    """Arguments: port, agents."""
    acks = crowd.Acks(int(sys.argv[3]))
    made = await crowd.reached(lambda: Publisher(acks), int(sys.argv[2]))
    await made.subscribed.wait()
    line.say(ready=True)
    await crowd.publishing(line, acks, made.put)


async def agents(line: program.Line) -> None:
    """Arguments: port, first, last (not included), agents in all."""
    port, first, last, wanted = (int(one) for one in sys.argv[2:6])
    receipts = crowd.Receipts()
    made = [Agent(number, wanted, receipts) for number in range(first, last)]
    await crowd.connect_all(list(made), [port] * len(made))
    for one in made:
        await one.subscribed.wait()
    line.say(agents=len(made))
    await receipts.told(line)


PARTS = {"publisher": publisher, "agents": agents}

if __name__ == "__main__":
    program.run(PARTS[sys.argv[1]])
