"""Laws of the two sides of a hop: what is taken never falls, what is offered is newer, and a parent is found."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from coordinator import names
from coordinator.propagation import bodies, events, intake, messages, mirror, objects, publisher, subscriber
from coordinator.trust import signing
from nodeagent.servershell import reconcile
from nodeagent.supervision import machine

CLUSTER = names.ClusterId("c1")
SIGNER = signing.Signer(CLUSTER, bytes([1]) * 32)
TRUST = signing.TrustBody(1, 1, (SIGNER.unendorsed(),), ())
SIGNED_TRUST = mirror.SignedTrust(SIGNER.sign(objects.Kind.TRUST, objects.encode(TRUST)), TRUST)
LINK = names.LinkId(1)
REVISIONS = 5


class Issue:
    """A revision with its body and its two signed objects."""

    def __init__(self, revision: int) -> None:
        self.body = b'{"revision": %d}' % revision
        self.digest = bodies.digest_of(self.body)
        record = objects.Record(1, revision, "", self.digest, len(self.body), "a", "m", 0.0)
        pointer = objects.Pointer(revision, self.digest)
        target = objects.Target(1, revision, pointer, None, names.RolloutId("ro"), 1)
        self.record = mirror.SignedRecord(SIGNER.sign(objects.Kind.RECORD, objects.encode(record)), record)
        self.target = mirror.SignedTarget(SIGNER.sign(objects.Kind.TARGET, objects.encode(target)), target)
        self.shelf = bodies.Shelf()
        self.shelf.add(self.digest, self.body)

    def offer(self, *, inline: bool) -> messages.Offer:
        body = self.shelf.inline(self.digest, "") if inline else None
        return messages.Offer((self.record.raw, self.target.raw), body)

    @property
    def content(self) -> mirror.Content:
        return mirror.Content(SIGNED_TRUST).take_all((self.record, self.target))


ISSUES = [Issue(revision) for revision in range(1, REVISIONS + 1)]
NOTHING = mirror.Content(SIGNED_TRUST)
ISSUE = st.sampled_from(ISSUES)

# --- taking -------------------------------------------------------------------------------------------------------

TAKING_STEP = st.tuples(
    st.sampled_from(("offer", "inline", "chunk", "stored", "gone", "junk")), ISSUE, st.integers(1, 2)
)


@given(st.lists(TAKING_STEP, max_size=30))
def test_what_is_accepted_never_falls_and_always_has_its_body(steps: list[tuple[str, Issue, int]]) -> None:
    taking = intake.Intake(NOTHING, bodies.Shelf(), CLUSTER, lambda _body: None)
    tickets: list[int] = []
    accepted: list[names.Version] = []
    for word, issue, number in steps:
        link = names.LinkId(number)
        outputs: tuple[intake.Output, ...] = ()
        match word:
            case "offer" | "inline":
                outputs = taking.offered(link, issue.offer(inline=word == "inline"))
            case "chunk":
                chunk = issue.shelf.chunk(issue.digest, "", 0)
                assert chunk is not None
                outputs = taking.piece(link, chunk)
            case "junk":
                outputs = taking.offered(link, messages.Offer((issue.target.raw[:-1], b"junk"), None))
            case "stored" if tickets:
                outputs = taking.stored(tickets.pop(0))
            case _:
                taking.gone(link)
        for output in outputs:
            if isinstance(output, events.Store):
                assert not tickets, "one store at a time"
                tickets.append(output.ticket)
            elif isinstance(output, events.Accepted):
                assert output.version == taking.content.version
                accepted.append(output.version)
        if taking.content.target is not None:
            assert taking.content.digest in taking.shelf
    assert accepted == sorted(set(accepted))


@given(st.permutations(ISSUES))
def test_in_whatever_order_they_come_the_newest_is_accepted_in_the_end(order: list[Issue]) -> None:
    taking = intake.Intake(NOTHING, bodies.Shelf(), CLUSTER, lambda _body: None)
    for issue in order:
        for output in taking.offered(LINK, issue.offer(inline=True)):
            if isinstance(output, events.Store):
                taking.stored(output.ticket)
    assert taking.content.version == names.Version(1, REVISIONS)


# --- offering -----------------------------------------------------------------------------------------------------


def hello(number: int, known: int) -> messages.Hello:
    held = NOTHING if known == 0 else ISSUES[known - 1].content
    return messages.Hello(
        messages.PROTOCOL,
        CLUSTER,
        messages.ChildKind.SHELL,
        f"{number}",
        1,
        held.numbers,
        held.digest,
        b"",
        None,
    )


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, REVISIONS), ISSUE), max_size=20))
def test_a_child_is_offered_each_newer_target_once_and_nothing_older(
    steps: list[tuple[int, int, Issue]],
) -> None:
    shelf = bodies.Shelf()
    for issue in ISSUES:
        shelf.add(issue.digest, issue.body)
    admit = publisher.Admit(publisher.Scope.SERVER, names.ServerName("n1"))
    parent = publisher.Publisher(
        CLUSTER, names.ServerId("p"), NOTHING, shelf, lambda _peer, _hello, _proof: admit
    )
    knows: dict[names.LinkId, names.Serial] = {}
    now, newest = 0.0, 0
    for number, known, issue in steps:
        link = names.LinkId(number)
        outputs: list[publisher.Output] = []
        if link not in knows:
            knows[link] = hello(number, known).numbers.target
            parent.handle(events.Arrived(link, names.ServerId(f"s{number}")), now)
            outputs += parent.handle(events.Heard(link, hello(number, known)), now)
        elif issue.target.content.seq > newest:
            newest = issue.target.content.seq
            outputs += parent.publish(issue.content)
        for output in outputs:
            if isinstance(output, events.Send) and isinstance(output.frame, messages.Offer):
                serial = _target_of(output.frame)
                for each in output.links:
                    assert serial > knows[each]
                    knows[each] = serial
        assert all(serial >= parent.content.numbers.target for serial in knows.values())


def _target_of(offer: messages.Offer) -> names.Serial:
    found = [mirror.verify(raw, signing.Keyring(CLUSTER, TRUST)) for raw in offer.objects]
    return next(one.content.serial for one in found if isinstance(one, mirror.SignedTarget))


# --- finding a parent ---------------------------------------------------------------------------------------------

MOOD = st.sampled_from(("refuses", "is silent", "says bye", "is another cluster", "breaks"))


class Parents:
    """Places that behave badly for a while; from `good_at` on, one of them behaves well."""

    def __init__(self, moods: list[str], good: int, good_at: float) -> None:
        self.places = tuple(
            events.Parent(names.ServerName("p"), f"/{number}", 0) for number in range(len(moods))
        )
        self._moods = moods
        self._good = good % len(moods)
        self._good_at = good_at
        self._place_of: dict[names.LinkId, int] = {}

    def answer(self, output: subscriber.Output, now: float) -> list[events.Input]:
        match output:
            case events.Dial(dial, parent):
                place = self.places.index(parent)
                if self._mood(place, now) == "refuses":
                    return [events.DialFailed(dial, "refused")]
                link = names.LinkId(len(self._place_of) + 1)
                self._place_of[link] = place
                return [events.Opened(dial, link, names.ServerId("p"))]
            case events.Send((link,), messages.Hello()):
                return self._greeted(link, self._mood(self._place_of[link], now))
            case _:
                return []

    def _mood(self, place: int, now: float) -> str:
        return "is well" if place == self._good and now >= self._good_at else self._moods[place]

    @staticmethod
    def _greeted(link: names.LinkId, mood: str) -> list[events.Input]:
        cluster = names.ClusterId("other") if mood == "is another cluster" else CLUSTER
        welcome = messages.Welcome(messages.PROTOCOL, cluster, 0, NOTHING.numbers, b"")
        match mood:
            case "is silent":
                return []
            case "says bye":
                return [events.Heard(link, messages.Bye("full", 1.0))]
            case "breaks":
                return [events.Gone(link, "broken")]
            case _:
                return [events.Heard(link, welcome)]


@given(st.lists(MOOD, min_size=1, max_size=4), st.integers(0, 3), st.floats(0.0, 60.0))
def test_a_parent_that_answers_is_found(moods: list[str], good: int, good_at: float) -> None:
    me = subscriber.Me(CLUSTER, messages.ChildKind.NODE, "web1@n1", names.ServerId(""))
    taking = intake.Intake(NOTHING, bodies.Shelf(), CLUSTER, lambda _body: None)
    child = subscriber.Subscriber(me, taking, 1)
    parents = Parents(moods, good, good_at)
    now = 0.0
    waiting = list(child.follow(parents.places, now))
    for _ in range(2000):
        while waiting:
            output = waiting.pop(0)
            now += output.delay_s if isinstance(output, events.Dial) else 0.0
            inputs = parents.answer(output, now)
            waiting += [made for event in inputs for made in child.handle(event, now)]
            if child.link is not None or now > good_at + 60.0:
                break
        if child.link is not None or now > good_at + 60.0:
            break
        now = max(now + 0.1, child.deadline)
        waiting += child.handle(events.Tick(), now)
    assert child.link is not None
    assert now <= good_at + 60.0


# --- nodes --------------------------------------------------------------------------------------------------------

NODE = st.sampled_from([names.NodeName(f"r{number}@a") for number in range(5)])


@given(st.frozensets(NODE), st.dictionaries(NODE, st.sampled_from(machine.State)))
def test_reconciling_ends_with_exactly_what_is_wanted_and_stops_nothing_that_is(
    wanted: frozenset[names.NodeName], observed: Mapping[names.NodeName, machine.State]
) -> None:
    state = dict(observed)
    for _ in range(4):
        actions = reconcile.reconcile(wanted, state)
        assert not wanted.intersection(actions.stop)
        assert not (actions.stop and actions.start), "nothing starts beside what has to stop"
        state |= dict.fromkeys(actions.stop, machine.State.STOPPED)
        state |= dict.fromkeys(actions.start, machine.State.RUNNING)
    assert reconcile.reconcile(wanted, state) == reconcile.Actions((), (), True)
    assert {name for name, one in state.items() if one is not machine.State.STOPPED} == wanted
