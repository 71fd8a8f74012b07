"""Plain English: openings that hide the noun, and phrases that have to be read twice."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.tree import ROOT, files, name_of

OPENINGS = re.compile(r"(Of|By which|In so many|Likewise|Whose|What)\b")
"""Docstrings begin with the noun the thing is."""
PHRASES = {
    r"(?<!here )is no (?!longer|more|larger|smaller|less|finer|way|one\b|need|such)": '"is not a"',
    r"(?<!here )are no (?!longer|more|such)": '"are not"',
    r"\b(is|are) there already\b": '"already exists"',
    r"\b(is|are) said\b": '"is reported"',
    r"\b(where|if) not given\b": '"default:"',
    r"\bin whatever way\b": "what it does",
}
PYTHON = [p for room in ("xscale", "viewer", "benchmarks") for p in files(".py", under=room)]
NATIVE = files(".h", ".cpp", ".cu", ".cuh", under="csrc")
PAGES = [ROOT / "README.md", *files(".md", under="docs"), *files(".md", under="viewer")]


def _docstrings(tree: ast.AST) -> Iterator[ast.Constant]:
    """Docstrings of modules, classes and functions, and those that follow fields."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for entry in body if isinstance(body, list) else ():
            value = getattr(entry, "value", None) if isinstance(entry, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of everything that is written for people."""
    source = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        yield from enumerate(source.splitlines(), 1)
    elif path.suffix == ".py":
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.lineno, " ".join(node.value.split())
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string
    else:
        for number, line in enumerate(source.splitlines(), 1):
            if comment := re.search(r"//(.*)", line):
                yield number, comment[1]


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_docstrings_begin_with_the_noun(path):
    found = [
        f"{name_of(path)}:{text.lineno}: {text.value.strip().splitlines()[0]}"
        for text in _docstrings(ast.parse(path.read_text(encoding="utf-8")))
        if OPENINGS.match(text.value.strip())
    ]
    assert found == []


@pytest.mark.parametrize("path", [*PYTHON, *NATIVE, *PAGES], ids=name_of)
def test_phrases_are_plain(path):
    found = [
        f"{name_of(path)}:{line}: {match[0]!r}, write {better}"
        for line, text in _texts(path)
        for phrase, better in PHRASES.items()
        if (match := re.search(phrase, text))
    ]
    assert found == []


def test_native_comments_begin_with_the_noun():
    found = []
    for path in NATIVE:
        before = ""
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            comment = re.match(r"\s*// (.*)", line)
            # The first line of a comment of its own; later lines go on with a sentence.
            if comment and not before.lstrip().startswith("//") and OPENINGS.match(comment[1]):
                found.append(f"{name_of(path)}:{number}: {comment[1]}")
            before = line
    assert found == []


def test_native_sources_say_what_they_are_for():
    silent = [
        name_of(path)
        for path in files(".cpp", ".cu", under="csrc")
        if not path.read_text(encoding="utf-8").startswith("//")
    ]
    assert silent == []
