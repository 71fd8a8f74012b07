"""OFF: vertices and polygons as text; colours and normals after them are passed over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from xscale.errors import MeshError
from xscale.io.mesh.polygons import MOST_CORNERS, check_vertices, triangulate
from xscale.io.mesh.text_numbers import LineReader, bad_line, numbers, whole

_KINDS = (b"OFF", b"COFF", b"NOFF", b"CNOFF", b"STOFF")


def read_off(path: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Read vertices float64 [V, 3] and triangles int32 [F, 3], in the file's order.

    Returns:
        Vertices, faces and coded remarks.

    Raises:
        MeshError: Not an OFF file, a kind with other than three coordinates, cut, or an index
            that names no vertex.
    """
    with path.open("rb") as file:
        sizes, lines = _header(file, path)
        left = path.stat().st_size - file.tell()
        if 2 * (3 * sizes[0] + sizes[1]) > left:
            raise MeshError(
                f"says {sizes[0]} vertices and {sizes[1]} faces, {left} bytes are left",
                where=path,
                advice="the file is cut or was edited: export it again",
            )
        reader = _Rows(LineReader(file, path, lines, open_end=True), path)
        vertices = np.empty((sizes[0], 3))
        for done, values, begins, first in reader.rows(sizes[0]):
            if (np.diff(begins) < 3).any():
                row = int(np.argmax(np.diff(begins) < 3))
                raise bad_line("vertex has under 3 numbers", path, first + row)
            rows = values[begins[:-1, None] + np.arange(3)]
            vertices[done : done + len(rows)] = rows
        corners, counts = [np.zeros(0, np.int32)], np.zeros(sizes[1], np.uint8)
        for done, values, begins, first in reader.rows(sizes[1]):
            flat, count = _faces(values, begins, path, first)
            check_vertices(flat, count, sizes[0], path, done)
            corners.append(flat.astype(np.int32))
            counts[done : done + len(count)] = count
    if not sizes[1]:
        raise MeshError("has no faces", where=path, advice="export a triangle mesh with faces")
    faces, short = triangulate(vertices, np.concatenate(corners), counts, path)
    remark = f"W-MESH-CORNERS: {path.name}: {short} faces with under 3 corners left out"
    return vertices, faces, (remark,) if short else ()


def _header(file: BinaryIO, path: Path) -> tuple[list[int], int]:
    """Read the keyword and the three sizes, which may share a line."""
    words: list[bytes] = []
    lines = 0
    while len(words) < 4 and lines < 1000:
        line = file.readline(1 << 16)
        if not line:
            break
        lines += 1
        words += line.split(b"#")[0].split()
    if not words or words[0] not in _KINDS:
        raise MeshError(
            "is not an OFF file with three coordinates a vertex (first word OFF, COFF, NOFF)",
            where=path,
            advice="export it again, or give the file its true extension",
        )
    sizes = words[1:4]
    if len(sizes) < 3 or not all(word.isdigit() and len(word) < 13 for word in sizes):
        raise bad_line("needs the numbers of vertices, faces and edges", path, lines)
    return [int(word) for word in sizes], lines


class _Rows:
    """Lines with numbers; empty ones and comments do not count."""

    def __init__(self, reader: LineReader, path: Path) -> None:
        self._blocks = reader.blocks()
        self._path = path
        self._kept: tuple | None = None

    def rows(self, count: int) -> Iterator[tuple[int, np.ndarray, np.ndarray, int]]:
        """Yield (rows before, values, where each row's begin, number of the first line)."""
        done = 0
        while done < count:
            values, begins, first = self._kept or self._next()
            self._kept = None
            take = min(len(begins) - 1, count - done)
            if take < len(begins) - 1:
                cut = begins[take]
                self._kept = (values[cut:], begins[take:] - cut, first + take)
            yield done, values[: begins[take]], begins[: take + 1], first
            done += take

    def _next(self) -> tuple[np.ndarray, np.ndarray, int]:
        for first, text in self._blocks:
            if (text == ord("#")).any():
                bare = (line.split(b"#")[0] for line in text.tobytes().split(b"\n")[:-1])
                text = np.frombuffer(b"".join(line + b"\n" for line in bare), np.uint8)
            values, begins = numbers(text, self._path, first)
            full = np.diff(begins) > 0
            if full.any():
                return values, np.append(begins[:-1][full], begins[-1]), first
        raise MeshError(
            "ends before its last face",
            where=self._path,
            advice="the file is cut: export it again",
        )


def _faces(
    values: np.ndarray, begins: np.ndarray, path: Path, first: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split rows ``n i1 ... in [colour]`` into flat corners and counts."""
    said, there = values[begins[:-1]], np.diff(begins) - 1
    bad = ~((said >= 0) & (said <= MOST_CORNERS) & (said == np.floor(said)) & (said <= there))
    if bad.any():
        row = int(np.argmax(bad))
        what = f"face says {said[row]:g} corners (0 to {MOST_CORNERS}) and has {there[row]} numbers"
        raise bad_line(what, path, first + row)
    count = said.astype(np.int64)
    inside = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    corners = whole(values[np.repeat(begins[:-1] + 1, count) + inside])
    if corners is None:
        raise bad_line("a face near here has a fractional vertex index", path, first)
    return corners, count
