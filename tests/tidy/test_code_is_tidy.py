"""The habits of code that no linter of ours knows: sizes, names, words and calls that stay out."""

import ast
import pathlib
import re
from collections.abc import Iterator

from tests.tidy import tree

FUNCTION_LINES = 60
MODULE_LINES = 500
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "manager", "handler", "common", "misc"}
UNFINISHED = re.compile(r"\b(?:TO(?:DO)|FIX(?:ME)|X{3}|NotImplemented(?:Error))\b")
RUNS_WHAT_IT_READS = {"pickle", "cPickle", "dill", "cloudpickle", "shelve"}


def functions(path: pathlib.Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree.syntax(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{tree.place(path, function.lineno)} {function.name}: {length} lines"
        for path in tree.python_files(*tree.PRODUCT)
        for function in functions(path)
        if (length := (function.end_lineno or function.lineno) - function.lineno + 1) > FUNCTION_LINES
    ]
    assert not long


def test_no_module_is_longer_than_a_sitting() -> None:
    long = [
        f"{tree.place(path)}: {length} lines"
        for path in tree.python_files(*tree.PRODUCT)
        if (length := len(path.read_text(encoding="utf-8").splitlines())) > MODULE_LINES
    ]
    assert not long


def test_no_module_has_a_name_that_could_hold_anything() -> None:
    files = tree.python_files(*tree.PRODUCT, "tests")
    vague = {tree.place(path) for path in files if VAGUE_NAMES & {path.stem, path.parent.name}}
    assert not vague


def test_nothing_is_left_for_later_in_the_code() -> None:
    left = [
        f"{tree.place(path, number)}: {line.strip()}"
        for path in tree.python_files(*tree.PRODUCT, "tests")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if UNFINISHED.search(line)
    ]
    assert not left


def test_no_format_that_runs_what_it_reads_is_imported() -> None:
    found = [
        tree.place(path, getattr(node, "lineno", None))
        for path in tree.python_files(*tree.PRODUCT, "tests")
        for node in ast.walk(tree.syntax(path))
        if any(name.partition(".")[0] in RUNS_WHAT_IT_READS for name in imported(node))
    ]
    assert not found


def test_the_library_that_our_store_is_held_against_is_for_the_tests_alone() -> None:
    found = [
        tree.place(path, getattr(node, "lineno", None))
        for path in tree.python_files(*tree.PRODUCT)
        for node in ast.walk(tree.syntax(path))
        if any(name.partition(".")[0] == "pysyncobj" for name in imported(node))
    ]
    assert not found


def test_no_command_goes_through_a_shell() -> None:
    found = [
        tree.place(path, node.value.lineno)
        for path in tree.python_files(*tree.PRODUCT, "tests")
        for node in ast.walk(tree.syntax(path))
        if isinstance(node, ast.keyword) and node.arg == "shell"
        if not (isinstance(node.value, ast.Constant) and node.value.value is False)
    ]
    assert not found
