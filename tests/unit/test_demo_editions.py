"""The demo's editions are made from the example, and are right before anything of them is run."""

import pytest

from bench.demo import editions, engine, footing, place
from coordinator import errors
from coordinator.config import reading
from coordinator.host import catalogue

EDITIONS = (editions.EXAMPLE, editions.CHANGE, editions.WITHOUT_NORTH, editions.CORRECTED)


def text_of(wanted: editions.Edition) -> str:
    text = place.document().read_text(encoding="utf-8")
    for edition in EDITIONS:
        text = editions.edited(text, edition.edits)
        if edition is wanted:
            return text
    raise AssertionError(f"{wanted.revision} is no edition")


@pytest.mark.parametrize("edition", EDITIONS, ids=lambda edition: str(edition.revision))
def test_an_edition_is_valid_without_a_warning(edition: editions.Edition) -> None:
    source = reading.Source("two-sites.yaml", text_of(edition).encode())
    judged = reading.check([source], catalogue.load())
    assert [f"{found.rule} {found.message}" for found in judged.findings] == []


@pytest.mark.parametrize("edition", EDITIONS, ids=lambda edition: str(edition.revision))
def test_what_the_programs_must_answer_is_said_of_every_program(edition: editions.Edition) -> None:
    source = reading.Source("two-sites.yaml", text_of(edition).encode())
    document = reading.check([source], catalogue.load()).document
    assert document is not None
    core = {"mic1", "dc1", "ws1", "icc1", "icn1"}
    assert {str(name) for name in document.roles} - core == set(edition.programs)


def test_the_revisions_follow_the_basic_document_one_by_one() -> None:
    assert [edition.revision for edition in EDITIONS] == list(range(editions.BASIC + 1, editions.BASIC + 5))


def test_an_edit_that_does_not_fit_is_told() -> None:
    with pytest.raises(errors.UsageError, match="stands there 0 times"):
        editions.edited("a: 1\n", [editions.Edit("b: 1", "b: 2")])


def test_every_port_of_every_edition_is_looked_at_before_the_start() -> None:
    needed = footing.needed()
    for edition in EDITIONS:
        for program in edition.programs.values():
            assert (place.PLACES[program.server].address, program.port) in needed


def test_a_private_etcd_stands_where_nothing_else_of_the_demo_does() -> None:
    for kind in engine.Kind:
        assert not engine.endpoints(kind) & footing.needed()
        assert bool(engine.words(kind)) == bool(engine.endpoints(kind)) == (kind is not engine.Kind.RAFT)
    assert engine.words(engine.Kind.ETCD3)[1].count(":2379") == 3


def test_a_machine_without_etcd_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    engine.check(engine.Kind.RAFT)
    with pytest.raises(errors.NotFoundError) as raised:
        engine.check(engine.Kind.ETCD)
    assert "etcd-server" in raised.value.hint
