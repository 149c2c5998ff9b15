"""Servers that no revision names: where they are is known whatever they are linked to, and a rotation reaches them there.

Behind an IC they showed as having no link, and kept every rotation open for ever.
"""

import msgspec
import pytest

from coordinator import names
from coordinator.config import model
from coordinator.propagation import asks, convergence, events, messages, objects
from coordinator.runtime import trust_commands
from coordinator.tiers import desk, mic, parking, requests, requests_joining, rotating
from coordinator.trust import certificates, signing
from tests import builders, micworld
from tests.security import cluster

pytestmark = pytest.mark.anyio
CALLER = desk.Caller("root", "here", "rotate", "")
OWN = certificates.new_key()
PUBLICS = {micworld.FIRST: certificates.public_pem(OWN)}
IC = names.LinkId(77)


def holding(served: mic.Mic, server: names.ServerId, epoch: int) -> messages.AckState:
    """What it says once it holds everything, and a certificate of the newest CA."""
    content = served.at.past.content
    holds = objects.Numbers(
        content.numbers.target, content.trust.content.serial, content.admissions[server].content.serial
    )
    return messages.AckState(
        content.version, content.digest, messages.Level.READY, messages.Outcome.OK, names.Epoch(1, epoch),
        holds=holds, issuer=signing.root_id(served.at.means.authority.ca_pem),
    )  # fmt: skip


class Site:
    """The IC on c1, and what it tells."""

    def __init__(self, served: mic.Mic, tree: micworld.Tree) -> None:
        self._served = served
        self._tree = tree
        self._seq = 0

    async def begin(self, world: micworld.World) -> None:
        plain = builders.written(micworld.basic())
        plain["roles"]["icc1"] = {"type": "ic"}
        plain["structure"]["central"]["c1"].append("icc1")
        code, answer = await world.apply(self._served, msgspec.convert(plain, model.Document))
        assert code == "", answer
        self._tree.connect(micworld.FIRST)
        self.come()

    def come(self) -> None:
        admission = self._served.at.past.content.admissions[micworld.FIRST]
        kind = messages.ChildKind.IC
        hello = messages.Hello(
            1, micworld.CLUSTER, kind, "icc1", 1, objects.Numbers(), "", admission.raw, None
        )
        self._tree.feed(events.Arrived(IC, micworld.FIRST, events.Proof(admission.content.key_digest)))
        self._tree.feed(events.Heard(IC, hello))

    def tell(self, *rows: messages.Row, full: bool = False) -> None:
        self._seq += 1
        self._tree.feed(events.Heard(IC, messages.Rollup(self._seq, full or self._seq == 1, rows)))

    def go(self) -> None:
        self._tree.feed(events.Gone(IC, "gone"))
        self._seq = 0


def seat(served: mic.Mic, server: names.ServerId) -> requests.ServerView:
    (found,) = [one for one in parking.views(served.at) if one.id == server]
    return found


async def test_one_behind_an_ic_is_shown_with_its_link_can_be_asked_and_ends_no_rotation_too_late() -> None:
    world = micworld.World()
    async with world.running() as (served, tree):
        site, at = Site(served, tree), served.at
        await site.begin(world)
        server = await world.enroll(served, "n9")
        assert (seat(served, server).linked, seat(served, server).reason) == (False, "no revision names it")
        site.tell(messages.Row(server, True, None, "certificate expired"))
        shown = seat(served, server)
        assert shown.linked
        assert shown.reason == "certificate expired; no revision names it; linked through icc1 of central"
        tree.answers["status"] = ("", b'{"accepted": "0.0"}')
        assert await at.ask(server, "status") == ("", b'{"accepted": "0.0"}')
        await rotating.rotate_ca(at, PUBLICS, CALLER)
        tree.say(micworld.FIRST, holding(served, micworld.FIRST, 1))
        (waited,) = rotating.progress(at).waits_for
        assert waited == rotating.Waited("n9", server, True, "linked through icc1 of central")
        assert not await rotating.retire(at)
        site.tell(messages.Row(server, True, holding(served, server, 1)))
        site.go()  # what it has said stays said
        assert not seat(served, server).linked
        assert await rotating.retire(at)


