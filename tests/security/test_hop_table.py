"""The table of a hop: kind of parent x kind of child x admission, what each scope may read and say, and who may ask what.

Written twice on purpose, here and in the product: a change of who may is a change of both.
"""

from collections.abc import Callable

import pytest

from coordinator import names
from coordinator.propagation import asks, events, messages, objects, publisher, scopes
from nodeagent.servershell import core
from nodeagent.servershell import events as shell_events
from tests.security import cluster

KINDS = cluster.KINDS
PLACES = {"here": "n", "elsewhere": "c", "parked": "p1", "expelled": "x1", "revoked": "r1", "unknown": "u1"}
"""Of the server that comes, as seen from n1 and its IC; of the first two the server with the roles where there is one."""

NOBODY = dict.fromkeys(PLACES, "refused")
ROLE = {**NOBODY, "here": "nothing", "elsewhere": "nothing"}
SERVER = {**NOBODY, "here": "server", "elsewhere": "server", "parked": "parked"}
TABLE: dict[str, dict[str, dict[str, str]]] = {
    "mic": {
        "ic": {**NOBODY, "here": "everything", "elsewhere": "everything"},
        "shell": SERVER,
        "node": NOBODY,
        "ws": ROLE,
        "dc": ROLE,
        "local": NOBODY,
    },
    "ic": {
        "ic": NOBODY,
        "shell": {**SERVER, "elsewhere": "refused"},
        "node": NOBODY,
        "ws": NOBODY,
        "dc": NOBODY,
        "local": NOBODY,
    },
    "shell": {
        "ic": NOBODY,
        "shell": SERVER,
        "node": NOBODY,
        "ws": NOBODY,
        "dc": NOBODY,
        "local": NOBODY,
    },
}
OVER_UNIX = {
    "ic": "refused",
    "shell": "refused",
    "node": "node",
    "ws": "refused",
    "dc": "refused",
    "local": "nothing",
}


@pytest.fixture(scope="module")
def made() -> cluster.Cluster:
    return cluster.Cluster()


def machine(made: cluster.Cluster, kind: str) -> cluster.Machine:
    makers: dict[str, Callable[[], cluster.Machine]] = {
        "mic": made.mic,
        "ic": made.ic,
        "shell": made.shell,
    }
    return makers[kind]()


def scope_of(parent: cluster.Machine, link: int) -> str:
    sides = [parent.peers, parent.below] if isinstance(parent, core.Shell) else [parent.publisher]
    found = [side.children[names.LinkId(link)] for side in sides if link in side.children]
    return str(found[0].admit.scope.value) if found else "refused"


def server_of(kind: str, place: str) -> str:
    server = PLACES[place]
    if place not in {"here", "elsewhere"}:
        return server
    return f"{server}1" if (kind, f"{server}1") in cluster.ROLES else f"{server}2"


def test_every_kind_of_child_has_a_row_at_every_parent() -> None:
    assert set(OVER_UNIX) == set(KINDS)
    for rows in TABLE.values():
        assert set(rows) == set(KINDS)
        assert all(set(row) == set(PLACES) for row in rows.values())


@pytest.mark.parametrize("parent", list(TABLE))
def test_a_child_gets_what_the_table_says_and_nothing_else(made: cluster.Cluster, parent: str) -> None:
    found: dict[str, dict[str, str]] = {}
    for kind in KINDS:
        for place in PLACES:
            server = server_of(kind, place)
            name = cluster.ROLES.get((kind, server), "" if kind == "shell" else str(cluster.NODE))
            served = machine(made, parent)
            outputs = cluster.come(served, 1, cluster.sid(server), made.hello(kind, name, server))
            scope = scope_of(served, 1)
            found.setdefault(kind, {})[place] = scope
            assert len(cluster.said(outputs, messages.Bye)) == (scope == "refused")
            assert any(isinstance(one, events.Close) for one in outputs) == (scope == "refused")
    assert found == TABLE[parent]


def test_over_the_unix_socket_come_nodes_and_local_programs_of_this_server(made: cluster.Cluster) -> None:
    for kind in KINDS:
        served = made.shell()
        cluster.come(served, 1, "process 7", made.hello(kind, cluster.NODE))
        assert scope_of(served, 1) == OVER_UNIX[kind]
    served = made.shell()
    cluster.come(served, 1, "process 7", made.hello(KINDS.NODE, "mic1@10.1.0.11"))
    assert scope_of(served, 1) == "refused"


