import json

import msgspec
import pytest

from coordinator.config import model
from tests import builders


def test_the_canonical_form_is_stable_under_key_order() -> None:
    plain = builders.written(builders.document())
    turned = {key: plain[key] for key in sorted(plain, reverse=True)}
    turned["roles"] = dict(reversed(plain["roles"].items()))
    assert model.canonical(msgspec.convert(turned, model.Document)) == model.canonical(builders.document())


def test_the_canonical_form_is_sorted_and_without_defaults() -> None:
    body = model.canonical(
        builders.document(sites={"s": {"type": "master", "description": "", "labels": {}}})
    )
    plain = json.loads(body)
    assert list(plain) == sorted(plain)
    assert plain["sites"] == {"s": {"type": "master"}}
    assert "transition" not in plain


def test_templates_stay_templates_in_the_canonical_form() -> None:
    document = builders.document(
        templates={"web": {"type": "process", "params": {"command": ["x"]}}},
        roles={"web1": {"like": "web", "params": {"reload": None}}},
    )
    plain = json.loads(model.canonical(document))
    assert plain["roles"]["web1"] == {"like": "web", "params": {"reload": None}}


def test_decoding_undoes_the_canonical_form() -> None:
    document = builders.document(
        overrides={"D4": {"reason": "r", "author": "a", "expires": "2026-12-01"}},
        transition={"plan": "p", "relaxes": ["S09"]},
    )
    assert model.decode(model.canonical(document)) == document


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"{}", b'{"schema": "tiercast/1"', b"\xff", b"[" * 100_000, b'{"schema":1,"general":{}}'],
)
def test_a_body_that_is_no_document_is_a_decode_error(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        model.decode(body)


def test_an_unknown_key_is_an_error_on_every_tier() -> None:
    body = model.canonical(builders.document()).replace(b'"schema"', b'"extra":1,"schema"')
    with pytest.raises(msgspec.ValidationError):
        model.decode(body)


def test_a_digest_is_that_of_the_bytes() -> None:
    assert model.digest(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
