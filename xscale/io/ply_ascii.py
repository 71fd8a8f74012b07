"""The body of an ascii PLY file: one row of an element a line."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from xscale.errors import MeshError
from xscale.io.ply_header import Element, Header, Property
from xscale.io.polygons import MOST_CORNERS, check_vertices, fan

_LINES = 1 << 16
_LONGEST_LINE = 1 << 16
_Blocks = Iterator[tuple[int, list[bytes]]]


def read_ascii(
    file: BinaryIO, header: Header, path: Path
) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Read the elements that follow an ascii header.

    Args:
        file: Open behind the header.
        header: What follows.
        path: The file's name, for errors.

    Returns:
        Vertices float64 [V, 3], faces int32 [F, 3], how many faces had under 3 corners, how many
        bytes follow the last element.

    Raises:
        MeshError: A line is cut, too long or not made of numbers; an index names no vertex.
    """
    vertices = faces = None
    dropped = 0
    number = header.lines
    for element in header.elements:
        _check_room(element, file, path)
        blocks = _line_blocks(file, element, number, path)
        if element.name == "vertex":
            vertices = _read_vertices(blocks, element, path)
        elif element.name == "face":
            corners, counts = _read_faces(blocks, element, path)
            check_vertices(corners, counts, header.element("vertex").count, path)
            faces, dropped = fan(corners, counts)
        else:
            for _ in blocks:
                pass
        number += element.count
    return vertices, faces, dropped, len(file.read().strip())


def _check_room(element: Element, file: BinaryIO, path: Path) -> None:
    """A row needs two bytes a number (a digit and a space or line end) at the least."""
    here = file.tell()
    left = path.stat().st_size - here
    needed = element.count * 2 * len(element.properties)
    if needed > left:
        raise MeshError(
            f"element {element.name}: {element.count} rows need at least {needed} bytes, "
            f"{left} are left at byte {here}",
            where=path,
            advice="the file is cut or was edited: export it again",
        )


def _line_blocks(
    file: BinaryIO, element: Element, number: int, path: Path
) -> Iterator[tuple[int, list[bytes]]]:
    """Yield ``(number of the first line, lines)`` until all rows of the element are read."""
    left = element.count
    while left:
        lines = []
        for _ in range(min(left, _LINES)):
            line = file.readline(_LONGEST_LINE)
            if not line.endswith((b"\n", b"\r")):
                raise _bad("the line is cut or longer than 64 KiB", path, number + len(lines) + 1)
            lines.append(line)
        yield number + 1, lines
        number += len(lines)
        left -= len(lines)


def _bad(what: str, path: Path, line: int) -> MeshError:
    return MeshError(
        what, where=f"{path}:{line}", advice="the file is cut or was edited: export it again"
    )


def _numbers(tokens: list[bytes], kind: type, path: Path, line: int) -> list:
    """Convert tokens; Python's own extras (underscores) are not numbers in a file."""
    try:
        if b"_" in b"".join(tokens):
            raise ValueError("underscore")
        return list(map(kind, tokens))
    except ValueError:
        raise _bad("has something that is not a number", path, line) from None


def _read_vertices(blocks: _Blocks, element: Element, path: Path) -> np.ndarray:
    """Read x, y, z of every row: float64 [V, 3]."""
    columns = [[p.name for p in element.properties].index(name) for name in "xyz"]
    width = len(element.properties)
    pieces = [np.zeros((0, 3))]
    for first, lines in blocks:
        rows = [line.split() for line in lines]
        for k, row in enumerate(rows):
            if len(row) != width:
                raise _bad(f"vertex has {len(row)} numbers, needs {width}", path, first + k)
        tokens = [row[c] for row in rows for c in columns]
        try:
            values = _numbers(tokens, float, path, first)
        except MeshError:
            for k, row in enumerate(rows):
                _numbers([row[c] for c in columns], float, path, first + k)
            raise
        pieces.append(np.array(values, np.float64).reshape(-1, 3))
    return np.concatenate(pieces)


def _read_faces(blocks: _Blocks, element: Element, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the index list of every row: flat int64 and counts int64 [F]."""
    wanted = element.index_list
    plain = len(element.properties) == 1
    flat: list[list[int]] = []
    counts = np.zeros(element.count, np.int64)
    row = 0
    for first, lines in blocks:
        for k, line in enumerate(lines):
            tokens = line.split()
            items = tokens[1:] if plain else _list_of(tokens, element, wanted, path, first + k)
            values = _numbers(items, int, path, first + k)
            if plain and (not tokens or tokens[0] != b"%d" % len(values)):
                raise _bad("face has another number of corners than it says", path, first + k)
            if len(values) > MOST_CORNERS:
                raise _bad(f"face has {len(values)} corners, at most 64", path, first + k)
            if any(not -(2**62) < v < 2**62 for v in values):
                raise _bad("face has an impossible vertex index", path, first + k)
            flat.append(values)
            counts[row] = len(values)
            row += 1
    corners = np.fromiter(itertools.chain.from_iterable(flat), np.int64, int(counts.sum()))
    return corners, counts


def _list_of(
    tokens: list[bytes], element: Element, wanted: Property, path: Path, line: int
) -> list[bytes]:
    """Pick one list out of a row with several properties."""
    found: list[bytes] = []
    position = 0
    for prop in element.properties:
        count = 1
        if prop.count_type is not None:
            head = _numbers(tokens[position : position + 1], int, path, line)
            count = head[0] if head else -1
            position += 1
        if count < 0 or position + count > len(tokens):
            raise _bad(f"{element.name} has too few numbers", path, line)
        if prop is wanted:
            found = tokens[position : position + count]
        position += count
    if position != len(tokens):
        raise _bad(f"{element.name} has too many numbers", path, line)
    return found
