"""From path, query and body to a request: every form is either understood or told what it should be."""

import json
import re
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from coordinator import errors, limits
from coordinator.api import forms, forms_configuration, routes, routing
from coordinator.tiers import requests

DOCUMENT = "schema: tiercast/1\ngeneral: {master_domain: acme}\n"


def given(body: Any = None, **parts: Any) -> forms.Given:
    if body is not None:
        parts |= {"body": json.dumps(body).encode(), "media_type": forms.JSON}
    return forms.Given(**parts)


def raw(**parts: Any) -> forms.Given:
    return forms.Given(**{"media_type": "application/yaml", "body": DOCUMENT.encode(), **parts})


def test_files_can_be_uploaded_as_json() -> None:
    uploaded = forms_configuration.upload(
        given({"files": [{"name": "a.yaml", "text": DOCUMENT}], "message": "why"})
    )
    assert uploaded == requests.Upload((requests.File("a.yaml", DOCUMENT),), "why")


def test_the_document_itself_can_be_uploaded() -> None:
    assert forms_configuration.upload(raw(query={"name": "a.yaml", "message": "why"})) == requests.Upload(
        (requests.File("a.yaml", DOCUMENT),), "why"
    )


def test_a_document_in_json_is_told_from_a_request_about_one() -> None:
    text = '{"schema": "tiercast/1"}'
    validated = forms_configuration.validate(forms.Given(media_type=forms.JSON, body=text.encode()))
    assert validated.files == (requests.File("document.json", text),)


def test_what_to_apply_may_be_a_draft() -> None:
    applied = forms_configuration.apply(
        given({"source": {"draft": "d-7f3a"}, "if_revision": 41, "message": "why"})
    )
    assert applied == requests.Apply(source=requests.Source(draft="d-7f3a"), if_revision=41, message="why")


def test_the_etag_says_what_the_active_revision_must_be() -> None:
    applied = forms_configuration.apply(raw(if_match='"2.41"', query={"dry_run": "true"}))
    assert (applied.if_generation, applied.if_revision, applied.dry_run) == (2, 41, True)


def test_a_rollback_needs_no_body() -> None:
    assert forms_configuration.rollback(forms.Given(if_match='"1.42"')) == requests.Rollback(
        if_revision=42, if_generation=1
    )


@pytest.mark.parametrize(
    ("which", "shown"),
    [
        ("active", requests.Show()),
        ("42", requests.Show(revision=42)),
        ("d-7f3a", requests.Show(draft="d-7f3a")),
    ],
)
def test_a_revision_is_a_number_a_draft_or_the_active_one(which: str, shown: requests.Show) -> None:
    assert forms_configuration.show(forms.Given(path={"revision": which})) == shown


def test_waiting_is_bounded() -> None:
    asked = forms_configuration.rollout(
        forms.Given(path={"rollout": "ro-7"}, query={"index": "9", "wait": "5m"})
    )
    assert asked == requests.WaitRollout(rollout="ro-7", index=9, wait_s=limits.HTTP_WAIT_S, by_site=True)


def test_a_page_of_the_history_is_bounded() -> None:
    assert (
        forms_configuration.history(forms.Given(query={"limit": "999999"})).limit
        == forms_configuration.PAGE_REVISIONS
    )


