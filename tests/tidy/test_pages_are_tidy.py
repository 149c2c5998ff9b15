"""The written pages: links that lead somewhere, decisions in order, no path of somebody's machine."""

import pathlib
import re

from tests.tidy import tree

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
OUTSIDE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)
MACHINE_PATH = re.compile(r"(?<![\w.)}\]])/(?:work|root|home)/\w")
DECISIONS = tree.ROOT / "docs" / "decisions"
DECISION_NAME = re.compile(r"^(\d{4})-[a-z0-9]+(?:-[a-z0-9]+)*\.md$")
DECISION_PARTS = ("## Context", "## Decision", "## Consequences")


def pages() -> list[pathlib.Path]:
    return [path for path in tree.text_files() if path.suffix == ".md"]


def anchors(page: pathlib.Path) -> set[str]:
    """As GitHub forms them: lower case, punctuation gone, blanks to hyphens."""
    headings = re.findall(r"^#+ +(.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def broken(page: pathlib.Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return True
    return bool(anchor) and target.suffix == ".md" and anchor not in anchors(target)


def decisions() -> list[pathlib.Path]:
    return sorted(path for path in DECISIONS.glob("*.md") if path.name != "README.md")


def test_every_relative_link_leads_somewhere() -> None:
    dead = [
        f"{tree.place(page)}: {link}"
        for page in pages()
        for groups in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
        if not OUTSIDE.match(link := "".join(groups)) and broken(page, link)
    ]
    assert not dead


def test_decisions_are_numbered_without_a_gap() -> None:
    matches = [DECISION_NAME.match(path.name) for path in decisions()]
    assert None not in matches, [path.name for path in decisions()]
    numbers = [int(match[1]) for match in matches if match]
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_decision_has_its_title_and_three_parts() -> None:
    malformed = []
    for path in decisions():
        lines = path.read_text(encoding="utf-8").splitlines()
        headings = [line.strip() for line in lines if line.startswith("## ")]
        titled = lines[0].startswith(f"# {path.name[:4]} ") if lines else False
        if (
            not titled
            or tuple(heading for heading in headings if heading in DECISION_PARTS) != DECISION_PARTS
        ):
            malformed.append(tree.place(path))
    assert not malformed


def test_every_decision_stands_in_the_list() -> None:
    index = (DECISIONS / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in decisions() if f"]({path.name})" not in index] == []


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    found = [
        f"{tree.place(path, number)}: {line.strip()}"
        for path in tree.text_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if MACHINE_PATH.search(line)
    ]
    assert not found
