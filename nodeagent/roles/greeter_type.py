"""The role type `greeter`: the small example of a role that lives inside its node. Light to import."""

from collections.abc import Callable

from coordinator import names, role
from nodeagent.roles import greeter_params


def _load() -> Callable[[], role.Role]:
    from nodeagent.roles import greeter  # noqa: PLC0415 only the node that runs one imports it

    return greeter.GreeterRole


TYPE = role.RoleType(
    name=names.RoleTypeName("greeter"),
    params=greeter_params.GreeterParams,
    load=_load,
    ports=greeter_params.ports,
    hot=greeter_params.hot,
)
