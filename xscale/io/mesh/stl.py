"""STL: triangles without shared vertices, binary or ascii; which of them the size decides."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from xscale.errors import MeshError
from xscale.io.mesh.text_numbers import LineReader, bad_line, chosen_lines, numbers

_HEAD = 84
_ROW = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_ROWS = 1 << 18
_BLOCK = 1 << 18
"""Bytes of text looked at in one go: lines become objects here."""
_WORDS = (b"", b"solid", b"facet", b"outer", b"vertex", b"endloop", b"endfacet", b"endsolid")


def read_stl(path: Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Read vertices [3 F, 3] (float32 from a binary file) and triangles int32 [F, 3].

    Vertices are not joined: features go by position, so the picture is the same either way.

    Returns:
        Vertices, faces and coded remarks.

    Raises:
        MeshError: The size does not fit the number of triangles, or an ascii file is cut.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_HEAD)
        count = int.from_bytes(head[80:84], "little") if len(head) == _HEAD else 0
        spare = size - _HEAD - count * _ROW.itemsize
        text = head.lstrip()[:5].lower() == b"solid"
        if len(head) == _HEAD and spare == 0:
            vertices = _read_binary(file, count, path)
        elif text:
            file.seek(0)
            vertices = _read_ascii(file, path)
        elif len(head) == _HEAD and 0 < spare < _ROW.itemsize:
            vertices = _read_binary(file, count, path)
        else:
            raise MeshError(
                f"says {count} triangles, which need {_HEAD + count * _ROW.itemsize} bytes; it "
                f"has {size}",
                where=path,
                advice="the file is cut or is not an STL: export it again",
            )
    if not len(vertices):
        raise MeshError("has no faces", where=path, advice="export a triangle mesh with faces")
    warnings = ()
    if 0 < spare < _ROW.itemsize and not text:
        warnings = (f"W-MESH-TAIL: {path.name}: {spare} bytes after the last triangle ignored",)
    return vertices, np.arange(len(vertices), dtype=np.int32).reshape(-1, 3), warnings


def _read_binary(file: BinaryIO, count: int, path: Path) -> np.ndarray:
    vertices = np.empty((count, 3, 3), np.float32)
    for start in range(0, count, _ROWS):
        rows = np.fromfile(file, _ROW, min(_ROWS, count - start))
        if len(rows) < min(_ROWS, count - start):
            raise MeshError(
                f"ends inside triangle {start + len(rows)} of {count}: it shrank while it was read",
                where=path,
                advice="read it again when nothing writes to it",
            )
        vertices[start : start + len(rows)] = rows["corners"]
    return vertices.reshape(-1, 3)


def _read_ascii(file: BinaryIO, path: Path) -> np.ndarray:
    """Read the vertex lines; what stands between them is checked by number."""
    pieces, facets, last = [np.zeros((0, 3))], 0, (b"", 1)
    for first, text in LineReader(file, path, open_end=True, block=_BLOCK).blocks():
        words = _first_words(text)
        odd = ~np.isin(words, _WORDS)
        if odd.any():
            raise bad_line("is not a line of an STL file", path, first + int(np.argmax(odd)))
        facets += int((words == b"facet").sum())
        is_vertex = words == b"vertex"
        if is_vertex.any():
            lines = np.flatnonzero(is_vertex) + first
            pieces.append(_vertices(_unindented(text), is_vertex, lines, path))
        full = np.flatnonzero(words != b"")
        if len(full):
            last = words[full[-1]], first + int(full[-1])
    vertices = np.concatenate(pieces)
    if len(vertices) != 3 * facets or last[0] != b"endsolid":
        what = f"ends after {facets} facets and {len(vertices)} vertices without endsolid"
        raise bad_line(what, path, last[1])
    return vertices


def _unindented(text: np.ndarray) -> np.ndarray:
    return np.frombuffer(
        b"".join(line.lstrip() + b"\n" for line in text.tobytes().split(b"\n")[:-1]), np.uint8
    )


def _first_words(text: np.ndarray) -> np.ndarray:
    """Return the first word of every line, lower case; empty lines have an empty one."""
    lines = text.tobytes().lower().split(b"\n")[:-1]
    return np.array([line.split(None, 1)[0][:12] if line.strip() else b"" for line in lines])


def _vertices(text: np.ndarray, is_vertex: np.ndarray, lines: np.ndarray, path: Path) -> np.ndarray:
    try:
        values, begins = numbers(chosen_lines(text, is_vertex, len(b"vertex")), path, 0)
    except MeshError as error:
        row = int(str(error.where).rsplit(":", 1)[1])
        raise bad_line(error.what, path, int(lines[row])) from None
    if (np.diff(begins) != 3).any():
        row = int(np.argmax(np.diff(begins) != 3))
        raise bad_line("vertex has not 3 numbers", path, int(lines[row]))
    return values.reshape(-1, 3)
