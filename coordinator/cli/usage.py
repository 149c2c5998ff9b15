"""Wrong usage in our own voice: what click raises, as a message and a hint.

Lower case, what is wrong, `(got X)`, no full stop; the hint names the nearest word there is, else where the help is.
Law: knows click's exceptions and the tree of commands, and runs none of them.
"""

from collections.abc import Iterator, Sequence

import click

_GROUPS = ("server", "admin", "token", "store", "context", "domains", "kv")
"""Where a word that is no command by itself may be one."""


def told(wrong: click.ClickException, root: click.Group, arguments: Sequence[str]) -> tuple[str, str]:
    """(message, hint)."""
    context = wrong.ctx if isinstance(wrong, click.UsageError) else None
    path = context.command_path if context is not None else _path(root, arguments)
    help_of = f"{path} --help"
    match wrong:
        case click.NoSuchCommand():
            return f"no such command (got {wrong.command_name!r})", _command(wrong, root, path) or help_of
        case click.NoSuchOption():
            near = f"did you mean {wrong.possibilities[0]}?" if wrong.possibilities else help_of
            return f"no such option (got {wrong.option_name})", near
        case click.MissingParameter():
            return f"{_called(wrong.param)} is missing{_choices(wrong.param)}", help_of
        case click.BadParameter():
            return f"{_called(wrong.param)}: {plain(wrong.message)}", help_of
        case _:
            return plain(wrong.format_message()), help_of


def plain(message: str) -> str:
    """A sentence of click's as one of ours."""
    text = message.strip().removesuffix(".")
    return text[:1].lower() + text[1:] if text[:2].istitle() else text


def _called(parameter: click.Parameter | None) -> str:
    """`--timeout`, `SERVER`."""
    if parameter is None:
        return "an argument"
    if isinstance(parameter, click.Option):
        return max(parameter.opts, key=len)
    name = parameter.metavar or (parameter.name or "argument").upper()
    return name.strip("[]").removesuffix("...")


def _choices(parameter: click.Parameter | None) -> str:
    if parameter is None or not isinstance(parameter.type, click.Choice):
        return ""
    return f" (have {', '.join(str(one) for one in parameter.type.choices)})"


def _command(wrong: click.NoSuchCommand, root: click.Group, path: str) -> str:
    """The nearest command, or the same word within a group."""
    if wrong.ctx is not None and wrong.ctx.parent is None:
        within = list(_within(root, wrong.command_name))
        if len(within) == 1:
            return f"did you mean `{within[0]}`?"
    near = wrong.possibilities
    return f"did you mean `{path} {near[0]}`?" if near else ""


def _within(root: click.Group, word: str) -> Iterator[str]:
    context = click.Context(root, info_name=root.name)
    for name in _GROUPS:
        group = root.get_command(context, name)
        if isinstance(group, click.Group) and word in group.list_commands(context):
            yield f"{root.name} {name} {word}"


def _path(root: click.Group, arguments: Sequence[str]) -> str:
    """As far as the words name commands: of errors that click raises without their context."""
    words, command = [root.name or ""], root
    context = click.Context(root)
    for word in arguments:
        found = command.get_command(context, word)
        if found is None:
            break
        words.append(word)
        if not isinstance(found, click.Group):
            break
        command = found
    return " ".join(words)
