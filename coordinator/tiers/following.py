"""Following what happens, and comparing documents: the verbs of `cfg.events` and `cfg.diff`.

Law: however many follow, the picture is looked at no more than once in `LOOK_S`, and not at all while nobody does.
"""

import anyio
import anyio.to_thread
import msgspec

from coordinator import errors, names
from coordinator.config import diff, rendering
from coordinator.tiers import (
    desk,
    journal,
    planning,
    requests,
    requests_looking,
    rolling,
    sources,
    views,
    waiting,
)

LOOK_S = 0.25  # a look at 10,000 servers takes a few ms


async def _looked(at: desk.Desk) -> journal.Journal:
    """The journal as of now, or, soon after a look, once `LOOK_S` is over."""
    book = at.book
    if book.journal is None:
        book.journal = journal.Journal(0 if at.office is None else at.office.term)
    if waiting.index(at) != book.seen:
        rest_s = book.looked + LOOK_S - at.clock.monotonic()
        if book.seen >= 0 and rest_s > 0:
            await anyio.sleep(rest_s)
        book.seen, book.looked = waiting.index(at), at.clock.monotonic()
        book.journal.look(*_seen(at))
    return book.journal


def _seen(at: desk.Desk) -> tuple[journal.Look, dict[names.ServerId, str]]:
    picture, past = at.master.convergence, at.past
    held, record = past.rollouts.get(past.rollout), past.records.get(past.version.revision)
    now = None if held is None else rolling.now(at, held)
    servers = {
        server: journal.Server(one.name, one.site, str(picture.facts[server].sync))
        for server, one in picture.asked.items()
    }
    waited = [server for server in picture.asked if not views.good(at, server)]
    reasons = {server: views.reason(at, server) for server in waited[: journal.SERVERS_AT_ONCE * 10]}
    look = journal.Look(
        at.clock.wall(),
        past.version,
        "" if record is None else record.author,
        "" if record is None else record.message,
        past.rollout,
        "" if now is None else str(now.state),
        (0, 0, 0) if now is None else (now.ready, now.reachable, now.asked),
        servers,
    )
    return look, reasons


async def events(
    at: desk.Desk, caller: desk.Caller, asked: requests_looking.Events
) -> requests_looking.EventsView:
    """Everything after an event, as soon as there is something or after `wait_s`."""
    written = await _looked(at)
    found = written.after(asked.after) if asked.after else None
    if found is None:
        state = await views.status(at, caller, requests.Status())
        return requests_looking.EventsView(written.last, bool(asked.after), (), state)
    with anyio.move_on_after(min(max(asked.wait_s, 0.0), waiting.WAIT_S)):
        while not found and at.fallen is None:
            await waiting.until_above(at, at.book.seen, waiting.WAIT_S)
            found = (await _looked(at)).after(asked.after) or ()
    return requests_looking.EventsView(written.last, False, tuple(found))


# --- documents --------------------------------------------------------------------------------------------------------


async def differ(
    at: desk.Desk, _caller: desk.Caller, asked: requests_looking.Diff
) -> requests_looking.Differs:
    """What differs between two documents. Raises `InvalidError`, `NotFoundError`, `UsageError`."""
    old, old_name = await _document(at, asked.old)
    new, new_name = await _document(at, asked.new)
    large = max(len(old.body), len(new.body)) >= planning.LARGE_BYTES
    if large:
        found = await anyio.to_thread.run_sync(diff.difference, old.document, new.document, at.catalogue)
    else:
        found = diff.difference(old.document, new.document, at.catalogue)
    return requests_looking.Differs(
        old=old_name,
        new=new_name,
        old_digest=old.digest,
        new_digest=new.digest,
        same=old.digest == new.digest,
        text=rendering.render_difference(found, full=asked.full),
        difference=msgspec.Raw(msgspec.json.encode(found)),
    )


async def _document(at: desk.Desk, source: requests.Source | None) -> tuple[sources.Prepared, str]:
    """With what it is called."""
    if source is None or not (source.files or source.draft or source.revision):
        source = requests.Source(revision=at.past.version.revision)
        if not source.revision:
            raise errors.NotFoundError("no revision is active")
    prepared = await sources.prepared(at, source)
    if source.revision:
        return prepared, f"revision {source.revision}"
    return prepared, source.draft or ", ".join(file.name for file in source.files)
