"""From what came by HTTP (path, query, media type, body) to the request that MIC understands.

Checks form and nothing else: whether a name exists, who may ask and what is valid are MIC's to say. No I/O.
Law: every builder either returns its request or raises a `TiercastError` that says what to write instead.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from coordinator import errors, limits
from coordinator.config import findings
from coordinator.host import durations
from coordinator.propagation import asks
from coordinator.tiers import requests

JSON = "application/json"
YAML = frozenset({"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"})
WAIT_S = min(limits.HTTP_WAIT_S, asks.ASK_TIMEOUT_S - 5.0)  # a link gives an ask up after ASK_TIMEOUT_S
PAGE_REVISIONS = 500  # about 150 bytes each

_NUMBER = re.compile(r"\d{1,15}", re.ASCII)
_DRAFT = re.compile(r"d-[0-9a-z]{1,64}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+~-]{0,254}", re.ASCII)
_ETAG = re.compile(r'(?:W/)?"(\d{1,15})\.(\d{1,15})"', re.ASCII)
_TRUE, _FALSE = frozenset({"", "1", "true", "yes"}), frozenset({"0", "false", "no"})


class MediaTypeError(errors.TiercastError):
    """The body is of a kind that nobody reads here."""

    code = "media_type"


class SyntaxFormError(errors.TiercastError):
    """The body cannot be read, or is not shaped as it must be."""

    code = "syntax"


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What came, already bounded in size."""

    path: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    media_type: str = ""
    body: bytes = b""
    if_match: str = ""


class _Kind(msgspec.Struct, frozen=True):
    """Only enough of a JSON body to tell a document from a request about one."""

    schema: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def upload(given: Given) -> requests.Upload:
    if (file := _document(given)) is not None:
        return requests.Upload((file,), message=given.query.get("message", ""))
    return _decoded(given, requests.Upload)


def validate(given: Given) -> requests.Validate:
    if (file := _document(given)) is not None:
        return requests.Validate((file,))
    return _decoded(given, requests.Validate)


def plan(given: Given) -> requests.Plan:
    if (file := _document(given)) is not None:
        return requests.Plan(requests.Source(files=(file,)))
    asked = _decoded(given, requests.Plan)
    _exactly_one(asked.source)
    return asked


def apply(given: Given) -> requests.Apply:
    if (file := _document(given)) is not None:
        asked = requests.Apply(
            source=requests.Source(files=(file,)),
            if_revision=_number(given, "if_revision", 0),
            message=given.query.get("message", ""),
            dry_run=_flag(given, "dry_run"),
        )
    else:
        asked = _decoded(given, requests.Apply)
    _exactly_one(asked.source)
    generation, revision = _compared(given, asked.if_generation, asked.if_revision)
    return msgspec.structs.replace(asked, if_generation=generation, if_revision=revision)


def rollback(given: Given) -> requests.Rollback:
    asked = _decoded(given, requests.Rollback, empty=requests.Rollback())
    generation, revision = _compared(given, asked.if_generation, asked.if_revision)
    return msgspec.structs.replace(asked, if_generation=generation, if_revision=revision)


def enroll(given: Given) -> requests.Enroll:
    return _decoded(given, requests.Enroll)


def rollout(given: Given) -> requests.WaitRollout:
    wait_s = durations.seconds(given.query.get("wait", "0s"))
    return requests.WaitRollout(
        rollout=_name(given, "rollout"), index=_number(given, "index", 0), wait_s=min(wait_s, WAIT_S)
    )


def status(given: Given) -> requests.Status:
    return requests.Status(
        site=given.query.get("site", ""),
        not_converged=_flag(given, "not_converged"),
        details=_flag(given, "details"),
    )


def describe(given: Given) -> requests.Describe:
    return requests.Describe(_name(given, "server"))


def history(given: Given) -> requests.History:
    limit = _number(given, "limit", requests.History().limit)
    return requests.History(before=_number(given, "before", 0), limit=max(1, min(limit, PAGE_REVISIONS)))


def show(given: Given) -> requests.Show:
    return _shown(given, document=False)


def show_document(given: Given) -> requests.Show:
    return _shown(given, document=True)


def whoami(_given: Given) -> None:
    """Nothing but the token is asked about."""


