"""Requests made from the OpenAPI document alone: mostly as it says, now and then off in one place."""

import json
import re
import urllib.parse
from typing import Any

import msgspec
from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXT,
    st.lists(TEXT, max_size=2), st.dictionaries(TEXT, TEXT, max_size=2),
)  # fmt: skip
NASTY = st.sampled_from(
    [
        "",
        "0",
        "-1",
        "1e9",
        "9" * 40,
        "../../etc/passwd",
        "a\r\nX-Evil: 1",
        "\x00",
        "%00",
        "' or 1=1",
        "\u202e",
        "~" * 300,
    ]
)
SHORT_WAIT = st.sampled_from(["0s", "1ms", "0.01s", "soon", "-1s", "9" * 12])
DEPTH = 4


class Request(msgspec.Struct, frozen=True):
    """As it goes over the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def operations(described: dict[str, Any]) -> list[tuple[str, str]]:
    """(method, path) of everything described."""
    return sorted((method, path) for path, some in described["paths"].items() for method in some)


@st.composite
def requests_of(draw: st.DrawFn, described: dict[str, Any], method: str, path: str) -> Request:
    """One request at that operation."""
    operation = described["paths"][path][method]
    schemas = described["components"]["schemas"]
    query: list[tuple[str, str]] = []
    headers: dict[str, str] = {}
    for parameter in operation.get("parameters", ()):
        name, place = parameter["name"], parameter["in"]
        value = draw(_parameter(name, parameter["schema"]))
        if place == "path":
            path = path.replace(f"{{{name}}}", urllib.parse.quote(value or "x", safe=""))
        elif place == "query" and draw(st.booleans()):
            query.append((name, value))
        elif place == "header" and draw(st.booleans()) and value.isascii() and value.isprintable():
            headers[name] = value
    if draw(st.integers(0, 9)) == 0:
        query.append((draw(TEXT), draw(TEXT)))
    body = b""
    if "requestBody" in operation:
        kind = draw(st.sampled_from(sorted(operation["requestBody"]["content"])))
        schema = operation["requestBody"]["content"][kind]["schema"]
        value = draw(of_schema(schema, schemas))
        body = json.dumps(value).encode() if kind == "application/json" else str(value).encode()
        headers["Content-Type"] = kind
        if draw(st.integers(0, 9)) == 0:
            body = draw(st.binary(max_size=40))
        if draw(st.integers(0, 9)) == 0:
            headers["Content-Type"] = draw(
                st.sampled_from(["text/plain", "application/json; charset=latin-1", "x"])
            )
    words = f"?{urllib.parse.urlencode(query)}" if query else ""
    return Request(method.upper(), path + words, headers, body)


def _parameter(name: str, schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if name == "wait":
        return SHORT_WAIT
    good = of_schema(schema, {}).map(
        lambda value: str(value).lower() if isinstance(value, bool) else str(value)
    )
    return st.one_of(good, good, NASTY, TEXT)


def of_schema(schema: dict[str, Any], schemas: dict[str, Any], depth: int = 0) -> st.SearchStrategy[Any]:
    """Values of a JSON schema, one part of ten anything at all."""
    good = _good(schema, schemas, depth)
    return st.integers(0, 9).flatmap(lambda number: JUNK if number == 0 and depth else good)


def _good(schema: dict[str, Any], schemas: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return st.deferred(lambda: _good(schemas[name], schemas, depth)) if depth < DEPTH else JUNK
    if "anyOf" in schema:
        return st.one_of([of_schema(one, schemas, depth + 1) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    kind = schema.get("type")
    if kind == "object":
        return _object(schema, schemas, depth)
    return _array(schema, schemas, depth) if kind == "array" else _scalar(schema)


def _array(schema: dict[str, Any], schemas: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    if "prefixItems" in schema:
        return st.tuples(*(of_schema(one, schemas, depth + 1) for one in schema["prefixItems"])).map(list)
    items = schema.get("items", {})
    return st.lists(of_schema(items, schemas, depth + 1) if isinstance(items, dict) else JUNK, max_size=2)


def _scalar(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    match schema.get("type"):
        case "integer":
            return st.integers(schema.get("minimum", -5), schema.get("maximum", 2**40))
        case "number":
            return st.floats(0, 1e6)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "string":
            pattern = schema.get("pattern")
            good = st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True) if pattern else TEXT
            return good if pattern else st.one_of(TEXT, NASTY)
        case _:
            return JUNK


def _object(schema: dict[str, Any], schemas: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    known = {name: of_schema(one, schemas, depth + 1) for name, one in schema.get("properties", {}).items()}
    required = set(schema.get("required", ()))
    return st.fixed_dictionaries(
        {name: one for name, one in known.items() if name in required},
        optional={name: one for name, one in known.items() if name not in required},
    )
