"""From what came by HTTP to what is asked of the users' keys.

Whose keys they are and what they may be called is MIC's to say. No I/O.
Law: every builder either returns its request or raises a `TiercastError` that says what to write instead.
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from coordinator import errors
from coordinator.api import forms
from coordinator.host import durations
from coordinator.tiers import requests_kv

_Change = TypeVar("_Change", requests_kv.Put, requests_kv.Delete, requests_kv.Txn)


def get(given: forms.Given) -> requests_kv.Range:
    return requests_kv.Range(
        key=given.query.get("key", ""),
        prefix=forms.flag(given, "prefix"),
        after=given.query.get("after", ""),
        limit=forms.number(given, "limit", 0),
        revision=forms.number(given, "revision", 0),
        keys_only=forms.flag(given, "keys_only"),
        encoding=_encoding(given),
    )


def watch(given: forms.Given) -> requests_kv.Watch:
    wait_s = durations.seconds(given.query.get("wait", "0s"))
    return requests_kv.Watch(
        key=given.query.get("key", ""),
        prefix=forms.flag(given, "prefix"),
        revision=forms.number(given, "revision", 0),
        encoding=_encoding(given),
        wait_s=min(wait_s, forms.WAIT_S),
    )


def _changed(kind: type[_Change]) -> Callable[[forms.Given], _Change]:
    """Under its Idempotency-Key, where it has one, it is done once."""

    def build(given: forms.Given) -> _Change:
        asked = forms.decoded(given, kind)
        key = given.idempotency_key
        if asked.request and key and asked.request != key:
            raise errors.UsageError(
                "the Idempotency-Key and the body's `request` differ", hint="one of them is enough"
            )
        return msgspec.structs.replace(asked, request=key or asked.request)

    return build


put = _changed(requests_kv.Put)
delete = _changed(requests_kv.Delete)
txn = _changed(requests_kv.Txn)


def grant(given: forms.Given) -> requests_kv.Grant:
    return forms.decoded(given, requests_kv.Grant)


def lease(given: forms.Given) -> requests_kv.LeaseAsked:
    text = given.path["lease"]
    if not forms.NUMBER.fullmatch(text):
        raise errors.NotFoundError(f"no such lease (got {text[:40]!r})", hint="a lease is a number")
    return requests_kv.LeaseAsked(lease=int(text))


def nothing(_given: forms.Given) -> requests_kv.Nothing:
    return requests_kv.Nothing()


def _encoding(given: forms.Given) -> requests_kv.Encoding:
    text = given.query.get("encoding", "")
    if text not in {"", "base64"}:
        raise errors.UsageError(f"encoding is base64 or is left out (got {text[:40]!r})")
    return "base64" if text else ""
