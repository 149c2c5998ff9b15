"""How a child and the parent that it dialled greet each other: what the child says of itself, and whom it believes. Pure.

Law: a hello fits into what a parent reads of a stranger; a parent is believed only where the identity that the handshake
showed, the admission that it shows and the place that was dialled are one.
"""

import msgspec

from coordinator import errors, limits, names
from coordinator.propagation import events, messages, mirror, objects, wire
from coordinator.trust import signing


class Me(msgspec.Struct, frozen=True):
    """Who is subscribing."""

    cluster: names.ClusterId
    kind: messages.ChildKind
    name: str
    server_id: names.ServerId


class Dialled(msgspec.Struct, frozen=True):
    """Who should be there, and whom the handshake has shown."""

    parent: events.Parent
    peer: names.ServerId
    proof: events.Proof


def hello(me: Me, boot: int, content: mirror.Content, ack: messages.AckState | None) -> messages.Hello:
    """The child's first frame."""
    own = content.admissions.get(me.server_id)
    admission = b"" if own is None or me.kind is messages.ChildKind.NODE else own.raw
    said = messages.Hello(
        protocol=messages.PROTOCOL,
        cluster=me.cluster,
        kind=me.kind,
        name=me.name,
        boot=boot,
        numbers=content.numbers,
        base=content.digest,
        admission=admission,
        ack=ack,
    )
    if ack is None or len(wire.encode(said)) <= limits.FRAME_BYTES_UNAUTHENTICATED:
        return said
    brief = msgspec.structs.replace(ack, detail="", roles=())  # the whole of it follows the welcome
    return msgspec.structs.replace(said, ack=brief)


def mistrust(me: Me, keyring: signing.Keyring, dialled: Dialled, frame: messages.Welcome) -> str:
    """Why this is not the parent we dialled; empty if it is."""
    if frame.cluster != me.cluster:
        return f"another cluster (got {frame.cluster[:32]}, have {me.cluster})"
    if abs(frame.protocol - messages.PROTOCOL) > 1:
        return f"protocol too far away (got {frame.protocol}, have {messages.PROTOCOL})"
    if me.kind is messages.ChildKind.NODE:
        return ""
    try:
        newest = keyring.renewed(frame.trust) if frame.trust else keyring
        signed = mirror.verify(frame.admission, newest)
    except errors.SignatureError as problem:
        return problem.message
    if not isinstance(signed, mirror.SignedAdmission):
        return "no admission"
    return _mistrust(signed.content, newest, dialled)


def _mistrust(admission: objects.Admission, keyring: signing.Keyring, dialled: Dialled) -> str:
    if admission.server_id != dialled.peer or admission.server_id in keyring.revoked:
        return f"admission of another server (got {admission.name})"
    if not admission.names_key(dialled.proof.key):
        return f"the parent holds another key than its admission names (got {admission.name})"
    if admission.state is not objects.AdmissionState.PLACED:
        return f"parent is {admission.state} (got {admission.name})"
    if dialled.parent.server and admission.name != dialled.parent.server:
        return f"another server answers (got {admission.name}, have {dialled.parent.server})"
    return ""
