"""From what came by HTTP to the request that MIC understands: configuration and servers.

Whether a name exists, who may ask and what is valid are MIC's to say. No I/O.
Law: every builder either returns its request or raises a `TiercastError` that says what to write instead.
"""

import re

import msgspec

from coordinator import errors
from coordinator.api import forms
from coordinator.tiers import requests

PAGE_REVISIONS = 500  # about 150 bytes each

_DRAFT = re.compile(r"d-[0-9a-z]{1,64}", re.ASCII)
_ETAG = re.compile(r'(?:W/)?"(\d{1,15})\.(\d{1,15})"', re.ASCII)


def upload(given: forms.Given) -> requests.Upload:
    if (file := forms.document(given)) is not None:
        return requests.Upload((file,), message=given.query.get("message", ""))
    return forms.decoded(given, requests.Upload)


def validate(given: forms.Given) -> requests.Validate:
    if (file := forms.document(given)) is not None:
        return requests.Validate((file,))
    return forms.decoded(given, requests.Validate)


def plan(given: forms.Given) -> requests.Plan:
    if (file := forms.document(given)) is not None:
        return requests.Plan(requests.Source(files=(file,)), full=forms.flag(given, "full"))
    asked = forms.decoded(given, requests.Plan)
    exactly_one(asked.source)
    return asked


def apply(given: forms.Given) -> requests.Apply:
    if (file := forms.document(given)) is not None:
        asked = requests.Apply(
            source=requests.Source(files=(file,)),
            if_revision=forms.number(given, "if_revision", 0),
            message=given.query.get("message", ""),
            dry_run=forms.flag(given, "dry_run"),
        )
    else:
        asked = forms.decoded(given, requests.Apply)
    exactly_one(asked.source)
    generation, revision = _compared(given, asked.if_generation, asked.if_revision)
    return msgspec.structs.replace(asked, if_generation=generation, if_revision=revision)


def rollback(given: forms.Given) -> requests.Rollback:
    asked = forms.decoded(given, requests.Rollback, empty=requests.Rollback())
    generation, revision = _compared(given, asked.if_generation, asked.if_revision)
    return msgspec.structs.replace(asked, if_generation=generation, if_revision=revision)


def enroll(given: forms.Given) -> requests.Enroll:
    return forms.decoded(given, requests.Enroll)


def rollout(given: forms.Given) -> requests.WaitRollout:
    return requests.WaitRollout(
        rollout=forms.name(given, "rollout"),
        index=forms.number(given, "index", 0),
        wait_s=forms.wait_s(given),
        by_site=forms.flag(given, "by_site", otherwise=True),
    )


def status(given: forms.Given) -> requests.Status:
    return requests.Status(
        site=given.query.get("site", ""),
        not_converged=forms.flag(given, "not_converged"),
        details=forms.flag(given, "details"),
        index=forms.number(given, "index", 0),
        wait_s=forms.wait_s(given),
    )


def describe(given: forms.Given) -> requests.Describe:
    return requests.Describe(forms.name(given, "server"))


def history(given: forms.Given) -> requests.History:
    limit = forms.number(given, "limit", requests.History().limit)
    return requests.History(
        before=forms.number(given, "before", 0),
        limit=max(1, min(limit, PAGE_REVISIONS)),
        index=forms.number(given, "index", 0),
        wait_s=forms.wait_s(given),
    )


def show(given: forms.Given) -> requests.Show:
    return _shown(given, document=False)


def show_document(given: forms.Given) -> requests.Show:
    return _shown(given, document=True)


def whoami(_given: forms.Given) -> None:
    """Nothing but the token is asked about."""


def _shown(given: forms.Given, *, document: bool) -> requests.Show:
    which = given.path["revision"]
    if which == "active":
        return requests.Show(document=document)
    if forms.NUMBER.fullmatch(which) and int(which):
        return requests.Show(revision=int(which), document=document)
    if _DRAFT.fullmatch(which):
        return requests.Show(draft=which, document=document)
    raise errors.NotFoundError(
        f"no such revision (got {which[:40]!r})", hint="name a number, a draft such as d-7f3a, or active"
    )


def exactly_one(source: requests.Source) -> None:
    given = sum(map(bool, (source.files, source.draft, source.revision)))
    if given != 1:
        raise errors.UsageError(
            f"a source is files, a draft or a revision (got {given} of them, have 1)",
            hint='for instance {"source": {"draft": "d-7f3a"}}',
        )


def _compared(given: forms.Given, generation: int, revision: int) -> tuple[int, int]:
    """What the active version must be: If-Match, where it is sent, else the body's own words."""
    if not given.if_match or given.if_match == "*":
        return generation, revision
    match = _ETAG.fullmatch(given.if_match)
    if match is None:
        raise errors.UsageError(
            f"If-Match is not an ETag of ours (got {given.if_match[:40]!r})",
            hint='it looks like "<generation>.<revision>", in quotes: "1.42"',
        )
    return int(match[1]), int(match[2])
