"""What became of one role between two revisions, from two looks at the running programs."""

from bench.demo import editions, observe
from bench.demo.observe import UnseenError


def fate(
    role: str,
    old: editions.Program | None,
    new: editions.Program,
    before: observe.Process | None,
    now: observe.Process,
) -> str:
    """A sentence; empty where nothing was to change and nothing did. Raises `UnseenError`."""
    if old is None or before is None:
        return f"{role} started on {new.server}, pid {now.pid}"
    if (old.server, old.port) == (new.server, new.port):
        return _stayed(role, before, now, changed=old != new)
    if now == before:
        raise UnseenError(f"{role} was to restart (still pid {before.pid})")
    if observe.answers(observe.endpoint(old)):
        raise UnseenError(f"{role} still answers where it was ({old.server}:{old.port})")
    if old.server != new.server:
        return f"{role} moved from {old.server} to {new.server}, pid {before.pid} -> {now.pid}"
    return f"{role} restarted for port {old.port} -> {new.port}, pid {before.pid} -> {now.pid}"


def _stayed(role: str, before: observe.Process, now: observe.Process, *, changed: bool) -> str:
    if now != before:
        raise UnseenError(f"{role} was not to restart (got pid {now.pid}, had {before.pid})")
    return f"{role} changed hot, still pid {now.pid}" if changed else ""
