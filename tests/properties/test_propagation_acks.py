"""Laws of what goes upwards: the table of an IC and MIC's copy of it, MIC's counts, and requests."""

import random

from hypothesis import given
from hypothesis import strategies as st

from coordinator import limits, names
from coordinator.propagation import acks, asks, convergence, events, messages

SERVERS = [names.ServerId(f"s{number}") for number in range(4)]
SERVER = st.sampled_from(SERVERS)
VERSIONS = [names.Version(1, number) for number in (1, 2)]
DIGESTS = {VERSIONS[0]: names.Digest("a" * 64), VERSIONS[1]: names.Digest("b" * 64)}
ACK = st.builds(
    lambda version, level, outcome, boot, seq: messages.AckState(
        version, DIGESTS[version], level, outcome, names.Epoch(boot, seq)
    ),
    st.sampled_from(VERSIONS),
    st.sampled_from(messages.Level),
    st.sampled_from((messages.Outcome.OK, messages.Outcome.OK, messages.Outcome.FAILED)),
    st.integers(1, 2),
    st.integers(1, 9),
)

# --- the table of an IC -------------------------------------------------------------------------------------------

TABLE_STEP = st.one_of(
    st.tuples(st.just("linked"), SERVER, st.none() | ACK),
    st.tuples(st.just("unlinked"), SERVER, st.none()),
    st.tuples(st.just("acked"), SERVER, ACK),
    st.tuples(st.just("flush"), SERVER, st.none()),
    st.tuples(st.just("tell_all"), SERVER, st.none()),
)


class Copy:
    """What a parent makes of roll-ups."""

    def __init__(self) -> None:
        self.rows: dict[names.ServerId, messages.Row] = {}
        self.seq = 0

    def take(self, rollup: messages.Rollup) -> None:
        assert rollup.seq == self.seq + 1
        self.seq = rollup.seq
        if rollup.full:
            self.rows.clear()
        self.rows.update({row.server: row for row in rollup.rows})


@given(st.lists(TABLE_STEP, max_size=30))
def test_the_parents_copy_is_the_table_once_nothing_is_left_to_tell(
    steps: list[tuple[str, str, object]],
) -> None:
    table, copy, now = acks.Table(), Copy(), 0.0
    ever: dict[str, list[messages.AckState | None]] = {}
    for word, name, ack in steps:
        server = names.ServerId(name)
        now += 0.01
        match word:
            case "linked":
                assert ack is None or isinstance(ack, messages.AckState)
                table.linked(server, ack, now)
            case "unlinked":
                table.unlinked(server, now)
            case "acked":
                assert isinstance(ack, messages.AckState)
                table.acked(server, ack, now)
            case "tell_all":
                table.tell_all(now)
            case _:
                for rollup in table.flush(now, answered=True):
                    copy.take(rollup)
        if server in table.rows:
            ever.setdefault(server, []).append(table.rows[server].ack)
        for row in copy.rows.values():
            assert row.ack in ever[row.server]
    for rollup in table.flush(now + limits.ROLLUP_FLUSH_S, answered=False):
        copy.take(rollup)
    assert copy.rows == table.rows or not copy.seq
    assert table.flush(now + 1.0, answered=True) == ()


@given(st.lists(st.tuples(SERVER, ACK), max_size=20))
def test_the_table_keeps_the_greatest_ack_in_any_order(
    told: list[tuple[names.ServerId, messages.AckState]],
) -> None:
    table = acks.Table()
    for server, ack in told:
        table.acked(server, ack, 0.0)
    for server, row in table.rows.items():
        assert row.ack is not None
        assert row.ack.epoch == max(ack.epoch for one, ack in told if one == server)


# --- MIC's counts -------------------------------------------------------------------------------------------------

PICTURE_STEP = st.one_of(
    st.tuples(st.just("row"), st.integers(1, 3), SERVER, st.booleans(), st.none() | ACK),
    st.tuples(st.just("full"), st.integers(1, 3), SERVER, st.booleans(), st.none() | ACK),
    st.tuples(st.just("down"), st.integers(1, 3), SERVER, st.booleans(), st.none()),
    st.tuples(st.just("activate"), st.integers(0, 1), SERVER, st.booleans(), st.none()),
    st.tuples(st.just("wait"), st.integers(1, 8), SERVER, st.booleans(), st.none()),
)


def asked_of(server: names.ServerId, *, leaving: bool) -> dict[names.ServerId, convergence.Asked]:
    """All but the last server; one of them may be on its way out."""
    return {
        one: convergence.Asked(names.ServerName(one), names.SiteName("north"), leaving and one == server)
        for one in SERVERS[:-1]
    }


def check_counts(picture: convergence.Convergence) -> None:
    summary = picture.summary
    ready = reachable = 0
    for server, asked in picture.asked.items():
        facts = picture.facts[server]
        wanted = messages.Level.RELEASED if asked.leaving else messages.Level.READY
        ack = facts.ack
        ready += bool(
            facts.links
            and ack is not None
            and ack.epoch in facts.links.values()
            and (ack.version, ack.digest, ack.level) == (picture.version, picture.digest, wanted)
            and ack.outcome is messages.Outcome.OK
        )
        reachable += bool(facts.links) or (facts.latched and not facts.done)
    assert (summary.ready, summary.reachable, summary.asked) == (ready, reachable, len(picture.asked))
    assert summary.ready <= summary.reachable <= summary.asked
    assert (summary.state is convergence.RolloutState.CONVERGED) == (0 < ready == summary.asked)


