"""The project's own files, for the tests that hold its rules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = {"build", "dist", ".venv", ".git", "__pycache__", "runs", "demo-run", "carry"}


def files(*endings: str, under: str = ".") -> list[Path]:
    """Source files with these endings, sorted; build products and environments left out."""
    found = []
    for path in sorted((ROOT / under).rglob("*")):
        parts = path.relative_to(ROOT).parts
        if not LEFT_OUT.isdisjoint(parts) or not path.is_file():
            continue
        if any(
            part.endswith(".egg-info") or (ROOT / part / "pyvenv.cfg").exists() for part in parts
        ):
            continue
        if path.suffix in endings:
            found.append(path)
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call in a Python file, with the dotted name that is called ("?" for expressions)."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield dotted(node.func), node


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return "?"
