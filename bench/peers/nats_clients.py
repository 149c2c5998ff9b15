"""Clients of a NATS JetStream key-value bucket: each agent watches and acks over one connection.

A bucket is a stream whose subjects are its keys; a watch is a push consumer of its own. The publisher puts `config` and
watches `ack.>`; an ack is a put of `ack.<agent>`. Every put is stored by the server, and answered.
"""

import asyncio
import os
import sys
import time
from typing import cast

import msgspec

from bench.peers import crowd
from bench.propagation import program

STREAM = "KV_bench"
CONFIG, ACK = "$KV.bench.config", "$KV.bench.ack"
_PLACES = ("api", "put", "watch")  # of answers; a consumer sees no interest in a wildcard
_REVISION_BYTES = 4
_BUCKET = {
    "name": STREAM,
    "subjects": ["$KV.bench.>"],
    "max_msgs_per_subject": 1,
    "storage": "file",
    "discard": "new",
    "allow_rollup_hdrs": True,
    "num_replicas": 1,
    "retention": "limits",
}


class Connection(asyncio.Protocol):
    """The text protocol, as much as is needed."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.asked: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        options = msgspec.json.encode(
            {"verbose": False, "pedantic": False, "name": "bench", "lang": "python"}
        )
        self._inbox = inbox = f"_INBOX.{os.urandom(8).hex()}"
        subscribed = "".join(f"SUB {inbox}.{place} {sid}\r\n" for sid, place in enumerate(_PLACES, 1))
        self.transport.write(b"CONNECT " + options + b"\r\n" + subscribed.encode())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        at = 0
        while (end := self._buffer.find(b"\r\n", at)) >= 0:
            words = bytes(self._buffer[at:end]).split(b" ")
            if words[0] == b"MSG":
                start, size = end + 2, int(words[-1])
                if len(self._buffer) < start + size + 2:
                    break
                self._message(words[1].decode(), bytes(self._buffer[start : start + size]))
                end = start + size
            elif words[0] == b"PING":
                self.transport.write(b"PONG\r\n")
            at = end + 2
        del self._buffer[:at]

    def _message(self, subject: str, payload: bytes) -> None:
        if subject.endswith(".api"):
            if self.asked is not None and not self.asked.done():
                self.asked.set_result(payload)
        elif subject.endswith(".put"):
            self.was_put()
        else:
            self.changed(payload)

    def changed(self, value: bytes) -> None:
        """A value of the watched keys."""

    def was_put(self) -> None:
        """A put is stored."""

    def put(self, subject: str, value: bytes) -> None:
        self.transport.write(f"PUB {subject} {self._inbox}.put {len(value)}\r\n".encode() + value + b"\r\n")

    async def ask(self, subject: str, question: object) -> bytes:
        """One request of JetStream's API and its answer. Raises `TimeoutError`."""
        self.asked = asyncio.get_running_loop().create_future()
        body = msgspec.json.encode(question)
        self.transport.write(f"PUB {subject} {self._inbox}.api {len(body)}\r\n".encode() + body + b"\r\n")
        async with asyncio.timeout(crowd.STARTED_S):
            return await self.asked

    async def watch(self, keys: str) -> None:
        """From now on every change of these keys comes in. Raises `RuntimeError` where the server does not want to."""
        config = {
            "deliver_subject": f"{self._inbox}.watch", "deliver_policy": "new", "ack_policy": "none",
            "filter_subject": keys, "max_deliver": 1, "mem_storage": True, "num_replicas": 1,
        }  # fmt: skip
        answer = await self.ask(
            f"$JS.API.CONSUMER.CREATE.{STREAM}", {"stream_name": STREAM, "config": config}
        )
        if b'"error"' in answer:
            raise RuntimeError(answer.decode())


class Agent(Connection):
    def __init__(self, number: int, receipts: crowd.Receipts) -> None:
        super().__init__()
        self._ack = f"{ACK}.{number}"
        self._receipts = receipts

    def changed(self, value: bytes) -> None:
        self._receipts.note(memoryview(value)[_REVISION_BYTES:])
        self.put(self._ack, value[:_REVISION_BYTES])


class Publisher(Connection):
    def __init__(self, acks: crowd.Acks) -> None:
        super().__init__()
        self._acks = acks
        self._done = asyncio.Event()

    def changed(self, value: bytes) -> None:
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
    await made.ask(f"$JS.API.STREAM.CREATE.{STREAM}", _BUCKET)
    await made.watch(f"{ACK}.>")
    line.say(ready=True)
    await crowd.publishing(line, acks, made.publish)


async def agents(line: program.Line) -> None:
    """Arguments: port, first, last (not included)."""
    port, first, last = (int(one) for one in sys.argv[2:5])
    receipts = crowd.Receipts()
    made = [Agent(number, receipts) for number in range(first, last)]
    await crowd.connect_all(list(made), [port] * len(made))
    for one in made:
        await one.watch(CONFIG)
    line.say(agents=len(made))
    await receipts.told(line)


PARTS = {"publisher": publisher, "agents": agents}

if __name__ == "__main__":
    program.run(PARTS[sys.argv[1]])
