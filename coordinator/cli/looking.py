"""Commands that look at what is: `status`, `describe`."""

import urllib.parse
from collections.abc import Iterator, Sequence

import click

from coordinator import errors
from coordinator.cli import (
    answers,
    client,
    completing,
    exits,
    glancing,
    options,
    printing,
    rollouts,
    session,
    waiting,
)
from coordinator.host import durations

WATCH_S = 1.0
WATCH_WAIT_S = 20.0  # the system answers as soon as there are news
FOR_EVER_S = 10.0 * 365 * 86400  # of one who watches; Ctrl-C ends it
SERVER_HEAD = ("SERVER", "SITE", "SYNC", "FOR", "LEVEL", "REVISION", "LINK", "REASON")
SITE = click.option(
    "--site",
    default="",
    metavar="S",
    help="Of this site alone, by server.",
    shell_complete=completing.sites,
)
NOT_CONVERGED = click.option("--not-converged", is_flag=True, help="Only servers that are not there yet.")


@click.command(
    epilog=options.examples(
        "tiercast status -w", "tiercast status --site north -o tree", "tiercast status r42-9f1c2e --exit-code"
    )
)
@click.argument("rollout", required=False, metavar="[ROLLOUT]")
@SITE
@NOT_CONVERGED
@click.option("--exit-code", is_flag=True, help="Exit 0 converged, 5 failed, 6 running, 7 some absent.")
@click.option("-w", "--watch", is_flag=True, help="Go on looking; of a rollout, until it is settled.")
@options.system
@printing.output("table", "wide", "tree", "json", "yaml", "name")
def status(
    rollout: str | None, site: str, form: str, *, not_converged: bool, exit_code: bool, watch: bool
) -> int:
    """Is everything on the active revision? The whole system by site, or one rollout by its id."""
    shown = session.current()
    asked = shown.client()
    if rollout:
        return _rollout(shown, asked, rollout, (form, watch, exit_code))
    details = form in {"wide", "tree"} or bool(site) or not_converged
    query = {"site": site, "not_converged": str(not_converged).lower(), "details": str(details).lower()}
    if watch:
        return _watch(shown, asked, query, (form, details))
    answer = asked.call(client.Ask(path=f"{client.CFG}/status?{urllib.parse.urlencode(query)}"))
    view = answer.as_(answers.StatusView)
    _print_status(shown, answer, view, (form, details))
    if exit_code and answer.as_of:
        return exits.Exit.NO_COORDINATOR
    return _state_exit(view.rollout) if exit_code else exits.Exit.OK


def _rollout(
    shown: session.Session, asked: client.Client, rollout: str, wanted: tuple[str, bool, bool]
) -> int:
    form, watch, exit_code = wanted
    level, timeout_s = (waiting.Level.ALL, FOR_EVER_S) if watch else (waiting.Level.NONE, 0.0)
    if watch:
        waited = waiting.Waiter(shown, asked, rollout).wait(level, timeout_s)
        view, body, code = waited.view, waited.body, waited.exit
    else:
        answer = asked.call(client.Ask(path=f"{client.CFG}/rollouts/{urllib.parse.quote(rollout, safe='')}"))
        view, body = answer.as_(answers.RolloutView), answer.body
        code = _state_exit(view)
    structured = printing.structured(form, body)
    if structured is not None:
        shown.say(structured)
    elif form == "name":
        shown.say(rollout)
    elif view is not None:
        shown.say(rollouts.closing(view))
        shown.say_coloured(_by_site(shown, view))
    return code if exit_code or code is exits.Exit.INTERRUPTED else exits.Exit.OK


def _by_site(shown: session.Session, view: answers.RolloutView) -> list[str]:
    """Sites that are not there yet."""
    rows = [
        (one.site, one.sync, str(one.ready), str(one.reachable), str(one.asked))
        for one in view.by_site
        if one.ready < one.asked
    ]
    head = ("SITE", "SYNC", "READY", "REACHABLE", "ASKED")
    return printing.painted(shown, printing.table(head, rows), 1) if rows else []


