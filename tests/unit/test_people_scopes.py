import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator import errors
from coordinator.domains import people, scopes

AREAS = st.sampled_from(["cfg", "kv", "join", "people", "audit"])
PREFIXES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), max_size=20).map(
    lambda text: f"/{text}"
)
PLAIN = st.builds(scopes.Scope, AREAS, st.just(""), st.booleans())
RANKED = st.builds(scopes.Scope, st.just("people"), st.sampled_from(("", *scopes.RANKED["people"])))
KEYED = st.builds(scopes.Scope, st.just("kv"), PREFIXES, st.booleans())


@given(PLAIN | KEYED | RANKED)
def test_a_scope_reads_as_it_was_written(scope: scopes.Scope) -> None:
    assert scopes.parse(str(scope)) == scope


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "CFG",
        "cfg:/x:r",
        "cfg:x",
        "kv:app:r",
        "kv:/a\n",
        "c f g",
        "kv:/" + "a" * 2000,
        "\u0441fg",
        "people:root",
        "people:operator:r",
        "cfg:operator",
    ],
)
def test_what_is_no_scope_is_refused(text: str) -> None:
    with pytest.raises(errors.UsageError):
        scopes.parse(text)


@given(st.lists(PLAIN | KEYED, min_size=1).map(tuple), AREAS, st.booleans(), st.binary(max_size=8))
def test_a_scope_only_takes_away(held: tuple[scopes.Scope, ...], area: str, writes: bool, key: bytes) -> None:
    assert scopes.reach((), area, writes=writes)
    assert scopes.reach_key((), area, key, writes=writes)
    named = [one for one in held if one.area == area]
    assert scopes.reach(held, area, writes=writes) <= bool(named)
    assert scopes.reach_key(held, area, key, writes=writes) <= scopes.reach(held, area, writes=writes)
    assert scopes.reach(held, area, writes=True) <= scopes.reach(held, area, writes=False)


def test_a_prefix_is_of_keys_and_reading_is_not_writing() -> None:
    held = (scopes.parse("kv:/app/:rw"), scopes.parse("kv:/shared/:r"))
    assert scopes.reach_key(held, "kv", b"/app/a", writes=True)
    assert not scopes.reach_key(held, "kv", b"/application", writes=False)
    assert scopes.reach_key(held, "kv", b"/shared/a", writes=False)
    assert not scopes.reach_key(held, "kv", b"/shared/a", writes=True)


@given(st.lists(RANKED, min_size=1).map(tuple), st.lists(RANKED | PLAIN, min_size=1).map(tuple))
def test_a_scope_within_another_keeps_nobody_of_a_higher_rank(
    new: tuple[scopes.Scope, ...], own: tuple[scopes.Scope, ...]
) -> None:
    if scopes.within(new, own):
        assert scopes.highest(new, "people") <= scopes.highest(own, "people") <= scopes.highest((), "people")


def test_a_scope_names_the_highest_rank_that_it_keeps_by_the_words_of_the_ranks() -> None:
    assert scopes.RANKED["people"] == tuple(one.word for one in people.Rank)
    assert [scopes.highest((scopes.parse(f"people:{one.word}"),), "people") for one in people.Rank] == list(
        people.Rank
    )
    assert scopes.highest((scopes.parse("people:r"),), "people") == 0
    assert scopes.highest((scopes.parse("cfg"),), "people") == 0
