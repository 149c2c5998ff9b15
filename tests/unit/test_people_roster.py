"""What a domain centre is told, by its link alone, and that nothing in it lets anybody in."""

import msgspec
import pytest

from coordinator import errors, names
from coordinator.domains import people
from coordinator.propagation import children, messages, objects, publisher
from coordinator.tiers import requests_people, roster
from tests import micworld, peopleworld

pytestmark = pytest.mark.anyio


def child(kind: messages.ChildKind, name: str, server: str) -> children.Child:
    hello = messages.Hello(
        1, micworld.CLUSTER, kind, names.RoleName(name), 1, objects.Numbers(), "", b"", None
    )
    admit = publisher.Admit(publisher.Scope.NOTHING, names.ServerName(server))
    return children.Child(names.LinkId(1), micworld.FIRST, hello, admit, objects.Numbers(), 0.0, None)


async def test_a_domain_centre_is_told_names_and_roles_and_no_secret() -> None:
    world = peopleworld.World()
    served, _ = await world.begun()
    token = await world.entered(served, "bea", peopleworld.BRANCH, people.Rank.ADMINISTRATOR)
    found = await roster.told(served.at, child(messages.ChildKind.DC, "dc1", "c1"))
    assert [(one.name, one.domain, one.role) for one in found.people] == [("bea", "branch", "administrator")]
    assert [one.domain for one in found.domains] == ["acme", "branch"]
    text = msgspec.json.encode(found).decode()
    stored = await people.find(served.at.store, "branch", "bea")
    assert stored is not None
    for secret in (token.rpartition("_")[2], stored.password, "argon2"):
        assert secret not in text


@pytest.mark.parametrize(
    ("kind", "name", "server"),
    [
        (messages.ChildKind.SHELL, "", "c1"),
        (messages.ChildKind.WS, "ws1", "c1"),
        (messages.ChildKind.DC, "dc1", "n1"),
        (messages.ChildKind.DC, "web1", "n1"),
        (messages.ChildKind.DC, "dc9", "c1"),
    ],
)
async def test_nobody_else_is_told(kind: messages.ChildKind, name: str, server: str) -> None:
    world = peopleworld.World()
    served, _ = await world.begun()
    with pytest.raises(errors.NotAllowedError):
        await roster.told(served.at, child(kind, name, server))
    with pytest.raises(errors.NotAllowedError):
        await roster.told(served.at, None)
    assert (await world.ask(served, requests_people.ROSTER))[0] == "not_found"
