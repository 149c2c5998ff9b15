"""`server leave`: this server goes for ever, by its own word, and leaves a directory that another may use.

In this order: what MIC says of it, its nodes, its word to MIC, its ServerShell, its files. Law: the identity is deleted only
once MIC has answered; before that everything can be taken back by `server retry`, which starts the nodes again.
"""

import pathlib
import shutil
import threading
from collections.abc import Callable

import msgspec

from coordinator import errors, limits
from coordinator.host import clock, disk, lock, settings
from coordinator.propagation import asks, joining
from coordinator.trust import authority, joinlines
from nodeagent.main import local

STOPS_S = limits.NODE_STOP_TIMEOUT_S + 15.0
LOOK_S = 0.1
DELETED = ("joining", "ledger", "nodes", "run", "snapshots", "identity")
"""The identity last: while it is there the rest can be said again."""


class _Node(msgspec.Struct, frozen=True):
    node: str
    state: str


class _Status(msgspec.Struct, frozen=True):
    nodes: tuple[_Node, ...]


def rehearsed(layout: settings.Layout) -> joining.Left:
    """What would happen. Raises `NotFoundError`, `UnreachableError`, `NoCoordinatorError`, and what MIC says."""
    return _said(layout, rehearse=True)


def leave(layout: settings.Layout, tell: Callable[[str], None]) -> None:
    """Raises as `rehearsed`, and `TimedOutError` where a node does not end."""
    identity = _identity(layout)
    tell("stopping the nodes")
    _local(layout, identity, "rest")
    _wait_for_rest(layout, identity)
    tell("telling MIC")
    try:
        _said(layout, rehearse=False)
    except errors.TiercastError as problem:
        hint = (
            f"the nodes are stopped and nothing else was done: say it again, or start them again with "
            f"`tiercast server retry --dir {layout.root}`"
        )
        raise type(problem)(problem.message, hint=hint) from problem
    _local(layout, identity, "stop")
    local.wait_for_end(layout, local.STOP_S)
    for name in DELETED:
        shutil.rmtree(layout.root / name, ignore_errors=True)


def kept(layout: settings.Layout) -> list[pathlib.Path]:
    """What is left of it: logs, and what its roles kept."""
    return sorted(one for one in layout.root.iterdir() if one.name != lock.FILE)


def _identity(layout: settings.Layout) -> authority.Identity:
    if not layout.identity.is_dir():
        raise errors.NotFoundError(
            f"no server lives in {layout.root}", hint="name the server's directory with --dir"
        )
    return authority.Identity.load(disk.DirectoryDisk(layout.root))


def _said(layout: settings.Layout, *, rehearse: bool) -> joining.Left:
    identity = _identity(layout)
    public, signature = joinlines.signed_leave(identity.key_pem, identity.cluster, identity.server_id)
    word = joining.encode(joining.Leave(identity.server_id, public, signature, rehearse))
    carried = joining.encode(joining.Carried(identity.server_id, word))
    code, answer = local.ask(layout, identity.cluster, joining.LEAVE, carried)
    if code:
        raise _refusal(code, answer, identity)
    try:
        return msgspec.json.decode(answer, type=joining.Left)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise errors.ProtocolError(f"the answer cannot be read: {wrong}") from wrong


def _refusal(code: str, answer: bytes, identity: authority.Identity) -> errors.TiercastError:
    elsewhere = (
        f"or on another machine: `tiercast server expel {identity.server_id}`, and delete the directory here"
    )
    if code == asks.LOST:
        return errors.UnknownOutcomeError(
            "the link broke before MIC answered", hint=f"say it again, {elsewhere}"
        )
    if code in {asks.UNREACHABLE, asks.TIMED_OUT, errors.NoCoordinatorError.code}:
        return errors.NoCoordinatorError(
            "MIC cannot be told: no coordinator now", hint=f"say it again later, {elsewhere}"
        )
    try:
        told = msgspec.json.decode(answer, type=joining.Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = joining.Problem(detail=f"MIC answers {code}")
    kind = errors.RefusedError if code == errors.RefusedError.code else errors.NotAllowedError
    return kind(told.detail, hint=told.hint)


def _local(layout: settings.Layout, identity: authority.Identity, verb: str) -> bytes:
    code, answer = local.ask(layout, identity.cluster, verb)
    if code:
        raise errors.NotAllowedError(f"the ServerShell answers {code}")
    return answer


def _wait_for_rest(layout: settings.Layout, identity: authority.Identity) -> None:
    measured, pause = clock.SystemClock(), threading.Event()
    until = measured.monotonic() + STOPS_S
    while True:
        status = msgspec.json.decode(_local(layout, identity, "status"), type=_Status)
        running = [one.node for one in status.nodes if one.state != "stopped"]
        if not running:
            return
        if measured.monotonic() >= until:
            raise errors.TimedOutError(
                f"nodes do not stop (got {', '.join(running)[:200]})",
                hint=f"look at their logs, or start them again with `tiercast server retry --dir {layout.root}`",
            )
        pause.wait(LOOK_S)
