"""What the MIC of `tests.upstream` answers those who look."""

from typing import Any

import msgspec

from coordinator import names
from coordinator.tiers import requests, requests_looking

ACTIVE = names.Version(1, 42)
N1 = requests.ServerView("n1", "north", "converged", "ready", "r42", True, "", None, roles=("web1", "web2"))
N2 = requests.ServerView(
    "n2", "north", "failed", "accepted", "r41", True, "role web2 exited with 1", 42.0, roles=("web2",)
)
SPARE = requests.ServerView("spare1", "", "parked", "none", "", True, "no revision names it", None)
EVENTS = (
    requests_looking.Event(
        "3.11", "revision", 1_700_000_000.0, ACTIVE, rollout="ro-7", author="admin", message="more web servers"
    ),
    requests_looking.Event(
        "3.12", "server", 1_700_000_000.3, ACTIVE, site="north", server="n2", before="converged", now="failed",
        reason="role web2 exited with 1",
    ),
    requests_looking.Event(
        "3.13", "site", 1_700_000_000.5, ACTIVE, site="south", counts={"converged": 400, "applying": 100}
    ),
    requests_looking.Event(
        "3.14", "rollout", 1_700_000_000.9, ACTIVE, rollout="ro-7", before="running", now="failed", ready=4,
        reachable=5, asked=6,
    ),
)  # fmt: skip
GOOD: dict[str, Any] = {
    requests.Verb.DRAFTS: requests_looking.DraftsView(
        (requests.DraftView("d-7f3a", False, "d" * 64, 2048, "admin", "try", 1_700_000_000.0),)
    ),
    requests.Verb.SERVERS: requests_looking.ServersView(ACTIVE, (N1, N2, SPARE), ""),
    requests.Verb.NODES: requests_looking.NodesView(
        ACTIVE,
        3,
        {"ready": 2, "failed": 1},
        (
            requests_looking.NodeRow("mic1@10.1.0.11", "c1", "central", "ready", ("mic1",)),
            requests_looking.NodeRow("dc1+ws1@10.1.0.11", "c1", "central", "ready", ("dc1", "ws1")),
            requests_looking.NodeRow("web2@10.2.0.12", "n2", "north", "failed", ("web2",)),
        ),
        "",
    ),
    requests.Verb.ROLES: requests_looking.RolesView(
        ACTIVE,
        3,
        {"mic": {"ready": 1}, "process": {"ready": 1, "failed": 1}},
        (
            requests_looking.RoleRow("mic1", "mic", "mic1@10.1.0.11", "c1", "central", "ready"),
            requests_looking.RoleRow("web1", "process", "web1@10.2.0.11", "n1", "north", "ready"),
            requests_looking.RoleRow(
                "web2", "process", "web2@10.2.0.12", "n2", "north", "failed", "exited: exited with 1"
            ),
        ),
        "",
    ),
    requests.Verb.DIFF: requests_looking.Differs(
        "revision 41", "revision 42", "b" * 64, "d" * 64, False,
        "start   web2 on n2 (north)\n1 to start, 0 to stop, 0 hot, 0 restart, 0 move, unchanged 13",
        msgspec.Raw(b'{"roles":[{"role":"web2","action":"start"}]}'),
    ),
    requests.Verb.EVENTS: requests_looking.EventsView("3.14", False, EVENTS),
    requests.Verb.STATE: requests_looking.StateView(
        ACTIVE,
        "active",
        1,
        (requests_looking.Deviation("north", "n2", "", "failed", "role web2 exited with 1", 4.5),),
        "",
    ),
}  # fmt: skip
