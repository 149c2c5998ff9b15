"""One server that lies, shouts or withholds costs nobody but itself."""

import io
import resource
import tracemalloc

import msgspec
import pytest
from backports import zstd

from coordinator import errors, limits, names
from coordinator.host import logs
from coordinator.propagation import (
    asks,
    bodies,
    claims,
    convergence,
    events,
    messages,
    mirror,
    objects,
    pieces,
    wire,
)
from nodeagent.servershell import events as shell_events
from tests.security import cluster

KINDS = cluster.KINDS
LONG = "x" * 300_000


@pytest.fixture(scope="module")
def made() -> cluster.Cluster:
    return cluster.Cluster()


def loud(made: cluster.Cluster, **changes: object) -> messages.AckState:
    """As long an ack as fits a frame."""
    role = messages.RoleAck(
        names.RoleName("r"), messages.Level.HELD, messages.Outcome.FAILED, LONG, "ä" * 1000, LONG
    )
    plain = made.ack(code=LONG, detail=LONG, digest=LONG, roles=(role,), outcome=messages.Outcome.FAILED)
    return msgspec.structs.replace(plain, **changes)


def come_as_shell(made: cluster.Cluster, machine: cluster.Machine, link: int, server: str) -> None:
    cluster.come(machine, link, cluster.sid(server), made.hello(KINDS.SHELL, "", server))


# --- acks and roll-ups ----------------------------------------------------------------------------------------------


def test_long_acks_do_not_end_the_ic_that_rolls_them_up(made: cluster.Cluster) -> None:
    served = made.ic()
    cluster.linked_upwards(served, made)
    outputs: list[object] = []
    for link, server in ((1, "n1"), (2, "n2")):
        come_as_shell(made, served, link, server)
        outputs += cluster.hear(served, link, messages.Ack(loud(made)))
    rollups = cluster.said((*outputs, *served.handle(events.Tick(), 9.0)), messages.Rollup)
    assert len(rollups) > 1
    for rollup in rollups:
        assert len(wire.encode(rollup)) < 20_000
        assert isinstance(rollup, messages.Rollup)
        told = [row.ack for row in rollup.rows if row.ack is not None]
        assert all(len(ack.detail) <= limits.DETAIL_CHARACTERS for ack in told)


def test_what_an_ic_says_is_cut_as_well(made: cluster.Cluster) -> None:
    served = made.mic()
    cluster.come(served, 1, cluster.sid("n1"), made.hello(KINDS.IC, "icn1", "n1"))
    cluster.hear(served, 1, messages.Rollup(1, True, (messages.Row(cluster.sid("n2"), True, loud(made)),)))
    ack = served.convergence.facts[cluster.sid("n2")].ack
    assert ack is not None
    assert len(wire.encode(messages.Ack(ack))) < 10_000


@pytest.mark.parametrize("epoch", [(2**63, 1), (limits.BOOTS + 1, 0), (1, 2**64 - 1), (-1, 0), (0, -1)])
def test_a_number_that_no_server_reaches_is_no_ack(made: cluster.Cluster, epoch: tuple[int, int]) -> None:
    state = made.ack(epoch=names.Epoch(*epoch))
    assert claims.fitting(state) is None
    served = made.mic()
    come_as_shell(made, served, 1, "n2")
    cluster.hear(served, 1, messages.Ack(state))
    assert served.convergence.facts[cluster.sid("n2")].ack is None
    cluster.hear(served, 1, messages.Ack(made.ack()))
    assert served.convergence.facts[cluster.sid("n2")].sync is convergence.Sync.CONVERGED


def test_cutting_is_done_once_and_never_to_what_fits(made: cluster.Cluster) -> None:
    cut = claims.fitting(loud(made))
    assert cut is not None
    assert claims.fitting(cut) is cut
    assert claims.fitting(made.ack()) == made.ack()


def test_a_version_above_the_target_counts_for_nothing(made: cluster.Cluster) -> None:
    served = made.mic()
    come_as_shell(made, served, 1, "n2")
    cluster.hear(served, 1, messages.Ack(made.ack(version=names.Version(2**63, 2**63))))
    assert served.convergence.summary.ready == 0


