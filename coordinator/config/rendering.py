"""Findings and plans as lines for people, so that the command line and the API print the same.

Pure text, no colour, no terminal. Law: every refused rule, absent server and counted role is in the output,
if not by name then by number.
"""

from collections.abc import Iterator

import msgspec

from coordinator.config import diff, findings, transition

LINE_CHARACTERS = 120  # of the shown line; JSON may be one line of megabytes
VALUE_CHARACTERS = 60
ROLES = 40  # shown unless everything is asked for
CHANGES = 4  # of one role


def render_finding(finding: findings.Finding, text: str) -> str:
    """`file:line:column`, the sentence, the line with a caret, and the hint. `text` is that of the finding's file."""
    return render_pointed(finding, *excerpt(finding, text))


def render_pointed(finding: findings.Finding, shown: str, caret: int) -> str:
    """As `render_finding`, where the line is at hand already."""
    place = f"{finding.file}:{finding.line}:{finding.column}: " if finding.file else ""
    lines = [f"{place}{finding.severity} {finding.rule}: {finding.message}"]
    lines += _pointed(finding, shown, caret)
    if finding.hint:
        lines.append(f"  hint: {finding.hint}")
    return "\n".join(lines)


def excerpt(finding: findings.Finding, text: str) -> tuple[str, int]:
    """The finding's line of `text`, cut where it is long, and where in it the column is, from 1; empty where there is none."""
    lines = text.split("\n", finding.line)
    if len(lines) < finding.line or not lines[finding.line - 1].strip():
        return "", 0
    line = lines[finding.line - 1].rstrip("\r")
    start = max(0, finding.column - 1 - LINE_CHARACTERS // 2) if len(line) > LINE_CHARACTERS else 0
    return line[start : start + LINE_CHARACTERS].replace("\t", " "), finding.column - start


def _pointed(finding: findings.Finding, shown: str, caret: int) -> list[str]:
    if not shown:
        return []
    number = str(finding.line)
    margin = " " * len(number)
    return [f"  {number} | {shown}", f"  {margin} | {' ' * (caret - 1)}^"]


def render_plan(plan: transition.Plan, *, full: bool = False) -> str:
    """What each role meets with and why, absent servers, warnings, refused rules with their steps, and a summary.

    What a person must act on comes last, where a long plan leaves it on the screen.
    """
    lines = [
        *_difference(plan.difference, full=full),
        *_absent(plan, full=full),
        *_warnings(plan),
        *_refusals(plan),
    ]
    return "\n".join([*lines, summary(plan)])


def render_difference(difference: diff.Difference, *, full: bool = False) -> str:
    """What differs, and a line of numbers."""
    return "\n".join([*_difference(difference, full=full), _counts(difference)])


def summary(plan: transition.Plan) -> str:
    """One line of numbers."""
    if plan.verdict == "unchanged":
        return "unchanged: the document is the active one"
    counts = _counts(plan.difference)
    return f"refused: {counts}" if plan.verdict == "refused" else counts


def _counts(difference: diff.Difference) -> str:
    count = difference.count
    return (
        f"{count(diff.Action.START)} to start, {count(diff.Action.STOP)} to stop, {count(diff.Action.HOT)} hot, "
        f"{count(diff.Action.RESTART)} restart, {count(diff.Action.MOVE)} move, unchanged {difference.unchanged}"
    )


def _refusals(plan: transition.Plan) -> Iterator[str]:
    for refusal in plan.refusals:
        yield f"refused {refusal.rule}: {refusal.message}"
        yield from (f"  {number}. {step}" for number, step in enumerate(refusal.steps, 1))


def _warnings(plan: transition.Plan) -> Iterator[str]:
    return (f"warning {warned.rule}: {warned.message}" for warned in plan.warnings)


def _absent(plan: transition.Plan, *, full: bool) -> Iterator[str]:
    shown = plan.absent if full else sorted(plan.absent, key=lambda one: one.outcome, reverse=True)[:ROLES]
    yield from (f"absent {one.name}: {one.outcome}" for one in shown)
    yield from _more(len(plan.absent) - len(shown), "absent servers")


def _difference(difference: diff.Difference, *, full: bool) -> Iterator[str]:
    for kind, items in (("site", difference.sites), ("server", difference.servers)):
        shown = items if full else items[:ROLES]
        for item in shown:
            yield f"{kind} {item.name} {item.action}{_why(item.changes)}"
        yield from _more(len(items) - len(shown), f"{kind}s")
    changes = difference.settings if full else difference.settings[:ROLES]
    yield from (f"setting {_change(change)}" for change in changes)
    yield from _more(len(difference.settings) - len(changes), "settings")
    roles = difference.roles if full else difference.roles[:ROLES]
    yield from (_role(change) for change in roles)
    yield from _more(len(difference.roles) - len(roles), "roles")


def _more(count: int, things: str) -> Iterator[str]:
    if count > 0:
        yield f"and {count} more {things}"


def _role(change: diff.RoleChange) -> str:
    spot = change.new or change.old
    assert spot is not None
    where = f"{spot.server} ({spot.site})"
    if change.action is diff.Action.MOVE and change.old is not None:
        where = f"{change.old.server} -> {where}"
    return f"{change.action:<8}{change.role} on {where}{_why(_told(change))}"


def _told(change: diff.RoleChange) -> tuple[diff.Change, ...]:
    """Of a move, the new place is said already."""
    if change.action is not diff.Action.MOVE:
        return change.changes
    return tuple(one for one in change.changes if one.path not in {"site", "server", "address", "node"})


def _why(changes: tuple[diff.Change, ...]) -> str:
    if not changes:
        return ""
    more = f", and {len(changes) - CHANGES} more" if len(changes) > CHANGES else ""
    return ": " + ", ".join(_change(change) for change in changes[:CHANGES]) + more


def _change(change: diff.Change) -> str:
    return f"{change.path} {_value(change.old)} -> {_value(change.new)}"


def _value(value: object) -> str:
    if value is None:
        return "none"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= VALUE_CHARACTERS else f"{text[: VALUE_CHARACTERS - 3]}..."
