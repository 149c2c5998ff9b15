"""Where a running MIC is asked about its store by commands of the same machine: a Unix socket of the same user.

One line of JSON each way, then the connection ends. Law: a request is bounded; who may open the socket holds the keys of
this server anyway, and of requests the rotations and the way back in for administrators alone change something.
"""

import contextlib
import functools
import pathlib
import socket
from collections.abc import Awaitable, Callable
from typing import Literal

import anyio
import anyio.abc
import msgspec
from anyio.streams import buffered

from coordinator import errors
from coordinator.host import logs
from coordinator.store import port
from coordinator.tiers import rotating

NAME = "store"
LINE_BYTES = 4096  # a path and a little more
ANSWER_S = 120.0  # a snapshot of 50 MB takes a few seconds, and a slow disk ten times as long

_LOG = logs.Log("store")


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked."""

    verb: Literal["status", "snapshot", "rotation", "rotate-ca", "rotate-keys", "reset-admin"]
    file: str = ""
    """Absolute; where the snapshot goes."""
    name: str = ""
    """Of the administrator."""
    password: str = ""

    def __repr__(self) -> str:
        return f"Ask({self.verb!r})"


class Answer(msgspec.Struct, frozen=True):
    """A code of `coordinator.errors` with its sentence, or what was asked for."""

    code: str = ""
    detail: str = ""
    member: str = ""
    mic: str = ""
    """What this MIC does, in a few words."""
    status: port.StoreStatus | None = None
    revision: int = 0
    rotation: rotating.Progress | None = None
    told: str = ""
    """What was done, in a sentence."""


class Served(msgspec.Struct, frozen=True):
    """What answers are made of."""

    member: str
    mic: Callable[[], str]
    status: Callable[[], Awaitable[port.StoreStatus]]
    snapshot: Callable[[pathlib.Path], Awaitable[int]]
    rotated: Callable[[str], Awaitable[rotating.Progress]]
    """Begins what is asked, or only says how far it is."""
    reset: Callable[[str, str], Awaitable[str]]
    """Name and password of an administrator of the master domain, from now on."""


async def serve(path: str, served: Served) -> None:
    """Answer until cancelled. Raises `OSError`. Whoever held the store before has left its socket behind at most."""
    await anyio.Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    listener = await anyio.create_unix_listener(path, mode=0o600)
    try:
        await listener.serve(functools.partial(_attend, served))
    finally:
        with anyio.CancelScope(shield=True):
            await listener.aclose()
            await anyio.Path(path).unlink(missing_ok=True)


async def _attend(served: Served, stream: anyio.abc.SocketStream) -> None:
    async with stream:
        with contextlib.suppress(anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead):
            with anyio.move_on_after(ANSWER_S):
                line = await buffered.BufferedByteReceiveStream(stream).receive_until(b"\n", LINE_BYTES)
                await stream.send(msgspec.json.encode(await _answer(served, line)) + b"\n")


async def _answer(served: Served, line: bytes) -> Answer:
    try:
        ask = msgspec.json.decode(line, type=Ask)
        if ask.verb == "status":
            status = await served.status()
            return Answer(member=served.member, mic=served.mic(), status=status)
        if ask.verb == "reset-admin":
            return Answer(member=served.member, told=await served.reset(ask.name, ask.password))
        if ask.verb != "snapshot":
            return Answer(member=served.member, rotation=await served.rotated(ask.verb))
        revision = await served.snapshot(pathlib.Path(ask.file))
        return Answer(member=served.member, revision=revision)
    except errors.TiercastError as problem:
        return Answer(problem.code, problem.message)
    except (msgspec.MsgspecError, OSError) as problem:
        return Answer("internal", str(problem))
    except Exception:  # noqa: BLE001 a question must not end MIC
        _LOG.crashed("question about the store failed")
        return Answer("internal", "MIC failed at this question; see its log")


def ask(path: str, asked: Ask, timeout_s: float = ANSWER_S) -> Answer | None:
    """The answer of the MIC of this machine; None where none listens. Blocking. Raises `TiercastError`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(timeout_s)
        try:
            link.connect(path)
            link.sendall(msgspec.json.encode(asked) + b"\n")
            line = b"".join(iter(lambda: link.recv(LINE_BYTES), b""))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as wrong:
            raise errors.UnreachableError(f"MIC does not answer on {path}: {wrong}") from wrong
    try:
        answer = msgspec.json.decode(line, type=Answer)
    except msgspec.DecodeError as wrong:
        raise errors.ProtocolError("MIC ended before it had answered", hint="ask again") from wrong
    if answer.code:
        raise _error(answer)
    return answer


def _error(answer: Answer) -> errors.TiercastError:
    """MIC's own refusal, as the error that it met."""
    kinds = {kind.code: kind for kind in errors.TiercastError.__subclasses__()}
    return kinds.get(answer.code, errors.TiercastError)(answer.detail)
