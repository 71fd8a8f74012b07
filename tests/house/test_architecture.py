"""docs/architecture.md names rooms, files and functions that exist, and every room."""

import re

from tests.house.tree import ROOT

TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_path_exists():
    paths = re.findall(r"`((?:xscale|csrc|viewer|docs|pyproject)[\w./]*)`", TEXT)
    assert len(paths) > 30
    assert [path for path in paths if "/" in path and not (ROOT / path).exists()] == []


def test_every_name_stands_in_the_file_that_is_named_with_it():
    named = re.findall(r"`(\w[\w.]*)` in `([\w./]+)`", TEXT)
    assert len(named) >= 8
    lost = [
        (name, path)
        for name, path in named
        if name.rpartition(".")[2] not in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert lost == []


def test_every_room_is_there():
    rooms = [path.name for path in (ROOT / "xscale").iterdir() if (path / "__init__.py").exists()]
    lost = [room for room in rooms if f"`xscale/{room}`" not in TEXT]
    assert lost == [], "give these rooms a row in docs/architecture.md"
