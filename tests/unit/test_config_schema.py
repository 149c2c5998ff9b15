import json
from typing import Any

from coordinator import names, role
from coordinator.config import model, schema
from tests import builders


def params_of(made: dict[str, Any], thing: str, kind: str) -> Any:
    (found,) = [
        one["then"]["properties"]["params"]
        for one in made["$defs"][thing]["allOf"]
        if one["if"]["properties"]["type"]["const"] == kind
    ]
    return found


def test_the_schema_knows_every_key_of_the_document_and_refuses_others() -> None:
    made = schema.json_schema(builders.CATALOGUE)
    document = made["$defs"]["Document"]
    assert set(document["properties"]) == set(model.Document.__struct_fields__)
    assert document["additionalProperties"] is False
    assert document["required"] == ["schema", "general"]


def test_the_schema_knows_the_parameters_of_every_type() -> None:
    made = schema.json_schema(builders.CATALOGUE)
    assert set(params_of(made, "Role", "greeter")["properties"]) == {"port", "greeting"}
    assert params_of(made, "Role", "greeter")["required"] == ["port"]
    assert "required" not in params_of(made, "Template", "greeter")


def test_every_reference_of_the_schema_resolves() -> None:
    made = schema.json_schema(builders.CATALOGUE)
    text = json.dumps(made)
    referenced = {part.split('"')[0] for part in text.split('"#/$defs/')[1:]}
    assert referenced <= set(made["$defs"])


def test_a_type_from_elsewhere_adds_its_parameters() -> None:
    class Own(role.Params, frozen=True):
        colour: str

    name = names.RoleTypeName("own")
    made = schema.json_schema(
        {name: role.RoleType(name, Own, builders.CATALOGUE[names.RoleTypeName("ws")].load)}
    )
    assert set(params_of(made, "Role", "own")["properties"]) == {"colour"}