def test_a_role_is_itself_alone(made: cluster.Cluster) -> None:
    """Another server's, another type's, or none at all."""
    for kind, name, server in (
        (KINDS.WS, "ws1", "n1"),
        (KINDS.WS, "dc2", "n1"),
        (KINDS.DC, "ws2", "n1"),
        (KINDS.IC, "icc1", "n1"),
        (KINDS.IC, "ws2", "n1"),
        (KINDS.IC, "web1", "n1"),
        (KINDS.IC, "", "n1"),
        (KINDS.SHELL, "another", "n1"),
    ):
        served = made.mic()
        cluster.come(served, 1, cluster.sid(server), made.hello(kind, name, server))
        assert scope_of(served, 1) == "refused", (kind, name)


def test_who_shows_anothers_or_an_old_admission_is_who_tls_says(made: cluster.Cluster) -> None:
    for server, shown in (("u1", "n1"), ("p1", "n1"), ("x1", "n1"), ("u1", "c1")):
        served = made.ic()
        hello = made.hello(KINDS.SHELL, "", shown)
        cluster.come(served, 1, cluster.sid(server), hello)
        assert scope_of(served, 1) == ("parked" if server == "p1" else "refused")
    old = made.admission("x1", 1, cluster.STATE.PLACED, "north")
    served = made.ic()
    cluster.come(served, 1, cluster.sid("x1"), made.hello(KINDS.SHELL, "", admission=old.raw))
    assert scope_of(served, 1) == "refused"


def test_another_cluster_and_another_age_are_refused(made: cluster.Cluster) -> None:
    for changes in ({"cluster": "other"}, {"protocol": 3}, {"protocol": -1}, {"protocol": 2**63}):
        served = made.mic()
        cluster.come(served, 1, cluster.sid("n1"), made.hello(KINDS.SHELL, "", "n1", **changes))
        assert scope_of(served, 1) == "refused"


def test_a_server_that_loses_its_place_loses_its_link_with_the_change(made: cluster.Cluster) -> None:
    served = made.ic()
    cluster.come(served, 1, cluster.sid("n2"), made.hello(KINDS.SHELL, "", "n2"))
    expelled = made.admission("n2", 99, cluster.STATE.EXPELLED, "north")
    parent = cluster.linked_upwards(served, made)
    outputs = cluster.hear(served, parent, messages.Offer((expelled.raw,), None))
    (store,) = [one for one in outputs if isinstance(one, events.Store)]
    outputs = served.handle(events.Stored(store.ticket), 2.0)
    assert scope_of(served, 1) == "refused"
    assert events.Close(names.LinkId(1), "this server is expelled") in outputs


# --- what a scope may read and say ----------------------------------------------------------------------------------

READS = {
    scopes.Scope.EVERYTHING: {"target", "record", "trust", "admissions", "body"},
    scopes.Scope.SERVER: {"target", "record", "trust", "admission", "body"},
    scopes.Scope.PARKED: {"trust", "admission"},
    scopes.Scope.NODE: {"target", "record", "trust", "body"},
    scopes.Scope.NOTHING: set(),
}
SAYS = {
    scopes.Scope.EVERYTHING: {"offer", "chunk", "rollup"},
    scopes.Scope.SERVER: {"offer", "chunk", "ack"},
    scopes.Scope.PARKED: {"offer", "chunk", "ack"},
    scopes.Scope.NODE: {"ack"},
    scopes.Scope.NOTHING: set(),
}


def admitted(made: cluster.Cluster, scope: scopes.Scope) -> publisher.Publisher:
    verdict = publisher.Admit(scope, names.ServerName("n1"))
    return publisher.Publisher(
        cluster.CLUSTER, cluster.sid("c1"), made.content, made.shelf(), lambda _peer, _hello, _proof: verdict
    )


def test_every_scope_has_a_row() -> None:
    assert set(READS) == set(SAYS) == set(scopes.Scope)


