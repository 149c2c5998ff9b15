"""A plan as a file: what was planned, on which base, and the document itself, so that exactly that is applied or nothing.

Law: whether it still holds is for the system to say, by the digests of both documents; nothing is planned anew in silence.
"""

import pathlib
from collections.abc import Sequence

import msgspec

from coordinator import errors, limits
from coordinator.cli import answers, sources
from coordinator.host import disk

FORMAT = 1
PLAN_BYTES = 2 * limits.DOCUMENT_BYTES  # a document as JSON strings
_MARK = b'{"tiercast_plan":'


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """The file; `tiercast_plan` comes first, by which it is known."""

    tiercast_plan: int = FORMAT
    verdict: str
    base: tuple[int, int]
    """Generation and revision of the active one."""
    base_digest: str
    digest: str
    text: str
    source: sources.Named

    @property
    def planned(self) -> answers.Planned:
        """As the system said it then."""
        plain = {"verdict": self.verdict, "base": self.base, "text": self.text}
        return msgspec.convert(plain, answers.Planned)


def saved(planned: answers.Planned, named: sources.Named) -> Saved:
    return Saved(
        verdict=planned.verdict,
        base=(planned.base.generation, planned.base.revision),
        base_digest=planned.base_digest,
        digest=planned.digest,
        text=planned.text,
        source=named,
    )


def write(path: str, plan: Saved) -> None:
    """For its owner alone, since a document may hold what is nobody else's business. Raises `UsageError`."""
    place = pathlib.Path(path).absolute()
    if not place.parent.is_dir():
        raise errors.UsageError(f"there is no folder {place.parent}", hint="name another file")
    try:
        disk.DirectoryDisk(place.parent).write(place.name, msgspec.json.encode(plan) + b"\n")
    except OSError as wrong:
        raise errors.UsageError(f"cannot write {path}: {(wrong.strerror or str(wrong)).lower()}") from wrong


def read(words: Sequence[str]) -> Saved | None:
    """The plan, where that is what the one word names. Raises `UsageError` where it is one and cannot be used."""
    if len(words) != 1 or words[0] == "-" or not pathlib.Path(words[0]).is_file():
        return None
    try:
        with pathlib.Path(words[0]).open("rb") as file:
            if file.read(len(_MARK)) != _MARK:
                return None
            data = _MARK + file.read(PLAN_BYTES)
        plan = msgspec.json.decode(data, type=Saved)
    except OSError as wrong:
        raise errors.UsageError(
            f"cannot read {words[0]}: {(wrong.strerror or str(wrong)).lower()}"
        ) from wrong
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise errors.UsageError(
            f"{words[0]} is a plan that cannot be used: {wrong}", hint="plan again with --out"
        ) from None
    if plan.tiercast_plan != FORMAT:
        raise errors.UsageError(
            f"{words[0]} is a plan of another version (got {plan.tiercast_plan}, have {FORMAT})",
            hint="plan again with --out",
        )
    return plan


def check(plan: Saved, if_revision: int | None) -> None:
    """Raises `RefusedError`, `ConflictError`."""
    if plan.verdict == "refused":
        raise errors.RefusedError("this plan was refused when it was made", hint="plan again with --out")
    if if_revision is not None and if_revision != plan.base[1]:
        raise errors.ConflictError(
            f"the plan is on top of another revision (got --if-revision {if_revision}, have {plan.base[1]})",
            hint="leave out --if-revision, or plan again",
        )
