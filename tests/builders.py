"""Small documents and a small catalogue, for every test that needs a system to talk about."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from coordinator import limits, names, role
from coordinator.config import kinds, model


class Ready(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tcp: kinds.Port | None = None
    exec: tuple[str, ...] = ()
    after: str | None = None


class ProcessParams(role.Params, frozen=True):
    """Shaped like the parameters of the `process` type."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = {}
    files: Mapping[str, str] = {}
    reload: str | None = None
    ready: Ready | None = None
    stateful: bool = False


class GreeterParams(role.Params, frozen=True):
    port: kinds.Port
    greeting: str = "hello"


def _no_implementation() -> Callable[[], role.Role]:
    raise AssertionError("documents are judged without importing any implementation")


def _port(params: Any) -> tuple[int, ...]:
    return (params.port,)


def _ready_port(params: Any) -> tuple[int, ...]:
    return (params.ready.tcp,) if params.ready and params.ready.tcp else ()


def _files_alone(old: Any, new: Any) -> bool:
    return new.reload is not None and msgspec.structs.replace(old, files=new.files) == new


def _type(name: str, params: type[role.Params], **rest: Any) -> role.RoleType:
    return role.RoleType(names.RoleTypeName(name), params, _no_implementation, **rest)


CATALOGUE: role.Catalogue = {
    kind.name: kind
    for kind in (
        _type("mic", kinds.MicParams, ports=lambda params: (params.port, limits.PORT_RAFT)),
        _type("ic", kinds.IcParams, ports=_port, stateful=lambda _params: True),
        _type("dc", kinds.DcParams, stateful=lambda _params: True),
        _type("ws", kinds.WsParams, ports=_port),
        _type(
            "process",
            ProcessParams,
            ports=_ready_port,
            stateful=lambda params: params.stateful,
            hot=_files_alone,
        ),
        _type("greeter", GreeterParams, ports=_port, hot=lambda old, new: old.port == new.port),
        _type("pair", role.Params, unique_order=True),
    )
}


PLAIN: Mapping[str, Any] = {
    "schema": model.SCHEMA,
    "general": {"master_domain": "acme"},
    "domains": {"acme": {"fqdn": "acme.example"}, "branch": {"fqdn": "branch.acme.example"}},
    "sites": {
        "central": {"type": "master_communication", "domains": ["acme"]},
        "north": {"type": "communication", "domains": ["branch"]},
    },
    "servers": {"c1": {"interfaces": {"lan": "10.1.0.11"}}, "n1": {"interfaces": {"lan": "10.2.0.11"}}},
    "roles": {
        "mic1": {"type": "mic", "order": 1},
        "dc1": {"type": "dc", "order": 1},
        "ws1": {"type": "ws", "order": 1},
        "icc1": {"type": "ic", "order": 1},
        "icn1": {"type": "ic", "order": 1},
        "web1": {"type": "process", "params": {"command": ["/bin/web"], "ready": {"tcp": 8080}}},
    },
    "structure": {"central": {"c1": ["mic1", "dc1", "ws1", "icc1"]}, "north": {"n1": ["icn1", "web1"]}},
}
"""A valid system of two sites, each of one server."""


def document(**parts: Any) -> model.Document:
    """The plain system; top-level `parts`, given as plain maps, replace its own."""
    return msgspec.convert({**PLAIN, **parts}, model.Document)


def written(value: Any) -> Any:
    """A document as plain maps and lists, to be bent out of shape."""
    return msgspec.json.decode(model.canonical(value))


def bent(change: Callable[[Any], object], base: model.Document | None = None) -> model.Document:
    """A document after `change` has had its plain form in hands."""
    plain = written(base or document())
    change(plain)
    return msgspec.convert(plain, model.Document)


def large(*, sites: int, servers: int, roles: int, templates: bool = False) -> model.Document:
    """A valid document of `sites` x `servers` x `roles` process roles, and what the rules ask for beside them."""
    plain: dict[str, Any] = written(document())
    plain |= {"servers": {}, "sites": {}, "roles": {}, "structure": {}}
    params = {"command": ["/usr/bin/service", "--name", "{role}"], "environment": {"SITE": "{site}"}}
    if templates:
        plain["templates"] = {"service": {"type": "process", "params": params}}
    for number in range(sites):
        _large_site(
            plain,
            number,
            servers,
            roles,
            {"like": "service"} if templates else {"type": "process", "params": params},
        )
    first = plain["structure"]["s0"]["s0-0"]
    plain["roles"] |= {"mic1": {"type": "mic"}, "dc1": {"type": "dc"}, "ws1": {"type": "ws"}}
    first += ["mic1", "dc1", "ws1"]
    plain["sites"]["s0"] = {"type": "master_communication", "domains": ["acme", "branch"]}
    return msgspec.convert(plain, model.Document)


def _large_site(plain: Any, number: int, servers: int, roles: int, written_role: Any) -> None:
    site = f"s{number}"
    plain["sites"][site] = {"type": "communication"}
    plain["structure"][site] = {}
    for index in range(servers):
        server = f"{site}-{index}"
        plain["servers"][server] = {"interfaces": {"lan": f"10.{number}.{index // 250}.{index % 250 + 1}"}}
        placed = [f"r-{server}-{role_number}" for role_number in range(roles)]
        plain["roles"] |= dict.fromkeys(placed, written_role)
        plain["structure"][site][server] = placed
    plain["roles"][f"ic-{site}"] = {"type": "ic"}
    plain["structure"][site][f"{site}-0"].append(f"ic-{site}")
