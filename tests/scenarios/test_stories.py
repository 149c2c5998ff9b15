"""The stories of this folder, told to the production machines: what stands behind an arrow is what happens."""

import os
import pathlib

import pytest

from tests.scenarios import telling

STORIES = sorted(pathlib.Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_the_story_goes_as_it_is_written(path: pathlib.Path) -> None:
    written = path.read_text()
    today = telling.retold(written)
    if os.environ.get("STORIES") == "rewrite":
        path.write_text(today)
    assert today == path.read_text()
