"""One request to the API and its answer, as values; what carries them is `https`, in tests a fake."""

from collections.abc import Iterator, Mapping
from typing import Protocol, TypeVar

import msgspec

from coordinator import errors
from coordinator.cli import answers

ANSWER_S = 60.0  # validating the largest document takes half of it
JSON = "application/json"
CFG = "/api/admin/v1/cfg"
ADMIN = "/api/admin/v1"
AS_OF = "Tiercast-As-Of"

_Shape = TypeVar("_Shape")


class ProblemError(errors.TiercastError):
    """The API said no."""

    def __init__(self, problem: answers.Problem) -> None:
        super().__init__(problem.detail, hint=problem.hint)
        self.problem = problem


def code_of(error: errors.TiercastError) -> str:
    """The code that tells what kind of wrong it is."""
    return error.problem.code if isinstance(error, ProblemError) else error.code


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One request."""

    method: str = "GET"
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = {}
    timeout_s: float = ANSWER_S
    patient: bool = True
    """Where nobody listens, try again for a moment; not for who tries again by itself, and says so."""


def post(path: str, body: bytes, key: str) -> Ask:
    """A change in JSON; `key` makes its repetition harmless."""
    headers = {"Content-Type": JSON, "Idempotency-Key": key}
    return Ask(method="POST", path=path, body=body, headers=headers)


class Answer(msgspec.Struct, frozen=True):
    """A good one; the others are exceptions."""

    status: int
    body: bytes
    as_of: str = ""
    """Given while no coordinator answered: `<generation>.<revision>, <seconds>` ago."""

    def as_(self, shape: type[_Shape]) -> _Shape:
        """Raises `ProtocolError`."""
        try:
            return msgspec.json.decode(self.body, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
            raise errors.ProtocolError(
                f"the answer cannot be read: {wrong}", hint="is this command line older than the system?"
            ) from wrong


class Client(Protocol):
    """One system."""

    @property
    def place(self) -> str:
        """Where it is, for people."""
        ...

    def call(self, ask: Ask) -> Answer:
        """Raises `ProblemError`, `UnreachableError`, `UnknownOutcomeError`, `IdentityError`."""
        ...

    def follow(self, ask: Ask) -> Iterator[bytes]:
        """Lines of a stream, without their end, until it ends. Raises as `call` does."""
        ...


def answered(status: int, body: bytes, as_of: str = "") -> Answer:
    """A good answer. Raises `ProblemError` for any other."""
    if status < 400:
        return Answer(status, body, as_of)
    try:
        problem = msgspec.json.decode(body, type=answers.Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = f"status {status} without a reason; is this the API of Tiercast?"
        problem = answers.Problem(code="protocol", detail=told)
    raise ProblemError(problem)
