"""`status` of large systems on one screen: nothing that matters is left out, and what is left out is counted."""

import hypothesis
import msgspec
from hypothesis import strategies

from coordinator import names
from coordinator.cli import answers, glancing

WORDS = ("converged", "failed", "applying", "stale", "pending", "unknown")


def late(server: str, site: str, sync: str = "applying", reason: str = "") -> answers.Blocking:
    return answers.Blocking(server, site, sync, reason, 30.0)


def town(
    counts: list[dict[str, int]],
    blocking: tuple[answers.Blocking, ...] = (),
    absent: tuple[answers.Blocking, ...] = (),
) -> answers.StatusView:
    """Sites s0, s1, ... with so many servers of each state."""
    order = [*WORDS[1:], "converged"]
    sites = [
        answers.SiteView(f"s{index}", next(word for word in order if one.get(word)), one, ())
        for index, one in enumerate(counts)
    ]
    asked = sum(sum(one.values()) for one in counts)
    ready = sum(one.get("converged", 0) for one in counts)
    reachable = asked - sum(one.get("pending", 0) + one.get("unknown", 0) for one in counts)
    rollout = answers.RolloutView(
        "ro-1", names.Version(1, 2), "d", "running", ready, reachable, asked, 9.0, None, asked, len(counts),
        blocking, absent, 1,
    )  # fmt: skip
    return answers.StatusView(names.Version(1, 2), "d", rollout, tuple(sites), (), "active")


def test_a_hundred_sites_fit_on_a_screen_and_the_bad_ones_come_first() -> None:
    counts = [{"converged": 10}] * 97 + [{"converged": 9, "applying": 1}, {"failed": 2, "converged": 8}]
    view = town([*counts, {"pending": 10}], blocking=(late("a", "s98", "failed"), late("b", "s97")))
    assert [row[0] for row in glancing.site_rows(view, every=False)] == ["s98", "s97"]
    assert list(glancing.remarks(view, every=False)) == [
        "converged: 97 sites, 970 servers",
        "away: s99 (10 servers)",
    ]
    assert len(glancing.site_rows(view, every=True)) == 99
    assert list(glancing.remarks(view, every=True)) == ["away: s99 (10 servers)"]


def test_whoever_is_behind_is_named_with_how_long_and_why() -> None:
    view = town(
        [{"converged": 1, "applying": 1, "pending": 1}, {"unknown": 1}],
        blocking=(late("a", "s0", reason="role web1 is not ready yet"),),
        absent=(late("b", "s0", "pending", "no link"), late("c", "s1", "unknown", "not enrolled")),
    )
    assert glancing.server_rows(view) == [
        ("a", "s0", "applying", "30.0 s", "role web1 is not ready yet"),
        ("b", "s0", "pending", "30.0 s", "no link"),
    ]
    assert list(glancing.remarks(view, every=False)) == ["away: s1 (1 server, since 30.0 s, not enrolled)"]
    assert glancing.unnamed(view) == ""


def test_sites_that_are_away_stay_one_line_however_many_they_are() -> None:
    view = town([{"pending": 1}] * 40)
    assert list(glancing.remarks(view, every=False)) == [
        "away: s0 (1 server), s1 (1 server), s2 (1 server), s3 (1 server), s4 (1 server), and 35 more"
    ]
    assert glancing.site_rows(view, every=False) == []
    assert glancing.server_rows(view) == []


@hypothesis.given(
    strategies.lists(
        strategies.dictionaries(strategies.sampled_from(WORDS), strategies.integers(1, 30), min_size=1),
        min_size=1,
        max_size=60,
    )
)
def test_everybody_is_told_of_or_counted(counts: list[dict[str, int]]) -> None:
    named = [
        late(f"{site}-{word}-{index}", f"s{site}", word)
        for site, one in enumerate(counts)
        for word, number in one.items()
        if word != "converged"
        for index in range(number)
    ]
    gone = [one for one in named if one.sync in {"pending", "unknown"}]
    here = [one for one in named if one not in gone]
    view = town(counts, tuple(here[:50]), tuple(gone[:50]))
    shown = len(glancing.server_rows(view))
    assert shown <= glancing.NAMED
    more = glancing.unnamed(view)
    left_out = int(more.split()[1]) if more else 0
    away = sum(sum(site.counts.values()) for site in view.sites if glancing.away(site))
    assert view.rollout is not None
    assert view.rollout.ready + shown + left_out + away == view.rollout.asked


def test_whoever_runs_what_it_should_under_an_identity_that_is_off_is_named_too() -> None:
    odd = answers.ServerView("c3", "s0", "converged", "ready", "r2", True, "certificate expired", None)
    view = msgspec.structs.replace(town([{"converged": 3}]), remarked=(odd,) * 12, remarked_count=15)
    rows = glancing.server_rows(view)
    assert rows == [("c3", "s0", "converged", "", "certificate expired")] * glancing.NAMED
    assert glancing.unnamed(view) == "and 5 more: tiercast status --not-converged"
