"""Parameters of the role type `greeter`; light to import."""

from typing import Annotated

import msgspec

from coordinator import role
from nodeagent.roles import durations

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class GreeterParams(role.Params, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """It answers every connection with one line."""

    port: Port
    greeting: Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\r\n]*$(?!\n)")] = (
        "hello"
    )
    delay: Annotated[str, msgspec.Meta(pattern=durations.PATTERN)] = "0s"
    """From its start until it is healthy."""


def ports(params: role.Params) -> tuple[int, ...]:
    """The one it answers on."""
    assert isinstance(params, GreeterParams)
    return (params.port,)


def hot(old: role.Params, new: role.Params) -> bool:
    """A listener stays where it is, whatever it says."""
    assert isinstance(old, GreeterParams)
    assert isinstance(new, GreeterParams)
    return old.port == new.port
