"""Documents and the history as things to save, judge and read: upload, validate, history, show, whoami."""

import msgspec

from coordinator import errors, names
from coordinator.config import model
from coordinator.domains import people
from coordinator.propagation import objects
from coordinator.store import commands
from coordinator.tiers import (
    desk,
    entries,
    keys,
    pieces,
    repeating,
    requests,
    requests_looking,
    rolling,
    sources,
    waiting,
)

DRAFTS_KEPT = 50
DRAFT_BYTES = 2
PAGE = 500  # what the API and the command line allow as well


async def upload(at: desk.Desk, caller: desk.Caller, asked: requests.Upload) -> requests.Uploaded:
    """Save a draft. Raises `InvalidError` where there is no document in it at all, and what a commit raises."""
    at.may_change()
    read = await sources.read(at, asked.files)
    found = sources.faults(read.findings, read.texts)
    if read.document is None:
        raise sources.InvalidError("there is no document in it that could be saved", found)
    body = model.canonical(read.document)
    texts = tuple(entries.Text(name, text) for name, text in read.texts.items())
    request = repeating.digest(caller, asked)
    async with at.turn:
        draft = _repeated(at, caller, request)
        if draft is None:
            draft = entries.Draft(
                _draft_id(at), model.digest(body), len(body), read.valid, caller.name, asked.message,
                at.clock.wall(), caller.request, request,
            )  # fmt: skip
            await at.commit(_saved(at, caller, draft, (texts, body)))
    return requests.Uploaded(draft.id, draft.valid, draft.digest, draft.size_bytes, found)


def _repeated(at: desk.Desk, caller: desk.Caller, request: str) -> entries.Draft | None:
    """The draft that the same request of the same person made before. Raises `ReusedKeyError` where it is another one."""
    if not caller.request:
        return None
    for draft in at.past.drafts.values():
        if (draft.request, draft.author) == (caller.request, caller.name):
            if draft.request_digest != request:
                raise repeating.reused(f"it made {draft.id}")
            return draft
    return None


def _draft_id(at: desk.Desk) -> names.DraftId:
    """Short, for people to type; longer where short ones are taken."""
    size = DRAFT_BYTES
    while (found := names.DraftId(f"d-{at.means.random.token(size)}")) in at.past.drafts:
        size += 1
    return found


def _saved(
    at: desk.Desk, caller: desk.Caller, draft: entries.Draft, said: tuple[tuple[entries.Text, ...], bytes]
) -> desk.Change:
    """`said` is the text as uploaded, and its canonical form."""
    texts, body = said
    drafts = {**at.past.drafts, draft.id: draft}
    oldest = sorted(at.past.drafts.values(), key=lambda one: one.saved)
    gone = [one.id for one in oldest[: max(0, len(drafts) - DRAFTS_KEPT)]]
    operations: list[commands.Operation] = [
        commands.put(keys.draft(draft.id), entries.encode(draft)),
        *pieces.split(keys.draft_text(draft.id), msgspec.msgpack.encode(texts)),
        *(pieces.split(keys.draft_body(draft.id), body) if draft.valid else ()),
    ]
    for old in gone:
        operations += [
            commands.delete(keys.draft(old)),
            commands.delete_prefix(keys.draft_text(old)),
            commands.delete_prefix(keys.draft_body(old)),
        ]
        del drafts[old]
    past = msgspec.structs.replace(at.past, drafts=drafts)
    return desk.Change(tuple(operations), past, caller=caller, detail=f"draft {draft.id}")


async def validate(at: desk.Desk, _caller: desk.Caller, asked: requests.Validate) -> requests.Validated:
    read = await sources.read(at, asked.files)
    return requests.Validated(read.valid, sources.faults(read.findings, read.texts))


async def history(at: desk.Desk, _caller: desk.Caller, asked: requests.History) -> requests.HistoryView:
    """The newest first, a page at a time."""
    await waiting.until_above(at, asked.index, asked.wait_s)
    limit = min(max(asked.limit, 1), PAGE)
    found = sorted((n for n in at.past.records if not asked.before or n < asked.before), reverse=True)
    page = found[:limit]
    following = page[-1] if len(found) > limit else 0
    shown = tuple(_revision(at, at.past.records[n]) for n in page)
    return requests.HistoryView(shown, following, rolling.back(at), waiting.index(at))


def _revision(at: desk.Desk, record: objects.Record) -> requests.RevisionView:
    version = names.Version(record.generation, record.revision)
    return requests.RevisionView(
        version=version,
        state=_state(at, version),
        digest=record.digest,
        size_bytes=record.size_bytes,
        author=record.author,
        message=record.message,
        issued=record.issued,
        outcome=rolling.outcome(at, record.revision),
    )


def _state(at: desk.Desk, version: names.Version) -> str:
    """In the words of a revision; one that was prepared and withdrawn, or lost by a recovery, is superseded by nothing newer yet."""
    if version == at.past.version:
        return "active"
    prepared = at.past.prepared
    if prepared is not None and prepared.record.revision == version.revision:
        return "prepared"
    return "withdrawn" if version.revision > at.past.version.revision else "superseded"


async def drafts(
    at: desk.Desk, _caller: desk.Caller, _asked: requests_looking.Drafts
) -> requests_looking.DraftsView:
    """Newest first, at most `DRAFTS_KEPT`."""
    newest = sorted(at.past.drafts.values(), key=lambda one: (-one.saved, one.id))
    return requests_looking.DraftsView(tuple(_draft(one) for one in newest))


async def show(at: desk.Desk, _caller: desk.Caller, asked: requests.Show) -> requests.Shown:
    """A revision or a draft, with its text as uploaded where that is asked for. Raises `NotFoundError`."""
    if asked.draft:
        files = await sources.draft(at, asked.draft)
        return requests.Shown(None, files if asked.document else (), _draft(at.past.drafts[asked.draft]))
    number = asked.revision or at.past.version.revision
    record = at.past.records.get(number)
    if record is None:
        raise errors.NotFoundError(
            f"there is no revision {number}, or it is not kept any more", hint="tiercast history"
        )
    files = await _files(at, number) if asked.document else ()
    return requests.Shown(_revision(at, record), files)


def _draft(draft: entries.Draft) -> requests.DraftView:
    return requests.DraftView(
        draft.id, draft.valid, draft.digest, draft.size_bytes, draft.author, draft.message, draft.saved
    )


async def _files(at: desk.Desk, revision: int) -> tuple[requests.File, ...]:
    """As uploaded; the canonical form of what was never uploaded."""
    files = await sources.texts(at, keys.document(revision))
    if files:
        return files
    body = await at.body(revision)
    if body is None:
        return ()
    return (requests.File(f"revision-{revision}.json", msgspec.json.format(body, indent=2).decode() + "\n"),)


def whoami(at: desk.Desk, person: people.Person) -> requests.Who:
    return requests.Who(
        person.name, person.rank.word, at.means.cluster, person.domain, at.master_domain,
        tuple(map(str, person.scopes)), person.expires, person.first,
    )  # fmt: skip


def problem(error: errors.TiercastError) -> requests.Problem:
    """An error as an answer."""
    found: tuple[requests.Fault, ...] = error.findings if isinstance(error, sources.FoundError) else ()
    return requests.Problem(error.code, error.message, error.hint, found)
