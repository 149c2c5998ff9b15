"""Whatever the bytes, a parser gives a value or its own error: never another exception, a hang or a crash.

A share of the fuzzing of a release; each parser here reads what somebody else may have written.
"""

import base64
import contextlib
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator import errors, names
from coordinator.config import reading
from coordinator.config.reading import document
from coordinator.propagation import bodies, messages, mirror, objects, wire
from coordinator.tiers import enrolling, seed
from coordinator.trust import authority, certificates, signing, tls, tokens
from tests.security import cluster

EXAMPLES = settings(max_examples=60)
MADE = cluster.Cluster()
RING = signing.Keyring(cluster.CLUSTER, MADE.trust.content)
IDENTITY = authority.enrolled(MADE.authority, cluster.sid("n1"), cluster.WALL)
BUNDLE = authority.bundle(
    IDENTITY, MADE.trust.raw, MADE.admissions[cluster.sid("n1")].raw, [("10.0.0.1", 7401)]
)
REQUEST = certificates.signing_request(IDENTITY.key_pem, "n9")
FRAMES = tuple(
    wire.encode(frame)[wire.HEADER_BYTES :]
    for frame in (
        MADE.hello(cluster.KINDS.SHELL, "", "n1", ack=MADE.ack()),
        messages.Welcome(1, cluster.CLUSTER, 1, objects.Numbers(), b"x"),
        messages.Offer((MADE.trust.raw,), messages.Chunk(MADE.digest, "", 0, 1, 1, b"x")),
        messages.Rollup(1, True, (messages.Row(cluster.sid("n1"), True, MADE.ack()),)),
        messages.Ask(1, "status", "", True, b"x"),
        messages.Bye("why", 1.0),
    )
)


@st.composite
def mangled(draw: st.DrawFn, *wholes: bytes) -> bytes:
    """Something valid with a few bytes changed, cut out, doubled or put in."""
    data = bytearray(draw(st.sampled_from(wholes)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 3)):
            case 0:
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=4))
            case 1:
                del data[at : at + draw(st.integers(1, 40))]
            case 2:
                data[at:at] = data[at : at + draw(st.integers(1, 40))]
            case _:
                data[at:at] = draw(st.binary(max_size=12))
    return bytes(data)


def garbage(*wholes: bytes) -> st.SearchStrategy[bytes]:
    return st.one_of(st.binary(max_size=400), mangled(*wholes)) if wholes else st.binary(max_size=400)


@EXAMPLES
@given(garbage(*FRAMES))
def test_a_frame_decodes_or_is_a_protocol_error(data: bytes) -> None:
    with contextlib.suppress(errors.ProtocolError):
        frame = wire.decode(data)
        assert wire.decode(wire.encode(frame)[wire.HEADER_BYTES :]) == frame or "nan" in repr(frame)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x91" * 900_000,
        b"\xdd\xff\xff\xff\xff",
        b"\x93\x04\xdd\xff\xff\xff\xff\xc0",
        b"\xc6\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x92\xcc\xff\xc0",
        b"\x92\xa1\x01\xc0",
        b"\x93\x0c\xa2\xff\xfe\x00",
        b"\xc7\xff\x00",
    ],
)
def test_lengths_and_depths_that_are_not_there_are_protocol_errors(data: bytes) -> None:
    with pytest.raises(errors.ProtocolError):
        wire.decode(data)


@EXAMPLES
@given(
    st.sampled_from(["target", "record", "trust", "admission", "fresh", "key-endorsement", ""]),
    garbage(*(signing.opened(one.raw).payload for one in (MADE.trust, MADE.admissions[cluster.sid("n1")]))),
)
def test_a_payload_that_makes_no_sense_is_a_signature_error_even_when_it_is_signed(
    kind: str, payload: bytes
) -> None:
    signer = MADE.signer
    statement = signing._statement(cluster.CLUSTER, kind, signer.key_id, payload)
    signature = signer._key.sign(statement)
    raw = msgspec.msgpack.encode(signing.Envelope(kind, cluster.CLUSTER, signer.key_id, payload, signature))
    with contextlib.suppress(errors.SignatureError):
        mirror.verify(raw, RING)
    with contextlib.suppress(errors.SignatureError):
        RING.renewed(raw)
    with contextlib.suppress(errors.SignatureError):
        signing.Keyring.trusting(raw, cluster.CLUSTER)


@EXAMPLES
@given(garbage(MADE.trust.raw, *(one.raw for one in MADE.admissions.values())))
def test_an_object_verifies_or_is_a_signature_error(raw: bytes) -> None:
    with contextlib.suppress(errors.SignatureError):
        mirror.verify(raw, RING)
    with contextlib.suppress(errors.SignatureError):
        mirror.from_ledger({"x": raw}, RING)


