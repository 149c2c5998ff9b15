"""The role type `greeter`: the small example of a role that lives inside its node. Light to import."""

from collections.abc import Callable
from typing import Annotated

import msgspec

from coordinator import names, role
from nodeagent.roles import durations

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class GreeterParams(role.Params, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """It answers every connection with one line."""

    port: Port
    greeting: Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\r\n]*$")] = "hello"
    delay: Annotated[str, msgspec.Meta(pattern=durations.PATTERN)] = "0s"
    """From its start until it is healthy."""


def _greeter(params: role.Params) -> GreeterParams:
    assert isinstance(params, GreeterParams)
    return params


def _load() -> Callable[[], role.Role]:
    from nodeagent.roles import greeter  # noqa: PLC0415 only the node that runs one imports it

    return greeter.GreeterRole


TYPE = role.RoleType(
    name=names.RoleTypeName("greeter"),
    params=GreeterParams,
    load=_load,
    ports=lambda params: (_greeter(params).port,),
    hot=lambda old, new: _greeter(old).port == _greeter(new).port,
)
