"""What MIC answered before: given again, with its age, to the same caller for the same question while MIC is away.

Nobody is shown by it what MIC did not show them: an answer is kept under its caller's token. What this server itself has
accepted stands in for the rest, for callers to whom MIC has answered that kind of question here. Laws: whom MIC has refused since
is told nothing; bounded in number and bytes; never for a change, never for whoever waits for news, never as an answer to "is all well?".
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from coordinator import errors, names
from coordinator.tiers import requests

ANSWERS = 512
ANSWERS_BYTES = 32 * 1024 * 1024
ANSWER_BYTES = 4 * 1024 * 1024  # the status of 10,000 servers fits
CALLERS = 1_000
AGE_S = 24 * 3600.0  # what is older says nothing any more
AS_OF = "Tiercast-As-Of"
REFUSALS = frozenset({errors.UnauthenticatedError.code, errors.NotAllowedError.code})
AWAY = frozenset({"no_coordinator", "no_quorum", "unreachable", "lost", "timed_out"})


class Own(msgspec.Struct, frozen=True):
    """What the server of this WS has accepted itself."""

    version: names.Version
    digest: names.Digest
    body: bytes
    age_s: float


class Answer(msgspec.Struct, frozen=True):
    """An answer as of a while ago."""

    data: bytes
    version: names.Version
    age_s: float

    @property
    def header(self) -> str:
        """`<generation>.<revision>, <seconds>`."""
        return f"{self.version.generation}.{self.version.revision}, {self.age_s:.1f}"


class _Kept(msgspec.Struct, frozen=True):
    data: bytes
    version: names.Version
    at: float


class _Versioned(msgspec.Struct, frozen=True):
    version: names.Version = names.NO_VERSION


def no_own() -> Own | None:
    """Where there is no server to ask."""
    return None


class Kept:
    """See the module."""

    def __init__(self, own: Callable[[], Own | None]) -> None:
        self._own = own
        self._answers: OrderedDict[bytes, _Kept] = OrderedDict()
        self._bytes = 0
        self._callers: OrderedDict[tuple[bytes, str], float] = OrderedDict()
        """By caller and verb, when MIC answered last; without it nothing is told."""
        self._newest = names.NO_VERSION

    def keep(self, token: str, verb: str, question: bytes, data: bytes, now: float) -> None:
        """MIC has answered this just now."""
        caller = _caller(token)
        self._callers[caller, verb] = now
        self._callers.move_to_end((caller, verb))
        while len(self._callers) > CALLERS:
            self._callers.popitem(last=False)
        if len(data) > ANSWER_BYTES:
            return
        told = _version(data)
        if told != names.NO_VERSION:
            self._newest = told
        key = _key(caller, verb, question)
        self._drop(key)
        self._answers[key] = _Kept(data, told if told != names.NO_VERSION else self._newest, now)
        self._bytes += len(data)
        while len(self._answers) > ANSWERS or self._bytes > ANSWERS_BYTES:
            self._drop(next(iter(self._answers)))

    def refused(self, token: str, verb: str, code: str) -> None:
        """MIC has answered with this code: whoever may not ask that any more, or is nobody any more, is told it no more."""
        if code not in REFUSALS:
            return
        caller = _caller(token)
        nobody = code == errors.UnauthenticatedError.code
        for known in [one for one in self._callers if one[0] == caller and (nobody or one[1] == verb)]:
            del self._callers[known]

    def _drop(self, key: bytes) -> None:
        gone = self._answers.pop(key, None)
        if gone is not None:
            self._bytes -= len(gone.data)

    def recall(self, token: str, verb: str, question: bytes, now: float) -> Answer | None:
        """What may be told this caller while MIC is away; None where there is nothing."""
        caller = _caller(token)
        if now - self._callers.get((caller, verb), now - AGE_S) >= AGE_S:
            return None
        held = self._answers.get(_key(caller, verb, question))
        if held is not None and now - held.at < AGE_S:
            return Answer(held.data, held.version, now - held.at)
        return self._of_own(verb, question)

    def _of_own(self, verb: str, question: bytes) -> Answer | None:
        own = self._own()
        if own is None or own.version == names.NO_VERSION:
            return None
        if verb == requests.Verb.STATUS:
            view = requests.StatusView(own.version, own.digest, None, (), (), "away")
            return Answer(msgspec.json.encode(view), own.version, own.age_s)
        if verb == requests.Verb.SHOW:
            return _shown(own, msgspec.json.decode(question, type=requests.Show))
        return None


def _shown(own: Own, asked: requests.Show) -> Answer | None:
    """The active revision, as far as its body says."""
    if asked.draft or asked.revision not in {0, own.version.revision}:
        return None
    view = requests.RevisionView(own.version, "active", own.digest, len(own.body), "", "", 0.0)
    files: tuple[requests.File, ...] = ()
    if asked.document:
        text = msgspec.json.format(own.body, indent=2).decode() + "\n"
        files = (requests.File(f"revision-{own.version.revision}.json", text),)
    return Answer(msgspec.json.encode(requests.Shown(view, files)), own.version, own.age_s)


def question(asked: msgspec.Struct | None) -> bytes:
    """What was asked, without how long to wait for the answer."""
    if asked is None:
        return b"{}"
    plain = msgspec.to_builtins(asked)
    return msgspec.json.encode({key: plain[key] for key in plain if key not in {"index", "wait_s"}})


def _version(data: bytes) -> names.Version:
    try:
        return msgspec.json.decode(data, type=_Versioned).version
    except (msgspec.DecodeError, UnicodeDecodeError):
        return names.NO_VERSION


def _caller(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()


def _key(caller: bytes, verb: str, asked: bytes) -> bytes:
    return hashlib.sha256(caller + verb.encode() + b"\0" + asked).digest()
