"""The OpenAPI 3.1 description, written from the table of routes and nothing else."""

import re
from typing import Any

import msgspec

from coordinator.api import problems, routes, routing, statuses

_REFERENCES = "#/components/schemas/{name}"
_IN_PATH = re.compile(r"\{(\w+)\}")
_ABOUT_QUERY = {
    "name": "Name of the file, for findings, where the body is the document itself.",
    "message": "Why; stands in the history.",
    "dry_run": "Judge and answer, change nothing.",
    "if_revision": "Only if this is the active revision.",
    "index": "Answer once the answer's index is above this.",
    "by_site": "Counts of every site of the active rollout too.",
    "full": "The text names everything, not only the first of many.",
    "after": "What comes after this: what `next` said, or the id of an event.",
    "server": "Of this server alone.",
    "type": "Of this role type alone.",
    "wait": "At most so long, such as 20s.",
    "site": "Of this site alone.",
    "not_converged": "Only servers that are not there yet.",
    "details": "Servers by name, not only counts.",
    "before": "Revisions below this one.",
    "limit": "At most so many.",
    "key": "A key; one that does not begin with / stands below /kv/.",
    "prefix": "Every key that starts with it.",
    "revision": "Of the store: as of it, or from it on.",
    "keys_only": "No values.",
    "encoding": "base64, where keys and values are no text.",
    "domain": "Of this domain alone.",
    "person": "Of this person alone.",
    "oldest_first": "Oldest first, above `after`; else newest first, below `before`.",
    "since": "Not older than this: seconds since 1970.",
    "who": "Of this person alone, as the audit names them.",
    "verb": "Of this verb alone, such as cfg.apply.",
    "outcome": "ok, refused (whatever is not ok), or a code.",
}


_TEXT = {"type": "string"}
_NUMBER = {"type": "integer", "minimum": 0, "maximum": 10**15 - 1}
_FLAG = {"type": "boolean"}
_SPAN = {"type": "string", "pattern": r"^\d{1,9}(\.\d{1,6})?(ms|s|m|h|d)$", "examples": ["60s"]}
_QUERY: dict[str, dict[str, Any]] = {
    "dry_run": _FLAG, "not_converged": _FLAG, "details": _FLAG, "by_site": _FLAG, "full": _FLAG,
    "if_revision": _NUMBER, "index": _NUMBER, "before": _NUMBER, "limit": _NUMBER, "wait": _SPAN,
    "oldest_first": _FLAG, "since": _NUMBER,
}  # fmt: skip
_HEADERS: dict[str, dict[str, Any]] = {
    "Idempotency-Key": {
        "description": "Makes a repetition harmless: the same key and content get the first answer.",
        "schema": {"type": "string", "pattern": r"^[\x21-\x7e]{1,128}$"},
    },
    "If-Match": {
        "description": "The ETag that the active revision must have.",
        "schema": {"type": "string", "pattern": r'^"\d{1,15}\.\d{1,15}"$'},
    },
    "Last-Event-ID": {"description": "Go on after this event.", "schema": _TEXT},
}
_AS_OF = {
    "description": "Only while no coordinator answers: `<generation>.<revision>, <seconds ago>` of this answer.",
    "schema": _TEXT,
}
_Known = dict[type[msgspec.Struct], dict[str, Any]]


def document() -> dict[str, Any]:
    """The whole description, as plain values."""
    shapes = {shape for route in routes.ROUTES for shape in (route.takes, route.gives) if shape is not None}
    ordered = sorted(shapes | {problems.Document}, key=lambda shape: (shape.__name__, shape.__module__))
    references, components = msgspec.json.schema_components(ordered, ref_template=_REFERENCES)
    known: _Known = dict(zip(ordered, references, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes.ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, known)
    for path, summary in routes.OPEN.items():
        good = {"200": {"description": "As the summary says."}}
        paths[path] = {"get": {"summary": summary, "security": [], "responses": good}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tiercast administration API", "version": "1", "license": {"name": "Apache-2.0"}},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: routing.Route, known: _Known) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.verb if not route.path.endswith("/document") else f"{route.verb}.document",
        "summary": route.summary,
        "x-tiercast-permission": route.permission.value,
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)],
        "responses": _responses(route, known),
    }
    if route.body is not routing.Body.NONE and route.takes is not None:
        operation["requestBody"] = {"required": True, "content": _content(route, known[route.takes])}
    return operation


def _path_parameters(route: routing.Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _IN_PATH.findall(route.path)
    ]


def _query_parameters(route: routing.Route) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "query",
            "description": _ABOUT_QUERY.get(name, ""),
            "schema": _QUERY.get(name, _TEXT),
        }
        for name in route.query
    ]


def _header_parameters(route: routing.Route) -> list[dict[str, Any]]:
    wanted = ["Idempotency-Key"] if route.mutates else []
    wanted += ["If-Match"] if "precondition" in route.codes else []
    wanted += ["Last-Event-ID"] if route.streams else []
    return [{"name": name, "in": "header", **_HEADERS[name]} for name in wanted]


def _content(route: routing.Route, takes: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": takes}}
    if route.body is routing.Body.DOCUMENT:
        content["application/yaml"] = {"schema": {"type": "string"}}
    return content


def _responses(route: routing.Route, known: _Known) -> dict[str, Any]:
    kind = "text/event-stream" if route.streams else "application/json"
    good = {"description": "As the summary says.", "content": {kind: {"schema": known[route.gives]}}}
    if route.keeps:
        good["headers"] = {"Tiercast-As-Of": _AS_OF}
    responses: dict[str, Any] = {str(route.success): good}
    if route.success == 202:
        responses["200"] = {**good, "description": "Nothing changes, or nothing was to be changed."}
    problem = {problems.MEDIA_TYPE: {"schema": known[problems.Document]}}
    codes: dict[int, list[str]] = {}
    for code in dict.fromkeys((*routing.COMMON_CODES, *route.codes)):
        codes.setdefault(statuses.row(code).status, []).append(code)
    for status, some in sorted(codes.items()):
        responses[str(status)] = {"description": ", ".join(some), "content": problem}
    return responses