def _state_exit(view: answers.RolloutView | None) -> exits.Exit:
    return exits.Exit.OK if view is None else exits.of_state(view.state, absent_matter=True)


def _watch(
    shown: session.Session, asked: client.Client, query: dict[str, str], wanted: tuple[str, bool]
) -> int:
    """Print whenever something has changed, at most once in `WATCH_S`, until Ctrl-C."""
    index = -1
    try:
        while True:
            waits = {"index": str(index), "wait": f"{WATCH_WAIT_S:.0f}s"} if index >= 0 else {}
            words = urllib.parse.urlencode({**query, **waits})
            try:
                patience_s = WATCH_WAIT_S + waiting.SLACK_S
                answer = asked.call(
                    client.Ask(path=f"{client.CFG}/status?{words}", timeout_s=patience_s, patient=False)
                )
            except errors.TiercastError as error:
                if client.code_of(error) not in waiting.PASSING:
                    raise
                shown.progress(waiting.retrying(asked, error))
            else:
                view = answer.as_(answers.StatusView)
                if view.index != index or answer.as_of:
                    if index >= 0 and wanted[0] in {"table", "wide", "tree"}:
                        shown.say("")
                    _print_status(shown, answer, view, wanted)
                    index = view.index
            shown.sleep(WATCH_S)
    except KeyboardInterrupt:
        return exits.Exit.INTERRUPTED


def _print_status(
    shown: session.Session, answer: client.Answer, view: answers.StatusView, wanted: tuple[str, bool]
) -> None:
    form, details = wanted
    structured = printing.structured(form, answer.body)
    if structured is not None:
        shown.say(structured)
    elif form == "name":
        shown.say("\n".join(one.site for one in view.sites))
    elif form == "tree":
        shown.say_coloured(list(_tree(shown, view)))
    else:
        every = form == "wide"
        named = _servers(shown, view) if details else _waited(shown, view)
        quiet = [session.clean(line) for line in glancing.remarks(view, every=every)]
        shown.say_coloured([_headline(shown, view), *_sites(shown, view, every=every), *named, *quiet])


def plain_headline(view: answers.StatusView) -> str:
    """Without colours."""
    told = "" if view.rollout is None else f"  {view.rollout.state}: {rollouts.numbers(view.rollout)}"
    return f"revision {view.version.revision}{told}"


def _headline(shown: session.Session, view: answers.StatusView) -> str:
    line = f"revision {view.version.revision}  digest {printing.short(view.digest)}"
    if view.version.generation > 1:
        line += f"  generation {view.version.generation}"
    if view.rollout is not None:
        line += f"  {shown.coloured(view.rollout.state)}: {rollouts.numbers(view.rollout)}"
    return line if view.coordinator == "active" else f"{line}  coordinator: {view.coordinator}"


def _sites(shown: session.Session, view: answers.StatusView, *, every: bool) -> list[str]:
    rows = glancing.site_rows(view, every=every)
    return printing.painted(shown, printing.table(glancing.SITE_HEAD, rows), 1) if rows else []


def _waited(shown: session.Session, view: answers.StatusView) -> list[str]:
    """Who is not there yet, for how long, and why."""
    rows = glancing.server_rows(view)
    named = printing.painted(shown, printing.table(glancing.SERVER_HEAD, rows), 2) if rows else []
    more = glancing.unnamed(view)
    return ["", *named, *([more] if more else [])] if named or more else []


def _servers(shown: session.Session, view: answers.StatusView) -> list[str]:
    rows = [server_row(one) for site in view.sites for one in site.servers]
    return ["", *printing.painted(shown, printing.table(SERVER_HEAD, rows), 2)] if rows else []


def _link(one: answers.ServerView) -> str:
    return "up" if one.linked else f"none {printing.since(one.since_s)}".rstrip()


