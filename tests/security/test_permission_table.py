"""The authorization matrix: whatever is reachable has a row that says who may, and there is no way around the table."""

import pytest

from coordinator.api import routes, routing, server
from coordinator.host import clock, metrics
from coordinator.propagation import messages
from coordinator.tiers import permissions, requests
from tests import upstream

Permission = routing.Permission

API_MATRIX: dict[tuple[str, str], routing.Permission] = {
    ("POST", "/api/admin/v1/cfg/revisions"): Permission.OPERATOR,
    ("POST", "/api/admin/v1/cfg/validate"): Permission.OPERATOR,
    ("POST", "/api/admin/v1/cfg/plan"): Permission.OPERATOR,
    ("POST", "/api/admin/v1/cfg/apply"): Permission.ADMINISTRATOR,
    ("POST", "/api/admin/v1/cfg/rollback"): Permission.ADMINISTRATOR,
    ("POST", "/api/admin/v1/servers"): Permission.ADMINISTRATOR,
    ("POST", "/api/admin/v1/servers/{server}/accept"): Permission.ADMINISTRATOR,
    ("POST", "/api/admin/v1/servers/{server}/expel"): Permission.ADMINISTRATOR,
    ("POST", "/api/admin/v1/tokens"): Permission.ADMINISTRATOR,
    ("GET", "/api/admin/v1/tokens"): Permission.OPERATOR,
    ("POST", "/api/admin/v1/tokens/{token}/revoke"): Permission.ADMINISTRATOR,
    ("GET", "/api/admin/v1/cfg/rollouts/{rollout}"): Permission.VIEWER,
    ("GET", "/api/admin/v1/cfg/status"): Permission.VIEWER,
    ("GET", "/api/admin/v1/cfg/servers/{server}"): Permission.VIEWER,
    ("GET", "/api/admin/v1/cfg/revisions"): Permission.VIEWER,
    ("GET", "/api/admin/v1/cfg/revisions/{revision}"): Permission.VIEWER,
    ("GET", "/api/admin/v1/cfg/revisions/{revision}/document"): Permission.VIEWER,
    ("GET", "/api/admin/v1/whoami"): Permission.VIEWER,
    ("GET", "/api/admin/v1/cfg/drafts"): Permission.VIEWER,
    ("GET", "/api/admin/v1/cfg/servers"): Permission.VIEWER,
    ("GET", "/api/admin/v1/cfg/nodes"): Permission.VIEWER,
    ("GET", "/api/admin/v1/cfg/roles"): Permission.VIEWER,
    ("POST", "/api/admin/v1/cfg/diff"): Permission.OPERATOR,
    ("GET", "/api/admin/v1/cfg/events"): Permission.VIEWER,
    ("GET", "/api/monitor/v1/system/state"): Permission.VIEWER,
    ("POST", "/api/admin/v1/cfg/prepare"): Permission.ADMINISTRATOR,
    ("POST", "/api/admin/v1/cfg/withdraw"): Permission.ADMINISTRATOR,
    ("GET", "/api/admin/v1/cfg/prepared"): Permission.VIEWER,
    ("GET", "/api/admin/v1/kv/keys"): Permission.VIEWER,
    ("GET", "/api/admin/v1/kv/watch"): Permission.VIEWER,
    ("GET", "/api/admin/v1/kv/usage"): Permission.VIEWER,
    ("GET", "/api/admin/v1/kv/leases"): Permission.VIEWER,
    ("POST", "/api/admin/v1/kv/put"): Permission.OPERATOR,
    ("POST", "/api/admin/v1/kv/delete"): Permission.OPERATOR,
    ("POST", "/api/admin/v1/kv/txn"): Permission.OPERATOR,
    ("POST", "/api/admin/v1/kv/leases"): Permission.OPERATOR,
    ("POST", "/api/admin/v1/kv/leases/{lease}/keepalive"): Permission.OPERATOR,
    ("POST", "/api/admin/v1/kv/leases/{lease}/revoke"): Permission.OPERATOR,
    ("POST", "/api/admin/v1/login"): Permission.ANYONE,
    ("POST", "/api/admin/v1/login/first"): Permission.ADMINISTRATOR,
    ("POST", "/api/admin/v1/logout"): Permission.VIEWER,
    ("GET", "/api/admin/v1/people"): Permission.VIEWER,
    ("POST", "/api/admin/v1/people"): Permission.ADMINISTRATOR,
    ("DELETE", "/api/admin/v1/people/{domain}/{name}"): Permission.ADMINISTRATOR,
    ("POST", "/api/admin/v1/people/{domain}/{name}/role"): Permission.ADMINISTRATOR,
    ("POST", "/api/admin/v1/people/{domain}/{name}/password"): Permission.VIEWER,
    ("GET", "/api/admin/v1/access/tokens"): Permission.ADMINISTRATOR,
    ("POST", "/api/admin/v1/access/tokens"): Permission.ADMINISTRATOR,
    ("DELETE", "/api/admin/v1/access/tokens/{token}"): Permission.ADMINISTRATOR,
    ("GET", "/api/admin/v1/domains"): Permission.VIEWER,
    ("POST", "/api/admin/v1/domains/{domain}/entities"): Permission.ADMINISTRATOR,
    ("DELETE", "/api/admin/v1/domains/{domain}/entities/{entity}"): Permission.ADMINISTRATOR,
    ("POST", "/api/admin/v1/domains/{domain}/export"): Permission.ADMINISTRATOR,
    ("POST", "/api/admin/v1/domains/{domain}/import"): Permission.ADMINISTRATOR,
    ("GET", "/api/admin/v1/audit"): Permission.ADMINISTRATOR,
    ("GET", "/"): Permission.ANYONE,
    ("GET", "/livez"): Permission.ANYONE,
    ("GET", "/readyz"): Permission.ANYONE,
    ("GET", "/metrics"): Permission.ANYONE,
    ("GET", "/api/openapi.json"): Permission.ANYONE,
}
"""Written twice on purpose, here and in the product: a change of who may is a change of both."""


