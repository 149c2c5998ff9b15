"""`tiercast bench growth`: what a revision costs as servers, sites and the document grow, one of them at a time.

Every point is a short run of `bench propagation` of ours alone: the same programs, the same lines of results.
"""

import os
import pathlib
from collections.abc import AsyncGenerator, Sequence
from typing import TypeVar

import click
import msgspec

from bench import report, showing
from bench.propagation import command, ours, programs, results, roster, run, workload
from coordinator import errors, limits

T = TypeVar("T")
NONE = "none"


class Several(click.ParamType[tuple[T, ...]]):
    """Values of one type, comma-separated; `none` for none."""

    name = "list"

    def __init__(self, one: click.ParamType[T]) -> None:
        self._one = one

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[T, ...]:
        if isinstance(value, tuple):
            return value
        words = [] if value == NONE else str(value).split(",")
        return tuple(self._one.convert(word, param, ctx) for word in words)


class Point(msgspec.Struct, frozen=True, order=True):
    """Where a revision is measured; the cheap ones come first."""

    document_bytes: int
    servers: int
    sites: int


_SERVERS = click.IntRange(1, limits.SERVERS)
_SITES = click.IntRange(1, limits.SITES)


@click.command()
@click.option("--servers", type=Several(_SERVERS), default="100,300,1000,3000,10000", show_default=True)
@click.option("--sites", type=Several(_SITES), default="1,10,50", show_default=True)
@click.option(
    "--document-sizes",
    type=Several(command.Size()),
    default="1KiB,16KiB,64KiB,256KiB,1MiB",
    show_default=True,
)
@click.option(
    "--at-servers", type=_SERVERS, default=1000, show_default=True, help="While something else grows."
)
@click.option("--at-sites", type=_SITES, default=10, show_default=True, help="Likewise.")
@click.option("--at-size", type=command.Size(), default="1KiB", show_default=True, help="Likewise.")
@click.option(
    "--revisions", type=click.IntRange(1, 90), default=5, show_default=True, help="Of each point and change."
)
@click.option("--mode", type=click.Choice(roster.MODES), default=roster.PROPAGATION, show_default=True)
@click.option("--tls", is_flag=True, help="Over mutual TLS, as in production.")
@click.option("--dir", "directory", type=click.Path(path_type=pathlib.Path, exists=True, file_okay=False), default=None,
              help="Where stores and ledgers stand meanwhile (default: the temporary directory).")  # fmt: skip
@click.option("--html", "page", type=report.MADE, help="Write a page with plots that needs nothing else.")
@click.option("--png", "picture", type=report.MADE, help="Write a picture (needs tiercast[bench]).")
@click.option(
    "-o", "--output", "form", type=click.Choice(("table", "json")), default="table", show_default=True
)
def growth(  # noqa: PLR0913 one for each option
    *,
    servers: tuple[int, ...],
    sites: tuple[int, ...],
    document_sizes: tuple[int, ...],
    at_servers: int,
    at_sites: int,
    at_size: int,
    form: str,
    page: pathlib.Path | None,
    picture: pathlib.Path | None,
    **asked: object,
) -> int:
    """Publish a few revisions at every point of three lines: more servers, more sites, larger documents.

    Along the last one revisions of both changes: full (nothing stays) and small (one parameter). Any list may be `none`.
    """
    base = Point(at_size, at_servers, at_sites)
    small = {msgspec.structs.replace(base, document_bytes=one) for one in document_sizes}
    points = sorted(
        small
        | {msgspec.structs.replace(base, servers=one) for one in servers}
        | {msgspec.structs.replace(base, sites=one) for one in sites}
    )
    if not points:
        raise errors.UsageError("nothing is to grow", hint="give --servers, --sites or --document-sizes")
    wishes = [_wish(one, both=one in small, asked=asked) for one in points]
    report.check((page, picture))
    for wish in wishes:
        command.check(wish, (ours.Tiercast(),))
    shown = showing.Showing(
        form, wishes[0].directory, wanted=sum(len(one.changes) * one.revisions for one in wishes),
        pages=(page, picture), tables=report.show_growth,
    )  # fmt: skip
    return showing.run(shown, _measured(wishes))


def _wish(point: Point, *, both: bool, asked: dict[str, object]) -> run.Wish:
    """Raises `UsageError` where some site would have no server."""
    command.check_sites(point.servers, point.sites)
    revisions, directory = asked["revisions"], asked["directory"]
    assert isinstance(revisions, int)
    return run.Wish(
        sites=point.sites,
        agents=point.servers,
        document_bytes=point.document_bytes,
        changes=workload.CHANGES if both else workload.CHANGES[:1],
        revisions=revisions,
        mode=str(asked["mode"]),
        tls=bool(asked["tls"]),
        processes=os.cpu_count() or 1,
        directory=directory if isinstance(directory, pathlib.Path) else None,
        rounds_most=1,
    )


async def _measured(wishes: Sequence[run.Wish]) -> AsyncGenerator[results.Result | results.Missing, None]:
    """Point after point."""
    for number, wish in enumerate(wishes, 1):
        size = results.size(wish.document_bytes)
        place = f"point {number} of {len(wishes)}: {wish.agents} servers, {wish.sites} sites, {size}"

        def tell(text: str, place: str = place) -> None:
            showing.progress(f"{place}: {text}")

        try:
            async for one in run.run(wish, (ours.Tiercast(),), tell):
                yield one
        except programs.FailedError as problem:
            raise programs.FailedError(f"{place}: {problem.message}", hint=problem.hint) from problem
