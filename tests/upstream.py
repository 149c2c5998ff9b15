"""A MIC that answers from a table, for whatever stands in front of it: the API's tests and the command line's."""

from typing import Any

import msgspec

from coordinator import names
from coordinator.tiers import requests, requests_joining
from tests import upstream_kv, upstream_looking, upstream_people, upstream_preparing

ACTIVE = names.Version(1, 42)
DIGEST = "d" * 64
FINDING = requests.Fault(
    rule="S05",
    severity="error",
    path=("structure", "north", "n1", 1),
    message="role 'web9' does not exist",
    hint="did you mean 'web1'?",
    file="two-sites.yaml",
    line=4,
    column=9,
    text="    n1: [web9]",
    caret=9,
)
LATE = requests.Blocking("n2", "north", "applying", "role web2 is not ready yet", 3.2)
AWAY = requests.Blocking("n3", "north", "pending", "", 11400.0)
REVISION = requests.RevisionView(ACTIVE, "active", DIGEST, 2048, "admin", "more web servers", 1_700_000_000.0)


def rollout(state: str = "converged", **changes: Any) -> requests.RolloutView:
    """Of six servers on two sites."""
    plain = requests.RolloutView(
        id="ro-7",
        version=ACTIVE,
        digest=DIGEST,
        state=state,
        ready=6,
        reachable=6,
        asked=6,
        elapsed_s=0.48,
        converged_after_ms=412.0 if state == "converged" else None,
        roles=14,
        sites=2,
        blocking=(),
        absent=(),
        index=9,
    )
    return msgspec.structs.replace(plain, **changes)


def server(name: str, site: str, sync: str = "converged", **changes: Any) -> requests.ServerView:
    plain = requests.ServerView(name, site, sync, "ready", "r42", True, "", None, roles=("web1", "web2"))
    return msgspec.structs.replace(plain, **changes)


STATUS = requests.StatusView(
    version=ACTIVE,
    digest=DIGEST,
    rollout=rollout("failed", ready=4, reachable=5, blocking=(LATE,), absent=(AWAY,)),
    sites=(
        requests.SiteView(
            "north",
            "failed",
            {"converged": 1, "failed": 1, "pending": 1},
            (
                server("n1", "north"),
                server(
                    "n2", "north", "failed", level="accepted", since_s=42.0, reason="role web2 exited with 1"
                ),
                server(
                    "n3", "north", "pending", revision="r41", linked=False, since_s=11400.0, reason="no link"
                ),
            ),
        ),
        requests.SiteView(
            "central", "converged", {"converged": 3}, tuple(server(f"c{n}", "central") for n in (1, 2, 3))
        ),
        requests.SiteView("south", "pending", {"pending": 2}, ()),
    ),
    parked=(server("spare1", "", "parked", level="", revision="", roles=()),),
    coordinator="active",
)
DESCRIBED = requests.Described(
    server=server("n2", "north", "failed", level="accepted", since_s=42.0, reason="role web2 exited with 1"),
    address="10.2.0.12",
    boot=3,
    accepted="r42",
    parent="icn1 at 10.2.0.11:7402",
    nodes=(
        requests.NodeView(
            "web1@10.2.0.12",
            "running",
            4711,
            0,
            (requests.RoleView("web1", "process", "healthy", "ready", "r42", "", ""),),
        ),
        requests.NodeView(
            "web2@10.2.0.12",
            "backing off",
            0,
            3,
            (requests.RoleView("web2", "process", "failed", "accepted", "r41", "exited", "exited with 1"),),
        ),
    ),
    reason="",
)
PLANNED = requests.Planned(
    verdict="direct",
    base=names.Version(1, 41),
    base_digest="b" * 64,
    digest=DIGEST,
    text="plan: r41 -> two-sites.yaml\n  start    web2 on n2\n1 to start\n",
    plan=msgspec.Raw(b'{"verdict":"direct"}'),
)
GOOD: dict[str, Any] = {
    requests.Verb.UPLOAD: requests.Uploaded("d-7f3a", True, DIGEST, 2048, ()),
    requests.Verb.VALIDATE: requests.Validated(True, ()),
    requests.Verb.PLAN: PLANNED,
    requests.Verb.APPLY: requests.Applied(ACTIVE, DIGEST, "ro-7", False, "plan: start web2\n"),
    requests.Verb.ROLLBACK: requests.Applied(
        names.Version(1, 43), "b" * 64, "ro-8", False, "plan: stop web2\n"
    ),
    requests.Verb.ROLLOUT: rollout(),
    requests.Verb.STATUS: STATUS,
    requests.Verb.DESCRIBE: DESCRIBED,
    requests.Verb.HISTORY: requests.HistoryView(
        (
            REVISION,
            msgspec.structs.replace(
                REVISION,
                version=names.Version(1, 41),
                state="superseded",
                digest="b" * 64,
                message="first",
                outcome="converged",
            ),
        ),
        0,
        back=41,
    ),
    requests.Verb.SHOW: requests.Shown(
        REVISION, (requests.File("two-sites.yaml", "schema: tiercast/1  # ours\n"),)
    ),
    requests.Verb.ENROLL: requests.Enrolled(
        "s-1", "PEM", "PEM", b"trust", b"admission", "cluster", (("c1", "10.1.0.11", 7401),)
    ),
    **upstream_kv.GOOD,
    **upstream_preparing.GOOD,
    **upstream_looking.GOOD,
    requests.Verb.LINE_CREATE: requests_joining.LineMade(
        "0a1b2c3d4e5f",
        f"tc1.{'c' * 64}.0a1b2c3d4e5f.{'5' * 64}",
        "n1",
        1_790_003_600.0,
        ("10.1.0.11:7401",),
    ),
    requests.Verb.LINES: requests_joining.Lines(
        (
            requests_joining.LineView(
                "0a1b2c3d4e5f", "open", "n1", "", "admin", 1_790_000_000.0, 1_790_003_600.0
            ),
            requests_joining.LineView(
                "001122334455", "used", "n2", "5e6f7a8b9c0d1e2f", "admin", 1_789_000_000.0, 1_789_003_600.0
            ),
        )
    ),
    requests.Verb.LINE_REVOKE: requests_joining.LineView(
        "0a1b2c3d4e5f", "revoked", "n1", "", "admin", 1_790_000_000.0, 1_790_003_600.0
    ),
    requests.Verb.ACCEPT: requests_joining.Seat("5e6f7a8b9c0d1e2f", "n9", "parked"),
    requests.Verb.EXPEL: requests_joining.Seat("5e6f7a8b9c0d1e2f", "n2", "expelled", "north"),
    requests.Verb.WHOAMI: requests.Who("admin", "administrator", "cluster"),
    **upstream_people.GOOD,
}


class FakeUpstream:
    """Remembers what it was asked; `answers` by verb, a struct for good, a `Problem` or an exception otherwise."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = dict(GOOD)
        self.calls: list[tuple[str, requests.Call]] = []

    async def ask(self, verb: str, data: bytes) -> tuple[str, bytes]:
        self.calls.append((verb, msgspec.msgpack.decode(data, type=requests.Call)))
        answer = self.answers[verb]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, tuple):
            return answer
        if isinstance(answer, requests.Problem):
            return answer.code, msgspec.json.encode(answer)
        return "", msgspec.json.encode(answer)

    def body(self, index: int = -1) -> Any:
        """Of a call, as plain values."""
        return msgspec.json.decode(self.calls[index][1].body)
