"""`server leave`: this server goes for ever, by its own word, and leaves a directory that another may use.

In this order: what MIC says of it, its nodes, its word to MIC, a mark that MIC has answered, its ServerShell, its files.
Laws: the identity is deleted only once MIC has answered, or its parents say that it is out already; before that everything
can be taken back by `server retry`, which starts the nodes again; interrupted anywhere, it is said again and goes on.
"""

import contextlib
import pathlib
import shutil
import threading
from collections.abc import Callable

import msgspec

from coordinator import errors, limits, names
from coordinator.host import clock, disk, lock, settings
from coordinator.propagation import asks, gates, joining
from coordinator.trust import authority, joinlines
from nodeagent.main import local

LEFT_FILE = "identity/left"
"""MIC has answered; what it said. From here on there is nothing to ask, and no way back."""
_OUT = (gates.REVOKED, gates.EXPELLED)

OUT_S = 10.0  # until its parents, dialled anew, have said no
STOPS_S = limits.NODE_STOP_TIMEOUT_S + 15.0
LOOK_S = 0.1
DELETED = ("joining", "ledger", "nodes", "run", "snapshots")
"""And the identity, after them."""


class _Node(msgspec.Struct, frozen=True):
    node: str
    state: str


class _Status(msgspec.Struct, frozen=True):
    nodes: tuple[_Node, ...]
    server: str = ""
    turned_away: str = ""


def rehearsed(layout: settings.Layout) -> joining.Left:
    """What would happen. Raises `NotFoundError`, `UnreachableError`, `NoCoordinatorError`, and what MIC says."""
    return begun(layout) or _told(layout, rehearse=True)


def begun(layout: settings.Layout) -> joining.Left | None:
    """What MIC has answered to a `leave` that was interrupted. Raises `DamagedError`."""
    data = disk.DirectoryDisk(layout.root).read(LEFT_FILE) if layout.identity.is_dir() else None
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=joining.Left)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        hint = f"the server has left; delete {layout.root} by hand"
        raise errors.DamagedError(f"{LEFT_FILE} cannot be read: {wrong}", hint=hint) from wrong


def check_not_begun(layout: settings.Layout) -> None:
    """Raises `InUseError` where the rest of a server that has left still lies here."""
    if begun(layout) is not None:
        hint = f"delete the rest of it first: `tiercast server leave --dir {layout.root}`"
        raise errors.InUseError(f"the server of {layout.root} has left", hint=hint)


def leave(layout: settings.Layout, tell: Callable[[str], None]) -> None:
    """Raises as `rehearsed`, `TimedOutError` where a node does not end, and `OSError` where a file cannot be deleted."""
    if begun(layout) is None:
        _go(layout, tell)
    with contextlib.suppress(errors.UnreachableError, errors.NotFoundError, errors.DamagedError):
        _local(layout, "stop")  # unless it had ended by then, and some of its identity was deleted
    local.wait_for_end(layout, local.STOP_S)
    _delete(layout)


def _go(layout: settings.Layout, tell: Callable[[str], None]) -> None:
    tell("stopping the nodes")
    _local(layout, "rest")
    _wait_for_rest(layout)
    tell("telling MIC")
    try:
        told = _told(layout, rehearse=False)
    except errors.TiercastError as problem:
        hint = (
            f"the nodes are stopped and nothing else was done: say it again, or start them again with "
            f"`tiercast server retry --dir {layout.root}`"
        )
        raise type(problem)(problem.message, hint=hint) from problem
    disk.DirectoryDisk(layout.root).write(LEFT_FILE, msgspec.json.encode(told))


def _told(layout: settings.Layout, *, rehearse: bool) -> joining.Left:
    """MIC's answer; or, where the answer before was lost, that nobody takes this server for one any more."""
    try:
        return _said(layout, rehearse=rehearse)
    except (errors.NoCoordinatorError, errors.UnknownOutcomeError) as problem:
        lost = isinstance(problem, errors.UnknownOutcomeError)
        found = _turned_away(layout, OUT_S if lost else 0.0)
        if found is None:
            raise
        return joining.Left(found.server, placed=False, version=names.NO_VERSION)


def _turned_away(layout: settings.Layout, within_s: float) -> _Status | None:
    """As one that is out; None where its parents have not said so."""
    measured, pause = clock.SystemClock(), threading.Event()
    until = measured.monotonic() + within_s
    while True:
        found = _status(layout)
        if found.turned_away.endswith(_OUT):
            return found
        if measured.monotonic() >= until:
            return None
        pause.wait(LOOK_S)


def _delete(layout: settings.Layout) -> None:
    """The mark last: while it is there, the rest can be said again."""
    for name in DELETED:
        _remove(layout.root / name)
    for one in layout.identity.iterdir():
        if one.name != pathlib.PurePath(LEFT_FILE).name:
            _remove(one)
    _remove(layout.identity)


def _remove(place: pathlib.Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


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


def _local(layout: settings.Layout, verb: str) -> bytes:
    code, answer = local.ask(layout, _identity(layout).cluster, verb)
    if code:
        raise errors.NotAllowedError(f"the ServerShell answers {code}")
    return answer


def _status(layout: settings.Layout) -> _Status:
    return msgspec.json.decode(_local(layout, "status"), type=_Status)


def _wait_for_rest(layout: settings.Layout) -> None:
    measured, pause = clock.SystemClock(), threading.Event()
    until = measured.monotonic() + STOPS_S
    while True:
        running = [one.node for one in _status(layout).nodes if one.state != "stopped"]
        if not running:
            return
        if measured.monotonic() >= until:
            raise errors.TimedOutError(
                f"nodes do not stop (got {', '.join(running)[:200]})",
                hint=f"look at their logs, or start them again with `tiercast server retry --dir {layout.root}`",
            )
        pause.wait(LOOK_S)
