"""Commands and pages agree: every command and option stands in docs/commands.md, and no page names one that does not exist.

The page below its line of `MARK` is what the commands say of themselves. After a change that is meant:
`TIERCAST_REWRITE_GOLDEN=1 pytest tests/tidy/test_commands_are_written.py`, then read the difference.
"""

import functools
import os
import pathlib
import re
import shlex
from collections.abc import Iterator

import click

from coordinator.cli import main
from tests.tidy import tree

PAGE = tree.ROOT / "docs" / "commands.md"
MARK = "<!-- from here on: what the commands say of themselves -->\n"
HISTORY = {"CHANGELOG.md", "decisions"}
"""Where old names may stand."""
BENCH = "bench"
"""Told in a page of its own, by name."""
SHARED = {"--server", "--context", "--output", "--help"}
"""Told once, at the top of the page, where they mean the same everywhere."""
FENCE = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
CALL = re.compile(r"(?:^\s*|\$ |\$\(|; ?|\.venv/bin/)tiercast ([a-z][^#|;&)`]*)")


@functools.cache
def commands() -> tuple[tuple[tuple[str, ...], click.Command], ...]:
    """(words, command) of all that can be run, groups too, in the order of the help."""
    return tuple(_below(main.root, (), click.Context(main.root, info_name="tiercast")))


def _below(
    command: click.Command, words: tuple[str, ...], context: click.Context
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if words:
        yield words, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, (*words, name)
            yield from _below(below, (*words, name), context)


def options(command: click.Command) -> Iterator[click.Option]:
    return (one for one in command.params if isinstance(one, click.Option) and not one.hidden)


def flags(command: click.Command) -> set[str]:
    return {flag for one in options(command) for flag in (*one.opts, *one.secondary_opts)} | {"-h", "--help"}


def entry(words: tuple[str, ...], command: click.Command) -> str:
    """Of one command: how it is called, what it does, its options."""
    path = " ".join(("tiercast", *words))
    context = click.Context(command, info_name=path)
    taken = " ".join(piece for piece in command.collect_usage_pieces(context) if piece != "[OPTIONS]")
    if isinstance(command, click.Group):
        return f"### {path}\n\n{_text(command)}\n"
    lines = [f"### {path}", "", f"`{f'{path} {taken}'.rstrip()}`", "", _text(command), ""]
    for one in options(command):
        if set(one.opts) & SHARED and (one.help or "") in _SHARED_HELP:
            continue
        record = one.get_help_record(context)
        assert record is not None, (path, one.name)
        lines.append(f"- `{record[0]}`: {' '.join(record[1].split()) or 'How to print.'}")
    if command.epilog:
        lines += ["", "```", *(line.strip() for line in command.epilog.splitlines()[2:]), "```"]
    return "\n".join(lines).rstrip() + "\n"


_SHARED_HELP = {"Ask here (TIERCAST_SERVER).", "Of `tiercast context list`.", "How to print."}


def _text(command: click.Command) -> str:
    paragraphs = (command.help or "").split("\n\n")
    return "\n\n".join(" ".join(one.split()) for one in paragraphs)


def told_of_themselves() -> str:
    told = ""
    for section in main.SECTIONS:
        names = [
            name for name, listed in main.COMMANDS.items() if listed.section == section and name != BENCH
        ]
        own = [entry(words, command) for words, command in commands() if words[0] in names]
        told += "".join(f"\n{one}" for one in (f"## {section.capitalize()}\n", *own) if own)
    return told


def pages() -> list[pathlib.Path]:
    found = [path for path in tree.text_files() if path.suffix == ".md"]
    return [path for path in found if not HISTORY & set(path.relative_to(tree.ROOT).parts)]


def called(page: pathlib.Path) -> Iterator[str]:
    """What stands behind `tiercast` in code, a line that goes on joined to the next."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for block in (*FENCE.findall(text), *INLINE.findall(FENCE.sub("", text))):
        for line in block.splitlines():
            yield from (match.strip() for match in CALL.findall(line.partition("  #")[0]))


def wrong_with(call: str, known: dict[tuple[str, ...], click.Command]) -> str:
    """What a person who types it would be told; empty where it is well."""
    try:
        words = shlex.split(call.replace("...", ""))
    except ValueError:
        words = call.split()
    path: tuple[str, ...] = ()
    while len(path) < len(words) and (*path, words[len(path)]) in known:
        path = (*path, words[len(path)])
    if not path:
        return f"no such command: {call}"
    command = known[path]
    rest = words[len(path) :]
    if isinstance(command, click.Group) and rest and re.fullmatch(r"[a-z][a-z-]+", rest[0]):
        return f"{' '.join(path)} has no command {rest[0]!r}: {call}"
    given = {re.sub(r"[=,.:)\]].*", "", word) for word in rest if re.match(r"--?[a-z]", word)}
    unknown = given - flags(command)
    return f"{' '.join(path)} has no {', '.join(sorted(unknown))}: {call}" if unknown else ""


def test_the_page_of_commands_is_what_the_commands_say() -> None:
    head, mark, written = PAGE.read_text(encoding="utf-8").partition(MARK)
    assert mark
    told = told_of_themselves()
    if os.environ.get("TIERCAST_REWRITE_GOLDEN"):
        PAGE.write_text(head + MARK + told, encoding="utf-8")
        return
    assert written == told, "rewrite it: see the top of this file"


def test_every_measurement_stands_in_the_page_of_measuring() -> None:
    page = (tree.ROOT / "docs" / "bench.md").read_text(encoding="utf-8")
    measured = [words[1] for words, _ in commands() if words[0] == BENCH and len(words) > 1]
    assert [name for name in measured if not re.search(rf"(?<![\w-]){name}(?![\w-])", page)] == []


def test_every_command_and_option_says_what_it_is_for() -> None:
    silent = [" ".join(words) for words, command in commands() if not (command.help or "").strip()]
    silent += [
        f"{' '.join(words)} {one.opts[0]}"
        for words, command in commands()
        for one in options(command)
        if words[0] != BENCH and not one.help and set(one.opts) != {"-o"}
    ]
    assert silent == []


def test_no_page_names_a_command_or_an_option_that_does_not_exist() -> None:
    known = dict(commands())
    wrong = [
        f"{tree.place(page)}: {told}"
        for page in pages()
        for call in called(page)
        if (told := wrong_with(call, known))
    ]
    assert wrong == []


def test_what_is_wrong_in_a_page_would_be_found() -> None:
    known = dict(commands())
    assert wrong_with("aply x.yaml", known)
    assert wrong_with("server strat", known)
    assert wrong_with("status --not-convergd", known)
    assert not wrong_with("apply site.yaml -m why --wait all", known)
