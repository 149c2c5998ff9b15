"""The role type `process`: any program with parameters, so that an existing service is a role without code.

Light to import: what is needed to validate, place and plan.
"""

from collections.abc import Callable

from coordinator import names, role
from nodeagent.roles import process_params


def _load() -> Callable[[], role.Role]:
    from nodeagent.roles import process  # noqa: PLC0415 only the node that runs one imports it

    return process.ProcessRole


TYPE = role.RoleType(
    name=names.RoleTypeName("process"),
    params=process_params.ProcessParams,
    load=_load,
    stateful=process_params.stateful,
    ports=process_params.ports,
    hot=process_params.hot,
    check=process_params.missing,
)