@EXAMPLES
@given(
    st.lists(
        st.tuples(
            st.integers(-5, 300),
            st.integers(-5, 2**63),
            st.integers(-5, 2**63),
            garbage(bodies.encode(MADE.body, None)),
        ),
        max_size=4,
    )
)
def test_pieces_of_a_body_make_the_body_or_a_protocol_error(
    pieces: list[tuple[int, int, int, bytes]],
) -> None:
    assembly = bodies.Assembly(MADE.digest, len(MADE.body))
    for offset, total, size, data in pieces:
        with contextlib.suppress(errors.ProtocolError):
            chunk = messages.Chunk(
                MADE.digest, "", offset and assembly.offset, total, size and len(MADE.body), data
            )
            assert assembly.add(chunk, None) in {None, MADE.body}


@EXAMPLES
@given(garbage(BUNDLE))
def test_an_identity_file_is_read_or_damaged(data: bytes) -> None:
    with contextlib.suppress(errors.DamagedError):
        authority.unbundle(data)


@EXAMPLES
@given(st.sampled_from(["key_pem", "cert_pem", "ca_pem"]), st.data())
def test_an_identity_file_of_strange_parts_is_damaged(part: str, data: st.DataObject) -> None:
    """The PEM is whole, what is in it is not."""
    file = json.loads(BUNDLE)
    pem = base64.b64decode(file[part]).decode()
    head, *lines, foot = pem.strip().splitlines()
    der = data.draw(mangled(base64.b64decode("".join(lines))))
    file[part] = base64.b64encode(f"{head}\n{base64.encodebytes(der).decode()}{foot}\n".encode()).decode()
    with contextlib.suppress(errors.DamagedError):
        authority.unbundle(json.dumps(file).encode())


@EXAMPLES
@given(st.data())
def test_a_certificate_names_a_server_or_nobody(data: st.DataObject) -> None:
    lines = IDENTITY.cert_pem.decode().strip().splitlines()[1:-1]
    der = base64.b64decode("".join(lines))
    found = data.draw(st.one_of(st.just(der), st.binary(max_size=200), mangled(der)))
    with contextlib.suppress(errors.IdentityError):
        tls.identified(found, cluster.CLUSTER, cluster.WALL)


@EXAMPLES
@given(st.data())
def test_a_certificate_request_is_read_or_unusable(data: st.DataObject) -> None:
    pem = REQUEST.decode()
    head, *lines, foot = pem.strip().splitlines()
    der = data.draw(mangled(base64.b64decode("".join(lines))))
    made = f"{head}\n{base64.encodebytes(der).decode()}{foot}\n"
    for text in (made, data.draw(st.text(max_size=100)), "\udcff" + pem):
        with contextlib.suppress(errors.UsageError):
            enrolling._requested(text)


TEXTS = (
    b"schema: tiercast/1\ngeneral: {master_domain: acme}\nservers:\n  c1: {interfaces: {lan: 10.0.0.1}}\n",
    b"a: &a [x]\nb: *a\n<<: {c: 1}\n? [x]\n: y\n",
    b'{"schema": "tiercast/1", "sites": {"a": {}}, "n": 1e999, "d": [[[[]]]]}',
    b"--- !!python/object/apply:os.system ['true']\n",
    b"x: 0x_1\ny: 1:30\nz: .inf\nw: 2001-01-01\nv: '\\ud800'\n",
)


@EXAMPLES
@given(garbage(*TEXTS))
def test_a_text_is_a_document_or_findings(data: bytes) -> None:
    read = reading.read([document.Source("a.yaml", data), document.Source("b.json", data)])
    assert read.document is not None or any(one.severity == "error" for one in read.findings)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"- " * 50_000,
        b"{a: " * 50_000,
        b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"".join(
            b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(9)
        ),
        b"? " * 10_000,
        b"a: " + b"9" * 200_000,
        b'{"a": ' + b"9" * 200_000 + b"}",
        b"\xff\xfea\0:\0",
        b"\xef\xbb\xbfschema: tiercast/1\n",
        b"a: |\n" + b" x\n" * 50_000,
        b"!!binary |\n  AAAA\n",
        b"\0" * 1000,
    ],
    ids=lambda data: data[:12].hex(),
)
def test_bombs_are_findings_within_moments(data: bytes) -> None:
    read = reading.read([document.Source("bomb", data)])
    assert any(one.severity == "error" for one in read.findings)


@EXAMPLES
@given(
    garbage(
        seed.encode(
            seed.first_objects(
                MADE.authority,
                seed.First(cluster.sid("c1"), names.ServerName("c1")),
                cluster.document(),
                tokens.Token("a", "b"),
                0.0,
            )
        )
    )
)
def test_a_seed_is_read_or_damaged(data: bytes) -> None:
    with contextlib.suppress(errors.DamagedError, errors.SignatureError):
        seed.content(seed.decode(data), cluster.CLUSTER)
