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
    "index": "Answer once the rollout's index is above this.",
    "wait": "At most so long, such as 20s.",
    "site": "Of this site alone.",
    "not_converged": "Only servers that are not there yet.",
    "details": "Servers by name, not only counts.",
    "before": "Revisions below this one.",
    "limit": "At most so many.",
}


def document() -> dict[str, Any]:
    """The whole description, as plain values."""
    "key": "A key; one that does not begin with / stands below /kv/.",
    "prefix": "Every key that starts with it.",
    "revision": "Of the store: as of it, or from it on.",
    "keys_only": "No values.",
    "encoding": "base64, where keys and values are no text.",
    shapes = {shape for route in routes.ROUTES for shape in (route.takes, route.gives) if shape is not None}
    ordered = sorted(shapes | {problems.Document}, key=lambda shape: shape.__name__)
    _, components = msgspec.json.schema_components(ordered, ref_template=_REFERENCES)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes.ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
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


def _operation(route: routing.Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.verb if not route.path.endswith("/document") else f"{route.verb}.document",
        "summary": route.summary,
        "x-tiercast-permission": route.permission.value,
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": _responses(route),
    }
    if route.body is not routing.Body.NONE and route.takes is not None:
        operation["requestBody"] = {"required": True, "content": _content(route, route.takes)}
    return operation


def _path_parameters(route: routing.Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _IN_PATH.findall(route.path)
    ]


def _query_parameters(route: routing.Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "description": _ABOUT_QUERY[name], "schema": {"type": "string"}}
        for name in route.query
    ]


def _content(route: routing.Route, takes: type[msgspec.Struct]) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": _reference(takes)}}
    if route.body is routing.Body.DOCUMENT:
        content["application/yaml"] = {"schema": {"type": "string"}}
    return content


def _responses(route: routing.Route) -> dict[str, Any]:
    good = {
        "description": "As the summary says.",
        "content": {"application/json": {"schema": _reference(route.gives)}},
    }
    responses: dict[str, Any] = {str(route.success): good}
    if route.success == 202:
        responses["200"] = {**good, "description": "Nothing changes, or nothing was to be changed."}
    problem = {problems.MEDIA_TYPE: {"schema": _reference(problems.Document)}}
    codes: dict[int, list[str]] = {}
    for code in dict.fromkeys((*routing.COMMON_CODES, *route.codes)):
        codes.setdefault(statuses.row(code).status, []).append(code)
    for status, some in sorted(codes.items()):
        responses[str(status)] = {"description": ", ".join(some), "content": problem}
    return responses


def _reference(shape: type[msgspec.Struct]) -> dict[str, str]:
    return {"$ref": _REFERENCES.format(name=shape.__name__)}