def test_an_ic_speaks_for_its_own_site_and_for_servers_that_exist(made: cluster.Cluster) -> None:
    served = made.mic()
    cluster.come(served, 1, cluster.sid("n1"), made.hello(KINDS.IC, "icn1", "n1"))
    foreign = [*map(cluster.sid, ("c1", "c2", "u1", "p1")), *(names.ServerId(f"no-{n}") for n in range(5000))]
    rows = tuple(messages.Row(server, True, made.ack()) for server in (*foreign, cluster.sid("n2")))
    cluster.hear(served, 1, messages.Rollup(1, True, rows))
    picture = served.convergence
    assert [server for server, facts in picture.facts.items() if facts.links] == [cluster.sid("n2")]
    assert len(picture.facts) <= len(cluster.SEATS)
    assert picture.summary.ready == 1


def test_an_old_roll_up_said_again_changes_nothing(made: cluster.Cluster) -> None:
    served = made.mic()
    cluster.come(served, 1, cluster.sid("n1"), made.hello(KINDS.IC, "icn1", "n1"))
    old = messages.Rollup(
        1, True, (messages.Row(cluster.sid("n2"), True, made.ack(level=messages.Level.HELD)),)
    )
    new = messages.Row(cluster.sid("n2"), True, made.ack(epoch=names.Epoch(1, 2)))
    cluster.hear(served, 1, old)
    cluster.hear(served, 1, messages.Rollup(2, False, (new,)))
    before = served.convergence.summary
    for _ in range(100):
        cluster.hear(served, 1, old)
        cluster.hear(served, 1, msgspec.structs.replace(old, seq=2))
    assert served.convergence.summary == before
    assert before.ready == 1
    cluster.hear(
        served, 1, msgspec.structs.replace(old, seq=3)
    )  # as its newest word it says less, never more
    assert served.convergence.facts[cluster.sid("n2")].ack == new.ack
    assert served.convergence.summary.ready == 0


def test_only_a_servershell_acks_for_its_server(made: cluster.Cluster) -> None:
    served = made.mic()
    for link, kind, name in ((1, KINDS.WS, "ws2"), (2, KINDS.DC, "dc2"), (3, KINDS.IC, "icn1")):
        cluster.come(served, link, cluster.sid("n1"), made.hello(kind, name, "n1", ack=made.ack()))
        cluster.hear(served, link, messages.Ack(made.ack(epoch=names.Epoch(1, 5))))
    facts = served.convergence.facts[cluster.sid("n1")]
    assert (facts.ack, facts.links) == (None, {})


def test_a_server_has_one_link_however_often_it_comes(made: cluster.Cluster) -> None:
    served = made.mic()
    for link in range(1, 200):
        cluster.come(served, link, cluster.sid("n2"), made.hello(KINDS.SHELL, "", "n2"))
        cluster.come(served, 1000 + link, cluster.sid("n2"), made.hello(KINDS.SHELL, f"n{link}", "n2"))
    assert len(served.publisher.children) == 1
    assert len(served.publisher._peers) == 1


# --- boot counters --------------------------------------------------------------------------------------------------


def test_a_parent_cannot_use_up_a_boot_counter(made: cluster.Cluster) -> None:
    served = made.shell()
    up = cluster.linked_upwards(served, made)
    known = 1
    for said in (b"9" * 18, b"9" * 18, b"9" * 40, b"-1", b"1e9", "²".encode()):
        for output in cluster.hear(served, up, messages.Ask(1, asks.RAISE_BOOT, "", True, said)):
            if isinstance(output, shell_events.RaiseBoot):
                assert output.known <= known + limits.BOOTS_AT_ONCE
                known = output.known + 1
                served.booted(known)
    assert known <= 3 * limits.BOOTS_AT_ONCE


