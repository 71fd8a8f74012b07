"""JSON read strictly: what other parsers let pass (NaN, keys twice, endless depth) is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xscale.errors import CameraError, SceneError, XscaleError
from xscale.io.budget import check_json

MOST_BYTES = 64 << 20
_DEEPEST = 64
_LARGEST = 1e15
_TOKENS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
_AGAIN = "the file is damaged or was edited: export it again"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        SceneError: Larger than 64 MiB, deeper than 64 levels, not UTF-8, a key twice, NaN or
            Infinity, not JSON (with line and column), or not an object.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SceneError(
                f"is larger than {MOST_BYTES >> 20} MiB", where=path, advice="check the path"
            )
        data = path.read_bytes()
    except OSError as error:
        raise SceneError(
            f"cannot be read: {error.strerror}", where=path, advice="check the path"
        ) from error
    check_json(data, path)
    return parse_object(data, path)


def parse_object(
    data: bytes,
    path: Path,
    kind: type[XscaleError] = SceneError,
    advice: str = _AGAIN,
) -> dict[str, Any]:
    """Return the object that a JSON text holds.

    Args:
        data: The text.
        path: Its file, for errors.
        kind: The error to raise.
        advice: What to do about a damaged file.

    Raises:
        XscaleError: Of that kind: deeper than 64 levels, not UTF-8, a key twice, NaN or Infinity,
            not JSON (with line and column), or not an object.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise kind(f"is not UTF-8 at byte {error.start}", where=path, advice=advice) from error
    line = _too_deep(text)
    if line:
        raise kind(
            f"is nested deeper than {_DEEPEST} levels", where=f"{path}:{line}", advice=advice
        )
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise kind(
            f"is not JSON: {error.msg}",
            where=f"{path}:{error.lineno}:{error.colno}",
            advice=advice,
        ) from error
    except ValueError as error:
        raise kind(f"is refused: {error}", where=path, advice=advice) from error
    if not isinstance(value, dict):
        raise kind("is not a JSON object", where=path, advice=advice)
    return value


def _too_deep(text: str) -> int:
    """Return the line at which brackets nest too deeply, else 0, before the parser follows them."""
    depth = 0
    for match in _TOKENS.finditer(text):
        token = match.group()
        if token in "[{":
            depth += 1
            if depth > _DEEPEST:
                return text.count("\n", 0, match.start()) + 1
        elif token in "]}":
            depth -= 1
    return 0


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object whose keys are all different."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} occurs twice")
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def number(value: object, where: str) -> float:
    """Return a finite number.

    Raises:
        CameraError: It is something else: text, true, null, 1e999.
    """
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    # NaN fails the comparison; whole numbers may have more digits than a float has room for.
    if plain and abs(value) <= _LARGEST:
        return float(value)
    raise CameraError(f"{_shown(value)} is not a finite number", where=where, advice=_AGAIN)


def whole(value: object, where: str) -> int:
    """Return a whole number above 0, also where it is written as 640.0.

    Raises:
        CameraError: It is something else.
    """
    found = number(value, where)
    if found < 1 or found != int(found):
        raise CameraError(f"{_shown(value)} is not a size in pixels", where=where, advice=_AGAIN)
    return int(found)


def text(value: object, where: str) -> str:
    """Return a text that is not empty.

    Raises:
        CameraError: It is something else.
    """
    if isinstance(value, str) and value:
        return value
    raise CameraError(f"{_shown(value)} is not text", where=where, advice=_AGAIN)


def matrix(value: object, where: str) -> np.ndarray:
    """Return a rigid or similarity matrix of 3 or 4 rows as float64 [4, 4].

    Raises:
        CameraError: Another shape, an entry that is not a number, or a last row other than 0 0 0 1;
            the JSON pointer names the place.
    """
    if not _is_list(value) or len(value) not in (3, 4):
        raise CameraError(
            f"has {len(value) if _is_list(value) else 'no'} rows, needs 3 or 4",
            where=where,
            advice="write a matrix as a list of rows",
        )
    rows = []
    for i, row in enumerate(value):
        if not _is_list(row) or len(row) != 4:
            count = len(row) if _is_list(row) else _shown(row)
            raise CameraError(
                f"has {count} numbers, needs 4",
                where=f"{where}/{i}",
                advice="write a matrix as a list of rows",
            )
        rows.append([number(entry, f"{where}/{i}/{j}") for j, entry in enumerate(row)])
    if len(rows) == 3:
        rows.append([0.0, 0.0, 0.0, 1.0])
    found = np.array(rows)
    if np.abs(found[3] - (0, 0, 0, 1)).max() > 1e-6:
        raise CameraError(
            f"the last row is {found[3].tolist()}, it must be 0 0 0 1",
            where=f"{where}/3",
            advice="the matrix may be transposed: write it by rows",
        )
    return found


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _shown(value: object) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}..."