def _shown(given: Given, *, document: bool) -> requests.Show:
    which = given.path["revision"]
    if which == "active":
        return requests.Show(document=document)
    if _NUMBER.fullmatch(which) and int(which):
        return requests.Show(revision=int(which), document=document)
    if _DRAFT.fullmatch(which):
        return requests.Show(draft=which, document=document)
    raise errors.NotFoundError(
        f"no such revision (got {which[:40]!r})", hint="name a number, a draft such as d-7f3a, or active"
    )


def _document(given: Given) -> requests.File | None:
    """The document itself, where that is what the body is; None where it is a request in JSON."""
    name = given.query.get("name", "")
    if given.media_type in YAML:
        return requests.File(name or "document.yaml", _text(given.body))
    if given.media_type != JSON:
        raise MediaTypeError(
            f"media type not read here (got {given.media_type[:60] or 'none'!r})",
            hint="send application/json, or the document itself as application/yaml or application/json",
        )
    try:
        kind = msgspec.json.decode(given.body, type=_Kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise _unreadable(wrong) from None
    if kind.schema is msgspec.UNSET:
        return None
    return requests.File(name or "document.json", _text(given.body))


_Request = TypeVar("_Request", bound=msgspec.Struct)


def _decoded(given: Given, kind: type[_Request], empty: _Request | None = None) -> _Request:
    if not given.body and empty is not None:
        return empty
    if given.media_type != JSON:
        raise MediaTypeError(
            f"media type not read here (got {given.media_type[:60] or 'none'!r})",
            hint="send application/json",
        )
    try:
        return msgspec.json.decode(given.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise _unreadable(wrong) from None


def _unreadable(wrong: Exception) -> SyntaxFormError:
    told = "nested too deeply" if isinstance(wrong, RecursionError) else str(wrong)
    return SyntaxFormError(
        f"the body cannot be used: {told[:300]}", hint="/api/openapi.json tells what it must look like"
    )


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as wrong:
        raise SyntaxFormError(
            f"the body is not UTF-8 (byte {wrong.start} of {len(body)})", hint="save the file as UTF-8"
        ) from None


def _exactly_one(source: requests.Source) -> None:
    given = sum(map(bool, (source.files, source.draft, source.revision)))
    if given != 1:
        raise errors.UsageError(
            f"a source is files, a draft or a revision (got {given} of them, have 1)",
            hint='for instance {"source": {"draft": "d-7f3a"}}',
        )


def _compared(given: Given, generation: int, revision: int) -> tuple[int, int]:
    """What the active version must be: If-Match, where it is sent, else the body's own words."""
    if not given.if_match or given.if_match == "*":
        return generation, revision
    match = _ETAG.fullmatch(given.if_match)
    if match is None:
        raise errors.UsageError(
            f"If-Match is not an ETag of ours (got {given.if_match[:40]!r})",
            hint='it looks like "<generation>.<revision>", in quotes: "1.42"',
        )
    return int(match[1]), int(match[2])


def _number(given: Given, key: str, otherwise: int) -> int:
    text = given.query.get(key)
    if text is None:
        return otherwise
    if not _NUMBER.fullmatch(text):
        raise errors.UsageError(f"{key} is not a whole number (got {text[:40]!r})")
    return int(text)


def _flag(given: Given, key: str) -> bool:
    text = given.query.get(key, "false").lower()
    if text not in _TRUE | _FALSE:
        raise errors.UsageError(f"{key} is neither true nor false (got {text[:40]!r})")
    return text in _TRUE


def _name(given: Given, key: str) -> str:
    text = given.path[key]
    if not _NAME.fullmatch(text):
        raise errors.NotFoundError(f"no such {key} (got {text[:80]!r})")
    return text


def known_query(given: Mapping[str, list[str]], known: tuple[str, ...]) -> dict[str, str]:
    """Each parameter once and none unknown, so that a misspelt one never passes in silence."""
    for key, values in given.items():
        if key not in known:
            raise errors.UsageError(
                f"unknown parameter {key[:40]!r}", hint=findings.near(key, known, _have(known))
            )
        if len(values) > 1:
            raise errors.UsageError(f"{key} is given {len(values)} times", hint="once is enough")
    found = {key: values[0] for key, values in given.items()}
    if any("\ud800" <= character <= "\udfff" for value in found.values() for character in value):
        raise SyntaxFormError("a parameter is not UTF-8")
    return found


def _have(known: tuple[str, ...]) -> str:
    return f"known here: {', '.join(known)}" if known else "none is known here"