# --- asking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "server", "most"),
    [
        (KINDS.SHELL, "", "p1", asks.DOWNWARD_BYTES),
        (KINDS.IC, "icn1", "n1", asks.DOWNWARD_BYTES),
        (KINDS.WS, "ws2", "n1", limits.ASK_BYTES),
    ],
)
def test_unfinished_requests_of_a_link_take_no_more_than_one_whole_one(
    made: cluster.Cluster, kind: cluster.KINDS, name: str, server: str, most: int
) -> None:
    served = made.mic()
    cluster.come(served, 1, cluster.sid(server), made.hello(kind, name, server))
    part = bytes(limits.ASK_PART_BYTES)
    tracemalloc.start()
    try:
        for number in range(2 * most // len(part)):
            cluster.hear(served, 1, messages.Ask(number % 64, "cfg.upload", "", False, part))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1.5 * most + 2**20
    served.handle(events.Gone(names.LinkId(1), "gone"), 3.0)
    assert not served.asks._incoming


def test_empty_parts_cost_nothing(made: cluster.Cluster) -> None:
    served = made.mic()
    cluster.come(served, 1, cluster.sid("n1"), made.hello(KINDS.WS, "ws2", "n1"))
    tracemalloc.start()
    try:
        for _ in range(20_000):
            cluster.hear(served, 1, messages.Ask(1, "cfg.upload", "", False, b""))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 64 * 1024


def test_of_ten_thousand_requests_a_link_has_only_a_few_under_way(made: cluster.Cluster) -> None:
    served = made.mic()
    cluster.come(served, 1, cluster.sid("n1"), made.hello(KINDS.WS, "ws2", "n1"))
    under_way, busy = 0, 0
    for number in range(10_000):
        outputs = cluster.hear(served, 1, messages.Ask(number, "cfg.status", "", True, b""))
        under_way += sum(isinstance(one, asks.Asked) for one in outputs)
        busy += sum(
            isinstance(f, messages.Answer) and f.code == asks.BUSY
            for f in cluster.said(outputs, messages.Answer)
        )
    assert (under_way, busy) == (limits.ASKS_UNDER_WAY, 10_000 - limits.ASKS_UNDER_WAY)


def test_a_long_answer_does_not_end_the_ic_that_relays_it(made: cluster.Cluster) -> None:
    served = made.ic()
    up = cluster.linked_upwards(served, made)
    come_as_shell(made, served, 1, "n2")

    def relayed() -> int:
        outputs = cluster.hear(served, up, messages.Ask(7, "status", "id-n2", True, b""))
        (ask,) = cluster.said(outputs, messages.Ask)
        assert isinstance(ask, messages.Ask)
        return ask.id

    number = relayed()
    cluster.hear(served, 1, messages.Answer(number, "", False, bytes(limits.ASK_PART_BYTES)))
    outputs = cluster.hear(served, 1, messages.Answer(number, "c" * 900_000, True, bytes(100_000)))
    assert all(
        len(wire.encode(frame)) < limits.FRAME_BYTES for frame in cluster.said(outputs, messages.Answer)
    )
    number = relayed()
    codes = []
    for _ in range(8):
        outputs = cluster.hear(served, 1, messages.Answer(number, "", False, bytes(limits.ASK_PART_BYTES)))
        codes += [f.code for f in cluster.said(outputs, messages.Answer) if isinstance(f, messages.Answer)]
    assert codes == [asks.TOO_LARGE]


def test_an_answer_counts_from_the_one_who_was_asked(made: cluster.Cluster) -> None:
    served = made.ic()
    up = cluster.linked_upwards(served, made)
    come_as_shell(made, served, 1, "n1")
    come_as_shell(made, served, 2, "n2")
    (ask,) = cluster.said(
        cluster.hear(served, up, messages.Ask(7, "status", "id-n2", True, b"")), messages.Ask
    )
    assert isinstance(ask, messages.Ask)
    assert cluster.hear(served, 1, messages.Answer(ask.id, "", True, b"forged")) == ()
    assert cluster.hear(served, 2, messages.Answer(ask.id + 1, "", True, b"never asked for")) == ()
    (answer,) = cluster.said(
        cluster.hear(served, 2, messages.Answer(ask.id, "", True, b"true")), messages.Answer
    )
    assert isinstance(answer, messages.Answer)
    assert answer.data == b"true"


# --- offers, bodies -------------------------------------------------------------------------------------------------


def test_more_admissions_than_one_frame_holds_are_offered_in_several(made: cluster.Cluster) -> None:
    many = {
        cluster.sid(f"s{number}"): made.admission(f"s{number}", number, cluster.STATE.PLACED, "north")
        for number in range(100, 3500)
    }
    everything = msgspec.structs.replace(made.content, admissions={**made.admissions, **many})
    raws = sum(len(one.raw) for one in everything.admissions.values())
    served = made.mic()
    served.serve(msgspec.structs.replace(served.served, content=everything), 0.0)
    outputs = cluster.come(served, 1, cluster.sid("n1"), made.hello(KINDS.IC, "icn1", "n1"))
    offers = cluster.said(outputs, messages.Offer)
    assert raws < limits.FRAME_BYTES or len(offers) > 1
    assert all(len(wire.encode(offer)) <= limits.FRAME_BYTES for offer in offers)
    mirrored = made.ic(
        mirror.Content(made.trust, admissions={cluster.sid("n1"): made.admissions[cluster.sid("n1")]})
    )
    up = cluster.linked_upwards(mirrored, made)
    for offer in offers:
        for store in cluster.hear(mirrored, up, offer):
            if isinstance(store, events.Store):
                mirrored.handle(events.Stored(store.ticket), 2.0)
    assert mirrored.content.numbers == everything.numbers
    assert len(mirrored.content.admissions) == len(everything.admissions)


def test_pieces_fill_from_the_end_so_that_a_target_stays_with_its_record() -> None:
    raws = tuple(bytes([n % 256]) * 700 for n in range(3000))
    parts = pieces.parts(raws)
    assert len(parts) > 1
    assert tuple(raw for part in parts for raw in part) == raws
    assert parts[-1][-2:] == raws[-2:]
    assert pieces.parts((b"x" * limits.FRAME_BYTES,)) == [(b"x" * limits.FRAME_BYTES,)]


def test_a_child_that_offers_without_end_is_closed(made: cluster.Cluster) -> None:
    served = made.ic()
    come_as_shell(made, served, 1, "n2")
    outputs = cluster.hear(served, 1, messages.Offer((b"",) * 100_000, None))
    assert [type(one) for one in outputs] == [events.Close]


def test_a_bad_offer_of_a_parent_is_one_line_in_the_log(made: cluster.Cluster) -> None:
    served = made.ic()
    up = cluster.linked_upwards(served, made)
    outputs = cluster.hear(served, up, messages.Offer((b"",) * 5_000, None))
    assert len([one for one in outputs if isinstance(one, events.Note)]) == 1


def test_a_child_that_withholds_a_body_does_not_keep_it_from_its_parent(made: cluster.Cluster) -> None:
    body = made.body + b" "
    record, target = made.pair(2, bodies.digest_of(body), len(body))
    offer = messages.Offer((record.raw, target.raw), None)
    served = made.ic()
    up = cluster.linked_upwards(served, made)
    come_as_shell(made, served, 1, "n2")
    (pull,) = cluster.said(cluster.hear(served, 1, offer), messages.Pull)
    assert cluster.said(cluster.hear(served, up, offer), messages.Pull) == [], "it may be just about to come"
    for now in (4.0, 7.0, 10.0):
        cluster.hear(served, up, messages.Heartbeat(b"", objects.Numbers(), 0), now)
        cluster.hear(served, 1, messages.Heartbeat(b"", objects.Numbers(), 0), now)
        served.handle(events.Tick(), now)
    outputs = cluster.hear(served, up, offer, 10.0)
    assert cluster.said(outputs, messages.Pull) == [pull]
    assert any(isinstance(one, events.Send) and one.links == (up,) for one in outputs)
    shelf = bodies.Shelf()
    shelf.add(bodies.digest_of(body), body)
    chunk = shelf.chunk(bodies.digest_of(body), "", 0)
    assert chunk is not None
    (store,) = [one for one in cluster.hear(served, up, chunk, 10.0) if isinstance(one, events.Store)]
    assert store.body == (bodies.digest_of(body), body)


def test_a_child_cannot_hide_an_admission_by_showing_a_later_one(made: cluster.Cluster) -> None:
    later = made.admission("p1", 500, cluster.STATE.PARKED, "")
    served = made.ic()
    come_as_shell(made, served, 1, "n2")
    assert cluster.hear(served, 1, messages.Offer((later.raw,), None)) == ()
    assert served.content.numbers == made.content.numbers
    leaf = made.shell()
    up = cluster.linked_upwards(leaf, made)
    assert cluster.hear(leaf, up, messages.Offer((later.raw,), None)) == (), "of others a server takes none"
    own = made.admission("n1", 501, cluster.STATE.PARKED, "")
    assert any(
        isinstance(one, events.Store) for one in cluster.hear(leaf, up, messages.Offer((own.raw,), None))
    )


def test_what_is_signed_for_another_number_or_altered_is_not_taken(made: cluster.Cluster) -> None:
    served = made.ic()
    up = cluster.linked_upwards(served, made)
    other = made.sign(
        objects.Kind.TARGET,
        objects.Target(1, 1, objects.Pointer(1, names.Digest("f" * 64)), None, names.RolloutId("x"), 9),
    )
    forged_by = cluster.Cluster()
    record, target = forged_by.pair(5, made.digest, len(made.body))
    content = made.content
    assert content.target is not None
    for raws in (
        (other,),
        (record.raw, target.raw),
        (content.target.raw[:-1] + b"\0",),
        (made.pair(0, made.digest, 1)[1].raw,),
    ):
        outputs = cluster.hear(served, up, messages.Offer(raws, None))
        assert not any(isinstance(one, events.Store | events.Accepted) for one in outputs)
    assert served.content == made.content


@pytest.mark.parametrize("offset", [-1, -(2**63), 2**63, 10**6])
def test_a_pull_of_what_is_not_there_gets_nothing(made: cluster.Cluster, offset: int) -> None:
    served = made.ic()
    come_as_shell(made, served, 1, "n2")
    for digest in (made.digest, names.Digest("d" * 64), names.Digest("../../head")):
        assert cluster.hear(served, 1, messages.Pull(digest, "", offset)) == () or offset == 0


def test_a_child_that_pulls_without_end_has_one_piece_under_way(made: cluster.Cluster) -> None:
    served = made.ic()
    come_as_shell(made, served, 1, "n2")
    pull = messages.Pull(made.digest, "", 0)
    sent = sum(len(cluster.said(cluster.hear(served, 1, pull), messages.Chunk)) for _ in range(1000))
    assert sent == 1
    assert len(cluster.said(served.drained(names.LinkId(1), 2.0), messages.Chunk)) == 1
    assert served.drained(names.LinkId(1), 2.0) == ()


def framed(body: bytes, window_log: int) -> bytes:
    """One zstd frame that asks for such a window and does not say how much is in it."""
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: 1,
        zstd.CompressionParameter.window_log: window_log,
        zstd.CompressionParameter.content_size_flag: 0,
    }
    compressor = zstd.ZstdCompressor(options=options)
    return compressor.compress(body) + compressor.flush()


