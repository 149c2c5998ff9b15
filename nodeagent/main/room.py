"""A disk without room, as a defined error: which directory it is, and what to do. For the commands of a server.

Law: whatever is wrapped here may be said again once there is room; what of it was written is whole, or not there.
"""

import contextlib
import errno
import pathlib
from collections.abc import Iterator

from coordinator import errors

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def full(problem: BaseException) -> bool:
    """Whether it is for want of room, however many groups it is in."""
    if isinstance(problem, BaseExceptionGroup):
        return any(full(one) for one in problem.exceptions)
    return isinstance(problem, OSError) and problem.errno in _FULL


@contextlib.contextmanager
def wanted(directory: pathlib.Path, again: str) -> Iterator[None]:
    """Raises `NoSpaceError` where something in it fails for want of room; `again` is what to say then."""
    try:
        yield
    except (OSError, BaseExceptionGroup) as problem:
        if not full(problem):
            raise
        raise missing(directory, again) from problem


def missing(directory: pathlib.Path, again: str) -> errors.NoSpaceError:
    return errors.NoSpaceError(
        f"there is no room left on the disk of {directory}", hint=f"make room there, then {again}"
    )
