"""Commands that list, page by page until all is there: `sites`, `servers`, `nodes`, `roles`."""

import itertools
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
import msgspec

from coordinator.cli import (
    answers,
    answers_looking,
    client,
    completing,
    exits,
    looking,
    options,
    printing,
    session,
)

PAGE = 1_000
_SERVER = click.option(
    "--on",
    default="",
    metavar="SERVER",
    help="Of this server alone.",
    shell_complete=completing.servers,
)
_STRUCTURED = frozenset({"json", "yaml"})


def pages(shown: session.Session, path: str, part: str, query: Mapping[str, str]) -> dict[str, Any]:
    """All pages as one: the fields of the first, and the entries of all under `part`."""
    asked = shown.client()
    whole: dict[str, Any] = {}
    after = ""
    while True:
        words = {**query, "limit": str(PAGE), **({"after": after} if after else {})}
        answer = asked.call(client.Ask(path=f"{client.CFG}/{path}?{urllib.parse.urlencode(words)}"))
        page = answer.as_(dict[str, Any])
        after = str(page.pop("next", ""))
        whole = {**page, part: [*whole.get(part, ()), *page[part]]}
        if not after:
            return whole


def _given(**words: str) -> dict[str, str]:
    return {key: word for key, word in words.items() if word}


@click.command()
@options.system
@printing.output("table", "json", "yaml", "name")
def sites(form: str) -> int:
    """All sites, with the worst state of their servers."""
    shown = session.current()
    answer = shown.client().call(client.Ask(path=f"{client.CFG}/status"))
    view = answer.as_(answers.StatusView)
    structured = printing.structured(form, bytes(answer.as_(dict[str, msgspec.Raw])["sites"]))
    if structured is not None:
        shown.say(structured)
    elif form == "name":
        shown.say("\n".join(one.site for one in view.sites))
    else:
        rows = [
            (one.site, one.sync, str(sum(one.counts.values())), str(one.counts.get("converged", 0)))
            for one in view.sites
        ]
        shown.say_coloured(
            printing.painted(shown, printing.table(("SITE", "SYNC", "SERVERS", "READY"), rows), 1)
        )
    return exits.Exit.OK


@click.command()
@looking.SITE
@looking.NOT_CONVERGED
@options.system
@printing.output("table", "wide", "json", "yaml", "name")
def servers(site: str, form: str, *, not_converged: bool) -> int:
    """All servers by name, those too that are parked."""
    shown = session.current()
    whole = pages(
        shown, "servers", "servers", _given(site=site, not_converged="true" if not_converged else "")
    )
    if form in _STRUCTURED:
        shown.say(printing.structured(form, msgspec.json.encode(whole["servers"])) or "")
        return exits.Exit.OK
    found = msgspec.convert(whole["servers"], tuple[answers.ServerView, ...])
    if form == "name":
        shown.say("\n".join(one.server for one in found))
    else:
        wide = form == "wide"
        rows = [(*looking.server_row(one), *([", ".join(one.roles)] if wide else ())) for one in found]
        head = (*looking.SERVER_HEAD, *(["ROLES"] if wide else ()))
        shown.say_coloured(printing.painted(shown, printing.table(head, rows), 2))
    return exits.Exit.OK


@click.command()
@looking.SITE
@_SERVER
@options.system
@printing.output("table", "wide", "tree", "json", "yaml", "name")
def nodes(site: str, on: str, form: str) -> int:
    """All worker nodes, and whether their roles are ready."""
    shown = session.current()
    whole = pages(shown, "nodes", "nodes", _given(site=site, server=on))
    view = msgspec.convert(whole, answers_looking.Nodes)
    if form == "tree":
        shown.say_coloured(list(_tree(shown, view.nodes)))
        return exits.Exit.OK
    rows = [
        (
            one.node,
            one.site,
            one.server,
            one.state,
            ", ".join(one.roles) if form == "wide" else str(len(one.roles)),
        )
        for one in view.nodes
    ]
    _print(shown, form, whole, (("NODE", "SITE", "SERVER", "STATE", "ROLES"), rows))
    if form in {"table", "wide"}:
        shown.tell(f"{printing.count(view.total, 'node')}: {counted(view.counts)}")
    return exits.Exit.OK


@click.command()
@looking.SITE
@_SERVER
@click.option("--type", "kind", default="", metavar="TYPE", help="Of this role type alone.")
@options.system
@printing.output("table", "wide", "json", "yaml", "name")
def roles(site: str, on: str, kind: str, form: str) -> int:
    """All roles that are to run, and whether they are ready."""
    shown = session.current()
    whole = pages(shown, "roles", "roles", _given(site=site, server=on, type=kind))
    view = msgspec.convert(whole, answers_looking.Roles)
    wide = form == "wide"
    rows = [
        (one.role, one.type, one.site, one.server, one.state, *([one.node] if wide else ()), one.reason)
        for one in view.roles
    ]
    head = ("ROLE", "TYPE", "SITE", "SERVER", "STATE", *(["NODE"] if wide else ()), "REASON")
    _print(shown, form, whole, (head, rows))
    if form in {"table", "wide"}:
        for name, counts in view.counts.items():
            shown.tell(f"{name}: {counted(counts)}")
    return exits.Exit.OK


def _tree(shown: session.Session, nodes: Sequence[answers_looking.Node]) -> Iterator[str]:
    """Site, server, node, roles; nodes come in that order."""
    for site, of_site in itertools.groupby(nodes, key=lambda one: one.site):
        yield session.clean(site)
        servers = [
            (name, list(some)) for name, some in itertools.groupby(of_site, key=lambda one: one.server)
        ]
        for index, (server, some) in enumerate(servers):
            last = index == len(servers) - 1
            yield f"{'└─' if last else '├─'} {session.clean(server)}"
            for number, node in enumerate(some):
                twig = "└─" if number == len(some) - 1 else "├─"
                roles = session.clean(", ".join(node.roles))
                yield f"{'   ' if last else '│  '}{twig} {session.clean(node.node)}  {shown.coloured(node.state)}  {roles}"


def counted(counts: Mapping[str, int]) -> str:
    """`12 ready, 1 failed`."""
    return ", ".join(f"{number} {state}" for state, number in counts.items()) or "none"


def _print(
    shown: session.Session,
    form: str,
    whole: dict[str, Any],
    table: tuple[Sequence[str], Sequence[Sequence[str]]],
) -> None:
    head, rows = table
    if form in _STRUCTURED:
        shown.say(printing.structured(form, msgspec.json.encode(whole)) or "")
    elif form == "name":
        shown.say("\n".join(row[0] for row in rows))
    else:
        shown.say_coloured(printing.painted(shown, printing.table(head, rows), head.index("STATE")))
