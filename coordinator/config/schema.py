"""JSON Schema of the document, for editors: complete keys, show errors while one writes.

It knows shape, not meaning: `config.validation` judges. Law: a document that reads without S00 fits it.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from coordinator import role
from coordinator.config import model

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(catalogue: role.Catalogue) -> dict[str, Any]:
    """With the parameters of every role type of the catalogue."""
    kinds = sorted(catalogue)
    parameters = [catalogue[kind].params for kind in kinds]
    (root, *schemas), components = msgspec.json.schema_components(
        (model.Document, *parameters), ref_template="#/$defs/{name}"
    )
    components = dict(components)
    fitting = {kind: _by_reference(schema, components) for kind, schema in zip(kinds, schemas, strict=True)}
    components["Role"] = {
        **components["Role"],
        "allOf": [_when(kind, fitting[kind], own=True) for kind in kinds],
    }
    components["Template"] = {
        **components["Template"],
        "allOf": [_when(kind, _partial(fitting[kind]), own=False) for kind in kinds],
    }
    return {"$schema": _DIALECT, "title": "tiercast document", **root, "$defs": components}


def _by_reference(schema: Mapping[str, Any], components: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    found: Mapping[str, Any] = components.get(name, schema)
    return found


def _partial(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a template may leave to the roles that are like it."""
    return {key: value for key, value in schema.items() if key != "required"}


def _when(kind: str, params: Mapping[str, Any], *, own: bool) -> dict[str, Any]:
    """Parameters fit the type, where the type stands beside them and no template has a say."""
    condition: dict[str, Any] = {"properties": {"type": {"const": kind}}, "required": ["type"]}
    if own:
        condition["not"] = {"required": ["like"]}
    return {"if": condition, "then": {"properties": {"params": params}}}
