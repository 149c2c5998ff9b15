"""What MIC's answer means in HTTP: status and headers. The body stays as MIC wrote it. No I/O.

The ETag is `"<generation>.<revision>"` of the active or shown revision: what If-Match of the next apply wants to hear.
"""

from collections.abc import Mapping

import msgspec

from coordinator import names
from coordinator.api import routing
from coordinator.tiers import requests


class Meaning(msgspec.Struct, frozen=True):
    """Beside the body."""

    status: int
    headers: Mapping[str, str]


class _Versioned(msgspec.Struct, frozen=True):
    version: names.Version


class _Drafted(msgspec.Struct, frozen=True):
    draft: str


class _Shown(msgspec.Struct, frozen=True):
    revision: _Versioned | None = None


def meaning(route: routing.Route, body: bytes) -> Meaning:
    """Of a good answer. Raises `msgspec.DecodeError` where it is not what the route gives."""
    if route.gives is requests.Applied:
        return _applied(msgspec.json.decode(body, type=requests.Applied))
    if route.gives is requests.Uploaded:
        draft = msgspec.json.decode(body, type=_Drafted).draft
        return Meaning(route.success, {"Location": f"{routing.CFG}/revisions/{draft}"})
    if route.gives is requests.StatusView:
        return Meaning(route.success, _etag(msgspec.json.decode(body, type=_Versioned)))
    if route.gives is requests.Shown:
        return Meaning(route.success, _etag(msgspec.json.decode(body, type=_Shown).revision))
    return Meaning(route.success, {})


def _applied(applied: requests.Applied) -> Meaning:
    """202 only where a rollout was started: not for what changes nothing, nor for a rehearsal."""
    if applied.unchanged or not applied.rollout:
        return Meaning(200, _etag(_Versioned(applied.version)))
    location = {"Location": f"{routing.CFG}/rollouts/{applied.rollout}"}
    return Meaning(202, {**_etag(_Versioned(applied.version)), **location})


def _etag(versioned: _Versioned | None) -> dict[str, str]:
    if versioned is None:
        return {}
    return {"ETag": f'"{versioned.version.generation}.{versioned.version.revision}"'}
