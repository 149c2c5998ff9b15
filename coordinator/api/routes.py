"""The table of the HTTP API: from it come the router, the authorization matrix and the OpenAPI document.

Law: whatever is reachable by HTTP has a row here; a verb of MIC without a row, or a row without a permission, fails a test.
The permission is what a person needs; MIC alone decides, by the token.
"""

from coordinator.api import (
    routes_configuration,
    routes_joining,
    routes_kv,
    routes_looking,
    routes_people,
    routes_preparing,
    routing,
)

ROUTES: tuple[routing.Route, ...] = (
    routes_configuration.ROUTES
    + routes_joining.ROUTES
    + routes_kv.ROUTES
    + routes_looking.ROUTES
    + routes_people.ROUTES
    + routes_preparing.ROUTES
)

OPEN = {
    "/": "What this is, and where to go.",
    "/livez": "This process answers.",
    "/readyz": "It has a coordinator to forward to.",
    "/metrics": "Metrics of this process.",
    "/api/openapi.json": "This API, described.",
}
"""Answered by WS itself, to anyone, without a word about the system."""
