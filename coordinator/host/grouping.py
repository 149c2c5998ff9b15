"""A group of commands whose help names every one of them with a whole clause, on a terminal of any width.

Law: knows click alone. What stands in the list is the beginning of the command's own docstring, never cut within a word.
"""

import re

import click

_SENTENCE = re.compile(r"\.(?:\s|$)")
_CLAUSE = re.compile(r"[;:?](?:\s|$)|\s\(")
SENTENCE_CHARACTERS = 80  # a longer one gives its first clause; the rest stands in the command's own help
CLAUSE_CHARACTERS = 20  # less says nothing


class Group(click.Group):
    """click cuts a summary at the width and ends it with dots; here it is wrapped."""

    group_class = type

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands, each with its summary."""
        rows = [
            (name, summary(command))
            for name in self.list_commands(ctx)
            if (command := self.get_command(ctx, name)) is not None and not command.hidden
        ]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def summary(command: click.Command) -> str:
    """The first sentence of its help, or of a long one the first clause."""
    text = " ".join((command.help or "").partition("\n\n")[0].split())
    sentence = _SENTENCE.split(text, maxsplit=1)[0]
    found = _CLAUSE.search(sentence, CLAUSE_CHARACTERS)
    if found is None or len(sentence) <= SENTENCE_CHARACTERS:
        return sentence
    kept = found.end() if sentence[found.start()] == "?" else found.start()
    return sentence[:kept].rstrip()
