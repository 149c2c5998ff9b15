"""What is left to a server that was expelled: nothing, on none of its links, under none of its words.

Its own link at every tier is in `test_hop_proof`, the store's port in `test_old_roots`, etcd's API in `test_etcd_api`, its
join line and its name in `test_mic_joining`.
"""

import msgspec
import pytest

from coordinator import names
from coordinator.propagation import asks, events, joining, messages
from coordinator.tiers import mic, parking, requests, requests_joining
from coordinator.trust import certificates, joinlines, renewals
from tests import micworld
from tests.security import cluster, test_hop_proof

KINDS = cluster.KINDS
KEY = certificates.new_key()


def test_with_a_server_go_the_links_of_all_its_roles_and_of_everybody_it_spoke_for() -> None:
    """An administrator's requests went on over the web role of a server that was out."""
    made = cluster.Cluster()
    served = made.mic()
    comers = ((KINDS.SHELL, ""), (KINDS.IC, "icn1"), (KINDS.WS, "ws2"), (KINDS.DC, "dc2"))
    for number, (kind, role) in enumerate(comers, 1):
        cluster.come(served, number, cluster.sid("n1"), made.hello(kind, role, "n1"))
    cluster.hear(served, 2, messages.Rollup(1, True, (messages.Row(cluster.sid("n2"), True, made.ack()),)))
    assert set(served.publisher.children) == {1, 2, 3, 4}
    assert served.convergence.facts[cluster.sid("n2")].links
    outputs = test_hop_proof.learn(served, made, test_hop_proof.revoking(made, "n1"))
    assert {one.link for one in outputs if isinstance(one, events.Close)} == {1, 2, 3, 4}
    assert not served.publisher.children
    assert not served.convergence.facts[cluster.sid("n2")].links, "what it told of others counts no more"
    for number in range(1, 5):
        asked = messages.Ask(7, "cfg.apply", "", True, b"")
        assert cluster.hear(served, number, asked, 6.0) == ()
    for number, (kind, role) in enumerate(comers, 11):
        answered = cluster.come(served, number, cluster.sid("n1"), made.hello(kind, role, "n1"), 7.0)
        assert [type(one) for one in cluster.said(answered, messages.Bye)] == [messages.Bye]
    assert not served.publisher.children


@pytest.mark.anyio
async def test_nothing_that_it_signs_is_heeded_once_the_command_has_returned() -> None:
    world = micworld.World()
    async with world.running() as (served, tree):
        pem = certificates.signing_request(KEY, "n1").decode()
        server = await world.enroll(served, "n1", pem)
        tree.connect(server)
        link = tree.links[server]
        code, _ = await world.ask(served, requests.Verb.EXPEL, requests_joining.Expel(server="n1"))
        assert code == ""
        assert link not in served.at.master.publisher.children
        before = served.at.past.content
        for verb, word in _words(server):
            code, data = await served.answered(verb, messages.ChildKind.SHELL, word)
            told = msgspec.json.decode(data)
            assert code == "unauthenticated" or told.get("name") == "n1", (verb, told)
        assert served.at.past.content == before
        assert await served.at.ask(server, "status") == (asks.UNREACHABLE, b"")
        assert server not in {one.id for one in parking.views(served.at)}
        await _ic_speaks_for(served, tree, server)


def _words(server: names.ServerId) -> list[tuple[str, bytes]]:
    public, signature = joinlines.signed_leave(KEY, micworld.CLUSTER, server)
    leave = joining.encode(joining.Leave(server, public, signature, rehearse=False))
    same = renewals.request(micworld.CLUSTER, server, KEY, KEY, uses=True)
    other = renewals.request(micworld.CLUSTER, server, KEY, certificates.new_key(), uses=False)
    return [
        (asks.RENEW, joining.encode(joining.Carried(server, same))),
        (asks.RENEW, joining.encode(joining.Carried(server, other))),
        (joining.LEAVE, joining.encode(joining.Carried(server, leave))),
    ]


async def _ic_speaks_for(served: mic.Mic, tree: micworld.Tree, server: names.ServerId) -> None:
    tree.connect_relay("icc1", micworld.FIRST, server)
    facts = served.at.master.convergence.facts.get(server)
    assert facts is None or not facts.links
    assert served.at.master.sightings.way(server) is None
