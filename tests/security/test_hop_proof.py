"""What TLS has shown of a peer, and what follows: another key than the admission's, a certificate that has run out, a revoked
identity. Each at every kind of parent, and at every kind of child.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from coordinator import names
from coordinator.propagation import asks, children, events, intake, master, messages, mirror, objects, scopes
from coordinator.trust import signing
from nodeagent.servershell import core
from tests.security import cluster

KINDS = cluster.KINDS
ALLOWED_WHEN_EXPIRED = {"servers.renew"}
VERBS = (
    "servers.renew",
    "servers.enroll",
    "cfg.apply",
    "cfg.status",
    "people.whoami",
    "status",
    "stop",
    "nonsense",
)


@pytest.fixture(scope="module")
def made() -> cluster.Cluster:
    return cluster.Cluster()


def machine(made: cluster.Cluster, kind: str) -> cluster.Machine:
    makers: dict[str, Callable[[], cluster.Machine]] = {"mic": made.mic, "ic": made.ic, "shell": made.shell}
    return makers[kind]()


def below(parent: cluster.Machine) -> dict[names.LinkId, children.Child]:
    return parent.peers.children if isinstance(parent, core.Shell) else parent.publisher.children


def revoking(made: cluster.Cluster, *servers: str) -> mirror.SignedTrust:
    """A newer trust, by which these count no more."""
    body = msgspec.structs.replace(
        made.trust.content, seq=made.trust.content.seq + 1, revoked=tuple(cluster.sid(one) for one in servers)
    )
    return mirror.SignedTrust(made.sign(objects.Kind.TRUST, body), body)


def learn(parent: cluster.Machine, made: cluster.Cluster, trust: mirror.SignedTrust) -> tuple[object, ...]:
    """The parent hears of a newer trust, as it does in the field."""
    if isinstance(parent, master.Master):
        served = msgspec.structs.replace(parent.served, content=parent.served.content.take(trust))
        return parent.serve(served, 5.0)
    link = parent.subscriber.link or cluster.linked_upwards(parent, made)
    outputs = cluster.hear(parent, link, messages.Offer((trust.raw,), None), 5.0)
    tickets = [one.ticket for one in outputs if isinstance(one, events.Store)]
    for ticket in tickets:
        outputs += parent.handle(events.Stored(ticket), 5.0)
    return outputs


# --- another key ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parent", ["mic", "ic", "shell"])
@pytest.mark.parametrize("key", ["", cluster.key("c2"), "no digest"], ids=["none", "another", "no digest"])
def test_who_holds_another_key_than_its_admission_names_is_refused(
    made: cluster.Cluster, parent: str, key: str
) -> None:
    served = machine(made, parent)
    hello = made.hello(KINDS.SHELL, "", "n2")
    outputs = cluster.come(served, 1, cluster.sid("n2"), hello, shown=events.Proof(key))
    (bye,) = cluster.said(outputs, messages.Bye)
    assert isinstance(bye, messages.Bye)
    assert "another key" in bye.reason
    assert not below(served)


@pytest.mark.parametrize("parent", ["mic", "ic", "shell"])
def test_the_key_before_the_last_counts_until_the_admission_forgets_it(
    made: cluster.Cluster, parent: str
) -> None:
    held = made.admissions[cluster.sid("n2")].content
    moved = msgspec.structs.replace(held, seq=90, key_digest="key-new", former=cluster.key("n2"))
    done = msgspec.structs.replace(moved, seq=91, former="")
    raws = [made.sign(objects.Kind.ADMISSION, one) for one in (moved, done)]
    for raw, keys in ((raws[0], {"key-new", cluster.key("n2")}), (raws[1], {"key-new"})):
        for key in ("key-new", cluster.key("n2"), cluster.key("c2")):
            served = machine(made, parent)
            hello = made.hello(KINDS.SHELL, "", "n2", admission=raw)
            cluster.come(served, 1, cluster.sid("n2"), hello, shown=events.Proof(key))
            assert bool(below(served)) == (key in keys)


def test_a_link_ends_when_another_admission_names_another_key(made: cluster.Cluster) -> None:
    served = made.mic()
    cluster.come(served, 1, cluster.sid("n2"), made.hello(KINDS.SHELL, "", "n2"))
    assert below(served)
    held = made.admissions[cluster.sid("n2")].content
    moved = msgspec.structs.replace(held, seq=90, key_digest="key-new")
    signed = mirror.SignedAdmission(made.sign(objects.Kind.ADMISSION, moved), moved)
    outputs = served.serve(msgspec.structs.replace(served.served, content=made.content.take(signed)), 2.0)
    assert not below(served)
    assert [one.link for one in outputs if isinstance(one, events.Close)] == [1]


@pytest.mark.parametrize("child", ["ic", "shell"])
def test_a_parent_with_another_key_is_no_parent(made: cluster.Cluster, child: str) -> None:
    one = made.ic() if child == "ic" else made.shell()
    parents = (events.Parent(names.ServerName("c1"), "10.1.0.11", 7401),)
    followed = one.subscriber.follow(parents, 1.0)
    found = [each.dial for each in followed if isinstance(each, events.Dial)]
    if not found:
        followed = one.subscriber.handle(events.DialFailed(1, "not there"), 1.0)
        found = [each.dial for each in followed if isinstance(each, events.Dial)]
    link = names.LinkId(9)
    one.handle(events.Opened(found[0], link, cluster.sid("c1"), events.Proof(cluster.key("c2"))), 1.0)
    welcome = messages.Welcome(
        1, cluster.CLUSTER, 0, made.content.numbers, made.admissions[cluster.sid("c1")].raw
    )
    outputs = one.handle(events.Heard(link, welcome), 1.0)
    assert one.subscriber.link is None
    (close,) = [each for each in outputs if isinstance(each, events.Close)]
    assert "another key" in close.reason


# --- a certificate that has run out -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("parent", "kind", "name", "server"), [
    ("mic", KINDS.IC, "icn1", "n1"),
    ("mic", KINDS.SHELL, "", "n2"),
    ("mic", KINDS.SHELL, "", "p1"),
    ("mic", KINDS.WS, "ws1", "c1"),
    ("ic", KINDS.SHELL, "", "n2"),
    ("ic", KINDS.SHELL, "", "p1"),
    ("shell", KINDS.SHELL, "", "c2"),
])  # fmt: skip
def test_who_has_run_out_receives_acks_and_renews_and_nothing_else(
    made: cluster.Cluster, parent: str, kind: messages.ChildKind, name: str, server: str
) -> None:
    served = machine(made, parent)
    shown = cluster.proof(server, expired=True)
    outputs = cluster.come(served, 1, cluster.sid(server), made.hello(kind, name, server), shown=shown)
    child = below(served)[names.LinkId(1)]
    assert child.admit.expired
    assert child.remark == children.EXPIRED
    offered = {
        signing.opened(raw).kind
        for offer in cluster.said(outputs, messages.Offer)
        if isinstance(offer, messages.Offer)
        for raw in offer.objects
    }
    assert ("trust" in offered) == (child.admit.scope is not scopes.Scope.NOTHING)
    publisher = served.peers if isinstance(served, core.Shell) else served.publisher
    upward = messages.Offer((made.trust.raw,), None)
    assert publisher.handle(events.Heard(names.LinkId(1), upward), 2.0) == ()
    rolled = messages.Rollup(1, True, (messages.Row(cluster.sid("n2"), True, made.ack()),))
    assert publisher.handle(events.Heard(names.LinkId(1), rolled), 2.0) == ()
    acked = publisher.handle(events.Heard(names.LinkId(1), messages.Ack(made.ack())), 2.0)
    assert bool(acked) == (child.admit.scope in scopes.ACKS)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("parent", ["mic", "ic", "shell"])
def test_who_has_run_out_may_ask_for_a_certificate_and_nothing_else(
    made: cluster.Cluster, parent: str, verb: str
) -> None:
    served = machine(made, parent)
    if isinstance(served, core.Shell) or parent == "ic":
        cluster.linked_upwards(served, made)  # type: ignore[arg-type]  # MIC has no parent
    shown = cluster.proof("n2", expired=True)
    cluster.come(served, 1, cluster.sid("n2"), made.hello(KINDS.SHELL, "", "n2"), shown=shown)
    outputs = cluster.hear(served, 1, messages.Ask(1, verb, "", True, b"x"))
    refused = [one.code for one in cluster.said(outputs, messages.Answer) if isinstance(one, messages.Answer)]
    if verb in ALLOWED_WHEN_EXPIRED and parent != "shell":
        assert refused == []
        relayed = [one for one in cluster.said(outputs, messages.Ask) if isinstance(one, messages.Ask)]
        asked = [one for one in outputs if isinstance(one, asks.Asked)]
        assert [one.verb for one in relayed] + [one.verb for one in asked] == [verb]
    else:
        assert refused in (["not_allowed"], [asks.UNREACHABLE], [])


def test_that_it_has_run_out_is_told_upwards_and_seen_in_status(made: cluster.Cluster) -> None:
    relay = made.ic()
    cluster.linked_upwards(relay, made)
    shown = cluster.proof("n2", expired=True)
    cluster.come(relay, 1, cluster.sid("n2"), made.hello(KINDS.SHELL, "", "n2", ack=made.ack()), shown=shown)
    rows = list(relay.table.rows.values())
    assert [row.remark for row in rows] == [children.EXPIRED]
    served = made.mic()
    cluster.come(served, 1, cluster.sid("n1"), made.hello(KINDS.IC, "icn1", "n1"))
    cluster.hear(served, 1, messages.Rollup(1, True, tuple(rows)))
    assert served.convergence.reason(cluster.sid("n2")) == children.EXPIRED


# --- revoked ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parent", ["mic", "ic", "shell"])
def test_the_link_of_a_revoked_identity_ends_at_once_and_it_gets_nothing(
    made: cluster.Cluster, parent: str
) -> None:
    served = machine(made, parent)
    cluster.come(served, 1, cluster.sid("n2"), made.hello(KINDS.SHELL, "", "n2"))
    assert names.LinkId(1) in below(served)
    outputs = learn(served, made, revoking(made, "n2"))
    assert names.LinkId(1) not in below(served)
    assert 1 in [one.link for one in outputs if isinstance(one, events.Close)]
    told = [one.frame for one in outputs if isinstance(one, events.Send) and 1 in one.links]
    assert [type(one) for one in told] == [messages.Bye]
    assert cluster.hear(served, 1, messages.Newest(objects.Numbers()), 6.0) == ()
    outputs = cluster.come(served, 2, cluster.sid("n2"), made.hello(KINDS.SHELL, "", "n2"), 7.0)
    assert cluster.said(outputs, messages.Offer) == []
    assert names.LinkId(2) not in below(served)


@pytest.mark.parametrize("child", ["ic", "shell"])
def test_a_parent_that_is_revoked_is_left_at_once(made: cluster.Cluster, child: str) -> None:
    one = made.ic() if child == "ic" else made.shell()
    link = cluster.linked_upwards(one, made)
    outputs = learn(one, made, revoking(made, "c1"))
    assert one.subscriber.link is None
    assert link in [each.link for each in outputs if isinstance(each, events.Close)]


def test_nobody_speaks_for_a_revoked_server(made: cluster.Cluster) -> None:
    served = made.mic()
    learn(served, made, revoking(made, "n2"))
    cluster.come(served, 1, cluster.sid("n1"), made.hello(KINDS.IC, "icn1", "n1"), 6.0)
    row = messages.Row(cluster.sid("n2"), True, made.ack(epoch=names.Epoch(9, 9)))
    cluster.hear(served, 1, messages.Rollup(1, True, (row,)), 7.0)
    facts = served.convergence.facts[cluster.sid("n2")]
    assert facts.ack is None
    assert not facts.links


# --- objects that do not verify -----------------------------------------------------------------------------------------


def test_what_does_not_verify_is_told_once_and_shown_as_long_as_its_link_stands(
    made: cluster.Cluster,
) -> None:
    one = made.shell()
    link = cluster.linked_upwards(one, made)
    altered = made.content.target
    assert altered is not None
    raw = altered.raw[:-1] + bytes([altered.raw[-1] ^ 1])
    notes: list[object] = []
    for _ in range(5):
        notes += [
            each
            for each in cluster.hear(one, link, messages.Offer((raw,), None))
            if isinstance(each, events.Note)
        ]
    refused = [each for each in notes if isinstance(each, events.Note) and each.phrase == "object refused"]
    assert len(refused) == 1
    assert "does not hold" in one.intake.distrust
    one.handle(events.Gone(link, "closed"), 3.0)
    assert one.intake.distrust == ""


@pytest.mark.parametrize("bad", ["foreign", "another generation's", "rolled back", "same number"])
def test_what_is_foreign_mixed_or_rolled_back_is_refused_and_the_last_good_stays(
    made: cluster.Cluster, bad: str
) -> None:
    one = made.shell()
    link = cluster.linked_upwards(one, made)
    before = one.content.target
    other = cluster.Cluster()
    assert before is not None
    target, record = before.content, made.content.record
    assert record is not None
    if bad == "foreign":
        assert other.content.target is not None
        raws = (record.raw, other.content.target.raw)
    else:
        changes: dict[str, dict[str, Any]] = {
            "another generation's": {"generation": 0, "seq": 99},
            "rolled back": {"seq": 99, "active": objects.Pointer(0, target.active.digest)},
            "same number": {"term": 7},
        }
        changed = changes[bad]
        raws = (record.raw, made.sign(objects.Kind.TARGET, msgspec.structs.replace(target, **changed)))
    outputs = cluster.hear(one, link, messages.Offer(raws, None))
    assert not [each for each in outputs if isinstance(each, events.Store | events.Accepted | intake.Changed)]
    assert one.content.target is before


@pytest.mark.parametrize("child", ["ic", "shell"])
def test_whoever_was_let_in_with_few_rights_dials_again_with_a_certificate_that_counts(
    made: cluster.Cluster, child: str
) -> None:
    one = made.ic() if child == "ic" else made.shell()
    link = cluster.linked_upwards(one, made)
    outputs = one.redial(3.0)
    assert [each.link for each in outputs if isinstance(each, events.Close)] == [link]
    (dial,) = [each for each in outputs if isinstance(each, events.Dial)]
    assert dial.delay_s == 0.0
    assert one.redial(3.0) == ()  # once
