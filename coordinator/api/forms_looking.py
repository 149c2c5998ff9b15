"""From what came by HTTP to the request that MIC understands: lists by page, deviations, differences, events.

No I/O. Law: as in `forms`; a limit above what a page holds is the page.
"""

from coordinator import errors
from coordinator.api import forms, forms_configuration
from coordinator.tiers import requests, requests_looking

PAGE = 1_000
LIMIT = 500
CURSOR_CHARACTERS = 400  # a site, a server and a node with its separators


def drafts(_given: forms.Given) -> requests_looking.Drafts:
    return requests_looking.Drafts()


def servers(given: forms.Given) -> requests_looking.Servers:
    return requests_looking.Servers(
        site=given.query.get("site", ""),
        not_converged=forms.flag(given, "not_converged"),
        after=_after(given),
        limit=_limit(given),
    )


def nodes(given: forms.Given) -> requests_looking.Nodes:
    return requests_looking.Nodes(
        site=given.query.get("site", ""),
        server=given.query.get("server", ""),
        after=_after(given),
        limit=_limit(given),
    )


def roles(given: forms.Given) -> requests_looking.Roles:
    return requests_looking.Roles(
        site=given.query.get("site", ""),
        server=given.query.get("server", ""),
        type=given.query.get("type", ""),
        after=_after(given),
        limit=_limit(given),
    )


def state(given: forms.Given) -> requests_looking.State:
    return requests_looking.State(after=_after(given), limit=_limit(given))


def events(given: forms.Given) -> requests_looking.Events:
    """`Last-Event-ID`, or the same by query for those who cannot send headers."""
    return requests_looking.Events(after=given.last_event or _after(given))


def diff(given: forms.Given) -> requests_looking.Diff:
    asked = forms.decoded(given, requests_looking.Diff, empty=requests_looking.Diff())
    for source in (asked.old, asked.new):
        if source is not None and source != requests.Source():
            forms_configuration.exactly_one(source)
    return asked


def _limit(given: forms.Given) -> int:
    return max(1, min(forms.number(given, "limit", LIMIT), PAGE))


def _after(given: forms.Given) -> str:
    after = given.query.get("after", "")
    if len(after) > CURSOR_CHARACTERS:
        raise errors.UsageError("after is none of our cursors", hint="send what `next` said")
    return after