@pytest.fixture(scope="module")
def bomb() -> bytes:
    return framed(bytes(64 * 2**20), 17)


@pytest.mark.parametrize("size", [0, 1, 1000, 2**20])
def test_a_body_never_unpacks_to_more_than_its_record_says(size: int, bomb: bytes) -> None:
    digest = names.Digest("d" * 64)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(errors.ProtocolError, match=f"got {size + 1}"):
        bodies.decode(bomb, None, size)
    with pytest.raises(errors.ProtocolError):
        bodies.Assembly(digest, size).add(messages.Chunk(digest, "", 0, len(bomb), size, bomb), None)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 16 * 1024


def test_a_small_body_cannot_claim_a_large_window() -> None:
    data = framed(b"x" * 100, 27)
    with pytest.raises(errors.ProtocolError):
        bodies.decode(data, None, 100)


@pytest.mark.parametrize("size", [100, 200_000, 3_000_000])
def test_what_we_encode_ourselves_always_fits_the_window(size: int) -> None:
    body = (b"%d," * (size // 8)) % tuple(range(size // 8))
    assert bodies.decode(bodies.encode(body, None), None, len(body)) == body
    base = body[: size // 2] + b"!" + body[size // 2 :]
    assert bodies.decode(bodies.encode(body, base), base, len(body)) == body


# --- logs -----------------------------------------------------------------------------------------------------------


def test_a_stranger_neither_fills_a_log_nor_steers_a_terminal() -> None:
    lines = io.StringIO()
    try:
        logs.configure(lines, form="text")
        log = logs.Log("hop")
        for _ in range(10 * logs.FLOOD_LINES):
            log.warning("link broke the protocol", reason="\x1b[2J\nforged line\u202e")
        log.warning("another phrase")
    finally:
        logs.configure()
    text = lines.getvalue()
    assert len(text.splitlines()) == logs.FLOOD_LINES + 1
    assert all(line.isprintable() for line in text.splitlines())
