"""COLMAP's text tables. Numbers never depend on the computer's language; errors name the line."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from xscale.errors import CameraError
from xscale.geometry.models import colmap_model
from xscale.io.budget import allowed, check_growth
from xscale.scene.layouts.colmap_model import (
    CAMERA_BYTES,
    PHOTO_BYTES,
    ColmapCamera,
    ColmapPoints,
    Tables,
    spread_over,
)

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_LONGEST_NUMBER = 64
_LONGEST_LINE = 1 << 23
_CAMERA_FIELDS = 4
_IMAGE_FIELDS = 10
_POINT_FIELDS = 8


_UTF8 = {"encoding": "utf-8-sig", "errors": "surrogateescape"}


def lines(path: Path, each: int = 0) -> Iterator[tuple[str, str]]:
    """Yield ``(where, line)`` without the line end; a byte-order mark is passed over.

    The text is UTF-8, or UTF-16 with its mark, as Windows' shell writes lists.

    Args:
        path: The file.
        each: Bytes that the caller keeps of a line, at most.

    Raises:
        CameraError: It cannot be read, or a line has more than 8 Mi characters.
        LimitError: It has more lines than its size lets the caller keep.
    """
    try:
        most = allowed(path) // each if each else None
        with path.open("rb") as opened:
            wide = opened.read(2) in (b"\xff\xfe", b"\xfe\xff")
        how = {"encoding": "utf-16"} if wide else _UTF8
        with path.open(newline=None, **how) as file:
            blocks = iter(lambda: file.readline(_LONGEST_LINE + 1), "")
            for number, line in enumerate(blocks, start=1):
                if len(line) > _LONGEST_LINE:
                    raise CameraError(
                        "the line is longer than 8 MiB",
                        where=f"{path}:{number}",
                        advice="the file is damaged: export the model again",
                    )
                if most is not None and number > most:
                    check_growth(number * each, path, f"{number} lines")
                yield f"{path}:{number}", line.rstrip("\r\n")
    except UnicodeError as error:
        raise CameraError(
            f"is not UTF-16, as its first bytes say: {error}",
            where=path,
            advice="save it as UTF-8",
        ) from error
    except OSError as error:
        raise CameraError(
            f"cannot be read: {error.strerror}", where=path, advice="check the path"
        ) from error


def rows(path: Path, each: int = 0) -> Iterator[tuple[str, str]]:
    """Yield lines that are neither empty nor comments; arguments and errors as for ``lines``."""
    for where, line in lines(path, each):
        if line.strip() and not line.lstrip().startswith("#"):
            yield where, line.strip()


def parse_number(token: str, where: object) -> float:
    """Convert a plain decimal number.

    Raises:
        CameraError: It is something else: nan, inf, hexadecimal, overflowing, a comma decimal.
    """
    if len(token) <= _LONGEST_NUMBER and _NUMBER.fullmatch(token):
        value = float(token)
        if math.isfinite(value):
            return value
    raise CameraError(
        f"{token!r} is not a finite number", where=where, advice="export the model again"
    )


def integer(token: str, where: object) -> int:
    """Convert a whole number of at most 18 digits.

    Raises:
        CameraError: It is something else.
    """
    if re.fullmatch(r"-?[0-9]{1,18}", token):
        return int(token)
    raise CameraError(f"{token!r} is not an id", where=where, advice="export the model again")


def short(what: str, found: int, needed: int, where: str) -> CameraError:
    """Return the error for a line with the wrong number of fields."""
    return CameraError(
        f"{what} has {found} fields, needs {needed}",
        where=where,
        advice="the file is cut or was edited: export the model again",
    )


def read_cameras(path: Path, tables: Tables) -> None:
    """Read ``cameras.txt`` into ``tables``; errors as for the binary reader, with the line."""
    for where, line in rows(path, CAMERA_BYTES):
        fields = line.split()
        if len(fields) < _CAMERA_FIELDS:
            raise short("camera", len(fields), _CAMERA_FIELDS, where)
        model = colmap_model(fields[1], where)
        needed = _CAMERA_FIELDS + len(model.parameters)
        if len(fields) != needed:
            raise short(f"{model.name} camera", len(fields), needed, where)
        width, height = (integer(f, where) for f in fields[2:4])
        params = np.array([parse_number(f, where) for f in fields[4:]])
        camera = ColmapCamera(model, width, height, params, where)
        tables.add_camera(integer(fields[0], where), camera)


def read_images(path: Path, tables: Tables, *, keep_observations: int = 0) -> None:
    """Read ``images.txt`` into ``tables``: two lines a photo, the second may be empty.

    Args and errors as for the binary reader, with the line.
    """
    left = lines(path, PHOTO_BYTES // 2)
    for where, line in left:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        # The name is the rest of the line: it may hold spaces.
        fields = line.strip().split(None, _IMAGE_FIELDS - 1)
        if len(fields) < _IMAGE_FIELDS:
            raise short("image", len(fields), _IMAGE_FIELDS, where)
        pose = np.array([parse_number(f, where) for f in fields[1:8]])
        below, keypoints = next(left, (where, ""))
        kept = _observations(keypoints, below, keep_observations)
        tables.add_image(
            integer(fields[0], where),
            pose[:4],
            pose[4:],
            integer(fields[8], where),
            fields[9],
            where,
            kept,
        )


def _observations(line: str, where: str, most: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Check that a line is a list of keypoints, and convert at most so many that show a point."""
    tokens = line.split()
    if len(tokens) % 3 or (tokens and not re.fullmatch(r"-?\d+", tokens[-1])):
        raise CameraError(
            "this line should hold the keypoints of the photo above (x y id, ...)",
            where=where,
            advice="images.txt has two lines a photo, the second may be empty: export it again",
        )
    if not most:
        return None, None
    shown = np.flatnonzero([token != "-1" for token in tokens[2::3]])
    picked = [tokens[3 * k : 3 * k + 3] for k in spread_over(shown, most)]
    values = np.array([parse_number(t, where) for triple in picked for t in triple]).reshape(-1, 3)
    return values[:, :2], values[:, 2].astype(np.int64)


def read_points(path: Path, warnings: list[str]) -> ColmapPoints:
    """Read the positions in ``points3D.txt``; errors name the line."""
    del warnings
    ids, positions = array("q"), array("d")
    for where, line in rows(path):
        fields = line.split(None, _POINT_FIELDS)
        if len(fields) < _POINT_FIELDS:
            raise short("point", len(fields), _POINT_FIELDS, where)
        ids.append(integer(fields[0], where))
        positions.extend(parse_number(f, where) for f in fields[1:4])
    return ColmapPoints(np.frombuffer(ids, np.int64), np.frombuffer(positions).reshape(-1, 3))
