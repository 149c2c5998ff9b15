"""Who counts as the same child of a parent, and what is noted when two claim to be it."""

from coordinator import names
from coordinator.propagation import (
    bodies,
    events,
    intake,
    messages,
    mirror,
    objects,
    publisher,
    seeking,
    subscriber,
)
from coordinator.trust import signing

CLUSTER = names.ClusterId("c")
SCOPES = {
    messages.ChildKind.NODE: publisher.Scope.NODE,
    messages.ChildKind.SHELL: publisher.Scope.SERVER,
    messages.ChildKind.IC: publisher.Scope.EVERYTHING,
}


def admit(_peer: names.ServerId, hello: messages.Hello, _proof: events.Proof) -> publisher.Admit:
    return publisher.Admit(SCOPES[hello.kind], names.ServerName("s1"))


class Parent:
    """A parent with children that greet it."""

    def __init__(self) -> None:
        trust = mirror.SignedTrust(b"", signing.TrustBody(1, 1, (), ()))
        own = names.ServerId("parent")
        self.publisher = publisher.Publisher(CLUSTER, own, mirror.Content(trust), bodies.Shelf(), admit)
        self.links = 0

    def greet(
        self, peer: str, kind: messages.ChildKind, name: str, now: float = 0.0
    ) -> tuple[publisher.Output, ...]:
        self.links += 1
        link = names.LinkId(self.links)
        hello = messages.Hello(messages.PROTOCOL, CLUSTER, kind, name, 1, objects.Numbers(), "", b"", None)
        self.publisher.handle(events.Arrived(link, names.ServerId(peer)), now)
        return self.publisher.handle(events.Heard(link, hello), now)

    def linked(self) -> list[int]:
        return list(self.publisher.children)


def test_of_two_processes_of_one_worker_node_the_newer_one_is_heard() -> None:
    parent = Parent()
    parent.greet("process 100", messages.ChildKind.NODE, "hello1")
    parent.greet("process 200", messages.ChildKind.NODE, "hello1")
    assert parent.linked() == [2]


def test_two_worker_nodes_and_two_servers_are_two() -> None:
    parent = Parent()
    parent.greet("process 100", messages.ChildKind.NODE, "hello1")
    parent.greet("process 200", messages.ChildKind.NODE, "hello2")
    parent.greet("s1", messages.ChildKind.SHELL, "")
    parent.greet("s2", messages.ChildKind.SHELL, "")
    assert parent.linked() == [1, 2, 3, 4]


def warnings(outputs: tuple[publisher.Output, ...]) -> list[str]:
    return [one.phrase for one in outputs if isinstance(one, events.Note)]


def test_two_machines_with_one_identity_are_noticed_once_in_a_while() -> None:
    parent = Parent()
    noted = [
        (now, phrase)
        for now in range(0, 130, 2)
        for phrase in warnings(parent.greet("s1", messages.ChildKind.SHELL, "", float(now)))
    ]
    assert noted == [(at, "two machines with one identity") for at in (8, 68, 128)]
    assert len(parent.linked()) == 1


def test_a_child_that_comes_again_after_a_silence_is_no_twin() -> None:
    parent = Parent()
    for now in range(0, 130, 5):
        assert warnings(parent.greet("s1", messages.ChildKind.SHELL, "", float(now))) == []


def test_many_children_that_come_again_now_and_then_are_no_twins() -> None:
    parent = Parent()
    for now in range(0, 130, 2):
        peer = f"s{now % 40}"
        parent.greet(peer, messages.ChildKind.SHELL, "", float(now))
        assert warnings(parent.greet(peer, messages.ChildKind.SHELL, "", float(now))) == []


# --- the child's side -----------------------------------------------------------------------------------------------


def test_a_dial_that_is_never_answered_is_not_the_last_one() -> None:
    trust = mirror.SignedTrust(b"", signing.TrustBody(1, 1, (), ()))
    taking = intake.Intake(mirror.Content(trust), bodies.Shelf(), CLUSTER, lambda _body: None)
    me = subscriber.Me(CLUSTER, messages.ChildKind.NODE, "hello1", names.ServerId(""))
    one = subscriber.Subscriber(me, taking, 1)
    (first,) = one.follow((events.Parent(names.ServerName("s1"), "socket", 0),), 0.0)
    assert isinstance(first, events.Dial)
    assert one.handle(events.Tick(), seeking.DIALLING_S) == ()
    (second,) = one.handle(events.Tick(), seeking.DIALLING_S + 1.0)
    assert isinstance(second, events.Dial)
    assert second.dial != first.dial
    late = one.handle(events.Opened(first.dial, names.LinkId(1), names.ServerId("s1")), 11.0)
    assert late == (events.Close(names.LinkId(1), "not wanted any more"),)
