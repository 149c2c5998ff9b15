"""The files of this checkout that the rules of tests/tidy are about. Reads, never writes."""

import ast
import functools
import pathlib
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parents[2]
PRODUCT = ("coordinator", "nodeagent", "bench")
FOLDERS = (*PRODUCT, "tests", "docs", "examples", ".ci")
TEXT_SUFFIXES = {
    ".py",
    ".md",
    ".yaml",
    ".yml",
    ".json",
    ".toml",
    ".txt",
    ".lock",
    ".cfg",
    ".sh",
    ".service",
    "",
}


def python_files(*folders: str) -> list[pathlib.Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def text_files() -> Iterator[pathlib.Path]:
    """Everything that people write here: the files of the root and of the folders, not what tools left behind."""
    candidates = [*ROOT.iterdir(), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    for path in sorted(candidates):
        written = path.suffix in TEXT_SUFFIXES and "__pycache__" not in path.parts
        if path.is_file() and written and path.name not in {".git", ".coverage", ".DS_Store"}:
            yield path


@functools.cache
def syntax(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def place(path: pathlib.Path, line: int | None = None) -> str:
    """`path:line`, relative to the checkout, for a message."""
    relative = path.relative_to(ROOT).as_posix()
    return relative if line is None else f"{relative}:{line}"