@pytest.mark.anyio
async def test_whatever_the_router_serves_has_a_row_and_nothing_else_is_served() -> None:
    app = server.application(
        upstream.FakeUpstream(), clock.SystemClock(), clock.SystemRandom(), metrics.Metrics()
    )
    served = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert served == set(API_MATRIX)


def test_the_table_of_routes_agrees_with_the_matrix() -> None:
    table = {(route.method, route.path): route.permission for route in routes.ROUTES}
    table |= {("GET", path): Permission.ANYONE for path in routes.OPEN}
    assert table == API_MATRIX


def test_one_verb_needs_the_same_permission_wherever_it_is_asked() -> None:
    needed: dict[requests.Verb, set[routing.Permission]] = {}
    for route in routes.ROUTES:
        needed.setdefault(route.verb, set()).add(route.permission)
    assert {verb: some for verb, some in needed.items() if len(some) != 1} == {}


OF_ONESELF = {requests.Verb.LOGIN, requests.Verb.LOGOUT, requests.Verb.PERSON_PASSWORD}
"""Change what is the caller's own, and nothing of the system."""


def test_nothing_that_changes_the_system_is_open_to_those_who_only_look() -> None:
    weak = {Permission.ANYONE, Permission.VIEWER}
    open_to_all = {route.verb for route in routes.ROUTES if route.mutates and route.permission in weak}
    assert open_to_all == OF_ONESELF


def test_what_the_api_says_is_needed_is_what_mic_asks_for() -> None:
    for route in routes.ROUTES:
        row = permissions.ROWS[route.verb]
        assert (route.permission, route.mutates) == (row.word, row.mutates), route.verb
        assert messages.ChildKind.WS in row.over
