"""The files that a command names: one, several, the `*.yaml` of a folder, or standard input."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from coordinator import errors, limits
from coordinator.config.reading import document

STDIN = "-"


def files(paths: Iterable[str], stdin: Callable[[], bytes]) -> list[document.Source]:
    """Each file's bytes under its name, at most one more than a document may have; a folder's sorted, with those below.

    Raises `errors.UsageError` where there is nothing to read.
    """
    return [source for path in paths for source in _sources(path, stdin)]


def _sources(path: str, stdin: Callable[[], bytes]) -> Iterator[document.Source]:
    if path == STDIN:
        yield document.Source("<stdin>", stdin())
        return
    place = Path(path)
    try:
        found = sorted(place.rglob("*.yaml")) if place.is_dir() else [place]
        if not found:
            raise errors.UsageError(
                f"no *.yaml in the folder {path}", hint="name a file, or a folder that holds some"
            )
        for one in found:
            with one.open("rb") as opened:
                yield document.Source(str(one), opened.read(limits.DOCUMENT_BYTES + 1))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise errors.UsageError(
            f"cannot read {path}: {reason}", hint="name a file, a folder, or - for stdin"
        ) from error
