"""`tiercast bench propagation`: how long a revision takes to everyone and back, beside what people would pick instead."""

import os
import pathlib
import re
from collections.abc import Sequence

import click

from bench import report, showing
from bench.peers import systems
from bench.propagation import checks, roster, run, stand, workload
from coordinator import errors, limits
from coordinator.cli import printing

_UNITS = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
_SIZE = re.compile(r"(\d+)\s*([A-Za-z]*)")


class Size(click.ParamType[int]):
    """`64KiB`, `1MiB`, `1024`."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = _SIZE.fullmatch(str(value).strip())
        unit = None if match is None else _UNITS.get(match[2].upper())
        if match is None or unit is None:
            self.fail(f"not a size (got {value!r}, have forms like 1024, 64KiB, 1MiB)", param, ctx)
        found = int(match[1]) * unit
        if not workload.SIZE_BYTES_MIN <= found <= limits.DOCUMENT_BYTES:
            self.fail(
                f"out of bounds (got {found}, have {workload.SIZE_BYTES_MIN}..{limits.DOCUMENT_BYTES})",
                param,
                ctx,
            )
        return found


@click.command()
@click.option("--sites", type=click.IntRange(1, limits.SITES), default=10, show_default=True, help="ICs.")
@click.option(
    "--servers", type=click.IntRange(1, limits.SERVERS), default=1000, show_default=True, help="Agents."
)
@click.option("--document-size", type=Size(), default="64KiB", show_default=True)
@click.option("--change", type=click.Choice(("full", "small", "both")), default="full", show_default=True)
@click.option(
    "--revisions",
    type=click.IntRange(1, 90),
    default=20,
    show_default=True,
    help="Of each system and change.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 20),
    default=run.ROUNDS,
    show_default=True,
    help="In which every system stands up anew, in an order that turns.",
)
@click.option(
    "--mode",
    type=click.Choice(roster.MODES),
    default=roster.PROPAGATION,
    show_default=True,
    help="full: agents verify signatures and write ledgers.",
)
@click.option(
    "--peers", default="none", show_default=True, help=f"none, all, or of {', '.join(systems.PEERS)}."
)
@click.option("--tls", is_flag=True, help="Our own hops over mutual TLS; peers stay plain.")
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=None,
    help="That agents are packed into (default: cores).",
)
@click.option("--dir", "directory", type=click.Path(path_type=pathlib.Path, exists=True, file_okay=False), default=None,
              help="Where stores and ledgers stand meanwhile (default: the temporary directory).")  # fmt: skip
@click.option("--html", "page", type=report.MADE, help="Write a page with plots that needs nothing else.")
@click.option("--png", "picture", type=report.MADE, help="Write a picture (needs tiercast[bench]).")
@printing.output("table", "json")
def propagation(
    form: str,
    change: str,
    peers: str,
    processes: int | None,
    page: pathlib.Path | None,
    picture: pathlib.Path | None,
    **asked: object,
) -> int:
    """Publish revisions at a real MIC, through real ICs, to many agents; the clock stops at MIC with the last ack.

    Mode propagation: agents ack on receipt and digest, as the peers' clients do. Mode full: they verify signatures and
    write their ledgers durably, which no peer does. Everything runs on this machine, over loopback, below one temporary
    directory that is gone at the end.
    """
    wish = run.Wish(
        sites=_int(asked["sites"]),
        agents=_int(asked["servers"]),
        document_bytes=_int(asked["document_size"]),
        changes=workload.CHANGES if change == "both" else (change,),
        revisions=_int(asked["revisions"]),
        mode=str(asked["mode"]),
        tls=bool(asked["tls"]),
        processes=processes or os.cpu_count() or 1,
        rounds_most=_int(asked["rounds"]),
        directory=asked["directory"] if isinstance(asked["directory"], pathlib.Path) else None,
    )
    check_sites(wish.agents, wish.sites)
    chosen = run.systems_of(peers, systems.PEERS)
    if wish.mode == roster.FULL and len(chosen) > 1:
        raise errors.UsageError(
            "peers do the work of mode propagation alone (got --mode full)", hint="leave --peers out"
        )
    report.check((page, picture))
    check(wish, chosen)
    wanted = sum(not one.missing() for one in chosen) * len(wish.changes) * wish.revisions
    shown = showing.Showing(form, wish.directory, wanted=wanted, pages=(page, picture))
    return showing.run(shown, run.run(wish, chosen, showing.progress))


def check_sites(servers: int, sites: int) -> None:
    """Raises `UsageError`."""
    if servers < sites:
        raise errors.UsageError(
            f"a site without a server is no site (got {servers} servers, {sites} sites)",
            hint="take fewer sites, or more servers",
        )


def check(wish: run.Wish, chosen: Sequence[stand.System]) -> None:
    """Before anything is started. Raises `UsageError`."""
    flat = any(one.flat and not one.missing() for one in chosen)
    checks.check(
        checks.Need(
            agents=wish.agents,
            links_of_one=wish.agents
            if flat
            else max(-(-wish.agents // n) for n in (wish.processes, wish.sites)),
            document_bytes=wish.document_bytes,
            programs=wish.sites + wish.processes + 1,
        )
    )


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
