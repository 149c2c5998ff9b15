"""What a MIC that answers from a table says of prepared revisions."""

from typing import Any

from coordinator import names
from coordinator.tiers import requests, requests_preparing

VERSION, BASE, DIGEST = names.Version(1, 43), names.Version(1, 42), "e" * 64
HELD = requests_preparing.Checked("n1", "north", "held")
COMING = requests_preparing.Checked("n2", "north", "coming")
ABSENT = requests_preparing.Checked("n3", "north", "absent")
REFUSED = requests_preparing.Checked(
    "n2",
    "north",
    "refused",
    (requests_preparing.Trouble("web2", "port", "10.2.0.12:8080 cannot be listened at (in use)"),),
)


def view(*servers: requests_preparing.Checked) -> requests_preparing.PreparedView:
    counts = {state: sum(one.state == state for one in servers) for state in requests_preparing.STATES}
    return requests_preparing.PreparedView(VERSION, DIGEST, BASE, counts, servers)


GOOD: dict[str, Any] = {
    requests.Verb.PREPARE: requests_preparing.Prepared(
        VERSION, DIGEST, BASE, unchanged=False, plan_text="plan: start web2\n"
    ),
    requests.Verb.WITHDRAW: requests_preparing.Withdrawn(43),
    requests.Verb.PREPARED: view(HELD, ABSENT),
}
