"""A document from where somebody says it is: uploaded files, a draft, or a revision; read and judged.

Large texts are read in a child process: a megabyte of YAML takes seconds, and heartbeats cannot wait for it.
"""

import collections
from collections.abc import Callable, Mapping, Sequence

import anyio.to_process
import anyio.to_thread
import msgspec

from coordinator import errors, names, role
from coordinator.config import findings, model, reading, rendering, validation
from coordinator.tiers import desk, entries, keys, pieces, requests

FILES = 1_000  # one per site
NAME_CHARACTERS = 1_024  # a path, as the command line calls it
INLINE_BYTES = 64 * 1024  # about 50 ms of YAML; starting a child process takes longer


class FoundError(errors.TiercastError):
    """Refused, with findings that say why."""

    def __init__(self, message: str, found: tuple[requests.Fault, ...], *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.findings = found


class InvalidError(FoundError):
    """The document breaks static rules."""

    code = "invalid"


class Prepared(msgspec.Struct, frozen=True):
    """A valid document, ready to be planned."""

    document: model.Document
    body: bytes
    digest: names.Digest
    warnings: tuple[requests.Fault, ...]
    texts: tuple[entries.Text, ...]
    """As uploaded; empty where there is none."""


def faults(
    found: Sequence[findings.Finding], texts: Mapping[str, str] | None = None
) -> tuple[requests.Fault, ...]:
    """Each with its line, where the text is known."""
    known = texts or {}
    return tuple(_fault(one, known.get(one.file, "") if one.file else "") for one in found)


def _fault(one: findings.Finding, text: str) -> requests.Fault:
    line, caret = rendering.excerpt(one, text)
    return requests.Fault(
        one.rule, one.severity, one.path, one.message, one.hint, one.file, one.line, one.column, line, caret
    )


def judged(files: Sequence[tuple[str, bytes]], catalogues: Callable[[], role.Catalogue]) -> reading.Reading:
    """What the files say; run here or in a child process."""
    return reading.check([reading.Source(name, data) for name, data in files], catalogues())


async def read(at: desk.Desk, files: Sequence[requests.File]) -> reading.Reading:
    """The files, judged by all static rules. Raises `UsageError` where their names cannot be told apart, or shown."""
    _check_names([file.name for file in files])
    data = tuple((file.name, file.text.encode(errors="surrogatepass")) for file in files)
    if sum(len(one) for _, one in data) < INLINE_BYTES:
        return judged(data, lambda: at.catalogue)
    return await anyio.to_process.run_sync(judged, data, at.means.catalogues, cancellable=True)


def _check_names(called: Sequence[str]) -> None:
    """By its name a file is kept and its findings are told."""
    if len(called) > FILES:
        raise errors.UsageError(
            f"too many files (got {len(called)}, have at most {FILES})", hint="put several into one"
        )
    twice = next((name for name, count in collections.Counter(called).items() if count > 1), None)
    if twice is not None:
        raise errors.UsageError(f"two files are called {twice[:80]!r}", hint="give each a name of its own")
    odd = next(
        (name for name in called if not name.isprintable() or not 0 < len(name) <= NAME_CHARACTERS), None
    )
    if odd is not None:
        raise errors.UsageError(
            f"a file cannot be called that (got {odd[:80]!r})",
            hint=f"1 to {NAME_CHARACTERS} characters that can be printed",
        )


async def prepared(at: desk.Desk, source: requests.Source) -> Prepared:
    """The document named by `source`. Raises `InvalidError`, `NotFoundError`, `UsageError`."""
    given = [bool(source.files), bool(source.draft), bool(source.revision)]
    if sum(given) != 1:
        raise errors.UsageError(f"exactly one of files, draft, revision is given (got {sum(given)} of them)")
    if source.revision:
        return await of_revision(at, source.revision)
    if source.draft:
        return await of_draft(at, source.draft)
    return valid(await read(at, source.files))


async def of_draft(at: desk.Desk, draft_id: str) -> Prepared:
    """From its canonical form, which is read a hundred times faster than its text; the text where anything is to be told.

    Raises `NotFoundError`, `InvalidError`.
    """
    files = await draft(at, draft_id)
    held = at.past.drafts[draft_id]
    body = await pieces.read(at.store, keys.draft_body(draft_id)) if held.valid else None
    if body is None or model.digest(body) != held.digest:
        return valid(await read(at, files))
    document = model.decode(body)
    found = await anyio.to_thread.run_sync(validation.validate, document, at.catalogue)
    if found:
        return valid(await read(at, files))
    kept = tuple(entries.Text(file.name, file.text) for file in files)
    return Prepared(document, body, held.digest, (), kept)


async def draft(at: desk.Desk, draft_id: str) -> tuple[requests.File, ...]:
    """The files of a draft. Raises `NotFoundError`."""
    if draft_id not in at.past.drafts:
        raise errors.NotFoundError(
            f"there is no draft {draft_id[:64]}", hint="upload it again: the oldest drafts go"
        )
    return await texts(at, keys.draft_text(draft_id))


async def texts(at: desk.Desk, prefix: bytes) -> tuple[requests.File, ...]:
    """Files stored under a prefix; none where there are none."""
    data = await pieces.read(at.store, prefix)
    found = () if data is None else entries.TEXTS.decode(data)
    return tuple(requests.File(one.name, one.text) for one in found)


async def of_revision(at: desk.Desk, revision: int) -> Prepared:
    """An older document, judged anew: role types may have changed since. Raises `NotFoundError`, `InvalidError`."""
    body = await at.body(revision)
    if body is None:
        raise errors.NotFoundError(
            f"there is no revision {revision}, or it is not kept any more", hint="tiercast history"
        )
    held = at.past.prepared
    if revision > at.past.version.revision and (held is None or held.record.revision != revision):
        raise errors.NotFoundError(
            f"revision {revision} was prepared and withdrawn", hint="apply its document anew"
        )
    document = model.decode(body)
    found = await anyio.to_thread.run_sync(validation.validate, document, at.catalogue)
    if findings.invalid(found):
        raise InvalidError(f"revision {revision} is not valid today", faults(found))
    files = await texts(at, keys.document(revision))
    kept = tuple(entries.Text(file.name, file.text) for file in files)
    return Prepared(document, body, model.digest(body), faults(found), kept)


def valid(read_: reading.Reading) -> Prepared:
    """Raises `InvalidError`."""
    if read_.document is None or not read_.valid:
        wrong = sum(one.severity == "error" for one in read_.findings)
        raise InvalidError(f"the document is invalid ({wrong} errors)", faults(read_.findings, read_.texts))
    body = model.canonical(read_.document)
    kept = tuple(entries.Text(name, text) for name, text in read_.texts.items())
    warned = faults(read_.findings, read_.texts)
    return Prepared(read_.document, body, model.digest(body), warned, kept)
