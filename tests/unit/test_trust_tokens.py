import random

from coordinator.trust import tokens


class Seeded:
    def __init__(self) -> None:
        self._random = random.Random(1)

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def token(self, size_bytes: int) -> str:
        return self._random.randbytes(size_bytes).hex()


def test_a_token_matches_its_own_digest_and_no_other() -> None:
    source = Seeded()
    one, other = tokens.new_token(source), tokens.new_token(source)
    assert tokens.matches(one.text, tokens.digest(one.text))
    assert not tokens.matches(other.text, tokens.digest(one.text))
    assert tokens.identifier(one.text) == one.id


def test_the_secret_shows_neither_in_the_digest_nor_in_the_representation() -> None:
    token = tokens.new_token(Seeded())
    secret = token.text.rpartition("_")[2]
    assert secret not in tokens.digest(token.text)
    assert secret not in repr(token)


def test_text_that_is_no_token_has_no_identifier() -> None:
    text = tokens.new_token(Seeded()).text
    for wrong in (
        "",
        "tca_",
        text[:-1],
        text + "0",
        text.upper(),
        text + "\n",
        "x" * 10_000,
        "tca_\u0660" * 3,
    ):
        assert tokens.identifier(wrong) is None
        assert not tokens.matches(wrong, tokens.digest(text))
