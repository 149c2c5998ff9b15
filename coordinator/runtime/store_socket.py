"""Where a running MIC is asked by commands of the same machine: a Unix socket of the same user.

One line of JSON each way, then the connection ends. Laws: a request is bounded; only this user and root are answered, who
hold the keys of this server anyway; what changes something is audited as theirs (rotations, the administrator's way back
in, a rollback).
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
from coordinator.hop import link
from coordinator.host import logs
from coordinator.runtime import undoing
from coordinator.store import port
from coordinator.tiers import requests, rotating

NAME = "store"
LINE_BYTES = 4096  # a path and a little more
ANSWER_S = 120.0  # a snapshot of 50 MB takes a few seconds, and a slow disk ten times as long

_LOG = logs.Log("store")


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked."""

    verb: Literal[
        "status", "snapshot", "rotation", "rotate-ca", "rotate-keys", "reset-admin", "rollback", "rollout"
    ]
    file: str = ""
    """Absolute; where the snapshot goes."""
    name: str = ""
    """Of the administrator."""
    password: str = ""
    back: requests.Rollback | None = None
    awaited: requests.WaitRollout | None = None

    def __repr__(self) -> str:
        return f"Ask({self.verb!r})"


class Answer(msgspec.Struct, frozen=True):
    """A code of `coordinator.errors` with its sentence, or what was asked for."""

    code: str = ""
    detail: str = ""
    hint: str = ""
    member: str = ""
    mic: str = ""
    """What this MIC does, in a few words."""
    status: port.StoreStatus | None = None
    revision: int = 0
    rotation: rotating.Progress | None = None
    told: str = ""
    """What was done, in a sentence."""
    undone: undoing.Undone | None = None
    rollout: requests.RolloutView | None = None


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
    rollback: Callable[[requests.Rollback], Awaitable[undoing.Undone]]
    rollout: Callable[[requests.WaitRollout], Awaitable[requests.RolloutView]]


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
        try:
            link.unix_peer(stream.extra(anyio.abc.SocketAttribute.raw_socket))  # noqa: S610 anyio's, no query
        except errors.TiercastError as problem:
            _LOG.warning("another user asked", reason=problem.message)
            return
        with contextlib.suppress(anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead):
            with anyio.move_on_after(ANSWER_S):
                line = await buffered.BufferedByteReceiveStream(stream).receive_until(b"\n", LINE_BYTES)
                await stream.send(msgspec.json.encode(await _answer(served, line)) + b"\n")


async def _answer(served: Served, line: bytes) -> Answer:
    try:
        return await _done(served, msgspec.json.decode(line, type=Ask))
    except errors.TiercastError as problem:
        return Answer(problem.code, problem.message, problem.hint)
    except (msgspec.MsgspecError, OSError) as problem:
        return Answer("internal", str(problem))
    except Exception:  # noqa: BLE001 a question must not end MIC
        _LOG.crashed("question of a command failed")
        return Answer("internal", "MIC failed at this question; see its log")


async def _done(served: Served, ask: Ask) -> Answer:
    """Raises `TiercastError`."""
    member = served.member
    match ask.verb:
        case "status":
            return Answer(member=member, mic=served.mic(), status=await served.status())
        case "snapshot":
            return Answer(member=member, revision=await served.snapshot(pathlib.Path(ask.file)))
        case "reset-admin":
            return Answer(member=member, told=await served.reset(ask.name, ask.password))
        case "rollback" if ask.back is not None:
            return Answer(member=member, undone=await served.rollback(ask.back))
        case "rollout" if ask.awaited is not None:
            return Answer(member=member, rollout=await served.rollout(ask.awaited))
        case "rotation" | "rotate-ca" | "rotate-keys":
            return Answer(member=member, rotation=await served.rotated(ask.verb))
        case _:
            raise errors.UsageError(f"{ask.verb} of what is not said")


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
    return kinds.get(answer.code, errors.TiercastError)(answer.detail, hint=answer.hint)
