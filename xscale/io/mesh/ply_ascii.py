"""The body of an ascii PLY file: one row of an element a line."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from xscale.errors import MeshError
from xscale.io.mesh.ply_header import Element, Header
from xscale.io.mesh.polygons import MOST_CORNERS, check_vertices
from xscale.io.mesh.text_numbers import LineReader, bad_line, numbers, whole


def read_ascii(
    file: BinaryIO, header: Header, path: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Read the elements that follow an ascii header.

    Args:
        file: Open behind the header.
        header: What follows.
        path: The file's name, for errors.

    Returns:
        Vertices float64 [V, 3], checked corners int32 flat, corners of each face uint8 [F], how
        many bytes follow the last element.

    Raises:
        MeshError: A line is cut, too long or not made of numbers; an index names no vertex.
    """
    vertices = corners = counts = None
    left = path.stat().st_size - header.size
    # A row needs two bytes a property; all elements together must fit before any is read.
    for element in header.elements:
        needed = element.count * 2 * len(element.properties)
        if needed > left:
            raise MeshError(
                f"element {element.name}: {element.count} rows need at least {needed} bytes, "
                f"{left} are left",
                where=path,
                advice="the file is cut or was edited: export it again",
            )
        left -= needed
    reader = LineReader(file, path, header.lines)
    for element in header.elements:
        if element.name == "vertex":
            vertices = _read_vertices(reader, element, path)
        elif element.name == "face":
            corners, counts = _read_faces(reader, element, path, header.element("vertex").count)
        else:
            for _ in reader.blocks(element.count):
                pass
    return vertices, corners, counts, reader.rest()


def _read_vertices(reader: LineReader, element: Element, path: Path) -> np.ndarray:
    """Read x, y, z of every row: float64 [V, 3]."""
    names = [p.name for p in element.properties]
    columns = [names.index(name) for name in "xyz"]
    vertices = np.empty((element.count, 3))
    done = 0
    for first, text in reader.blocks(element.count):
        values, begins = numbers(text, path, first)
        found = np.diff(begins)
        if (found != len(names)).any():
            row = int(np.argmax(found != len(names)))
            what = f"vertex has {found[row]} numbers, needs {len(names)}"
            raise bad_line(what, path, first + row)
        rows = values.reshape(-1, len(names))
        vertices[done : done + len(rows)] = rows[:, columns]
        done += len(rows)
    return vertices


def _read_faces(
    reader: LineReader, element: Element, path: Path, vertices: int
) -> tuple[np.ndarray, np.ndarray]:
    """Read the index list of every row: flat int32 and counts uint8 [F]."""
    flat, counts = [np.zeros(0, np.int32)], np.zeros(element.count, np.uint8)
    done = 0
    for first, text in reader.blocks(element.count):
        values, begins = numbers(text, path, first)
        start, count = _index_lists(values, begins, element, path, first)
        inside = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
        corners = whole(values[np.repeat(start, count) + inside])
        if corners is None:
            bad = ~_whole_rows(values, start, count)
            raise _wrong("has an impossible vertex index", bad, element, path, first)
        check_vertices(corners, count, vertices, path, done)
        flat.append(corners.astype(np.int32))
        counts[done : done + len(count)] = count
        done += len(count)
    return np.concatenate(flat), counts


def _index_lists(
    values: np.ndarray, begins: np.ndarray, element: Element, path: Path, first: int
) -> tuple[np.ndarray, np.ndarray]:
    """Find every row's index list: place of its first item in ``values``, and its length."""
    place, ends = begins[:-1].copy(), begins[1:]
    start = length = place
    padded = np.append(values, np.nan)
    for prop in element.properties:
        count = np.ones(len(place), np.int64)
        if prop.count_type is not None:
            said = padded[np.minimum(place, len(values))]
            fine = (said >= 0) & (said < 2**31) & (np.floor(said) == said) & (place < ends)
            if not fine.all():
                raise _wrong("has a list without a length", ~fine, element, path, first)
            count = said.astype(np.int64)
            place = place + 1
        if prop is element.index_list:
            start, length = place, count
        place = place + count
    if (place != ends).any():
        what = "has another number of corners than it says"
        raise _wrong(what, place != ends, element, path, first)
    if (length > MOST_CORNERS).any():
        row = int(np.argmax(length > MOST_CORNERS))
        what = f"{element.name} has {length[row]} corners, at most {MOST_CORNERS}"
        raise bad_line(what, path, first + row)
    return start, length


def _whole_rows(values: np.ndarray, start: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Tell which rows hold only whole numbers."""
    return np.array(
        [whole(values[s : s + n]) is not None for s, n in zip(start, count, strict=True)]
    )


def _wrong(what: str, bad: np.ndarray, element: Element, path: Path, first: int) -> MeshError:
    return bad_line(f"{element.name} {what}", path, first + int(np.argmax(bad)))
