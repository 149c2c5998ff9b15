"""Who may be a child of whom: the verb x identity table of a hop, deny by default.

A gate is a pure function of the mirror's content, the document in force and the hello; the TLS layer has proved the
server id. A row for every kind of child at every kind of parent stands here and nowhere else.
"""

from collections import OrderedDict
from collections.abc import Callable

import msgspec

from coordinator import errors, limits, names
from coordinator.config import expansion, model
from coordinator.propagation import events, messages, mirror, objects, publisher
from coordinator.trust import signing

NOT_READY_S = 0.5  # a relay that has nothing yet will have it soon
REVOKED = "this identity is revoked"
EXPELLED = "this server is expelled"


LARGE_BYTES = 1024 * 1024  # decoding more than this at once is felt by whoever shares the interpreter
_KEPT = 2  # the document in force and the one coming in; expanding 10,000 servers takes seconds
_expanded: OrderedDict[names.Digest, expansion.Expanded] = OrderedDict()


class Reader:
    """Documents as they expand, once per digest and process: everything in a node reads the same two.

    Threads may read at the same time: each step is one of the interpreter's, and the worst is that one is expanded twice.
    """

    def read(self, digest: names.Digest, body: bytes | None) -> expansion.Expanded | None:
        """None where there is no body; raises what `config.model.decode` raises. `digest` is that of `body`."""
        if body is None:
            return None
        found = _expanded.get(digest)
        if found is None:
            read = model.decode if len(body) < LARGE_BYTES else model.decode_by_parts
            found = expansion.expand(read(body))
        _expanded.pop(digest, None)
        _expanded[digest] = found
        while len(_expanded) > _KEPT:
            _expanded.popitem(last=False)
        return found


class Situation(msgspec.Struct, frozen=True):
    """What a gate decides from."""

    content: mirror.Content
    keyring: signing.Keyring
    expanded: expansion.Expanded | None
    site: names.SiteName | None = None
    """Of an IC: the one it serves."""


Verdict = publisher.Admit | publisher.Refuse
Table = dict[messages.ChildKind, Callable[[Situation, objects.Admission, messages.Hello], Verdict]]


def admission_of(
    situation: Situation, peer: names.ServerId, hello: messages.Hello
) -> objects.Admission | None:
    """The newest admission of `peer` that is known here or shown by itself, verified; None if there is none."""
    held = situation.content.admissions.get(peer)
    best = None if held is None else held.content
    if hello.admission and (held is None or hello.admission != held.raw):
        try:
            shown = mirror.verify(hello.admission, situation.keyring)
        except errors.SignatureError:
            return best
        if (
            isinstance(shown, mirror.SignedAdmission)
            and shown.content.server_id == peer
            and (best is None or shown.content.serial > best.serial)
        ):
            best = shown.content
    return best


def judge(
    table: Table,
    situation: Situation,
    peer: names.ServerId,
    hello: messages.Hello,
    proof: events.Proof = events.NO_PROOF,
) -> Verdict:
    """By the table of this kind of parent."""
    if peer in situation.keyring.revoked:
        return publisher.Refuse(REVOKED, 30.0)
    admission = admission_of(situation, peer, hello)
    if admission is None:
        return publisher.Refuse("unknown server", 5.0)
    if admission.state is objects.AdmissionState.EXPELLED:
        return publisher.Refuse(EXPELLED, 30.0)
    if not admission.names_key(proof.key):
        return publisher.Refuse("it holds another key than its admission names", 5.0)
    row = table.get(hello.kind)
    if row is None:
        return publisher.Refuse(f"no {hello.kind} is served here", 5.0)
    verdict = row(situation, admission, hello)
    if isinstance(verdict, publisher.Admit) and proof.expired:
        return msgspec.structs.replace(verdict, expired=True)
    return verdict


def _shell(_situation: Situation, admission: objects.Admission, hello: messages.Hello) -> Verdict:
    if hello.name:  # or one server could hold any number of links, each under another name
        return publisher.Refuse("a ServerShell is called as its admission says", limits.BACKOFF_CLAMP_MAX_S)
    placed = admission.state is objects.AdmissionState.PLACED
    scope = publisher.Scope.SERVER if placed else publisher.Scope.PARKED
    return publisher.Admit(scope, admission.name)


def _shell_elsewhere(situation: Situation, admission: objects.Admission, hello: messages.Hello) -> Verdict:
    if situation.content.target is None:
        return publisher.Refuse("no configuration here yet", NOT_READY_S)
    return _shell(situation, admission, hello)


def _shell_of_site(situation: Situation, admission: objects.Admission, hello: messages.Hello) -> Verdict:
    """An IC serves the servers of its site, and whoever waits for a place and was told to come here."""
    placed = admission.state is objects.AdmissionState.PLACED
    if situation.content.target is not None and placed and admission.site != situation.site:
        return publisher.Refuse(f"another site's IC (got {admission.site}, have {situation.site})")
    return _shell_elsewhere(situation, admission, hello)


def _role(situation: Situation, admission: objects.Admission, hello: messages.Hello) -> Verdict:
    placed = None if situation.expanded is None else situation.expanded.roles.get(names.RoleName(hello.name))
    right = (
        placed is not None
        and placed.running
        and placed.server == admission.name
        and placed.type == hello.kind.value
        and admission.state is objects.AdmissionState.PLACED
    )
    if not right:
        return publisher.Refuse(
            f"the document places no {hello.kind} {hello.name[:64]} on {admission.name}", 2.0
        )
    scope = publisher.Scope.EVERYTHING if hello.kind is messages.ChildKind.IC else publisher.Scope.NOTHING
    return publisher.Admit(scope, admission.name)


MIC: Table = {
    messages.ChildKind.IC: _role,
    messages.ChildKind.SHELL: _shell,
    messages.ChildKind.WS: _role,
    messages.ChildKind.DC: _role,
}
IC: Table = {messages.ChildKind.SHELL: _shell_of_site}
SHELL: Table = {messages.ChildKind.SHELL: _shell_elsewhere}
