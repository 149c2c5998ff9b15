"""Who gets an HTTPS certificate of MIC: a ws role at its own place, by its own link, and nobody else."""

import anyio
import msgspec
import pytest

from coordinator import errors, names
from coordinator.propagation import children, messages, objects, publisher
from coordinator.tiers import web
from coordinator.trust import certificates
from tests import micworld


def child(kind: messages.ChildKind, name: str, server: str) -> children.Child:
    hello = messages.Hello(
        1, micworld.CLUSTER, kind, names.RoleName(name), 1, objects.Numbers(), "", b"", None
    )
    admit = publisher.Admit(publisher.Scope.NOTHING, names.ServerName(server))
    return children.Child(names.LinkId(1), micworld.FIRST, hello, admit, objects.Numbers(), 0.0, None)


@pytest.mark.parametrize(
    ("kind", "name", "server"),
    [
        (messages.ChildKind.SHELL, "", "c1"),
        (messages.ChildKind.IC, "ws1", "c1"),
        (messages.ChildKind.DC, "dc1", "c1"),
        (messages.ChildKind.WS, "ws1", "n1"),
        (messages.ChildKind.WS, "mic1", "c1"),
        (messages.ChildKind.WS, "ws9", "c1"),
    ],
)
def test_only_a_web_role_that_the_document_places_there_is_certified(
    kind: messages.ChildKind, name: str, server: str
) -> None:
    async def main() -> None:
        served, _ = await micworld.World().open()
        request = certificates.signing_request(certificates.new_key(), "c1").decode()
        data = msgspec.json.encode(web.Wanted(request))
        with pytest.raises(errors.NotAllowedError):
            web.issue(served.at, child(kind, name, server), data)
        with pytest.raises(errors.NotAllowedError):
            web.issue(served.at, None, data)
        good = web.issue(served.at, child(messages.ChildKind.WS, "ws1", "c1"), data)
        assert good.ca_pem.encode() == served.at.means.authority.ca_pem

    anyio.run(main)


def test_no_person_can_ask_for_one() -> None:
    async def main() -> None:
        world = micworld.World()
        served, _ = await world.open()
        assert (await world.ask(served, web.CERTIFICATE))[0] == "not_found"

    anyio.run(main)