@pytest.mark.parametrize("scope", list(scopes.Scope))
def test_a_scope_reads_what_the_table_says(made: cluster.Cluster, scope: scopes.Scope) -> None:
    served = admitted(made, scope)
    link = names.LinkId(1)
    served.handle(events.Arrived(link, cluster.sid("n1")), 0.0)
    outputs = served.handle(events.Heard(link, made.hello(KINDS.SHELL, "")), 0.0)
    raws = [raw for offer in cluster.said(outputs, messages.Offer) for raw in offer.objects]  # type: ignore[union-attr]
    content = made.content
    assert content.target is not None
    assert content.record is not None
    found = {
        word
        for word, raw in (
            ("target", content.target.raw),
            ("record", content.record.raw),
            ("trust", content.trust.raw),
        )
        if raw in raws
    }
    own = content.admissions[cluster.sid("n1")].raw
    others = {one.raw for one in content.admissions.values()} - {own}
    found |= {"admissions"} if others <= set(raws) else {"admission"} if own in raws else set()
    assert bool(others & set(raws)) == ("admissions" in found)
    offered = any(offer.body is not None for offer in cluster.said(outputs, messages.Offer))  # type: ignore[union-attr]
    pull = messages.Pull(made.digest, "", 0)
    pulled = cluster.said(served.handle(events.Heard(link, pull), 0.0), messages.Chunk)
    assert bool(pulled) == offered
    found |= {"body"} if pulled else set()
    assert found == READS[scope]
    again = served.handle(events.Heard(link, messages.Newest(objects.Numbers())), 0.0)
    assert [raw for offer in cluster.said(again, messages.Offer) for raw in offer.objects] == raws  # type: ignore[union-attr]


@pytest.mark.parametrize("scope", list(scopes.Scope))
def test_a_scope_says_what_the_table_says(made: cluster.Cluster, scope: scopes.Scope) -> None:
    served = admitted(made, scope)
    link = names.LinkId(1)
    served.handle(events.Arrived(link, cluster.sid("n1")), 0.0)
    served.handle(events.Heard(link, made.hello(KINDS.SHELL, "")), 0.0)
    frames: dict[str, messages.AnyFrame] = {
        "offer": messages.Offer((b"x",), None),
        "chunk": messages.Chunk(made.digest, "", 0, 1, 1, b"x"),
        "ack": messages.Ack(made.ack()),
        "rollup": messages.Rollup(1, True, ()),
    }
    heard = (publisher.UpwardOffer, publisher.UpwardChunk, publisher.ChildAck, publisher.ChildRollup)
    found = {
        word
        for word, frame in frames.items()
        if any(isinstance(one, heard) for one in served.handle(events.Heard(link, frame), 0.0))
    }
    assert found == SAYS[scope]


# --- asking ---------------------------------------------------------------------------------------------------------

UPWARDS = dict.fromkeys(("servers.enroll", "servers.join", "servers.leave", "servers.renew"), "relayed")
VERBS = ("status", "boot", "stop", "rest", "retry", *UPWARDS, "servers.expel", "cfg.apply", "logs", "")
LOCALLY = {"status": "answered", "stop": "answered", "rest": "answered", "retry": "answered", **UPWARDS}
PEERS = {"servers.leave": "relayed"}
ABOVE = {"status": "answered", "boot": "answered"}


def outcome(outputs: tuple[object, ...]) -> str:
    """What became of one request."""
    for one in outputs:
        match one:
            case asks.Asked():
                return "asked"
            case events.Send(frame=messages.Ask()):
                return "relayed"
            case events.Send(frame=messages.Answer(code=code)):
                return code or "answered"
            case _:
                continue
    return "nothing"


@pytest.mark.parametrize(
    ("peer", "kind", "name", "allowed"),
    [
        ("process 7", KINDS.LOCAL, "", LOCALLY),
        ("process 7", KINDS.NODE, cluster.NODE, {}),
        (cluster.sid("n2"), KINDS.SHELL, "", PEERS),
        (cluster.sid("p1"), KINDS.SHELL, "", PEERS),
    ],
)
def test_a_servershell_is_asked_by_local_programs_and_lets_others_say_that_they_leave(
    made: cluster.Cluster, peer: str, kind: cluster.KINDS, name: str, allowed: dict[str, str]
) -> None:
    for verb in VERBS:
        served = made.shell()
        cluster.linked_upwards(served, made)
        cluster.come(served, 1, peer, made.hello(kind, name, str(peer).removeprefix("id-")))
        outputs = cluster.hear(served, 1, messages.Ask(1, verb, "", True, b"1"))
        assert outcome(outputs) == allowed.get(verb, "not_allowed"), verb
        stops = any(isinstance(one, shell_events.AllStopped | shell_events.SignalNode) for one in outputs)
        assert not stops or verb in {"stop", "rest"}