@pytest.mark.parametrize(
    ("form", "code", "told"),
    [
        (
            lambda: forms_configuration.upload(given(["no"])),
            "syntax",
            "the body cannot be used: Expected `object`, got `array`",
        ),
        (
            lambda: forms_configuration.upload(forms.Given(media_type=forms.JSON, body=b"{")),
            "syntax",
            "the body cannot be used",
        ),
        (
            lambda: forms_configuration.upload(forms.Given(media_type=forms.JSON, body=b'"\xff"')),
            "syntax",
            "the body cannot be used",
        ),
        (lambda: forms_configuration.upload(given({"fils": []})), "syntax", "the body cannot be used"),
        (
            lambda: forms_configuration.upload(given({"files": [{"name": 1, "text": ""}]})),
            "syntax",
            "$.files[0].name",
        ),
        (
            lambda: forms_configuration.upload(raw(body=b"a: \xff")),
            "syntax",
            "the body is not UTF-8 (byte 3 of 4)",
        ),
        (lambda: forms_configuration.upload(raw(media_type="image/png")), "media_type", "(got 'image/png')"),
        (lambda: forms_configuration.upload(raw(media_type="")), "media_type", "(got 'none')"),
        (lambda: forms_configuration.enroll(raw()), "media_type", "(got 'application/yaml')"),
        (lambda: forms_configuration.plan(given({"source": {}})), "usage", "(got 0 of them, have 1)"),
        (
            lambda: forms_configuration.apply(given({"source": {"draft": "d-1", "revision": 4}})),
            "usage",
            "(got 2 of them, have 1)",
        ),
        (
            lambda: forms_configuration.apply(raw(if_match="abc")),
            "usage",
            "If-Match is not an ETag of ours (got 'abc')",
        ),
        (
            lambda: forms_configuration.apply(raw(query={"dry_run": "maybe"})),
            "usage",
            "dry_run is neither true nor false",
        ),
        (
            lambda: forms_configuration.history(forms.Given(query={"limit": "-1"})),
            "usage",
            "limit is not a whole number (got '-1')",
        ),
        (
            lambda: forms_configuration.show(forms.Given(path={"revision": "0"})),
            "not_found",
            "no such revision (got '0')",
        ),
        (
            lambda: forms_configuration.show(forms.Given(path={"revision": "../x"})),
            "not_found",
            "no such revision (got '../x')",
        ),
        (
            lambda: forms_configuration.describe(forms.Given(path={"server": "a\nb"})),
            "not_found",
            "no such server",
        ),
        (
            lambda: forms_configuration.rollout(forms.Given(path={"rollout": "r"}, query={"wait": "soon"})),
            "usage",
            "not a duration",
        ),
        (lambda: forms.known_query({"sit": ["a"]}, ("site",)), "usage", "unknown parameter 'sit'"),
        (lambda: forms.known_query({"site": ["a", "b"]}, ("site",)), "usage", "site is given 2 times"),
    ],
)
def test_a_form_that_is_off_is_told_what_is_wrong(form: Any, code: str, told: str) -> None:
    with pytest.raises(errors.TiercastError) as caught:
        form()
    assert caught.value.code == code
    assert told in caught.value.message


def test_a_misspelt_parameter_is_shown_its_neighbour() -> None:
    with pytest.raises(errors.UsageError) as caught:
        forms.known_query({"not_convergd": ["true"]}, ("site", "not_converged"))
    assert caught.value.hint == "did you mean 'not_converged'?"


def test_json_nested_without_end_is_refused() -> None:
    bomb = b'{"files":' + b"[" * 100_000
    with pytest.raises(forms.SyntaxFormError):
        forms_configuration.upload(forms.Given(media_type=forms.JSON, body=bomb))


@hypothesis.given(
    strategies.sampled_from(routes.ROUTES),
    strategies.binary(max_size=64),
    strategies.sampled_from(["", forms.JSON, "text/yaml", "text/plain"]),
    strategies.text(max_size=12),
)
def test_no_form_breaks_a_builder(route: routing.Route, body: bytes, media_type: str, text: str) -> None:
    path = dict.fromkeys(re.findall(r"\{(\w+)\}", route.path), text)
    form = forms.Given(
        path=path, query=dict.fromkeys(route.query, text), body=body, media_type=media_type, if_match=text
    )
    try:
        built = route.build(form)
    except errors.TiercastError as error:
        assert error.message  # noqa: PT017 either outcome is good; anything else is not
    else:
        assert built is None or route.takes is None or isinstance(built, route.takes)
