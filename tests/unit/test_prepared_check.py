"""What a server finds of a prepared configuration before anything of it runs."""

import json
import pathlib
import socket
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from coordinator import names
from coordinator.config import expansion, model
from nodeagent.roles import greeter_type, process_type
from nodeagent.servershell import checking

SERVER = names.ServerName("n1")
CATALOGUE = {kind.name: kind for kind in (process_type.TYPE, greeter_type.TYPE)}


def document(address: str = "127.0.0.1", **roles: dict[str, Any]) -> expansion.Expanded:
    plain = {
        "schema": model.SCHEMA,
        "general": {"master_domain": "acme"},
        "servers": {"n1": {"interfaces": {"lan": address}}},
        "roles": roles,
        "sites": {"north": {"type": "communication"}},
        "structure": {"north": {"n1": list(roles)}},
    }
    return expansion.expand(model.decode(json.dumps(plain).encode()))


def process(*command: str, **params: Any) -> dict[str, Any]:
    return {"type": "process", "params": {"command": list(command), **params}}


def greeter(port: int) -> dict[str, Any]:
    return {"type": "greeter", "params": {"port": port, "greeting": "hi"}}


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen(1)
        yield holder.getsockname()[1]


def found(new: expansion.Expanded, now: expansion.Expanded | None = None) -> list[tuple[str, str]]:
    return [(one.role, one.code) for one in checking.troubles(SERVER, new, now, CATALOGUE)]


def test_what_can_run_here_is_not_complained_about(tmp_path: pathlib.Path) -> None:
    assert found(document(web=process(sys.executable, "-V", directory=str(tmp_path)))) == []


def test_every_trouble_is_named_by_role_all_at_once(taken: int) -> None:
    new = document(
        absent=process("/no/such/program"),
        homeless=process(sys.executable, directory="/no/such/directory"),
        busy=greeter(taken),
        strange={"type": "unheard"},
        wrong={"type": "process", "params": {"command": []}},
    )
    assert found(new) == [
        ("absent", "local"),
        ("homeless", "local"),
        ("busy", "port"),
        ("strange", "unknown_type"),
        ("wrong", "invalid_params"),
    ]


def test_an_address_that_is_not_here_is_said(taken: int) -> None:
    assert found(document("192.0.2.1", web=process(sys.executable))) == [("web", "address")]


def test_what_runs_now_is_never_held_against_what_comes(taken: int) -> None:
    now = document(web=greeter(taken))
    assert found(document(web=greeter(taken)), now) == []
    assert found(document(web=greeter(taken), more=process(sys.executable)), now) == []
    assert found(document(heir=greeter(taken)), now) == [], "its port is given up by whoever has it"
    other = {"type": "greeter", "params": {"port": taken, "greeting": "other"}}
    assert found(document(web=other), now) == []


def test_a_placeholder_is_known_only_where_it_runs() -> None:
    assert found(document(web=process("{files}/run.sh", files={"run.sh": ""}))) == []


def test_a_role_type_that_breaks_is_a_finding_and_ends_nobody() -> None:
    def breaks(_params: object) -> tuple[str, ...]:
        raise RuntimeError("no luck")

    def numbers(_params: object) -> tuple[int, ...]:
        return (70_000,)

    plain = process_type.TYPE
    types = {
        names.RoleTypeName("checks"): msgspec.structs.replace(plain, check=breaks),
        names.RoleTypeName("counts"): msgspec.structs.replace(plain, ports=breaks),
        names.RoleTypeName("ports"): msgspec.structs.replace(plain, ports=numbers),
        names.RoleTypeName("talks"): msgspec.structs.replace(plain, check=lambda _params: ("x" * 100_000,)),
    }
    roles = {str(kind): {**process(sys.executable), "type": kind} for kind in types}
    told = checking.troubles(SERVER, document("127.0.0.1", **roles), document("127.0.0.1", **roles), types)
    assert told == ()
    told = checking.troubles(SERVER, document("127.0.0.1", **roles), None, types)
    assert [(one.role, one.code) for one in told] == [
        ("checks", "local"), ("counts", "local"), ("ports", "port"), ("talks", "local"),
    ]  # fmt: skip
    assert "no luck" in told[0].message
    assert all(len(one.message) < 500 for one in told)