def test_a_parent_may_look_and_not_touch(made: cluster.Cluster) -> None:
    for verb in VERBS:
        served = made.shell()
        up = cluster.linked_upwards(served, made)
        outputs = cluster.hear(served, up, messages.Ask(1, verb, "", True, b"1"))
        assert outcome(outputs) == ABOVE.get(verb, "not_allowed"), verb


@pytest.mark.parametrize("server", ["n2", "p1"])
def test_an_ic_takes_up_what_mic_decides_by_itself_and_nothing_else(
    made: cluster.Cluster, server: str
) -> None:
    for verb in VERBS:
        served = made.ic()
        cluster.linked_upwards(served, made)
        cluster.come(served, 1, cluster.sid(server), made.hello(KINDS.SHELL, "", server))
        outputs = cluster.hear(served, 1, messages.Ask(1, verb, "id-n2", True, b"1"))
        assert outcome(outputs) == UPWARDS.get(verb, "not_allowed"), verb
        relayed = cluster.said(outputs, messages.Ask)
        assert all(isinstance(ask, messages.Ask) and ask.server == "" for ask in relayed)


def test_an_ic_asks_its_own_servers_for_mic_and_nobody_elses(made: cluster.Cluster) -> None:
    served = made.ic()
    up = cluster.linked_upwards(served, made)
    cluster.come(served, 1, cluster.sid("n2"), made.hello(KINDS.SHELL, "", "n2"))
    for server, expected in (("id-n2", "relayed"), ("id-c2", "unreachable"), ("x" * 10_000, "unreachable")):
        outputs = cluster.hear(served, up, messages.Ask(1, "status", server, True, b""))
        assert outcome(outputs) == expected


@pytest.mark.parametrize("parent", list(TABLE))
@pytest.mark.parametrize(
    "frame",
    [
        messages.Ask(1, "servers.enroll", "", True, b"x"),
        messages.Ask(1, "status", "", False, b"x"),
        messages.Answer(1, "", True, b"x"),
        messages.Heartbeat(b"", objects.Numbers(), 0),
        messages.Pull(names.Digest("d"), "", 0),
        messages.Rollup(1, True, ()),
        messages.Newest(objects.Numbers()),
        messages.Offer((b"x",), None),
        messages.Welcome(1, cluster.CLUSTER, 0, objects.Numbers(), b""),
        messages.Bye("", 0.0),
    ],
    ids=lambda frame: type(frame).__name__.lower(),
)
def test_before_its_hello_a_peer_can_do_nothing_but_leave(
    made: cluster.Cluster, parent: str, frame: messages.AnyFrame
) -> None:
    for server in ("n1", "r1", "u1"):
        served = machine(made, parent)
        if not isinstance(served, (core.Shell,)) and parent == "ic":
            cluster.linked_upwards(served, made)  # type: ignore[arg-type]
        outputs = cluster.come(served, 1, cluster.sid(server), frame)
        assert [type(one) for one in outputs] == [events.Close]


def test_before_the_welcome_a_parent_can_ask_nothing(made: cluster.Cluster) -> None:
    for served in (made.ic(), made.shell()):
        link = cluster.linked_upwards(served, made)
        better = (
            events.Parent(names.ServerName("c2"), "10.1.0.12", 7401),
            events.Parent(names.ServerName("c1"), "10.1.0.11", 7401),
        )
        dials = [one for one in served.subscriber.follow(better, 5.0) if isinstance(one, events.Dial)]
        candidate = names.LinkId(901)
        served.handle(events.Opened(dials[0].dial, candidate, cluster.sid("c2"), cluster.proof("c2")), 5.0)
        outputs = served.handle(events.Heard(candidate, messages.Ask(1, "status", "", True, b"")), 5.0)
        assert outcome(outputs) == "nothing"
        assert served.subscriber.link == link