@given(st.lists(PICTURE_STEP, max_size=40))
def test_counts_are_those_of_a_recount(
    steps: list[tuple[str, int, str, bool, messages.AckState | None]],
) -> None:
    picture, now = convergence.Convergence(), 0.0
    picture.activate(
        names.RolloutId("ro-1"), VERSIONS[0], DIGESTS[VERSIONS[0]], asked_of(SERVERS[0], leaving=False), now
    )
    for word, number, name, flag, ack in steps:
        server, link = names.ServerId(name), names.LinkId(number)
        now += 0.1
        match word:
            case "row":
                picture.row(link, messages.Row(server, flag, ack), now)
            case "full":
                picture.rows(link, True, (messages.Row(server, flag, ack),), now)
            case "down":
                picture.link_down(link, now)
            case "activate":
                version = VERSIONS[number]
                asked = asked_of(server, leaving=flag)
                picture.activate(names.RolloutId(f"ro-{version}"), version, DIGESTS[version], asked, now)
            case _:
                now += number
                picture.tick(now)
        check_counts(picture)


@given(st.lists(st.tuples(st.integers(1, 3), SERVER, ACK), max_size=12), st.randoms(use_true_random=False))
def test_rows_of_several_links_end_in_one_picture_however_they_mix(
    told: list[tuple[int, names.ServerId, messages.AckState]], chance: random.Random
) -> None:
    """One truth per epoch, and each link's own order is kept."""
    truth = {(server, ack.epoch): ack for _, server, ack in told}
    turns = [number for number, _, _ in told]
    chance.shuffle(turns)
    waiting = {number: [row for row in told if row[0] == number] for number in turns}
    mixed = [waiting[number].pop(0) for number in turns]
    pictures = []
    for order in (told, mixed):
        picture = convergence.Convergence()
        version, asked = VERSIONS[0], asked_of(SERVERS[0], leaving=False)
        picture.activate(names.RolloutId("ro"), version, DIGESTS[version], asked, 0.0)
        for number, server, ack in order:
            row = messages.Row(server, True, truth[server, ack.epoch])
            picture.row(names.LinkId(number), row, 1.0)
        pictures.append((picture.summary, {s: (f.sync, f.ack) for s, f in sorted(picture.facts.items())}))
    assert pictures[0] == pictures[1]


# --- requests -----------------------------------------------------------------------------------------------------

ASK_STEP = st.tuples(
    st.sampled_from(("ask", "answer", "part", "alien", "gone", "wait")),
    st.integers(1, 2),
    st.integers(0, 5),
)


class Asker:
    """A tier with requests of its own, and what became of them."""

    def __init__(self) -> None:
        self.machine = asks.Asks()
        self.now = 0.0
        self.asked = 0
        self.ended: list[int] = []
        self.open: list[tuple[names.LinkId, int]] = []

    def step(self, word: str, which: int, number: int) -> tuple[asks.Output, ...]:
        link = names.LinkId(which)
        there, ask_id = self.open[number % len(self.open)] if self.open else (link, number)
        match word:
            case "ask":
                self.asked += 1
                way = None if number == 5 else link
                return self.machine.ask(asks.Owner(None, self.asked), way, "status", "s1", b"", self.now)
            case "answer" | "part":
                return self.machine.answered(there, messages.Answer(ask_id, "", word == "answer", b"x"))
            case "alien":
                return self.machine.answered(names.LinkId(9), messages.Answer(ask_id, "", True, b"x"))
            case "gone":
                return self.machine.gone(link)
            case _:
                self.now += 10.0 * number
                return self.machine.tick(self.now)

    def perform(self, outputs: tuple[asks.Output, ...]) -> None:
        for output in outputs:
            match output:
                case asks.Answered(number):
                    self.ended.append(number)
                case events.Send(links, messages.Ask(number, last=True)):
                    self.open.append((links[0], number))
                case _:
                    pass


@given(st.lists(ASK_STEP, max_size=40))
def test_every_ask_ends_in_exactly_one_answer(steps: list[tuple[str, int, int]]) -> None:
    asker = Asker()
    for step in steps:
        asker.perform(asker.step(*step))
    asker.perform(asker.machine.tick(asker.now + asks.ASK_TIMEOUT_S))
    assert sorted(asker.ended) == list(range(1, asker.asked + 1))
    assert asker.machine.deadline is None


@given(st.binary(max_size=3 * limits.ASK_PART_BYTES), st.integers(1, 2**40))
def test_a_request_in_parts_arrives_whole_and_so_does_its_answer(data: bytes, number: int) -> None:
    asking, answering = asks.Asks(), asks.Asks()
    link = names.LinkId(1)
    arrived: list[asks.Output] = []
    for output in asking.ask(asks.Owner(None, number), link, "upload", "", data, 0.0):
        assert isinstance(output, events.Send)
        assert isinstance(output.frame, messages.Ask)
        arrived += answering.asked(link, output.frame, most_bytes=limits.ASK_BYTES)
    (whole,) = arrived
    assert isinstance(whole, asks.Asked)
    assert (whole.verb, whole.data) == ("upload", data)
    back: list[asks.Output] = []
    for output in answering.answer(link, whole.id, "", data):
        assert isinstance(output, events.Send)
        assert isinstance(output.frame, messages.Answer)
        back += asking.answered(link, output.frame)
    assert back == [asks.Answered(number, "", data)]
