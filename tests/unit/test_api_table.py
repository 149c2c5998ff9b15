"""The table of routes, the statuses and the OpenAPI document: whole, and in agreement with each other."""

import re
from typing import Any

import msgspec
import pytest

from coordinator import errors
from coordinator.api import answers, openapi, problems, routes, routing, statuses
from coordinator.tiers import requests
from tests import upstream


def subclasses(kind: type) -> set[type]:
    below: set[type] = set(kind.__subclasses__())
    return below.union(*(subclasses(one) for one in below))


def test_every_verb_of_mic_can_be_asked_by_http() -> None:
    assert {route.verb for route in routes.ROUTES} == set(requests.Verb)


def test_no_method_at_a_path_stands_twice() -> None:
    places = [(route.method, route.path) for route in routes.ROUTES]
    assert len(places) == len(set(places))


def test_whatever_changes_something_is_a_post_or_a_delete_and_says_that_its_outcome_may_be_unknown() -> None:
    for route in routes.ROUTES:
        if route.mutates:
            assert route.method in {"POST", "DELETE"}
            assert "unknown_outcome" in route.codes


def test_whatever_takes_a_body_says_what_may_be_wrong_with_one() -> None:
    for route in routes.ROUTES:
        if route.body is not routing.Body.NONE:
            assert {"too_large", "media_type", "slow"} <= set(route.codes), route.path


def test_every_code_of_the_error_tree_has_a_status() -> None:
    ours = ("coordinator.errors", "coordinator.api.")
    kinds = [kind for kind in subclasses(errors.TiercastError) if kind.__module__.startswith(ours)]
    codes = {getattr(kind, "code") for kind in kinds}  # noqa: B009 a type knows no code
    assert codes - statuses.BY_CODE.keys() == set()


def test_every_code_that_a_route_names_has_a_status() -> None:
    named = {code for route in routes.ROUTES for code in (*routing.COMMON_CODES, *route.codes)}
    assert named - statuses.BY_CODE.keys() == set()


def test_a_code_nobody_knows_is_our_fault() -> None:
    assert statuses.row("strange").status == 500


@pytest.mark.parametrize(
    ("status", "code"), [(404, "not_found"), (400, "syntax"), (417, "syntax"), (500, "internal")]
)
def test_what_the_library_refuses_gets_a_code(status: int, code: str) -> None:
    assert statuses.code_of(status) == code


def test_the_description_names_every_route_with_its_permission() -> None:
    described = openapi.document()
    for route in routes.ROUTES:
        operation = described["paths"][route.path][route.method.lower()]
        assert operation["x-tiercast-permission"] == route.permission
        assert str(route.success) in operation["responses"]
    assert set(routes.OPEN) <= set(described["paths"])


def references(value: Any) -> set[str]:
    text = msgspec.json.encode(value).decode()
    return set(re.findall(r'"#/components/schemas/([^"]+)"', text))


def test_every_reference_of_the_description_leads_somewhere() -> None:
    described = openapi.document()
    assert references(described) <= set(described["components"]["schemas"])


def test_operations_have_names_of_their_own() -> None:
    names = [
        one["operationId"]
        for path in openapi.document()["paths"].values()
        for one in path.values()
        if "operationId" in one
    ]
    assert len(names) == len(set(names))


def route_of(verb: requests.Verb) -> routing.Route:
    return next(route for route in routes.ROUTES if route.verb is verb)


def test_an_apply_that_starts_a_rollout_says_where_it_is() -> None:
    body = msgspec.json.encode(upstream.GOOD[requests.Verb.APPLY])
    meaning = answers.meaning(route_of(requests.Verb.APPLY), body)
    assert meaning == answers.Meaning(202, {"ETag": '"1.42"', "Location": "/api/admin/v1/cfg/rollouts/ro-7"})


def test_an_apply_that_changes_nothing_is_no_news() -> None:
    applied = msgspec.structs.replace(upstream.GOOD[requests.Verb.APPLY], unchanged=True, rollout="")
    meaning = answers.meaning(route_of(requests.Verb.APPLY), msgspec.json.encode(applied))
    assert meaning == answers.Meaning(200, {"ETag": '"1.42"'})


@pytest.mark.parametrize(
    ("verb", "headers"),
    [
        (requests.Verb.UPLOAD, {"Location": "/api/admin/v1/cfg/revisions/d-7f3a"}),
        (requests.Verb.STATUS, {"ETag": '"1.42"'}),
        (requests.Verb.SHOW, {"ETag": '"1.42"'}),
        (requests.Verb.WHOAMI, {}),
    ],
)
def test_an_answer_tells_where_it_is_or_of_which_revision(
    verb: requests.Verb, headers: dict[str, str]
) -> None:
    meaning = answers.meaning(route_of(verb), msgspec.json.encode(upstream.GOOD[verb]))
    assert meaning.headers == headers


def test_a_problem_says_all_that_the_page_about_errors_promises() -> None:
    told = requests.Problem("invalid", "the document has 1 error", "mend it", (upstream.FINDING,))
    assert msgspec.to_builtins(problems.document(told, "rq-1")) == {
        "type": "urn:tiercast:problem:invalid",
        "title": "The document is invalid",
        "status": 422,
        "detail": "the document has 1 error",
        "hint": "mend it",
        "code": "invalid",
        "errors": (
            {
                "rule": "S05",
                "severity": "error",
                "path": ("structure", "north", "n1", 1),
                "message": "role 'web9' does not exist",
                "hint": "did you mean 'web1'?",
                "file": "two-sites.yaml",
                "line": 4,
                "column": 9,
                "text": "    n1: [web9]",
                "caret": 9,
            },
        ),
        "request_id": "rq-1",
    }


@pytest.mark.parametrize("code", ["unreachable", "timed_out", "busy", "too_large", "something_else"])
def test_an_answer_that_is_nothing_but_a_code_still_says_something(code: str) -> None:
    told = problems.answered(code, b"")
    assert told.code == code
    assert told.detail
