"""What came by HTTP (path, query, media type, body), read as values: what every builder of a request uses.

Checks form and nothing else. No I/O. Law: each either returns its value or raises a `TiercastError` that says what to
write instead.
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
WAIT_S = min(limits.HTTP_WAIT_S, asks.ASK_TIMEOUT_S - 5.0)
"""Of one ask: a link gives it up after ASK_TIMEOUT_S. Whoever waits longer is asked for again by WS."""

NUMBER = re.compile(r"\d{1,15}", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+~-]{0,254}", re.ASCII)
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
    idempotency_key: str = ""
    last_event: str = ""


class _Kind(msgspec.Struct, frozen=True):
    """Only enough of a JSON body to tell a document from a request about one."""

    schema: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def document(given: Given) -> requests.File | None:
    """The document itself, where that is what the body is; None where it is a request in JSON."""
    called = given.query.get("name", "")
    if given.media_type in YAML:
        return requests.File(called or "document.yaml", _text(given.body))
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
    return requests.File(called or "document.json", _text(given.body))


_Request = TypeVar("_Request", bound=msgspec.Struct)


def decoded(given: Given, kind: type[_Request], empty: _Request | None = None) -> _Request:
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


def number(given: Given, key: str, otherwise: int) -> int:
    text = given.query.get(key)
    if text is None:
        return otherwise
    if not NUMBER.fullmatch(text):
        raise errors.UsageError(f"{key} is not a whole number (got {text[:40]!r})")
    return int(text)


def flag(given: Given, key: str, *, otherwise: bool = False) -> bool:
    text = given.query.get(key, str(otherwise)).lower()
    if text not in _TRUE | _FALSE:
        raise errors.UsageError(f"{key} is neither true nor false (got {text[:40]!r})")
    return text in _TRUE


def wait_s(given: Given) -> float:
    """How long the client would wait for news."""
    return min(durations.seconds(given.query.get("wait", "0s")), limits.HTTP_WAIT_S)


def name(given: Given, key: str) -> str:
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