def server_row(one: answers.ServerView) -> tuple[str, ...]:
    reason = f"{one.reason} (id {one.id})" if one.id else one.reason
    span = "" if one.since_s is None else durations.written(one.since_s)
    link = "up" if one.linked else "none"
    return one.server, one.site, one.sync, span, one.level, one.revision, link, reason


def _tree(shown: session.Session, view: answers.StatusView) -> Iterator[str]:
    yield _headline(shown, view)
    for index, site in enumerate(view.sites):
        last = index == len(view.sites) - 1
        ready, total = site.counts.get("converged", 0), sum(site.counts.values())
        yield f"{'└─' if last else '├─'} {session.clean(site.site)}  {shown.coloured(site.sync)}  {ready} of {total}"
        yield from _branch(shown, site.servers, "   " if last else "│  ")


def _branch(shown: session.Session, servers: Sequence[answers.ServerView], before: str) -> Iterator[str]:
    for index, one in enumerate(servers):
        last = index == len(servers) - 1
        level = "" if one.level == "none" else one.level
        told = [one.server, shown.coloured(one.sync), one.revision, level, one.reason]
        told.append(printing.since(one.since_s))
        line = "  ".join(part if part.startswith("\x1b") else session.clean(part) for part in told if part)
        yield f"{before}{'└─' if last else '├─'} {line}"
        for number, role in enumerate(one.roles):
            twig = "└─" if number == len(one.roles) - 1 else "├─"
            yield f"{before}{'   ' if last else '│  '}{twig} {session.clean(role)}"


@click.command()
@click.argument("name", metavar="SERVER", shell_complete=completing.servers)
@options.system
@printing.output("table", "json", "yaml")
def describe(name: str, form: str) -> int:
    """What a server itself says of its nodes and roles."""
    shown = session.current()
    answer = shown.client().call(client.Ask(path=f"{client.CFG}/servers/{urllib.parse.quote(name, safe='')}"))
    structured = printing.structured(form, answer.body)
    if structured is not None:
        shown.say(structured)
        return exits.Exit.OK
    view = answer.as_(answers.Described)
    shown.say_coloured(list(_described(shown, view)))
    return exits.Exit.OK


def _described(shown: session.Session, view: answers.Described) -> Iterator[str]:
    one = view.server
    revision = f"{one.revision or '-'} ({one.level or 'nothing yet'})"
    facts = {
        "site": one.site or "-",
        "address": view.address or "-",
        "revision": revision,
        "link": _link(one),
    }
    if not view.reason:
        facts["revision"] += f", accepted {view.accepted or '-'}"
        facts |= {"parent": view.parent or "-", "boot": str(view.boot)}
    yield f"{session.clean(one.server)}  {shown.coloured(one.sync)}" + (
        f"  {session.clean(one.reason)}" if one.reason else ""
    )
    yield from (f"  {name + ':':<10}{session.clean(value)}" for name, value in facts.items())
    if view.reason:
        yield f"  {session.clean(view.reason)}; this is what is known of it here"
    if view.nodes:
        yield ""
        yield from _roles(shown, view.nodes)


def _roles(shown: session.Session, nodes: Sequence[answers.NodeView]) -> Iterator[str]:
    """Each node, and below it its roles, as narrow as they are."""
    rows = [_role_row(role) for node in nodes for role in node.roles]
    head = ("ROLE", "TYPE", "HEALTH", "LEVEL", "REVISION", "DETAIL")
    lines = iter(printing.painted(shown, printing.table(head, rows), 2))
    yield f"  {next(lines)}"
    for node in nodes:
        told = [node.state, f"pid {node.pid}" if node.pid else "", printing.count(node.restarts, "restart")]
        yield f"{session.clean(node.node)}  {session.clean(', '.join(part for part in told if part))}"
        yield from (f"  {next(lines)}" for _ in node.roles)


def _role_row(role: answers.RoleView) -> tuple[str, ...]:
    return role.role, role.type, role.health, role.level, role.revision, role.detail
