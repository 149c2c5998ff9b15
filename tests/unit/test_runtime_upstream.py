"""The link of those who only ask: every request ends, and nothing is told to a parent that it need not know."""

from coordinator import names
from coordinator.config import model
from coordinator.propagation import asks, events, messages, mirror, objects, subscriber
from coordinator.runtime import home
from coordinator.tiers import seed, upstream
from tests import micworld

LINK = names.LinkId(1)
PARENT = events.Parent(micworld.C1, "10.1.0.11", 7401)


def content() -> mirror.Content:
    made = micworld.World().seed
    assert made is not None
    return seed.content(made, micworld.CLUSTER)


def linked(held: mirror.Content) -> tuple[upstream.Asker, list[object]]:
    me = subscriber.Me(micworld.CLUSTER, messages.ChildKind.WS, "ws1", micworld.FIRST)
    asker = upstream.Asker(me, held)
    outputs: list[object] = [*asker.follow((PARENT,), 0.0)]
    (dialled,) = [one for one in outputs if isinstance(one, events.Dial)]
    outputs += asker.handle(events.Opened(dialled.dial, LINK, micworld.FIRST), 0.1)
    own = held.admissions[micworld.FIRST].raw
    welcome = messages.Welcome(messages.PROTOCOL, micworld.CLUSTER, 5, objects.Numbers(), own)
    outputs += asker.handle(events.Heard(LINK, welcome), 0.2)
    return asker, outputs


def test_a_link_of_asks_offers_nothing_upwards_though_its_server_has_a_configuration() -> None:
    _, outputs = linked(content())
    frames = [one.frame for one in outputs if isinstance(one, events.Send)]
    assert [type(frame) for frame in frames] == [messages.Hello]
    assert any(isinstance(one, subscriber.Up) for one in outputs)


def test_an_ask_without_a_link_ends_at_once() -> None:
    me = subscriber.Me(micworld.CLUSTER, messages.ChildKind.WS, "ws1", micworld.FIRST)
    asker = upstream.Asker(me, content())
    assert asker.ask(1, "cfg.status", b"", 0.0) == (asks.Answered(1, asks.UNREACHABLE, b""),)


def test_an_ask_ends_with_its_answer_with_its_link_or_with_its_time() -> None:
    asker, _ = linked(content())
    (sent,) = asker.ask(1, "cfg.status", b"x", 1.0)
    assert isinstance(sent, events.Send)
    assert isinstance(sent.frame, messages.Ask)
    answer = messages.Answer(sent.frame.id, "", True, b"y")
    assert asker.handle(events.Heard(LINK, answer), 1.1) == (asks.Answered(1, "", b"y"),)
    asker.ask(2, "cfg.status", b"x", 2.0)
    late = asker.handle(events.Tick(), 2.0 + asks.ASK_TIMEOUT_S)
    assert asks.Answered(2, asks.TIMED_OUT, b"") in late
    asker, _ = linked(content())
    asker.ask(3, "cfg.status", b"x", 1.0)
    gone = asker.handle(events.Gone(LINK, "gone"), 1.1)
    assert asks.Answered(3, asks.LOST, b"") in gone


def test_whoever_asks_is_answered_that_it_may_not() -> None:
    asker, _ = linked(content())
    (sent,) = asker.handle(events.Heard(LINK, messages.Ask(9, "status", "", True, b"")), 1.0)
    assert sent == events.Send((LINK,), messages.Answer(9, "not_allowed", True, b""))


def test_a_relay_looks_at_a_document_before_it_takes_it() -> None:
    assert home.check(model.canonical(micworld.basic())) is None
    refusal = home.check(b"{}")
    assert refusal is not None
    assert refusal.code == "invalid_document"