async def test_what_an_ic_says_of_one_binds_nobody_once_it_has_a_place() -> None:
    """A number that no server reaches would have made it deaf for ever."""
    world = micworld.World()
    async with world.running() as (served, tree):
        site, at = Site(served, tree), served.at
        await site.begin(world)
        server = await world.enroll(served, "n9")
        site.tell(messages.Row(server, True, holding(served, server, 2**40)))
        facts = at.master.convergence.facts.get(server)
        assert facts is None or (facts.ack is None and not facts.links)
        assert at.master.sightings.ack(server) is not None
        plain = builders.written(at.past.document)
        plain["servers"]["n9"] = {"interfaces": {"lan": "10.1.0.19"}}
        plain["structure"]["central"]["n9"] = []
        code, answer = await world.apply(served, msgspec.convert(plain, model.Document))
        assert code == "", answer
        assert at.master.sightings.ack(server) is None
        tree.connect(server)
        tree.say(server, holding(served, server, 1))
        assert at.master.convergence.facts[server].sync is convergence.Sync.CONVERGED


async def test_a_full_table_without_it_and_one_that_is_out_show_no_link() -> None:
    world = micworld.World()
    async with world.running() as (served, tree):
        site = Site(served, tree)
        await site.begin(world)
        server = await world.enroll(served, "n9")
        site.tell(messages.Row(server, True, None))
        assert seat(served, server).linked
        site.tell(full=True)
        assert not seat(served, server).linked
        site.tell(messages.Row(server, True, None))
        site.tell(messages.Row(server, False, None))
        assert not seat(served, server).linked
        site.tell(messages.Row(server, True, None))
        asked = requests_joining.Expel(server="n9")
        code, answer = await world.ask(served, requests.Verb.EXPEL, asked)
        assert code == "", answer
        assert served.at.master.sightings.way(server) is None
        site.tell(messages.Row(server, True, holding(served, server, 1)))
        assert served.at.master.sightings.way(server) is None
        assert await served.at.ask(server, "status") == (asks.UNREACHABLE, b"")


async def test_linked_to_mic_itself_it_says_so() -> None:
    world = micworld.World()
    async with world.running() as (served, tree):
        server = await world.enroll(served, "n9")
        tree.connect(server)
        assert seat(served, server).reason == f"no revision names it; {parking.DIRECTLY}"


def test_an_ic_tells_of_a_parked_server_and_carries_its_request_for_a_certificate() -> None:
    made = cluster.Cluster()
    ic = made.ic()
    up = cluster.linked_upwards(ic, made)
    outputs = cluster.come(ic, 5, "id-p1", made.hello(cluster.KINDS.SHELL, "", "p1"))
    state = made.ack(level=messages.Level.NONE, digest=names.Digest(""), version=names.NO_VERSION)
    outputs += cluster.hear(ic, 5, messages.Ack(state))
    outputs += ic.handle(events.Tick(), 3.0)
    rows = [row for one in cluster.said(outputs, messages.Rollup) for row in one.rows]  # type: ignore[union-attr]
    assert messages.Row(cluster.sid("p1"), True, state) in rows
    asked = cluster.hear(ic, 5, messages.Ask(1, asks.RENEW, "", True, b"x"))
    (sent,) = [one for one in asked if isinstance(one, events.Send)]
    assert sent.links == (up,)


@pytest.mark.parametrize(
    ("waited", "told"),
    [
        (rotating.Waited("n1", names.ServerId("i1"), False, ""), "tiercast server expel n1"),
        (rotating.Waited("n2", names.ServerId("i2"), True, ""), "tiercast server expel i2"),
        (rotating.Waited("n3", names.ServerId("i3"), True, "linked through icc1 of central"), "by itself"),
    ],
)
def test_a_rotation_that_waits_says_for_whom_and_what_to_do(
    waited: rotating.Waited, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trust_commands._show(rotating.Progress(2, 1, (waited,), 1))
    out = capsys.readouterr().out
    assert f"waits for     {waited.name}\n" in out
    assert told in out
